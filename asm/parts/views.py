"""Weak and strong views (paper §4.2, Eq. 11) as batched tensor code on the device.

Each sample draws its own parameters. They are drawn on the CPU from the generator given (a handful of numbers
per sample), so CPU and GPU see the same augmentations; pixels never leave the device.
Images enter as uint8 [B, S, S, C] and leave as normalised float [B, 3, S, S] in channels_last layout.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Generator, Tensor

from asm.basics.yaml import Section, Share

MEAN = (0.485, 0.456, 0.406)  # ImageNet statistics, as the published methods on RAF-DB use
STD = (0.229, 0.224, 0.225)


class Augment(Section):
    """The weak view (§4.2): flip and random erasing; the other two are some peers' own."""

    flip: Share
    gaussian_noise: Share  # in place of a flip: never both
    jitter: Share
    erasing: Share
    erasing_area: Annotated[list[Share], Field(min_length=2, max_length=2)]


class StrongAugment(Section):
    """The strong view of Eq. 11: RandAugment and one grey cutout square."""

    operations: Annotated[int, Field(ge=0, le=14)]
    magnitude: Annotated[float, Field(ge=0, le=30)]
    probability: Share
    cutout: Share


def to_float(images: Tensor) -> Tensor:
    """uint8 [B, S, S, C] -> float [B, 3, S, S] in [0, 1], channels last; grey is repeated three times."""
    if images.shape[3] == 1:
        images = images.expand(-1, -1, -1, 3)
    return images.contiguous().float().div_(255).permute(0, 3, 1, 2)


def normalise_(x: Tensor) -> Tensor:
    """Subtract the mean and divide by the standard deviation of each channel of [B, 3, S, S] in [0, 1], in
    place if it is channels last."""
    x = x.contiguous(memory_format=torch.channels_last)
    # whole rows of S x 3 numbers at a time: three would be too few for the processor's wide registers
    rows = x.permute(0, 2, 3, 1).flatten(2)
    rows.sub_(_row(MEAN, x.shape[3], x.device)).div_(_row(STD, x.shape[3], x.device))
    return x


@functools.cache
def _row(channels: tuple[float, ...], size: int, device: torch.device) -> Tensor:
    """The channels' values, repeated for each pixel of a row, float32 [3 S]; sent to the device once."""
    return torch.tensor(channels).repeat(size).to(device)


def to_device_of(x: Tensor, drawn: Tensor) -> Tensor:
    """`drawn`, from the CPU, on the device of `x`; a GPU is not waited for."""
    return drawn.to(x.device, non_blocking=True)


def evaluation_view(images: Tensor) -> Tensor:
    """The deterministic view: no augmentation."""
    return normalise_(to_float(images))


def weak_view(images: Tensor, options: Augment, generator: Generator) -> Tensor:
    """Flip, and random erasing after normalisation (fill 0 = mean colour), each with its probability.

    `gaussian_noise`: noise in place of a flip (SCN, RUL). `jitter`: colour and affine jitter (MAN).
    """
    draw = torch.rand(len(images), generator=generator)
    x = to_float(_mirror(images, draw < options.flip))
    if options.gaussian_noise > 0:
        x = _add_noise(x, (draw >= options.flip) & (draw < options.flip + options.gaussian_noise), generator)
    if options.jitter > 0:
        x = _jitter(x, torch.rand(len(x), generator=generator) < options.jitter, generator)
    return _erase_(normalise_(x), options.erasing, options.erasing_area, generator)


def erase(x: Tensor, options: Augment, generator: Generator) -> Tensor:
    """Random erasing alone, of normalised images [B, 3, S, S]."""
    copy = x.clone(memory_format=torch.channels_last)
    return _erase_(copy, options.erasing, options.erasing_area, generator)


