"""EAC: attention maps and loss by hand, the two views, and what the gradient reaches."""

import math

import pytest
import torch
from tiny import PARAMS, make_batch, make_data, make_method
from torch import nn

from asm.methods.eac import EAC, attention
from asm.parts.views import evaluation_view

WEIGHT = torch.tensor([[1.0, 0.0], [2.0, 1.0], [0.0, -1.0]])
BIAS = torch.tensor([0.5, -1.0, 0.0])


class TwoChannels(nn.Module):
    """Its feature map is the image's first two channels, so it is mirrored wherever the image is."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 3)
        self.head.weight.data, self.head.bias.data = WEIGHT.clone(), BIAS.clone()

    def feature_map(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :2]


def make_eac(**sections) -> EAC:
    method = make_method("eac", **sections)
    method.networks[0] = TwoChannels()
    return method


def one_by_two() -> tuple[torch.Tensor, torch.Tensor]:
    """A view and a "mirrored" one that is not its mirror image, both [1, 2, 1, 2]."""
    view = torch.tensor([[[[1.0, 2.0]], [[3.0, -1.0]]]], requires_grad=True)
    mirrored = torch.tensor([[[[2.0, 1.0]], [[-1.0, 1.0]]]], requires_grad=True)
    return view, mirrored


def with_views(method: EAC, views: tuple[torch.Tensor, torch.Tensor]) -> EAC:
    method.views = lambda batch: views
    return method


def first_sample():
    return make_batch(make_data(wrong=0).train, [0])  # label 0


def test_attention_is_the_map_weighted_by_each_class_of_the_classifier():
    view, _ = one_by_two()
    # class 0: channel 0; class 1: 2 * (1, 2) + (3, -1); class 2: -(3, -1)
    expected = torch.tensor([[[[1.0, 2.0]], [[5.0, 3.0]], [[-3.0, 1.0]]]])
    torch.testing.assert_close(attention(view, TwoChannels().head), expected)


def test_the_maps_mean_plus_the_bias_is_the_logit():
    method = make_method("eac").eval()
    images = torch.randn(4, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    network = method.networks[0]
    maps = attention(network.feature_map(images), network.head)
    assert maps.shape == (4, 3, 3, 3)
    torch.testing.assert_close(maps.mean(dim=(2, 3)) + network.head.bias, network(images))


def test_the_loss_is_cross_entropy_plus_lambda_times_the_maps_squared_difference():
    method = with_views(make_eac(eac={"consistency_weight": 5.0}), one_by_two())
    found = method.losses(first_sample())
    # pooled (1.5, 1): logits 1.5 + .5, 3 + 1 - 1, -1 + 0 = 2, 3, -1; label 0
    ce = math.log(math.exp(2) + math.exp(3) + math.exp(-1)) - 2
    # the other view's maps (2, 1), (3, 3), (1, -1), mirrored (1, 2), (3, 3), (-1, 1): differences to
    # (1, 2), (5, 3), (-3, 1) are (0, 0), (2, 0), (-2, 0)
    consistency = (4 + 4) / 6
    assert found["ce"].item() == pytest.approx(ce)
    assert found["consistency"].item() == pytest.approx(consistency)
    assert found["total"].item() == pytest.approx(ce + 5 * consistency)


def test_both_views_learn_from_the_maps():
    view, mirrored = one_by_two()
    with_views(make_eac(), (view, mirrored)).losses(first_sample())["consistency"].backward()
    # 2 / 6 of the differences 2 (class 1) and -2 (class 2), both in the left cell, times their weights:
    # channel 0: 2 * 2/3 - 0 * 2/3, channel 1: 1 * 2/3 + 1 * 2/3
    assert view.grad.flatten().tolist() == pytest.approx([4 / 3, 0, 4 / 3, 0])
    assert mirrored.grad.flatten().tolist() == pytest.approx([0, -4 / 3, 0, -4 / 3])


def test_only_the_first_view_is_classified():
    view, mirrored = one_by_two()
    with_views(make_eac(), (view, mirrored)).losses(first_sample())["ce"].backward()
    assert view.grad.abs().sum() > 0
    assert mirrored.grad is None


def test_the_classifier_learns_from_cross_entropy_alone():
    grads = []
    for weight in (0.0, 5.0):
        method = with_views(make_eac(eac={"consistency_weight": weight}), one_by_two())
        method.losses(first_sample())["total"].backward()
        grads.append(method.networks[0].head.weight.grad)
    torch.testing.assert_close(*grads, rtol=0, atol=0)


def batch_of_six():
    return make_batch(make_data().train, list(range(6)))


ALWAYS_ERASED = {"flip": 0.5, "gaussian_noise": 0.3, "erasing": 1.0, "erasing_area": [0.1, 0.2]}


def test_shared_erasing_mirrors_the_erased_view():
    view, mirrored = make_eac(augment=ALWAYS_ERASED, eac={"erasing": "shared"}).views(batch_of_six())
    assert torch.equal(mirrored.flip(3), view)
    assert ((view == 0).all(dim=1).flatten(1).sum(dim=1) > 50).all()  # of 1024 pixels at least a tenth or so


def test_separate_erasing_mirrors_the_view_and_erases_each_on_its_own():
    view, mirrored = make_eac(augment=ALWAYS_ERASED, eac={"erasing": "separate"}).views(batch_of_six())
    mirrored = mirrored.flip(3)
    holes, mirrored_holes = (x.eq(0).all(dim=1, keepdim=True) for x in (view, mirrored))
    for found in (holes, mirrored_holes):
        assert (found.flatten(1).sum(dim=1) > 50).all()
    assert (holes != mirrored_holes).flatten(1).any(dim=1).all()
    assert not (holes & mirrored_holes).flatten(1).any(dim=1).all()
    kept = ~(holes | mirrored_holes)
    assert torch.equal(view * kept, mirrored * kept)


@pytest.mark.parametrize("erasing", ["shared", "separate"])
def test_a_network_that_sees_mirror_images_alike_is_consistent_unless_other_parts_are_erased(erasing):
    for probability in (0.0, 1.0):
        options = {**ALWAYS_ERASED, "erasing": probability}
        found = make_eac(augment=options, eac={"erasing": erasing}).losses(batch_of_six())
        same_patch = probability == 0 or erasing == "shared"
        assert (found["consistency"].item() < 1e-9) == same_patch


def test_each_view_has_its_own_batch_statistics():
    method = make_method("eac").train()
    method.losses(batch_of_six())
    assert method.networks[0].stem[1].num_batches_tracked == 2


def test_its_own_schedule_adds_noise_to_half_of_the_images_and_flips_none():
    augment = PARAMS.published["eac"]["augment"] | {"erasing": 0.0}
    samples = make_data(train=600, wrong=0).train
    method = make_method("eac", augment=augment)
    view, mirrored = method.views(make_batch(samples, list(range(600))))
    difference = (view - evaluation_view(samples.faces)).abs().amax(dim=(1, 2, 3))
    # standard deviation of the share: .5 / sqrt(600) = .02
    assert (difference > 0).float().mean().item() == pytest.approx(0.5, abs=0.08)
    # noise has a standard deviation of 5.5 / 255 / .23 = .09; a mirrored face would differ by up to 2
    assert difference.max() < 0.7
    assert torch.equal(mirrored, view.flip(3))
