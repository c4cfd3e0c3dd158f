"""DACL's attention, its sparse centre loss and the move of the centres, against hand-made numbers."""

import math

import pytest
import torch
from tiny import make_batch, make_config, make_data, make_method
from torch import nn

from asm.methods.dacl import DACL, sparse_center_loss
from asm.parts.backbones.resnet18 import ResNet18

LN3 = math.log(3)


class Fixed(nn.Module):
    """A network whose map of two channels is the image's first pixel, and whose logits are all 0."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 3)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def feature_map(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :2, :1, :1]

    def feature_size(self, image_size: int) -> tuple[int, int]:
        return 2, 1


# features of rows 0, 1, 2 and 3 of the training set, whose labels are 0, 1, 2 and 0
FEATURES = torch.tensor([[1.0, 2.0], [3.0, 4.0], [7.0, 0.0], [5.0, -2.0]])


def two_features(**options) -> DACL:
    """A = (3/4, 1/2) for every sample: the pairs' logits are (0, ln 3) and (0, 0). Centres (k, 0)."""
    method = DACL(make_config("dacl", dacl=options), [Fixed()], 3, make_data(wrong=0).train)
    with torch.no_grad():
        method.attention[-1].weight.zero_()
        method.attention[-1].bias.copy_(torch.tensor([0.0, LN3, 0.0, 0.0]))
        method.centers.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]))
    method.weak = lambda batch: FEATURES[batch.rows, :, None, None]
    return method


def test_sparse_center_loss_and_its_gradients():
    f = torch.tensor([[1.0, 2.0], [3.0, 0.0]], requires_grad=True)
    a = torch.tensor([[0.5, 0.25], [1.0, 0.5]], requires_grad=True)
    c = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    loss = sparse_center_loss(f, a, c)
    # squares 1 4 / 4 1, weighted .5 1 / 4 .5, sum 6; 2 B = 4
    assert loss.item() == 1.5
    (3 * loss).backward()
    assert (f.grad / 3).tolist() == [[0.25, 0.25], [1.0, -0.25]]  # A (f - c) / B
    assert (a.grad / 3).tolist() == [[0.25, 1.0], [1.0, 0.25]]  # (f - c)^2 / (2 B)


def test_attention_is_the_second_of_each_dimensions_pair():
    found = two_features().attend(FEATURES[:, :, None, None])
    torch.testing.assert_close(found, torch.tensor([0.75, 0.5]).expand(4, 2))


def test_total_takes_the_centres_before_they_move():
    method = two_features(center_weight=0.1)
    found = method.losses(make_batch(method.samples, [0, 1, 3]))
    # f - c: (1, 2), (2, 4), (5, -2); sum of 3/4 x^2 + 1/2 y^2 = 3/4 30 + 1/2 24 = 34.5; 2 B = 6
    assert found["ce"].item() == pytest.approx(LN3)
    assert found["center"].item() == pytest.approx(34.5 / 6)
    assert found["total"].item() == pytest.approx(LN3 + 0.1 * 34.5 / 6)


@pytest.mark.parametrize("weight", [0.0, 0.01, 2.0])
def test_centres_move_by_their_own_rate_whatever_the_loss_weighs(weight):
    method = two_features(center_weight=weight, center_lr=0.4)
    method.losses(make_batch(method.samples, [0, 1, 3]))
    # class 0, n = 2: sum of A (f - c) = (3/4 (1 + 5), 1/2 (2 - 2)) = (4.5, 0), over 3, times .4
    # class 1, n = 1: (3/4 2, 1/2 4) = (1.5, 2), over 2, times .4; class 2 has no sample
    expected = torch.tensor([[0.6, 0.0], [1.3, 0.4], [2.0, 0.0]])
    torch.testing.assert_close(method.centers, expected)
    # the next step sees them: (.4, 2) and (4.4, -2) of class 0
    found = method.losses(make_batch(method.samples, [0, 3]))
    assert found["center"].item() == pytest.approx((0.75 * (0.16 + 19.36) + 0.5 * 8) / 4)


def test_the_loss_has_its_gradient_although_the_centres_have_moved():
    method = two_features(center_weight=1.0)
    f = FEATURES[[0, 1]].clone().requires_grad_()
    method.weak = lambda batch: f[:, :, None, None]
    method.losses(make_batch(method.samples, [0, 1]))["center"].backward()
    # A does not depend on f here: A (f - c) / B with f - c = (1, 2), (2, 4)
    torch.testing.assert_close(f.grad, torch.tensor([[0.375, 0.5], [0.75, 1.0]]))
    # dL/dA = (f - c)^2 / (2 B) summed over the batch = 5/4, 20/4; dA/dlogit of index 1 is A (1 - A) = 3/16
    # and 1/4, of index 0 its negative
    expected = torch.tensor([-15 / 64, 15 / 64, -5 / 4, 5 / 4])
    torch.testing.assert_close(method.attention[-1].bias.grad, expected)