def strong_view(images: Tensor, options: StrongAugment, generator: Generator) -> Tensor:
    """Flip, random crop of the image padded by reflection (4 pixels at 224), RandAugment (Cubuk et al., 2020)
    and one grey cutout square.

    Each sample draws `operations` of the 14, each applied with `probability` at `magnitude` (of 30). The
    geometric ones of a sample are composed into one resampling, before the photometric ones.
    """
    count, size = len(images), images.shape[1]
    if count == 0:
        return evaluation_view(images)
    flip = torch.rand(count, generator=generator) < 0.5
    chosen = torch.randint(
        len(GEOMETRIC) + len(PHOTOMETRIC), (options.operations, count), generator=generator
    )
    applied = torch.rand(options.operations, count, generator=generator) < options.probability
    sign = torch.where(torch.rand(options.operations, count, generator=generator) < 0.5, -1.0, 1.0)
    chosen = torch.where(applied, chosen, -1)
    reach = round(4 * size / 224)
    crop = torch.randint(2 * reach + 1, (count, 2), generator=generator)
    side = round(options.cutout * size)
    cutout = torch.randint(size - side + 1, (2, count), generator=generator)

    x = to_float(_crop(_mirror(images, flip), crop, reach))
    strength = sign * options.magnitude / 30
    moved = ((chosen >= 0) & (chosen < len(GEOMETRIC))).any(dim=0).nonzero().squeeze(1)
    if len(moved):
        _replace(x, moved, _resample, _matrices(chosen[:, moved], strength[:, moved]))
    for codes, strengths in zip(chosen, strength, strict=True):
        for code, operation in enumerate(PHOTOMETRIC, start=len(GEOMETRIC)):
            rows = (codes == code).nonzero().squeeze(1)
            if len(rows):
                _replace(x, rows, operation, strengths[rows].view(-1, 1, 1, 1))
    return normalise_(_fill_(x, cutout, torch.full_like(cutout, side), range(count), 0.5))


def _replace(x: Tensor, rows: Tensor, operation: Callable[[Tensor, Tensor], Tensor], drawn: Tensor) -> None:
    """x[rows] = operation(x[rows], drawn), in place; `x` is channels last."""
    places, rows, pixels = rows.tolist(), to_device_of(x, rows), x.permute(0, 2, 3, 1)
    changed = operation(pixels.index_select(0, rows).permute(0, 3, 1, 2), to_device_of(x, drawn))
    for row, image in zip(places, changed, strict=True):  # on a CPU four times as fast as index_copy_
        x[row] = image


def _mirror(images: Tensor, chosen: Tensor) -> Tensor:
    """Of uint8 [B, S, S, C]: a quarter of the bytes that floats would have. Whole images are copied, several
    times as fast on a CPU as torch.where."""
    rows = torch.arange(len(images)) + len(images) * chosen
    return torch.cat([images, images.flip(2)]).index_select(0, to_device_of(images, rows))


def _crop(images: Tensor, corner: Tensor, reach: int) -> Tensor:
    """Crops of uint8 [B, S, S, C], as large as they are, after padding by `reach` reflected pixels on every
    side. `corner` [B, 2] (y, x) is each crop's, in 0..2 reach."""
    size, channels = images.shape[2:]
    for dim in (1, 2):
        before = images.narrow(dim, 1, reach).flip(dim)
        after = images.narrow(dim, size - 1 - reach, reach).flip(dim)
        images = torch.cat([before, images, after], dim)
    side = size + 2 * reach
    line = torch.arange(len(images))[:, None] * side + corner[:, :1] + torch.arange(size)  # [B, S]
    start = to_device_of(images, (line * side + corner[:, 1:]).flatten())  # pixel at which each line begins
    lines = images.flatten().unfold(0, size * channels, channels)  # a view: at every pixel the S that follow
    return lines.index_select(0, start).view(-1, size, size, channels)


def _add_noise(x: Tensor, chosen: Tensor, generator: Generator) -> Tensor:
    """Gaussian noise of variance 30 on the scale 0-255, clipped (SCN)."""
    seed = int(torch.randint(2**62, (1,), generator=generator))  # the pixels' noise is drawn on the device
    noise = torch.empty_like(x).normal_(0, 30**0.5 / 255, generator=Generator(x.device).manual_seed(seed))
    return torch.where(to_device_of(x, chosen).view(-1, 1, 1, 1), (x + noise).clamp(0, 1), x)


