"""RUL: mixing, add-up loss and relabelling by hand; the shape of the two heads."""

import math

import pytest
import torch
from tiny import make_batch, make_config, make_data, make_method
from torch import nn

from asm.methods.rul import RUL, mix
from asm.parts import backbones


class Map(nn.Module):
    """Its feature map is the parameter [B, 6]: three features, then three logarithms of variances."""

    def __init__(self, rows: list[list[float]]) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.tensor(rows))
        self.head = nn.Identity()

    def feature_map(self, images: torch.Tensor) -> torch.Tensor:
        return self.rows[: len(images)]


class Columns(nn.Module):
    def __init__(self, columns: slice) -> None:
        super().__init__()
        self.columns = columns

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows[:, self.columns]


P0, P1 = (0.7, 0.2, 0.1), (0.1, 0.1, 0.8)
LABELS = [1, 2]  # the first is to become 0, the second stays
V0, V1 = (1, 1, 1), (1, 3, 5)  # uncertainties 1 and 3


def make_rul(probs: tuple = (P0, P1), variances: tuple = (V0, V1), labels: list[int] = LABELS, **rul) -> RUL:
    """Samples whose features are their log-probabilities, which an identity takes as logits."""
    data = make_data(train=len(labels))
    data.train.labels[:] = torch.tensor(labels)
    method = make_method("rul", data, rul=rul)
    method.networks[0] = Map([[math.log(v) for v in (*p, *s)] for p, s in zip(probs, variances, strict=True)])
    method.mean_head, method.log_variance_head = Columns(slice(3)), Columns(slice(3, 6))
    method.weak = lambda batch: batch.faces  # draws nothing, so the pairing is the generator's first draw
    return method


def step(method: RUL, epoch: int = 3, partners: tuple[int, ...] = (1, 0)) -> torch.Tensor:
    """The loss of all samples, each paired with the partner given."""
    batch = make_batch(method.samples, list(range(len(partners))), epoch)
    for seed in range(99):
        drawn = torch.randperm(len(partners), generator=torch.Generator().manual_seed(seed))
        if tuple(drawn.tolist()) == partners:
            batch.generator.manual_seed(seed)
            return method.losses(batch)["total"]
    raise ValueError(f"no seed draws {partners}")


def cross_entropy(z: list[float], y: int) -> float:
    return math.log(sum(map(math.exp, z))) - z[y]


def mixed_loss(weight: float, labels: list[int]) -> float:
    """Both mixtures are the same one, of the first sample's features at `weight`; each label counts half."""
    z = [weight * math.log(a) + (1 - weight) * math.log(b) for a, b in zip(P0, P1, strict=True)]
    return 0.5 * cross_entropy(z, labels[0]) + 0.5 * cross_entropy(z, labels[1])


def test_the_more_uncertain_sample_has_the_larger_weight():
    mu = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    uncertainty = torch.tensor([1.0, 3.0], requires_grad=True)
    mixed = mix(mu, uncertainty, torch.tensor([1, 0]))
    assert mixed.tolist() == [[0.25, 1.5], [0.25, 1.5]]  # (1 (1, 0) + 3 (0, 2)) / 4
    mixed[0].sum().backward()
    # d/du_i = (mu_i - mixed) / (u_0 + u_1), summed over the features: (1 - 1.75) / 4, (2 - 1.75) / 4
    assert uncertainty.grad.tolist() == [-0.1875, 0.0625]


def test_a_sample_paired_with_itself_is_left_as_it_is():
    mu = torch.tensor([[1.0, -4.0], [0.5, 2.0]])
    assert torch.equal(mix(mu, torch.tensor([0.25, 3.0]), torch.tensor([0, 1])), mu)


def test_the_loss_adds_up_both_labels_of_a_pair():
    assert step(make_rul(relabel=False)).item() == pytest.approx(mixed_loss(0.25, LABELS))
    alone = -(math.log(P0[1]) + math.log(P1[2])) / 2
    assert step(make_rul(relabel=False), partners=(0, 1)).item() == pytest.approx(alone)