def test_the_centre_loss_trains_attention_and_network_and_the_classifier_only_by_cross_entropy():
    data = make_data()
    method = make_method("dacl", data)
    method.losses(make_batch(data.train, [0, 1, 2, 3]))["center"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.attention.parameters())
    assert method.networks[0].stem[0].weight.grad.abs().sum() > 0
    assert method.networks[0].head.weight.grad is None


def test_the_networks_gradient_includes_the_one_through_the_attention():
    method = two_features()
    f = FEATURES[[0, 1]].clone().requires_grad_()
    method.weak = lambda batch: f[:, :, None, None]
    method.attend = lambda feature_map: feature_map.flatten(1)
    method.losses(make_batch(method.samples, [0, 1]))["center"].backward()
    # A = f: d/df of f (f - c)^2 is 2 f (f - c) + (f - c)^2, with f - c = (1, 2), (2, 4); over 2 B = 4
    assert f.grad.tolist() == [[(2 + 1) / 4, (8 + 4) / 4], [(12 + 4) / 4, (32 + 16) / 4]]


def test_the_attention_passes_gradient_on_to_the_map():
    method = two_features()
    with torch.no_grad():
        method.attention[-1].weight[1::2] = 1
    f = FEATURES.clone().requires_grad_()
    method.attend(f[:, :, None, None]).square().sum().backward()
    assert f.grad.abs().sum() > 0


def test_inference_is_the_classifier_alone():
    method = make_method("dacl").eval()
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    before = method.predict(images)
    with torch.no_grad():
        method.centers.add_(5)
        method.attention[-1].bias.add_(5)
    assert torch.equal(method.predict(images), before)
    network = method.networks[0]
    expected = network.head(network.feature_map(images).mean(dim=(2, 3))).softmax(1)
    torch.testing.assert_close(before[0], expected)


def test_centres_start_from_kaimings_rule_on_the_transpose():
    data = make_data()
    config = make_config("dacl")
    torch.manual_seed(0)
    method = DACL(config, [ResNet18(3, width=128)], 3, data.train)
    # 3 x 1024 draws of variance 2 / 3; by the untransposed rule it would be 2 / 1024
    assert method.centers.shape == (3, 1024)
    assert method.centers.mean().item() == pytest.approx(0, abs=0.05)
    assert method.centers.var().item() == pytest.approx(2 / 3, rel=0.1)


def test_centres_are_no_parameters_and_travel_with_the_state():
    data = make_data()
    method, other = make_method("dacl", data), make_method("dacl", data, seed=1)
    assert not any("centers" in name for name, _ in method.named_parameters())
    method.losses(make_batch(data.train, [0, 1, 2]))
    assert not torch.equal(other.centers, method.centers)
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.centers, method.centers)


def test_at_the_papers_size_it_has_the_released_number_of_parameters():
    # 103.0 M: attention 25088-3584-512-64-1024 with three BatchNorms 91,862,208, ResNet-18 with 7 classes
    # 11,180,103
    config = make_config("dacl", training={"image_size": 224, "width": 64})
    samples = make_data().train
    with torch.device("meta"):
        method = DACL(config, [ResNet18(7)], 7, samples)
    assert sum(p.numel() for p in method.parameters()) == 91_862_208 + 11_180_103


@pytest.mark.parametrize(("size", "side"), [(32, 1), (33, 2), (48, 2), (224, 7)])
def test_attention_fits_the_map_of_any_image_size(size, side):
    method = make_method("dacl", training={"image_size": size}, dacl={"hidden": [6, 5, 4]})
    assert [m.weight.shape for m in method.attention if isinstance(m, nn.Linear)] == [
        (6, 32 * side**2),
        (5, 6),
        (4, 5),
        (64, 4),
    ]
    feature_map = method.networks[0].feature_map(torch.zeros(2, 3, size, size))
    assert method.attend(feature_map).shape == (2, 32)


def test_the_centre_loss_and_the_centres_stay_float32_under_autocast():
    data = make_data()
    method = make_method("dacl", data, training={"precision": "bf16"})
    batch = make_batch(data.train, [0, 1, 2])
    f = torch.full((3, 32), 1.001)  # 1 in bfloat16
    method.centers.zero_()
    with method.autocast():
        assert method.losses(batch)["center"].dtype == torch.float32
        method.centers.zero_()
        method.move_centers(f, torch.ones(3, 32), torch.tensor([0, 0, 1]))
    # .5 * 2 * 1.001 / 3 and .5 * 1.001 / 2
    assert method.centers[:, 0].tolist() == pytest.approx([1.001 / 3, 1.001 / 4, 0], rel=1e-6)


def test_the_attention_starts_as_released():
    """Kaiming normal, without biases: a layer's weights have the variance 2 / inputs."""
    method = make_method("dacl")
    layers = [layer for layer in method.attention if isinstance(layer, torch.nn.Linear)]
    assert len(layers) == 4
    for layer in layers:
        assert layer.bias.abs().max() == 0
        assert layer.weight.std().item() == pytest.approx((2 / layer.in_features) ** 0.5, rel=0.1)
