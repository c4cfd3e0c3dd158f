"""Action-unit regression: where the crops lie, what it learns, and what it gives to the networks."""

import numpy as np
import pytest
import torch
from tiny import PARAMS, weak_options

from asm.basics.errors import InputError
from asm.faces.alignment import template
from asm.parts import backbones
from asm.parts.weights.base import align_rendered
from asm.parts.weights.synthetic import Pretrain, regress_action_units

CPU = torch.device("cpu")


def ramps(count: int, scale: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Images whose red grows by 2 and green by 1 a pixel, and landmarks that a crop of 32 px shrinks by two:
    crop pixel (u, v) is source pixel (2u + 10, 2v + 5). `scale` enlarges image and landmarks."""
    along = np.arange(100 * scale) / scale
    image = np.zeros((100 * scale, 100 * scale, 3), np.uint8)
    image[..., 0], image[..., 1] = (2 * along)[None, :].round(), along[:, None].round()
    landmarks = (2 * template(32) + (10, 5)) * scale
    return np.repeat(image[None], count, 0), np.repeat(landmarks[None], count, 0)


def test_a_crop_lies_where_the_landmarks_say():
    images, landmarks = ramps(2)
    faces = align_rendered(images, landmarks, 32, jitter=0.0, seed=0)
    assert faces.shape == (2, 32, 32, 3)
    assert faces.dtype == torch.uint8
    u = np.arange(32)
    for face in faces.numpy().astype(int):
        assert np.abs(face[:, :, 0] - 2 * (2 * u + 10)[None, :]).max() <= 1
        assert np.abs(face[:, :, 1] - (2 * u + 5)[:, None]).max() <= 1


def test_jitter_moves_each_face_by_itself_and_repeats_itself():
    images, landmarks = ramps(3)
    exact = align_rendered(images, landmarks, 32, jitter=0.0, seed=0)
    faces = align_rendered(images, landmarks, 32, jitter=0.05, seed=0)
    assert not torch.equal(faces[0], faces[1])
    assert not any(torch.equal(face, exact[0]) for face in faces)
    assert torch.equal(faces, align_rendered(images, landmarks, 32, jitter=0.05, seed=0))
    assert not torch.equal(faces, align_rendered(images, landmarks, 32, jitter=0.05, seed=1))


def test_jitter_is_a_share_of_the_eyes_distance():
    """So the same face drawn twice as large is cropped alike."""
    crops = [align_rendered(*ramps(2, scale), 32, jitter=0.05, seed=4).int() for scale in (1, 2, 3)]
    for crop in crops[1:]:
        assert (crop - crops[0]).abs().max() <= 4  # of 255; half a pixel of shift, and rounding


def half_lit(count: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    """Faces lit from the left as much as the first target says, from the right by the rest."""
    rng = np.random.default_rng(0)
    light = rng.random(count).astype(np.float32)
    faces = rng.integers(0, 40, (count, 32, 32, 3))
    faces[:, :, :16] += (200 * light).astype(int)[:, None, None, None]
    faces[:, :, 16:] += (200 * (1 - light)).astype(int)[:, None, None, None]
    targets = np.stack([light, 1 - light], 1)
    return torch.from_numpy(faces.astype(np.uint8)), torch.from_numpy(targets)


def pretrain_options(**changed) -> Pretrain:
    return Pretrain(**PARAMS.pretrain.model_dump() | {"batch_size": 8} | changed)


def regress(targets_scale: float = 1.0, epochs: int = 8, flip: float = 0.5, **options):
    faces, targets = half_lit()
    options = pretrain_options(**{"lr": 0.01, **options})
    weak = weak_options(flip=flip, erasing=0.0)
    return regress_action_units(faces, targets * targets_scale, "resnet18", 4, epochs, options, weak, CPU)


@pytest.fixture(scope="module")
def trained():
    return regress()


def test_it_learns_what_is_left_and_what_is_right(trained):
    """Flipped views would make the two targets the same, and the error stay at 1."""
    _, errors = trained
    assert len(errors) == 8
    assert errors[-1] < 0.25
    assert errors[-1] < errors[0]


def test_a_flip_in_the_settings_is_not_applied(trained):
    state, errors = regress(flip=1.0)
    assert errors == trained[1]
    assert all(torch.equal(state[k], v) for k, v in trained[0].items())


def test_the_targets_unit_does_not_matter(trained):
    _, errors = regress(targets_scale=4.0)  # a power of two: the same floats
    assert errors == trained[1]


def test_the_seed_decides(trained):
    again, errors = regress()
    assert errors == trained[1]
    assert all(torch.equal(again[k], v) for k, v in trained[0].items())
    assert regress(seed=1, epochs=1)[1] != regress(epochs=1)[1]


def test_without_learning_the_error_is_measured_in_the_targets_variance():
    """A network that is almost not updated is no better than the mean; a perfect one would have 0."""
    faces, targets = half_lit()
    options = pretrain_options(lr=1e-12)
    _, errors = regress_action_units(faces, targets, "resnet18", 4, 1, options, weak_options(), CPU)
    assert errors[0] > 0.8


def test_the_backbone_goes_into_networks_with_other_heads(trained):
    state, _ = trained
    network = backbones.build("resnet18", 7, 4, state, head_seed=0)
    found = network.backbone_state()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    assert all(v.device == CPU and v.isfinite().all() for v in state.values())


def test_an_error_that_is_not_finite_stops():
    with pytest.raises(InputError, match=r"the error of epoch \d is (nan|inf); lower pretrain\.lr .*1e\+30"):
        regress(lr=1e30, epochs=3)