def test_each_mixture_is_to_be_recognised_as_its_own_two_labels():
    labels, third = [0, 1, 2], (0.3, 0.3, 0.4)
    method = make_rul((P0, P1, third), (V0, V0, V0), labels, relabel=False)  # mixed half and half
    expected = 0.0
    for one, other in ((0, 1), (1, 2), (2, 0)):
        z = [math.log(a * b) / 2 for a, b in zip((P0, P1, third)[one], (P0, P1, third)[other], strict=True)]
        expected += (cross_entropy(z, labels[one]) + cross_entropy(z, labels[other])) / 2 / 3
    assert step(method, partners=(1, 2, 0)).item() == pytest.approx(expected)


def test_the_gradient_reaches_features_and_uncertainties():
    method = make_rul()
    step(method).backward()
    grad = method.networks[0].rows.grad
    assert (grad[:, :3].abs() > 0).all()
    assert (grad[:, 3:].abs() > 0).all()


def test_labels_are_replaced_by_the_unmixed_prediction_from_the_next_epoch_on():
    method = make_rul()  # mixed, both samples would be predicted as class 2
    assert method.start_epoch(3) == {"relabelled": 0.0}
    for _ in range(2):  # a second visit in the same epoch does not see them either
        assert step(method).item() == pytest.approx(mixed_loss(0.25, LABELS))
    assert method.start_epoch(4) == {"relabelled": 0.5}
    assert method.labels.tolist() == [0, 2]
    assert step(method).item() == pytest.approx(mixed_loss(0.25, [0, 2]))
    assert method.samples.labels.tolist() == LABELS


def test_nothing_is_relabelled_during_warm_up_below_the_margin_or_when_switched_off():
    method = make_rul()
    step(method, epoch=1)
    assert method.next_labels.tolist() == LABELS
    for options in ({"relabel": False}, {"relabel_margin": 0.51}):
        method = make_rul(**options)
        step(method)
        assert method.next_labels.tolist() == LABELS
    method = make_rul(relabel_margin=0.49)  # .7 - .2 = .5
    step(method, epoch=2)
    assert method.next_labels.tolist() == [0, 2]


def test_it_has_as_many_parameters_as_the_released_network():
    config = make_config("rul", training={"image_size": 224, "width": 64})
    method = RUL(config, [backbones.build("resnet18", 7, 64, None, 0)], 7, make_data().train)
    sizes = {name: p.numel() for name, p in method.named_parameters()}
    heads = {name: n for name, n in sizes.items() if name.startswith("networks.0.head.")}
    assert sum(sizes.values()) - sum(heads.values()) == 14_388_160
    assert sum(heads.values()) == 64 * 7 + 7


@pytest.mark.parametrize(("size", "cells"), [(32, 1), (48, 4), (80, 9)])
def test_the_heads_take_the_whole_map_of_any_image_size(size, cells):
    method = make_method("rul", training={"image_size": size}, rul={"embedding": 5}).eval()
    assert method.mean_head[3].in_features == 32 * cells
    assert method.predict(torch.zeros(2, 3, size, size)).shape == (1, 2, 3)


def test_only_the_features_are_needed_to_predict():
    method = make_method("rul").eval()
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    network = method.networks[0]
    expected = network.head(method.mean_head(network.feature_map(images))).softmax(1)
    for parameter in method.log_variance_head.parameters():
        parameter.data.fill_(math.nan)
    torch.testing.assert_close(method.predict(images)[0], expected)


def test_both_heads_drop_features_while_training():
    feature_map = torch.randn(64, 32, 1, 1, generator=torch.Generator().manual_seed(0))
    for rate, is_random in ((0.0, False), (0.4, True)):
        method = make_method("rul", rul={"dropout": rate}).train()
        for head in (method.mean_head, method.log_variance_head):
            assert torch.equal(head(feature_map), head(feature_map)) != is_random
