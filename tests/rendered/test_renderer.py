from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asm.rendered.anatomy import ACTION_UNITS, Face
from asm.rendered.renderer import render
from asm.rendered.sampling import CLASSES, sample_expression, sample_face, sample_identity

SIZE = 112


def make_face(seed: int = 0, **units: float) -> Face:
    """A frontal, evenly lit, noiseless photograph; keyword arguments are action units."""
    rng = np.random.default_rng(seed)
    face = sample_face(rng, sample_identity(rng), np.zeros(len(ACTION_UNITS)))
    values = np.array([units.get(name, 0.0) for name in ACTION_UNITS], np.float32)
    return replace(
        face,
        action_units=values,
        identity=replace(
            face.identity, beard=0.0, glasses=False, skin=(0.8, 0.6, 0.5), lips=(0.7, 0.45, 0.42)
        ),
        pose=replace(face.pose, yaw=0.0, pitch=0.0, roll=0.0, shift=(0.0, 0.0), gaze=(0.0, 0.0)),
        light=replace(face.light, azimuth=0.0, elevation=0.5, ambient=0.6),
        nuisance=replace(face.nuisance, noise=0.0, blur=0.0, grey=False, jpeg=95),
    )


def brightness(image: np.ndarray, centre: np.ndarray, half: tuple[float, float]) -> np.ndarray:
    x, y = centre
    rows = slice(int(y - half[1]), int(y + half[1]) + 1)
    return image[rows, int(x - half[0]) : int(x + half[0]) + 1].mean(-1)


