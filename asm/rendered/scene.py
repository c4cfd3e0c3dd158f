"""What surrounds a procedural face: light, room, hair, neck and shirt, and the camera that takes the picture.

Images are float32 [H, W, 3] in 0..1; positions `x, y` are head units in the head's (rolled) frame.
"""

import io
from functools import lru_cache

import numpy as np
from PIL import Image
from scipy import ndimage

from asm.rendered.anatomy import Face, Features, ramp

DESIGN_SIZE = 112  # the size at which pose.scale and nuisance.blur are given
BALD, CROPPED, SHORT, BOB, LONG, TIED = range(6)
# lowest point and widening of the hair, head units
_HAIR_END = {
    CROPPED: (0.10, 0.0),
    SHORT: (0.26, 0.0),
    BOB: (0.95, 0.05),
    LONG: (3.0, 0.03),
    TIED: (0.15, 0.0),
}


# ---------------------------------------------------------------- random fields


@lru_cache(maxsize=64)
def _spline(size: int, cells: int) -> np.ndarray:
    """[size, cells + 3] weights of a uniform cubic B-spline: a smooth random field is W @ noise @ W.T."""
    t = np.linspace(0, cells, size, endpoint=False, dtype=np.float32)
    d = np.abs(t[:, None] - (np.arange(cells + 3, dtype=np.float32)[None, :] - 1))
    near, far = 2 / 3 - d**2 + d**3 / 2, np.clip(2 - d, 0, None) ** 3 / 6
    return np.where(d < 1, near, far).astype(np.float32)


def smooth_noise(rng: np.random.Generator, rows: int, columns: int, size: tuple[int, int]) -> np.ndarray:
    """Random field [size] with about `rows` x `columns` independent cells, standard deviation near 0.5."""
    noise = rng.standard_normal((rows + 3, columns + 3), dtype=np.float32)
    return _spline(size[0], rows) @ noise @ _spline(size[1], columns).T


