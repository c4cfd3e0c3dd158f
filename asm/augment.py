"""Weak and strong views (paper §4.2, Eq. 11) as batched tensor code on the device.

Each sample draws its own parameters. They are drawn on the CPU from the generator given (a handful of numbers
per sample), so CPU and GPU see the same augmentations; pixels never leave the device.
Images enter as uint8 [B, S, S, C] and leave as normalised float [B, 3, S, S] in channels_last layout.
"""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from asm.method_params import StrongAugment
from asm.params import Augment

MEAN = (0.485, 0.456, 0.406)  # ImageNet statistics, as the published methods on RAF-DB use
STD = (0.229, 0.224, 0.225)


def to_float(images: Tensor) -> Tensor:
    """uint8 [B, S, S, C] -> float [B, 3, S, S] in [0, 1]; grey is repeated over the three channels."""
    x = images.permute(0, 3, 1, 2).float().div_(255)
    return x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x


def normalise(x: Tensor) -> Tensor:
    """Subtract the mean and divide by the standard deviation of each channel of [B, 3, S, S] in [0, 1]."""
    mean = torch.tensor(MEAN, device=x.device).view(1, 3, 1, 1)
    std = torch.tensor(STD, device=x.device).view(1, 3, 1, 1)
    return _channels_last((x - mean) / std)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def evaluation_view(images: Tensor) -> Tensor:
    """The deterministic view: no augmentation."""
    return normalise(to_float(images))


def weak_view(images: Tensor, options: Augment, generator: Generator) -> Tensor:
    """Flip, and random erasing after normalisation (fill 0 = mean colour), each with its probability.

    `gaussian_noise`: noise in place of a flip (SCN, RUL). `jitter`: colour and affine jitter (MAN).
    """
    x = to_float(images)
    draw = torch.rand(len(x), generator=generator)
    x = _mirror(x, draw < options.flip)
    if options.gaussian_noise > 0:
        x = _add_noise(x, (draw >= options.flip) & (draw < options.flip + options.gaussian_noise), generator)
    if options.jitter > 0:
        x = _jitter(x, torch.rand(len(x), generator=generator) < options.jitter, generator)
    return erase(normalise(x), options, generator)


def erase(x: Tensor, options: Augment, generator: Generator) -> Tensor:
    """Random erasing alone, of normalised images [B, 3, S, S]."""
    return _channels_last(_erase(x, options.erasing, options.erasing_area, generator))


def strong_view(images: Tensor, options: StrongAugment, generator: Generator) -> Tensor:
    """Shifted crop, flip, RandAugment (Cubuk et al., 2020) and one grey cutout square.

    Each sample draws `operations` of the 14, each applied with `probability` at `magnitude` (of 30). The
    geometric ones of a sample are composed into one resampling, before the photometric ones.
    """
    count, size = len(images), images.shape[1]
    if count == 0:
        return evaluation_view(images)
    x = _mirror(to_float(images), torch.rand(count, generator=generator) < 0.5)
    chosen = torch.randint(
        len(GEOMETRIC) + len(PHOTOMETRIC), (options.operations, count), generator=generator
    )
    applied = torch.rand(options.operations, count, generator=generator) < options.probability
    sign = torch.where(torch.rand(options.operations, count, generator=generator) < 0.5, -1.0, 1.0)
    chosen = torch.where(applied, chosen, -1)
    level = options.magnitude / 30
    # up to 4 px of 224 of shift in both directions: the reflect-padded random crop of the field
    shift = (torch.rand(count, 2, generator=generator) * 2 - 1) * (2 * 4 / 224)
    x = _resample(x, _matrices(chosen, sign, level, shift))
    for slot, signs in zip(chosen, sign, strict=True):
        for code, operation in enumerate(PHOTOMETRIC, start=len(GEOMETRIC)):
            rows = (slot == code).nonzero().squeeze(1)
            if len(rows):
                on_device = rows.to(x.device)
                strength = signs[rows].to(x.device).view(-1, 1, 1, 1) * level
                x = x.index_copy(0, on_device, operation(x[on_device], strength).to(x.dtype))
    return normalise(_cutout(x, round(options.cutout * size), generator))


def _mirror(x: Tensor, chosen: Tensor) -> Tensor:
    return torch.where(chosen.to(x.device).view(-1, 1, 1, 1), x.flip(3), x)