@pytest.mark.parametrize("seed", range(3))
def test_same_values_give_same_pixels_and_other_seeds_do_not(seed):
    first, again, other = (render(make_face(s), SIZE)[0] for s in (seed, seed, seed + 1))
    assert first.shape == (SIZE, SIZE, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@given(seed=st.integers(0, 2**31), label=st.integers(0, len(CLASSES) - 1))
@settings(max_examples=40, deadline=None)
def test_landmarks_are_a_face_inside_the_image(seed, label):
    rng = np.random.default_rng(seed)
    face = sample_face(rng, sample_identity(rng), sample_expression(rng, label, -1, 1.0))
    image, points = render(face, SIZE)
    assert points.shape == (5, 2)
    assert points.dtype == np.float32
    assert ((points > 5) & (points < SIZE - 5)).all()
    left_eye, right_eye, nose, left_mouth, right_mouth = points
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    assert 20 < np.linalg.norm(right_eye - left_eye) < 35
    assert image.std() > 10


def test_landmarks_scale_with_the_image():
    face = make_face(3)
    small, large = render(face, 112)[1], render(face, 224)[1]
    # pixel centres: x = (X + 0.5) * size - 0.5
    np.testing.assert_allclose((large + 0.5) / 2, small + 0.5, atol=0.15)


def test_landmarks_follow_the_pose():
    face = make_face(1)
    frontal = render(face, SIZE)[1]
    right = render(replace(face, pose=replace(face.pose, yaw=0.25)), SIZE)[1]
    down = render(replace(face, pose=replace(face.pose, pitch=0.15)), SIZE)[1]
    rolled = render(replace(face, pose=replace(face.pose, roll=0.2)), SIZE)[1]
    shift = right[:, 0] - frontal[:, 0]
    assert (shift > 2).all()
    assert shift[2] > shift[:2].mean()  # the nose tip stands out, so it moves more than the eyes
    assert (down[:, 1] > frontal[:, 1] + 1).all()
    eyes = rolled[1] - rolled[0]
    assert np.arctan2(eyes[1], eyes[0]) == pytest.approx(0.2, abs=0.02)


def test_the_eyes_are_where_the_landmarks_say():
    """The dark pupil's centre of mass lies on the landmark."""
    for seed in range(4):
        face = make_face(seed, AU5=0.6)
        face = replace(face, identity=replace(face.identity, iris=(0.1, 0.08, 0.06)))
        image, points = render(face, 224)
        for eye in points[:2]:
            patch = 255 - brightness(image, eye, (9, 5)).astype(float)
            dark = np.clip(patch - 150, 0, None)
            offset = (dark.sum(0) * (np.arange(dark.shape[1]) - 9)).sum() / dark.sum()
            assert abs(offset) < 2


def test_a_smile_raises_and_widens_the_mouth_corners():
    neutral, smile = render(make_face(), SIZE)[1], render(make_face(AU12=1.0), SIZE)[1]
    assert (smile[3:, 1] < neutral[3:, 1] - 2).all()
    assert smile[4, 0] - smile[3, 0] > 1.15 * (neutral[4, 0] - neutral[3, 0])
    np.testing.assert_allclose(smile[:3], neutral[:3], atol=0.3)


def test_the_corner_depressor_lowers_the_mouth_corners():
    neutral, sad = render(make_face(), SIZE)[1], render(make_face(AU15=1.0), SIZE)[1]
    assert (sad[3:, 1] > neutral[3:, 1] + 2).all()


@pytest.mark.parametrize("seed", range(3))
def test_a_dropped_jaw_opens_a_dark_mouth(seed):
    closed, points = render(make_face(seed), SIZE)
    opened, _ = render(make_face(seed, AU26=1.0), SIZE)
    mouth = points[3:].mean(0) + np.array([0, 4])
    assert (brightness(opened, mouth, (5, 5)) < 70).sum() > (
        brightness(closed, mouth, (5, 5)) < 70
    ).sum() + 15


@pytest.mark.parametrize("seed", range(4))
def test_parted_smiling_lips_show_teeth(seed):
    """Teeth have no colour, lips and skin are red."""
    teeth = {}
    for parted in (0.0, 1.0):
        image, points = render(make_face(seed, AU12=1.0, AU25=parted), 224)
        x, y = (points[3:].mean(0) + np.array([0, 8])).astype(int)
        redness = (
            image[y - 10 : y + 11, x - 8 : x + 9, 0].astype(int) - image[y - 10 : y + 11, x - 8 : x + 9, 2]
        )
        bright = image[y - 10 : y + 11, x - 8 : x + 9].mean(-1) > 110
        teeth[parted] = int((bright & (redness < 40)).sum())
    assert teeth[1.0] > teeth[0.0] + 40


def test_lids_open_the_eyes_and_droop_over_them():
    """The white of the eye beside the iris, in pixels brighter than the skin's mean."""
    shown = {}
    for name in ("AU5", "none", "AU43"):
        image, points = render(make_face(4, **{name: 1.0} if name != "none" else {}), 224)
        redness = image[..., 0].astype(int) - image[..., 2]
        shown[name] = 0
        for x, y in points[:2].astype(int):
            shown[name] += int((redness[y - 10 : y + 11, x - 13 : x + 14] < 25).sum())
    assert shown["AU5"] > 1.15 * shown["none"]
    assert shown["AU43"] < 0.85 * shown["none"]


def test_brows_rise_and_fall():
    """Height of the darkest row between eye and hairline."""

    def brow_row(**units: float) -> float:
        face = make_face(5, **units)
        face = replace(face, identity=replace(face.identity, hair=(0.1, 0.07, 0.05), hair_style=0, age=0.0))
        image, points = render(face, 224)
        x, y = points[1].astype(int)
        column = image[y - 50 : y - 14, x - 4 : x + 5].mean((1, 2))
        return float(y - 50 + np.argmin(column))

    neutral = brow_row()
    assert brow_row(AU1=1.0, AU2=1.0) < neutral - 5
    assert brow_row(AU4=1.0) > neutral + 2


def test_a_grey_photograph_has_no_colour():
    face = make_face(6)
    image, _ = render(replace(face, nuisance=replace(face.nuisance, grey=True)), SIZE)
    assert np.ptp(image.astype(int), axis=2).max() <= 2


def test_no_part_of_the_head_is_see_through():
    """The forehead's and the cheeks' pixels do not depend on what is behind the head."""
    face = make_face(7)
    one, points = render(face, SIZE)
    other, _ = render(replace(face, nuisance=replace(face.nuisance, seed=face.nuisance.seed + 1)), SIZE)
    x, y = points[2].astype(int)
    inside = (slice(y - 25, y + 12), slice(x - 18, x + 19))
    assert np.abs(one[inside].astype(int) - other[inside]).max() <= 3
    assert np.abs(one[:8].astype(int) - other[:8]).mean() > 3
