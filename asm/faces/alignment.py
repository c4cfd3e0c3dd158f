"""Five-point similarity alignment: landmarks and an image in, a square crop out.

Coordinates are pixels with integers at pixel centres, so a crop's share `u` of its width lies at
`u * size - .5` and one set of landmarks gives the same crop at every size.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import avg_pool2d, grid_sample

# Left eye, right eye, nose, left and right mouth corner (as seen in the image), as shares of the crop.
TEMPLATE = np.array([[0.315, 0.40], [0.685, 0.40], [0.5, 0.60], [0.345, 0.79], [0.655, 0.79]])


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
    z = np.asarray(landmarks, np.float64) @ (1, 1j)
    w = template(size) @ (1, 1j)
    centred = z - z.mean()
    spread = float(np.sum(np.abs(centred) ** 2))
    if not math.isfinite(spread) or spread < 1e-12:
        raise ValueError(f"cannot align to these landmarks: {np.asarray(landmarks).tolist()}")
    a = np.sum(np.conj(centred) * (w - w.mean())) / spread
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def warp(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Cut a crop: bilinear, borders replicated, and free of aliasing where it shrinks.

    Args:
        image: uint8 [H, W] or [H, W, C].
        matrix: [2, 3], source pixels -> crop pixels, as of `similarity`.
        size: side of the crop in pixels.
    Returns:
        uint8 [size, size, C] (C = 1 for [H, W]).

    Where the crop shrinks the image n-fold, a crop pixel is the mean of ceil(n) x ceil(n) bilinear samples.
    """
    if image.ndim == 2:
        image = image[..., None]
    matrix = np.asarray(matrix, np.float64)
    scale = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    samples = max(1, math.ceil(1 / scale - 0.05))
    inverse = np.linalg.inv(matrix[:, :2])
    along = (np.arange(size * samples) + 0.5) / samples - 0.5
    crop_xy = np.stack(np.meshgrid(along, along), -1)  # [n, n, 2] as (x, y)
    xy = (crop_xy - matrix[:, 2]) @ inverse.T
    height, width = image.shape[:2]
    xy = np.clip(xy, 0, (width - 1, height - 1))  # the replicated border

    # Only the part of the image that is needed becomes float; float32 coordinates stay exact enough, too.
    low = np.floor(xy.min((0, 1))).astype(int)
    high = np.ceil(xy.max((0, 1))).astype(int) + 1
    part = image[low[1] : high[1], low[0] : high[0]]
    extent = np.array([part.shape[1], part.shape[0]])
    grid = (2 * (xy - low) + 1) / extent - 1  # grid_sample's -1..1, align_corners=False
    pixels = torch.from_numpy(np.ascontiguousarray(part)).permute(2, 0, 1)[None].float()
    crop = grid_sample(
        pixels,
        torch.from_numpy(grid.astype(np.float32))[None],
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    if samples > 1:
        crop = avg_pool2d(crop, samples)
    return crop[0].round_().clamp_(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


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