def _add_noise(x: Tensor, chosen: Tensor, generator: Generator) -> Tensor:
    """Gaussian noise of variance 30 on the scale 0-255, clipped (SCN)."""
    seed = int(torch.randint(2**62, (1,), generator=generator))  # the pixels' noise is drawn on the device
    noise = torch.empty_like(x).normal_(0, 30**0.5 / 255, generator=Generator(x.device).manual_seed(seed))
    return torch.where(chosen.to(x.device).view(-1, 1, 1, 1), (x + noise).clamp(0, 1), x)


def _jitter(x: Tensor, chosen: Tensor, generator: Generator) -> Tensor:
    """Brightness, contrast, saturation by up to 25 %, shift by up to 10 % and zoom by up to 1.25 (MAN; its
    turn of the hue by up to a quarter is left out)."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(len(x), generator=generator)

    shift, zoom = torch.stack([uniform(-0.2, 0.2), uniform(-0.2, 0.2)], dim=1), uniform(1, 1.25)
    factors = [uniform(0.75, 1.25).to(x.device).view(-1, 1, 1, 1) for _ in range(3)]
    matrices = torch.zeros(len(x), 2, 3)
    matrices[:, 0, 0] = matrices[:, 1, 1] = 1 / zoom
    matrices[:, :, 2] = shift
    y = F.grid_sample(
        x, F.affine_grid(matrices.to(x.device), list(x.shape), align_corners=False), align_corners=False
    )
    for factor, base in zip(
        factors, (torch.zeros_like, lambda v: _grey(v).mean(dim=(2, 3), keepdim=True), _grey), strict=True
    ):
        y = (base(y) + (y - base(y)) * factor).clamp(0, 1)
    return torch.where(chosen.to(x.device).view(-1, 1, 1, 1), y, x)


def _erase(x: Tensor, probability: float, area: list[float], generator: Generator) -> Tensor:
    """Set one rectangle of some samples to 0: `area` is its share of the image, its aspect ratio 0.3-3.3."""
    count, size = len(x), x.shape[-1]
    low, high = math.log(0.3), math.log(3.3)
    share = area[0] + (area[1] - area[0]) * torch.rand(count, generator=generator)
    ratio = torch.exp(low + (high - low) * torch.rand(count, generator=generator))
    sides = torch.stack([(share * ratio).sqrt(), (share / ratio).sqrt()]).mul(size).round().clamp(1, size)
    corner = (torch.rand(2, count, generator=generator) * (size - sides + 1)).floor()
    chosen = torch.rand(count, generator=generator) < probability
    return x.masked_fill(_rectangles(corner, sides, chosen, size).to(x.device), 0.0)


def _cutout(x: Tensor, side: int, generator: Generator) -> Tensor:
    count, size = len(x), x.shape[-1]
    corner = (torch.rand(2, count, generator=generator) * (size - side + 1)).floor()
    sides = torch.full((2, count), float(side))
    return x.masked_fill(_rectangles(corner, sides, torch.ones(count) > 0, size).to(x.device), 0.5)


def _rectangles(corner: Tensor, sides: Tensor, chosen: Tensor, size: int) -> Tensor:
    """Boolean [B, 1, S, S] from the corners and sides [2 (y, x), B]."""
    grid = torch.arange(size)
    inside = (grid >= corner[..., None]) & (grid < (corner + sides)[..., None])  # [2, B, S]
    return (inside[0][:, :, None] & inside[1][:, None, :] & chosen[:, None, None])[:, None]


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


def _matrices(chosen: Tensor, sign: Tensor, level: float, shift: Tensor) -> Tensor:
    """Compose each sample's geometric operations and its shift into one [B, 2, 3] sampling matrix."""
    total = torch.eye(3).repeat(len(shift), 1, 1)
    total[:, :2, 2] = shift
    for slot, signs in zip(chosen, sign, strict=True):
        step = torch.eye(3).repeat(len(shift), 1, 1)
        for code, operation in enumerate(GEOMETRIC):
            rows = slot == code
            for (i, j), value in operation(signs * level).items():
                step[:, i, j] = torch.where(rows, value, step[:, i, j])
        total = total @ step
    return total[:, :2]


def _resample(x: Tensor, matrices: Tensor) -> Tensor:
    grid = F.affine_grid(matrices.to(x.device), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _grey(x: Tensor) -> Tensor:
    weights = torch.tensor((0.299, 0.587, 0.114), device=x.device).view(1, 3, 1, 1)
    return (x * weights).sum(1, keepdim=True)


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