def lookup(table: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Nearest entry of `table` [R, C]; `row` and `column` in 0..1, clipped."""
    rows, columns = table.shape
    i = np.clip(row * rows, 0, rows - 1).astype(np.int32)
    j = np.clip(column * columns, 0, columns - 1).astype(np.int32)
    return table.ravel()[i * columns + j]


def over(image: np.ndarray, colour: np.ndarray | tuple[float, ...], cover: np.ndarray) -> np.ndarray:
    """`colour` ([3] or [H, W, 3]) painted over `image` with coverage [H, W]."""
    return image + (np.asarray(colour, np.float32) - image) * cover[..., None]


# ---------------------------------------------------------------- light


def lamp(face: Face) -> tuple[float, float, float]:
    """Unit vector towards the lamp (x right, y down, z at the viewer)."""
    az, el = face.light.azimuth, face.light.elevation
    return float(np.sin(az) * np.cos(el)), float(-np.sin(el)), float(np.cos(az) * np.cos(el))


def diffuse(
    face: Face, nx: np.ndarray, ny: np.ndarray, nz: np.ndarray, shadow: np.ndarray | float = 1.0
) -> np.ndarray:
    """Light [H, W, 3] that unit normals receive: a wrapped Lambert lamp and a brighter-above ambient."""
    light = face.light
    lx, ly, lz = lamp(face)
    lambert = np.maximum((nx * lx + ny * ly + nz * lz) * 0.85 + 0.15, 0) * (
        shadow * 1.4 * (1 - light.ambient)
    )
    ambient = (0.82 - 0.18 * ny) * light.ambient
    warm = np.array([1 + 0.08 * light.warmth, 1.0, 1 - 0.10 * light.warmth], np.float32)
    cool = np.array([1 - 0.04 * light.warmth, 1.0, 1 + 0.05 * light.warmth], np.float32)
    return lambert[..., None] * warm + ambient[..., None] * cool


def specular(face: Face, nx: np.ndarray, ny: np.ndarray, nz: np.ndarray, power: float = 22.0) -> np.ndarray:
    """Blinn highlight [H, W] of the lamp."""
    lx, ly, lz = lamp(face)
    norm = (lx * lx + ly * ly + (lz + 1) ** 2) ** -0.5
    return np.clip((nx * lx + ny * ly + nz * (lz + 1)) * norm, 0, 1) ** power


# ---------------------------------------------------------------- layers


def backdrop(rng: np.random.Generator, size: int) -> np.ndarray:
    """A defocused room: soft low-saturation colour, a gradient, a few blurred shapes."""
    base = rng.uniform(0.22, 0.8) + rng.uniform(-0.06, 0.06, 3)
    tint = rng.uniform(-0.07, 0.07, 3)
    field = smooth_noise(rng, 3, 3, (size, size))
    detail = smooth_noise(rng, 8, 8, (size, size))
    slope = np.linspace(-0.5, 0.5, size, dtype=np.float32)[:, None] * float(rng.uniform(-0.3, 0.15))
    grey = 0.11 * field + 0.035 * detail + slope
    image = grey[..., None] + field[..., None] * tint.astype(np.float32) + base.astype(np.float32)
    if rng.random() < 0.4:  # a blurred upright edge: a door, a window, a shelf
        ramp_x = np.linspace(0, 1, size, dtype=np.float32)[None, :, None]
        image = image + float(rng.uniform(-0.18, 0.18)) * ramp((ramp_x - float(rng.uniform(0.1, 0.9))) / 0.05)
    return np.clip(image, 0.03, 0.97)


class Hair:
    """Colour [H, W, 3] and outer coverage [H, W] of the hair over the whole picture."""

    def __init__(self, face: Face, x: np.ndarray, y: np.ndarray, px: float) -> None:
        who = face.identity
        self.style = who.hair_style
        self.texture = who.texture
        self.part = (who.texture % 7 - 3) * 0.11
        rng = np.random.default_rng([who.texture, 1])
        strands = 0.8 * smooth_noise(rng, 5, 80, (32, 320)) + 0.7 * smooth_noise(rng, 4, 26, (32, 320))
        crown = who.crown + who.hair_volume
        # strands run from the parting at the top of the head down and outwards
        dx, dy = x - self.part, y + crown + 0.45
        radius = np.sqrt(dx * dx + dy * dy)
        streak = lookup(strands, radius * 0.28, dx / (np.abs(dx) + np.abs(dy) + 1e-3) * 0.62 + 0.5)

        down = np.maximum(y, 0)
        top = np.clip(1 - np.abs(np.minimum(y, 0) / crown) ** 2.3, 0, 1) ** 0.47
        end, flare = _HAIR_END.get(self.style, (-9.0, 0.0))
        half = (who.width + who.hair_volume) * top * (1 + flare * down)
        if self.style in (CROPPED, SHORT, TIED):
            half = half - 0.32 * np.maximum(y + 0.35, 0) ** 2
        elif self.style == LONG:
            half = half + 0.035 * np.sin(5 * y + who.texture % 5) * np.minimum(down, 1)
        ragged = {CROPPED: 0.008, SHORT: 0.03}.get(self.style, 0.015)
        inside = half + ragged * streak - np.abs(x)
        self.cover = ramp(inside / px) * ramp((end - y + 0.06 * streak) / (2.5 * px)) * (y > -crown - 0.02)

        nx = np.clip(x / np.maximum(half, 0.05), -1, 1)
        ny = np.minimum(y / crown, 0)
        ny = -ny * ny
        nx = nx * np.sqrt(np.clip(1 - ny * ny, 0, 1))
        # the two sides of the parting fall away from it
        ridge = np.exp(-((dx * (1 / 0.16)) ** 2)) * ramp((-0.55 - y) * 2.5)
        nx = nx * (1 - ridge) + np.sign(dx) * 0.35 * ridge * (1 - nx * nx)
        nz = np.sqrt(np.clip(1 - nx * nx - ny * ny, 0.03, 1))
        lx, ly, lz = lamp(face)
        lambert = np.maximum((nx * lx + ny * ly + nz * lz) * 0.85 + 0.15, 0)
        light = face.light.ambient * 0.85 + 1.35 * (1 - face.light.ambient) * lambert
        light = light * (0.42 + 0.58 * np.clip(1.5 * nz, 0, 1)) * (1 + 0.22 * streak)
        if self.style in (BOB, LONG, TIED):
            light = light * (1 - 0.45 * np.exp(-((dx * (1 / 0.035)) ** 2)) * ramp((-0.7 - y) * 3))
        band = (radius - 1.02 - 0.25 * np.abs(dx)) * (1 / 0.17)
        sheen = np.exp(-band * band) * np.clip(light - 0.3, 0, 1) * np.clip(0.75 + 0.7 * streak, 0, None)
        colour = np.asarray(who.hair, np.float32)
        self.colour = colour * light[..., None] + (0.16 * sheen)[..., None] * (0.5 + 1.2 * colour)

    def hairline(self, u: np.ndarray, hairline: float) -> np.ndarray:
        """Canonical height above which the head is hair."""
        if self.style in (BOB, LONG):
            away = np.abs(u - 0.6 * self.part) * (1 / 0.92)
            line = hairline - 0.03 + 0.86 * away**2.3
            return line + 6 * np.maximum(np.abs(u) - 0.84, 0)
        # receding at the temples for some, then down in front of the ears
        side = (u * (1 / 0.92)) ** 2
        receding = 0.0 if self.style == TIED else 0.025 * (self.texture % 4)
        temples = receding * np.exp(-(((np.abs(u) - 0.46) * (1 / 0.17)) ** 2))
        return hairline - temples + 0.62 * side * side * side + 0.01 * np.sin(17 * u + self.texture % 5)


def body(
    face: Face, image: np.ndarray, f: Features, hair: Hair, x: np.ndarray, y: np.ndarray, px: float
) -> np.ndarray:
    """Back hair, neck, shirt, locks over the shoulders and ears, painted over `image`; returns [H, W, 3]."""
    who = face.identity
    skin = np.asarray(who.skin, np.float32)
    ax = np.abs(x)
    sin_y = float(np.sin(face.pose.yaw))
    if hair.style != BALD:
        image = over(image, hair.colour * (0.72 - 0.3 * ramp(y * 1.2 - 0.3))[..., None], hair.cover)
    rows = slice(int(np.argmax((y > 0.5).any(1))), None)
    xs, ys = x[rows], y[rows]
    axs = ax[rows]
    neck_half = 0.56 * who.width + 0.35 * np.maximum(ys - 1.35, 0) ** 2
    r = np.clip((xs - 0.05 * sin_y) / neck_half, -1, 1)
    zero = np.zeros_like(xs)
    light = diffuse(face, r * 0.9, zero, np.sqrt(1 - (r * 0.9) ** 2))
    under = 0.38 + 0.5 * ramp((ys - f.chin - 0.22) / 0.5)
    neck = light * (under * (1 - 0.35 * r**4))[..., None] * skin * np.array([1, 0.94, 0.9], np.float32)
    lower = over(image[rows], neck, ramp((neck_half - np.abs(xs - 0.05 * sin_y)) / px) * (ys > 0.6))
    shirt = np.asarray(face.nuisance.shirt, np.float32)
    throat = np.sqrt(np.clip(1 - (xs / 0.56) ** 2, 0, 1))
    collar = 1.45 + 0.17 * throat + 0.26 * np.maximum(axs - 0.56, 0) ** 1.25
    light = diffuse(face, np.clip(0.55 * xs, -0.8, 0.8), zero - 0.35, zero + 0.75)
    folds = 0.80 + 0.06 * np.cos(3.1 * xs + 4 * ys) - 0.25 * np.exp(-(((ys - collar - 0.045) / 0.02) ** 2))
    lower = over(lower, light * folds[..., None] * shirt, ramp((ys - collar) / px))
    image = np.concatenate([image[: rows.start], lower])
    if hair.style == LONG:
        image = over(image, hair.colour * 0.85, hair.cover * ramp((ax - 0.70 - 0.06 * np.sin(6 * y)) / 0.08))
    if hair.style in (BOB, LONG):
        return image
    rows = slice(int(np.argmax((y > -0.2).any(1))), max(int(np.argmax((y > 0.6).all(1))), 1))
    xs, ys = x[rows], y[rows]
    for side in (-1, 1):
        reach = who.width + 0.03 - 0.10 * side * sin_y
        dy = (ys - 0.12) / 0.25
        dx = (side * xs - reach) / 0.11 + 0.3 * dy
        d = np.sqrt(dx * dx + dy * dy)
        hollow = 0.9 - 0.4 * np.exp(-(((d - 0.4) / 0.28) ** 2))
        light = diffuse(face, 0.6 * side * np.clip(dx, -1, 1), np.zeros_like(xs), np.full_like(xs, 0.75))
        ear = light * hollow[..., None] * skin * np.array([1.02, 0.90, 0.86], np.float32)
        image[rows] = over(image[rows], ear, ramp((1 - d) * 0.17 / px))
    return image


# ---------------------------------------------------------------- camera


def camera(face: Face, rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Exposure, tone, lens blur, sensor noise and a JPEG round trip; returns uint8 [size, size, 3]."""
    n = face.nuisance
    size = len(image)
    image = np.clip(image * n.exposure, 0, None)
    image = image / (1 + 0.12 * image * image)  # shoulder: bright skin does not clip
    image = np.clip(image, 0, 1) ** n.gamma
    sigma = n.blur * size / DESIGN_SIZE
    if sigma > 0.2:
        image = ndimage.gaussian_filter(image, (sigma, sigma, 0), truncate=2.5)
    if n.grey:
        image = np.repeat((image @ np.array([0.299, 0.587, 0.114], np.float32))[..., None], 3, 2)
    image = image + n.noise * rng.standard_normal((size, size, 1 if n.grey else 3), dtype=np.float32)
    pixels = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=n.jpeg)
    return np.array(Image.open(buffer).convert("RGB"))
