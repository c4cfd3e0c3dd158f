"""Five-point similarity alignment: landmarks and an image in, a square crop out.

Coordinates are pixels with integers at pixel centres, so a crop's share `u` of its width lies at
`u * size - .5` and one set of landmarks gives the same crop at every size. The same landmarks give the same
bytes on every processor: no sum here depends on the order in which a library adds.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

# Left eye, right eye, nose, left and right mouth corner (as seen in the image), as shares of the crop.
TEMPLATE = np.array([[0.315, 0.40], [0.685, 0.40], [0.5, 0.60], [0.345, 0.79], [0.655, 0.79]])
_ONE = 1 << 11  # parts of a pixel: the squares, times 255, still fit 32 bits
_AT_ONCE = 1 << 19  # samples that are in memory together


def as_rgb(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] -> [H, W, 3]; alpha is dropped."""
    if image.ndim == 2:
        image = image[..., None]
    if image.shape[2] == 1:
        return np.repeat(image, 3, axis=2)
    return np.ascontiguousarray(image[..., :3])


def template(size: int) -> np.ndarray:
    """The five points [5, 2] in the pixels of a crop of `size`."""
    return TEMPLATE * size - 0.5


def similarity(landmarks: np.ndarray, size: int) -> np.ndarray:
    """The least-squares similarity (rotation, one scale, shift, no reflection) onto the template.

    Args:
        landmarks: [5, 2], source pixels.
        size: side of the crop in pixels.
    Returns:
        float64 [2, 3]: crop pixel = matrix @ (x, y, 1).
    Raises:
        ValueError: landmarks that are not finite or all in one place.

    Umeyama 1991, eq. 40-42, which in the plane and without reflection is one complex regression, w = a z + b.
    """
    source, target = np.asarray(landmarks, np.float64).tolist(), template(size).tolist()
    if not np.isfinite(source).all():
        raise ValueError(f"cannot align to these landmarks: {source}")
    mean_x, mean_y = (math.fsum(along) / len(source) for along in zip(*source, strict=True))
    mean_u, mean_v = (math.fsum(along) / len(target) for along in zip(*target, strict=True))
    pairs = [(x - mean_x, y - mean_y, *point) for (x, y), point in zip(source, target, strict=True)]
    spread = math.fsum(x * x + y * y for x, y, _, _ in pairs)
    if spread < 1e-12:
        raise ValueError(f"cannot align to these landmarks: {source}")
    c = math.fsum(x * u + y * v for x, y, u, v in pairs) / spread
    s = math.fsum(x * v - y * u for x, y, u, v in pairs) / spread
    return np.array([[c, -s, mean_u - (c * mean_x - s * mean_y)], [s, c, mean_v - (s * mean_x + c * mean_y)]])


def warp(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Cut a crop: bilinear, borders replicated, and free of aliasing where it shrinks.

    Args:
        image: uint8 [H, W] or [H, W, C].
        matrix: [2, 3], source pixels -> crop pixels, as of `similarity`.
        size: side of the crop in pixels.
    Returns:
        uint8 [size, size, C] (C = 1 for [H, W]).

    Where the crop shrinks the image n-fold, a crop pixel is the mean of ceil(n) x ceil(n) bilinear samples.
    Places are taken to 1 / `_ONE` of a pixel; from there on all numbers are whole.
    """
    if image.ndim == 2:
        image = image[..., None]
    (a, b, shift_x), (c, d, shift_y) = np.asarray(matrix, np.float64).tolist()
    determinant = a * d - b * c
    samples = max(1, math.ceil(1 / math.sqrt(abs(determinant)) - 0.05))
    along = (np.arange(size * samples) + 0.5) / samples - 0.5
    x, height, width = along - shift_x, *image.shape[:2]
    part = max(1, _AT_ONCE // (len(along) * samples))  # rows of the crop
    crop = np.empty((size, size, image.shape[2]), np.uint8)
    for top in range(0, size, part):
        y = along[top * samples : (top + part) * samples, None] - shift_y
        sums = _bilinear(
            image,
            np.clip((d * x - b * y) / determinant, 0, width - 1),  # the replicated border
            np.clip((a * y - c * x) / determinant, 0, height - 1),
        )
        sums = sums.reshape(-1, samples, size, samples, image.shape[2]).sum((1, 3), dtype=np.int64)
        whole = _ONE * _ONE * samples * samples
        crop[top : top + part] = (2 * sums + whole) // (2 * whole)
    return crop


def _bilinear(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """`_ONE`**2 times the values at places inside the image: int32 [h, w, C] of float64 x, y [h, w]."""
    x, y = np.rint(x * _ONE).astype(np.int32), np.rint(y * _ONE).astype(np.int32)
    left, top = x // _ONE, y // _ONE
    right, bottom = np.minimum(left + 1, image.shape[1] - 1), np.minimum(top + 1, image.shape[0] - 1)
    x, y = (x - left * _ONE)[..., None], (y - top * _ONE)[..., None]
    upper = image[top, left] * (_ONE - x) + image[top, right] * x
    lower = image[bottom, left] * (_ONE - x) + image[bottom, right] * x
    return upper * (_ONE - y) + lower * y


def fallback_crop(image: np.ndarray, size: int) -> np.ndarray:
    """The frame's centre square, resized without aliasing: uint8 [H, W] or [H, W, C] -> [size, size, C]."""
    if image.ndim == 2:
        image = image[..., None]
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    if side == size:
        return np.ascontiguousarray(square)
    resized = Image.fromarray(square[..., 0] if square.shape[2] == 1 else square).resize(
        (size, size), Image.Resampling.BILINEAR
    )
    return np.asarray(resized).reshape(size, size, -1)


def crop_face(image: np.ndarray, landmarks: np.ndarray, size: int) -> np.ndarray:
    """The stored crop of an image from its stored landmarks, wherever and at whatever size it is rebuilt.

    Args:
        image: uint8 [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] (alpha is dropped).
        landmarks: [5, 2] in the image's pixels; NaN for no face, which gives `fallback_crop`.
    Returns:
        uint8 [size, size, 1] of a grey image, else [size, size, 3].
    """
    if image.ndim == 3 and image.shape[2] == 4:
        image = image[..., :3]
    if np.isnan(landmarks).any():
        return fallback_crop(image, size)
    return warp(image, similarity(landmarks, size), size)