def _jitter(x: Tensor, chosen: Tensor, generator: Generator) -> Tensor:
    """Brightness, contrast, saturation by up to 25 %, shift by up to 10 % and zoom by up to 1.25 (MAN; its
    turn of the hue by up to a quarter is left out)."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(len(x), generator=generator)

    shift, zoom = torch.stack([uniform(-0.2, 0.2), uniform(-0.2, 0.2)], dim=1), uniform(1, 1.25)
    factors = [to_device_of(x, uniform(0.75, 1.25)).view(-1, 1, 1, 1) for _ in range(3)]
    matrices = torch.zeros(len(x), 2, 3)
    matrices[:, 0, 0] = matrices[:, 1, 1] = 1 / zoom
    matrices[:, :, 2] = shift
    y = F.grid_sample(
        x, F.affine_grid(to_device_of(x, matrices), list(x.shape), align_corners=False), align_corners=False
    )
    for factor, base in zip(
        factors, (torch.zeros_like, lambda v: _grey(v).mean(dim=(2, 3), keepdim=True), _grey), strict=True
    ):
        y = (base(y) + (y - base(y)) * factor).clamp(0, 1)
    return torch.where(to_device_of(x, chosen).view(-1, 1, 1, 1), y, x)


def _erase_(x: Tensor, probability: float, area: list[float], generator: Generator) -> Tensor:
    """Set one rectangle of some samples to 0: `area` is its share of the image, its aspect ratio 0.3-3.3."""
    count, size = len(x), x.shape[-1]
    low, high = math.log(0.3), math.log(3.3)
    share = area[0] + (area[1] - area[0]) * torch.rand(count, generator=generator)
    ratio = torch.exp(low + (high - low) * torch.rand(count, generator=generator))
    sides = torch.stack([(share * ratio).sqrt(), (share / ratio).sqrt()]).mul(size).round().clamp(1, size)
    corner = (torch.rand(2, count, generator=generator) * (size - sides + 1)).floor()
    chosen = torch.rand(count, generator=generator) < probability
    return _fill_(x, corner, sides, chosen.nonzero().flatten().tolist(), 0.0)


def _fill_(x: Tensor, corner: Tensor, sides: Tensor, rows: Iterable[int], value: float) -> Tensor:
    """Fill a rectangle of each of `rows`; corners and sides are whole numbers [2 (y, x), B]. One small kernel
    each: a mask would touch every pixel of every sample."""
    tops, lefts = corner.int().tolist()
    bottoms, rights = (corner + sides).int().tolist()
    for row in rows:
        x[row, :, tops[row] : bottoms[row], lefts[row] : rights[row]] = value
    return x


def _shear_x(v: Tensor) -> dict[tuple[int, int], Tensor]:
    return {(0, 1): 0.3 * v}


def _shear_y(v: Tensor) -> dict[tuple[int, int], Tensor]:
    return {(1, 0): 0.3 * v}


def _translate_x(v: Tensor) -> dict[tuple[int, int], Tensor]:
    return {(0, 2): 0.9 * v}


def _translate_y(v: Tensor) -> dict[tuple[int, int], Tensor]:
    return {(1, 2): 0.9 * v}


def _rotate(v: Tensor) -> dict[tuple[int, int], Tensor]:
    angle = v * math.radians(30)
    return {(0, 0): angle.cos(), (1, 1): angle.cos(), (0, 1): -angle.sin(), (1, 0): angle.sin()}


# Affine maps in grid_sample's [-1, 1] frame, as entries that differ from the identity, at signed strength v.
GEOMETRIC = (_shear_x, _shear_y, _translate_x, _translate_y, _rotate)


def _matrices(codes: Tensor, strength: Tensor) -> Tensor:
    """Compose each sample's geometric operations, [operations, B], into one [B, 2, 3] sampling matrix."""
    total = torch.eye(3).repeat(codes.shape[1], 1, 1)
    for slot, strengths in zip(codes, strength, strict=True):
        step = torch.eye(3).repeat(len(strengths), 1, 1)
        for code, operation in enumerate(GEOMETRIC):
            rows = slot == code
            for (i, j), value in operation(strengths).items():
                step[:, i, j] = torch.where(rows, value, step[:, i, j])
        total = total @ step
    return total[:, :2]


