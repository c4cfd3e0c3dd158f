"""Backbones: ResNet-18 against torchvision's, and the interface, through a second one that is unlike it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tiny import PARAMS, make_data, make_method, weak_options
from torchvision.models import resnet18

from asm.basics.errors import InputError
from asm.grid import resolve as grid
from asm.grid.params import METHODS
from asm.grid.profile import parse_profile
from asm.parts import backbones
from asm.parts.backbones.dlib29 import Dlib29
from asm.parts.backbones.resnet18 import ResNet18
from asm.parts.batches import Samples
from asm.parts.weights import read_weights
from asm.parts.weights.synthetic import regress_action_units
from asm.training.epoch import run_epoch
from asm.training.optimization import build_optimizer

ROOT = Path(__file__).resolve().parents[1]
SECOND = ROOT / "tests" / "backbones"


@pytest.fixture
def second(monkeypatch) -> str:
    """The name of tests/backbones/two_stages.py, as if it were in asm/parts/backbones: one file is enough."""
    monkeypatch.setattr(backbones, "__path__", [*backbones.__path__, str(SECOND)])
    return "two_stages"


def images(count: int, size: int) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_width_64_is_torchvisions_resnet18():
    """Its weights, under our names, are all of ours, and give the same logits."""
    reference = resnet18(weights=None, num_classes=7)
    ours = ResNet18(7, 64)
    ours.load_state_dict({ours.our_name(name): value for name, value in reference.state_dict().items()})
    for network in (ours, reference):
        network.train()(images(4, 64))  # so that the running statistics are not 0 and 1
    torch.testing.assert_close(ours.eval()(images(2, 64)), reference.eval()(images(2, 64)))


def test_torchvisions_file_is_read_into_ours(tmp_path):
    reference = resnet18(weights=None)
    torch.save(reference.state_dict(), tmp_path / "resnet18-f37072fd.pth")
    ours = backbones.build(
        "resnet18", 7, 64, read_weights(tmp_path / "resnet18-f37072fd.pth", "resnet18", 64), head_seed=0
    ).eval()
    reference.fc = torch.nn.Identity()
    torch.testing.assert_close(ours.features(images(2, 48)), reference.eval()(images(2, 48)))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("conv1.weight", "stem.0.weight"),
        ("bn1.running_var", "stem.1.running_var"),
        ("layer1.0.conv1.weight", "stages.0.0.conv1.weight"),
        ("layer4.1.bn2.bias", "stages.3.1.bn2.bias"),
        ("fc.weight", "head.weight"),
        ("stem.0.weight", "stem.0.weight"),  # ours already
        ("layer5.0.weight", "layer5.0.weight"),  # nobody's
        ("conv1x.weight", "conv1x.weight"),
    ],
)
def test_only_published_names_become_ours(theirs, ours):
    assert ResNet18.our_name(theirs) == ours


@pytest.mark.parametrize(("size", "side"), [(32, 1), (48, 2), (80, 3), (224, 7)])
def test_feature_size_is_that_of_the_map(size, side, second):
    for network, expected in (
        (ResNet18(3, 4), (32, side)),
        (backbones.build(second, 3, 4, None, 0), (12, size // 4)),
    ):
        assert network.feature_size(size) == expected
        assert network.feature_map(images(2, size)).shape == (2, expected[0], expected[1], expected[1])
        assert network.head.in_features == expected[0]


@pytest.mark.parametrize(
    ("size", "sides"),
    [
        (150, (35, 17, 8, 4)),
        (112, (26, 13, 6, 3)),
        (80, (18, 9, 4, 2)),
        (64, (14, 7, 3, 1)),  # 14 becomes 6 in the convolution and 7 in the shortcut, the larger counts
        (56, (12, 6, 3, 1)),
    ],
)
def test_the_maps_of_dlibs_network(size, sides):
    network = Dlib29(3, 4).eval()
    x = network.stem(images(2, size))
    for stage, side, channels in zip(network.stages, sides, (4, 8, 16, 32), strict=True):
        x = stage(x)
        assert x.shape == (2, channels, side, side)
    assert network.feature_size(size) == (32, sides[-1])
    torch.testing.assert_close(network(images(2, size)), network.head(x.mean(dim=(2, 3))))


def test_an_image_that_is_too_small_for_the_backbone_is_refused_at_configuration():
    with pytest.raises(RuntimeError, match="Kernel size"):
        Dlib29(3, 4).feature_size(54)
    content = yaml.safe_load((ROOT / "profiles" / "smoke" / "profile.yaml").read_text())
    content["training"] |= {"image_size": 55, "backbone": "dlib29"}
    message = r"training\.image_size: dlib29 needs images of 56 pixels or more, found 55"
    with pytest.raises(InputError, match=message):
        grid.grid(PARAMS, parse_profile(content, "test profile"), "test")
    content["training"]["image_size"] = 56
    grid.grid(PARAMS, parse_profile(content, "test profile"), "test")


def test_to_ask_for_the_size_changes_nothing():
    network = ResNet18(3, 4)
    network.stages[0].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    network.feature_size(48)
    assert network.training
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network.eval().training
    network.feature_size(48)
    assert not network.training


def test_forward_is_the_head_of_the_mean_over_the_map():
    network, x = ResNet18(5, 4).eval(), images(3, 64)
    features = network.features(x)
    torch.testing.assert_close(features, network.feature_map(x).mean(dim=(2, 3)))
    torch.testing.assert_close(network(x), features @ network.head.weight.T + network.head.bias)


def test_the_backbones_state_is_all_but_the_head():
    network = ResNet18(5, 4).to(memory_format=torch.channels_last)
    state = network.backbone_state()
    assert set(network.state_dict()) - set(state) == {"head.weight", "head.bias"}
    assert all(value.is_contiguous() for value in state.values())  # safetensors takes no other


def test_same_backbone_different_heads():
    initial = ResNet18(3, 4).backbone_state()
    one, two = (backbones.build("resnet18", 7, 4, initial, head_seed=s) for s in (0, 1))
    assert all(
        torch.equal(a, b) for a, b in zip(one.stages.parameters(), two.stages.parameters(), strict=True)
    )
    assert torch.equal(one.stem[0].weight, initial["stem.0.weight"])
    assert not torch.equal(one.head.weight, two.head.weight)
    again = backbones.build("resnet18", 7, 4, None, head_seed=1)
    assert torch.equal(two.head.weight, again.head.weight)
    assert not torch.equal(two.stem[0].weight, again.stem[0].weight)


def test_build_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    backbones.build("resnet18", 7, 4, None, head_seed=9)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("name", ["resnet19", "base"])
def test_an_unknown_backbone_is_named_beside_the_known_ones(name):
    with pytest.raises(
        InputError, match=rf"training\.backbone: '{name}' is not among \['dlib29', 'resnet18'\]"
    ):
        backbones.build(name, 7, 4, None, head_seed=0)


def test_passes_are_counted_at_every_backbone(second):
    method = make_method("asm", training={"backbone": second})
    passes = backbones.count_passes(method)
    method.logits(images(5, 32))
    assert passes.images == 10  # two networks
    passes.images = 0
    method.networks[0].features(images(3, 32))
    assert passes.images == 3


def test_another_backbone_is_pretrained_and_its_weights_are_read(second, tmp_path):
    samples = make_data().train
    targets = torch.nn.functional.one_hot(samples.labels, 3).float()
    state, errors = regress_action_units(
        samples.faces, targets, second, 4, 2, PARAMS.pretrain, weak_options(), torch.device("cpu")
    )
    assert np.isfinite(errors).all()
    published = {name.replace("stem", "module.entry"): value for name, value in state.items()}
    torch.save({"state_dict": published | {"classifier.weight": torch.zeros(2, 12)}}, tmp_path / "w.pth")
    read = read_weights(tmp_path / "w.pth", second, 4)
    assert read.keys() == state.keys()
    assert all(torch.equal(read[name], state[name]) for name in state)
    with pytest.raises(InputError, match="backbone tensors match resnet18 of width 4"):
        read_weights(tmp_path / "w.pth", "resnet18", 4)


def larger(samples: Samples, size: int) -> Samples:
    """With faces of this many pixels a side."""
    index = torch.arange(size) * samples.faces.shape[1] // size
    return replace(samples, faces=samples.faces[:, index][:, :, index])


@pytest.mark.parametrize(
    ("backbone", "kind", "size"), [("two_stages", "TwoStages", 32), ("dlib29", "Dlib29", 64)]
)
@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_trains_and_predicts_on_another_backbone(name, second, backbone, kind, size):
    """In the warm-up and after it; so none reaches around the interface or knows a network's shape."""
    data = make_data()
    data = replace(data, train=larger(data.train, size), test=larger(data.test, size))
    method = make_method(name, data, training={"backbone": backbone, "image_size": size})
    networks = METHODS[name].num_networks
    assert [type(network).__name__ for network in method.networks] == [kind] * networks
    optimizer = build_optimizer(method, method.config.optimizer)
    for epoch in (1, 2):
        before = [parameter.detach().clone() for parameter in method.networks.parameters()]
        method.start_epoch(epoch)
        logs = run_epoch(method, optimizer, data.train, epoch)
        assert np.isfinite(list(logs.values())).all()
        after = method.networks.parameters()
        assert any(not torch.equal(a, b) for a, b in zip(after, before, strict=True)), "no step was taken"
    probabilities = method.predict_all(data.test.faces)
    assert probabilities.shape == (networks, 12, 3)
    torch.testing.assert_close(probabilities.sum(dim=2), torch.ones(networks, 12))
