import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asm.faces import alignment
from asm.faces.alignment import as_rgb, crop_face, fallback_crop, similarity, template, warp


def apply(matrix, points):
    return points @ matrix[:, :2].T + matrix[:, 2]


def pattern(height, width):
    """Smooth and different everywhere, so that a shift shows."""
    y, x = np.mgrid[:height, :width]
    return np.round(127 + 60 * np.sin(x / 9) + 60 * np.cos(y / 7)).astype(np.uint8)


@given(
    angle=st.floats(-3.1, 3.1),
    scale=st.floats(0.1, 20),
    shift=st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
    size=st.integers(16, 256),
)
def test_similarity_recovers_a_known_motion(angle, scale, shift, size):
    c, s = np.cos(angle), np.sin(angle)
    moved = template(size) @ (scale * np.array([[c, -s], [s, c]])).T + shift
    assert np.allclose(apply(similarity(moved, size), moved), template(size), atol=1e-6)


@given(st.lists(st.floats(-40, 40), min_size=10, max_size=10), st.floats(-0.2, 0.2), st.floats(0.8, 1.25))
def test_no_other_similarity_fits_better(noise, angle, scale):
    points = template(100) + np.array(noise).reshape(5, 2)
    best = similarity(points, 100)
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    other = np.array([[c, -s], [s, c]]) @ best

    def error(matrix):
        return np.sum((apply(matrix, points) - template(100)) ** 2)

    assert error(best) <= error(other) + 1e-9
    assert error(best) <= error(best + np.array([[0, 0, 0.3], [0, 0, -0.2]]))


def test_similarity_does_not_reflect():
    mirrored = template(100) * (-1, 1)
    matrix = similarity(mirrored, 100)
    assert np.linalg.det(matrix[:, :2]) > 0


@pytest.mark.parametrize("points", [np.full((5, 2), 7.0), np.full((5, 2), np.nan)])
def test_similarity_refuses_degenerate_landmarks(points):
    with pytest.raises(ValueError, match="cannot align"):
        similarity(points, 48)


@pytest.mark.parametrize("shape", [(40, 40), (40, 40, 1), (40, 40, 3)])
def test_identity_warp_returns_the_image(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    crop = warp(image, np.eye(2, 3), 40)
    assert np.array_equal(crop, image.reshape(40, 40, -1))


def test_whole_pixel_shift_replicates_the_border():
    image = np.arange(36, dtype=np.uint8).reshape(6, 6)
    crop = warp(image, np.array([[1.0, 0, 2], [0, 1, 0]]), 6)[..., 0]
    assert np.array_equal(crop[:, 2:], image[:, :4])
    assert np.array_equal(crop[:, 0], image[:, 0])
    assert np.array_equal(crop[:, 1], image[:, 0])
    assert (warp(image, np.array([[1.0, 0, 100], [0, 1, 100]]), 6) == image[0, 0]).all()


def test_half_pixel_centres_when_halving():
    image = np.random.default_rng(1).integers(0, 256, (8, 8), dtype=np.uint8)
    halved = warp(image, np.array([[0.5, 0, -0.25], [0, 0.5, -0.25]]), 4)[..., 0]
    means = image.reshape(4, 2, 4, 2).mean((1, 3))
    assert np.abs(halved - means).max() <= 0.5


@pytest.mark.parametrize("step", [2, 3, 8])
def test_shrinking_does_not_alias(step):
    stripes = np.zeros((256, 256), np.uint8)
    stripes[:, ::2] = 255
    crop = warp(stripes, np.array([[1 / step, 0, 0.3], [0, 1 / step, 0.1]]), 256 // step)
    inner = crop[:, 2:-2].astype(float)
    assert np.abs(inner - 127.5).max() < 50  # point sampling would give 0 to 255
    assert abs(inner.mean() - 127.5) < 8


@pytest.mark.parametrize(("size", "scale", "angle"), [(112, 0.7, 0.4), (112, 1.9, -0.5), (48, 6.0, 0.2)])
def test_landmarks_land_on_the_template(size, scale, angle):
    """Blobs drawn at the landmarks of a turned and scaled face are found at the template's places."""
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = template(size) @ turn.T
    margin = 20 * max(1, scale)  # so that no blob reaches the border
    points += margin - points.min(0)
    extent = np.ceil(points.max(0) + margin).astype(int)
    y, x = np.mgrid[: extent[1], : extent[0]]
    for i, point in enumerate(points):
        blob = 250 * np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * (2.0 * max(1, scale)) ** 2))
        crop = warp(blob.astype(np.uint8), similarity(points, size), size)[..., 0].astype(float)
        rows, columns = np.mgrid[:size, :size]
        found = np.array([(crop * columns).sum(), (crop * rows).sum()]) / crop.sum()
        assert np.abs(found - template(size)[i]).max() < 0.5


def test_sizes_show_the_same_crop():
    image = pattern(200, 180)
    points = template(100) + 40
    large, small = (warp(image, similarity(points, size), size)[..., 0] for size in (96, 48))
    means = large.reshape(48, 2, 48, 2).mean((1, 3))
    assert np.abs(small - means).mean() < 1.5


def test_fallback_is_the_centre_square_without_aliasing():
    image = np.zeros((60, 100, 3), np.uint8)
    image[:, 20:80] = (10, 20, 30)
    assert np.array_equal(fallback_crop(image, 30), np.broadcast_to((10, 20, 30), (30, 30, 3)))
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(fallback_crop(stripes, 16)[:, 1:-1].astype(int) - 127).max() <= 10
    assert fallback_crop(np.zeros((1, 1), np.uint8), 48).shape == (48, 48, 1)
    assert np.array_equal(fallback_crop(stripes, 64)[..., 0], stripes)


@pytest.mark.parametrize(("channels", "expected"), [((), 1), ((1,), 1), ((3,), 3), ((4,), 3)])
@pytest.mark.parametrize("landmarks", [template(40) + 5, np.full((5, 2), np.nan)])
def test_crop_face_keeps_grey_and_drops_alpha(channels, expected, landmarks):
    image = np.random.default_rng(2).integers(0, 256, (50, 60, *channels), dtype=np.uint8)
    crop = crop_face(image, landmarks, 32)
    assert crop.shape == (32, 32, expected)
    assert crop.dtype == np.uint8


def test_as_rgb():
    grey = pattern(5, 6)
    assert np.array_equal(as_rgb(grey)[..., 2], grey)
    assert np.array_equal(as_rgb(grey[..., None]), as_rgb(grey))
    rgba = np.random.default_rng(3).integers(0, 256, (5, 6, 4), dtype=np.uint8)
    assert np.array_equal(as_rgb(rgba), rgba[..., :3])


@pytest.mark.parametrize("at_once", [1 << 19, 1000])
def test_a_crop_has_these_bytes_on_every_processor(monkeypatch, at_once):
    """Whole or by parts."""
    monkeypatch.setattr(alignment, "_AT_ONCE", at_once)
    y, x, c = np.mgrid[:90, :110, :3]
    image = ((x * x + 3 * x * y + 5 * y * (c + 1)) // 7 % 256).astype(np.uint8)
    crops = [
        crop_face(image, template(size) * stretch + (shift, 0.3), 48)
        for size, stretch, shift in ((60, (1, 1.1), 5), (30, (1, 0.9), 12.4), (200, (0.7, 0.7), -30))
    ]
    assert hashlib.sha256(np.stack(crops).tobytes()).hexdigest()[:16] == "3a88268dbd3962e3"