def _resample(x: Tensor, matrices: Tensor) -> Tensor:
    """`x` at the positions of its pixels under `matrices` [B, 2, 3], in the frame [-1, 1] of grid_sample."""
    size = x.shape[3]
    at = (2 * torch.arange(size, device=x.device) + 1) / size - 1
    by_x, by_y, offset = matrices[:, :, None].unbind(3)  # [B, 2, 1] each
    # a fifth of the time of F.affine_grid, which multiplies matrices pixel by pixel
    columns, lines = by_x * at, by_y * at + offset  # [B, 2, S]
    grid = columns[:, :, None, :] + lines[:, :, :, None]
    return F.grid_sample(
        x, grid.permute(0, 2, 3, 1), mode="bilinear", padding_mode="reflection", align_corners=False
    )


def _grey(x: Tensor) -> Tensor:
    return (0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2])[:, None]


def _blend(a: Tensor, b: Tensor, strength: Tensor) -> Tensor:
    """a + (b - a) * (1 + strength): extrapolate away from (strength > 0) or towards (< 0) `a`."""
    return (a + (b - a) * (1 + 0.9 * strength)).clamp(0, 1)


def _brightness(x: Tensor, v: Tensor) -> Tensor:
    return _blend(torch.zeros_like(x), x, v)


def _color(x: Tensor, v: Tensor) -> Tensor:
    return _blend(_grey(x).expand_as(x), x, v)


def _contrast(x: Tensor, v: Tensor) -> Tensor:
    return _blend(_grey(x).mean(dim=(2, 3), keepdim=True).expand_as(x), x, v)


def _sharpness(x: Tensor, v: Tensor) -> Tensor:
    kernel = torch.ones(3, 3, device=x.device)
    kernel[1, 1] = 5
    smooth = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), (kernel / 13).expand(3, 1, 3, 3), groups=3)
    return _blend(smooth, x, v)


def _posterize(x: Tensor, v: Tensor) -> Tensor:
    step = 2 ** (4 * v.abs()).round()  # magnitude 30 keeps 4 of 8 bits
    return ((x * 255 / step).floor() * step / 255).clamp(0, 1)


def _solarize(x: Tensor, v: Tensor) -> Tensor:
    return torch.where(x >= 1 - v.abs(), 1 - x, x)


def _autocontrast(x: Tensor, v: Tensor) -> Tensor:
    x = x.contiguous()  # channel by channel, for the sake of the two minima over pixels
    low, high = x.amin(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
    return torch.where(high > low, (x - low) / (high - low).clamp(min=1e-6), x)


def _equalize(x: Tensor, v: Tensor) -> Tensor:
    """Histogram equalisation of each channel: a pixel becomes its rank's share (256 bins)."""
    bins = (x * 255).round().long().flatten(2)  # [B, 3, S * S]
    histogram = torch.zeros(*bins.shape[:2], 256, device=x.device)
    histogram.scatter_add_(2, bins, torch.ones_like(bins, dtype=histogram.dtype))
    cumulative = histogram.cumsum(2)
    first = cumulative.gather(2, bins.amin(2, keepdim=True))
    total = bins.shape[2]
    table = ((cumulative - first) / (total - first).clamp(min=1)).clamp(0, 1)
    return table.gather(2, bins).view_as(x)


def _identity(x: Tensor, v: Tensor) -> Tensor:
    return x


PHOTOMETRIC = (
    _identity,
    _brightness,
    _color,
    _contrast,
    _sharpness,
    _posterize,
    _solarize,
    _autocontrast,
    _equalize,
)
