"""A procedural photograph of a face: the head's relief, shaded and painted, in vectorised numpy.

Rendered at output resolution without supersampling: every edge is a smooth step about one pixel wide.
"""

import numpy as np
from scipy import ndimage

from asm.rendered.anatomy import EYE_V, Face, Features, bump, features, project, ramp, relief
from asm.rendered.scene import (
    BALD,
    DESIGN_SIZE,
    Hair,
    backdrop,
    body,
    camera,
    diffuse,
    lamp,
    lookup,
    over,
    smooth_noise,
    specular,
)


def render(face: Face, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw one face.

    Returns the image, uint8 [size, size, 3] RGB, and the true positions of the five landmarks, float32
    [5, 2] as (x, y) pixels (the first pixel's centre is 0, 0) in MTCNN's order: left eye, right eye, nose
    tip, left and right mouth corner, left being the image's left. The same values give the same pixels.
    """
    rng = np.random.default_rng(face.nuisance.seed)
    pose = face.pose
    scale = pose.scale * size / DESIGN_SIZE
    x0 = (size - 1) / 2 + pose.shift[0] * scale
    y0 = (size - 1) / 2 + pose.shift[1] * scale
    px = 1.2 / scale
    x, y = _head_frame(size, x0, y0, scale, pose.roll)
    f = features(face.identity, face.action_units)

    hair = Hair(face, x, y, px)
    image = body(face, backdrop(rng, size), f, hair, x, y, px)
    rows, columns = _span((y > -1.5) & (y < f.chin + 0.1) & (np.abs(x) < 1.12))
    box = (rows, columns)
    image[box], depth = _head(face, image[box], f, hair, box, x[box], y[box], scale)
    landmarks = project(face, f, depth, x0 - columns.start, y0 - rows.start, scale)
    landmarks += np.array([columns.start, rows.start], np.float32)
    return camera(face, rng, image), landmarks


def _head_frame(size: int, x0: float, y0: float, scale: float, roll: float) -> tuple[np.ndarray, np.ndarray]:
    grid = np.arange(size, dtype=np.float32)
    gx, gy = (grid[None, :] - x0) / scale, (grid[:, None] - y0) / scale
    cos_r, sin_r = float(np.cos(roll)), float(np.sin(roll))
    return cos_r * gx + sin_r * gy, cos_r * gy - sin_r * gx


def _span(mask: np.ndarray) -> tuple[slice, slice]:
    """Smallest rows and columns that hold every true pixel."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _normals(z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit normals of a relief `z` in pixels, by Sobel; slopes are bounded, so that no edge turns black."""
    gx = np.clip(ndimage.sobel(z, 1) * 0.125, -2.5, 2.5)
    gy = np.clip(ndimage.sobel(z, 0) * 0.125, -2.5, 2.5)
    nz = 1 / np.sqrt(1 + gx * gx + gy * gy)
    return -gx * nz, -gy * nz, nz


def _cast_shadow(face: Face, z: np.ndarray, scale: float) -> np.ndarray:
    """Share of the lamp's light that reaches each point, by a few steps along the ray towards the lamp."""
    lx, ly, lz = lamp(face)
    flat = float(np.hypot(lx, ly))
    if flat < 0.1:
        return np.ones_like(z)
    height, width = z.shape
    highest = np.full_like(z, -1.0)
    for reach in (0.08, 0.15, 0.24, 0.36):
        dx, dy = round(lx / flat * reach * scale), round(ly / flat * reach * scale)
        to_y, to_x = slice(max(0, -dy), height - max(0, dy)), slice(max(0, -dx), width - max(0, dx))
        from_y, from_x = slice(max(0, dy), height + min(0, dy)), slice(max(0, dx), width + min(0, dx))
        rise = z[from_y, from_x] - z[to_y, to_x] - reach * lz / flat
        np.maximum(highest[to_y, to_x], rise, out=highest[to_y, to_x])
    return 1 - 0.6 * ramp(highest / 0.10 - 0.2)


def _head(
    face: Face,
    image: np.ndarray,
    f: Features,
    hair: Hair,
    box: tuple[slice, slice],
    x: np.ndarray,
    y: np.ndarray,
    scale: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The head painted over its part of the image, and the depth that its projection uses."""
    who = face.identity
    px = 1.2 / scale
    head = relief(face, f, x, y)
    u, v = head.u, head.v
    nx, ny, nz = _normals(head.z * scale)
    light = diffuse(face, nx, ny, nz, _cast_shadow(face, head.z, scale))
    around = ndimage.gaussian_filter(head.z, 0.13 * scale, truncate=2.0)
    occlusion = np.clip(1 - 3.2 * (around - head.z), 0.25, 1.06)

    albedo, gloss = _skin(face, f, u, v)
    albedo = _lips(face, f, _brows(face, f, albedo, u, v, px), u, v, px)
    # light that went through skin is red, so hollows darken less in red
    bleed = occlusion[..., None] ** np.array([0.8, 1.05, 1.1], np.float32)
    colour = albedo * light * bleed + (gloss * specular(face, nx, ny, nz) * occlusion)[..., None]
    colour = _mouth(face, f, colour, light, u, v, px)
    hole = bump(np.abs(u), v, 0.085 * who.nose_width, f.nose_v + 0.085 - 0.6 * f.nose_lift, 0.045, 0.028)
    colour = colour * (1 - 0.75 * np.minimum(hole * 1.3, 1))[..., None]
    colour = _eyes(face, f, colour, light, u, v, px)

    if hair.style != BALD:
        below = v - hair.hairline(u, who.hairline)
        shadow = 0.35 * np.exp(-np.clip(below * 10, 0, 6)) * np.clip(1.2 - 0.8 * y, 0, 1)
        colour = colour * (1 - shadow)[..., None]
        colour = over(colour, hair.colour[box], ramp(-below / (1.6 * px)))
    if who.glasses:
        colour = _glasses(f, colour, u, v, px)
    cover = ramp(head.inside / px) * (y > -who.crown) * (y < f.chin)
    return over(image, colour, cover), head.projection_z


def _skin(face: Face, f: Features, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Albedo [H, W, 3] of bare skin, freckles and beard included, and its gloss [H, W]."""
    who = face.identity
    au = np.abs(u)
    rng = np.random.default_rng([who.texture, 2])
    table = 0.6 * smooth_noise(rng, 10, 10, (80, 80)) + 0.4 * smooth_noise(rng, 30, 30, (80, 80))
    blotch = lookup(table, v * 0.36 + 0.5, u * 0.36 + 0.5)
    red = 0.55 * bump(au, v, 0.5, 0.3, 0.26, 0.2) + 0.45 * bump(u, v, 0, f.nose_v, 0.16, 0.13)
    red = red + 0.15 * bump(u, v, 0, f.chin - 0.15, 0.2, 0.15) + 0.10 * blotch
    under = (0.10 + 0.10 * who.age) * bump(au, v, f.eye_u - 0.04, EYE_V + 0.11, 0.15, 0.06)
    lid = 0.12 * bump(au, v, f.eye_u, EYE_V - 0.07, 0.2, 0.08)
    value = 1 + 0.03 * blotch - under - lid
    if who.freckles > 0.05:
        spots = lookup(rng.random((90, 90), dtype=np.float32), v * 0.4 + 0.5, u * 0.4 + 0.5) > 0.9
        value = value - who.freckles * 0.22 * spots * bump(u, v, 0, 0.2, 0.6, 0.25)
    if who.beard > 0.05:
        cheeks = ramp((v - 0.34 - 0.5 * (1 - np.minimum(au / 0.8, 1))) / 0.3)
        cheeks = cheeks * ramp((au + (v - f.mouth_v) * 0.6 - 0.30) / 0.2)
        chin = ramp((v - f.mouth_v - f.gap_low - 0.24) / 0.14)
        moustache = 0.9 * bump(u, v, 0, f.mouth_v - f.gap_up - 0.16, 0.3, 0.055)
        hairs = np.clip(np.maximum(np.maximum(cheeks, chin), moustache), 0, 1) * (0.85 + 0.2 * blotch)
        value = value * (1 - who.beard * hairs)
    albedo = np.asarray(who.skin, np.float32) * value[..., None]
    albedo = albedo * (1 + red[..., None] * np.array([0.05, -0.13, -0.12], np.float32))
    gloss = 0.09 + 0.10 * bump(u, v, 0, 0.1, 0.14, 0.5) + 0.05 * bump(u, v, 0, -0.6, 0.4, 0.2)
    return albedo, gloss


def _brows(
    face: Face, f: Features, albedo: np.ndarray, u: np.ndarray, v: np.ndarray, px: float
) -> np.ndarray:
    who = face.identity
    au = np.abs(u)
    s = np.clip((au - f.brow_in) / (f.brow_out - f.brow_in), 0, 1)
    rng = np.random.default_rng([who.texture, 3])
    hairs = lookup(smooth_noise(rng, 24, 24, (64, 64)), v * 2.5 + 0.5 + au, au * 1.6)
    thick = 0.055 * who.brow_thickness * (1 - 0.6 * s * np.sqrt(s))
    ends = ramp((au - f.brow_in - 0.02) / 0.07) * ramp((f.brow_out - au) / 0.08)
    cover = (
        ramp((thick - np.abs(v - f.brow(s))) / (1.4 * px) + 0.15) * ends * np.clip(0.85 + 0.15 * hairs, 0, 1)
    )
    brow = np.asarray(who.hair, np.float32) * 0.5 + np.asarray(who.skin, np.float32) * 0.08
    return over(albedo, np.minimum(brow, 0.34), cover * 0.92)


def _lips(face: Face, f: Features, albedo: np.ndarray, u: np.ndarray, v: np.ndarray, px: float) -> np.ndarray:
    outer_up, _, middle, _, outer_low, _ = f.lips(u)
    au, soft = np.abs(u), 1.2 * px
    lips = ramp((v - outer_up) / soft) * ramp((outer_low - v) / soft) * ramp((f.mouth_half - au) / soft)
    colour = np.asarray(face.identity.lips, np.float32) * np.where(v < middle, 0.86, 1.0)[..., None]
    albedo = over(albedo, colour.astype(np.float32), lips * 0.85)
    line = np.exp(-(((v - middle) / max(0.018, 0.55 * px)) ** 2))
    line = line * ramp((f.mouth_half * 1.04 - au) / soft)
    return albedo * (1 - 0.72 * line)[..., None]


def _mouth(
    face: Face, f: Features, colour: np.ndarray, light: np.ndarray, u: np.ndarray, v: np.ndarray, px: float
) -> np.ndarray:
    """Inside of the open mouth: dark red, tongue, teeth."""
    gap = f.gap_up + f.gap_low
    if gap < 0.015:
        return colour
    _, inner_up, _, inner_low, _, bow = f.lips(u)
    t2 = (u / f.mouth_half) ** 2
    at = np.sqrt(t2)
    inside = ramp((v - inner_up) / px) * ramp((inner_low - v) / px) * (at < 1)
    deep = np.array([0.20, 0.06, 0.06], np.float32) * (0.35 + 0.4 * light)
    tongue = 1 - t2 / 0.62**2 - ((v - f.mouth_v - f.gap_low) / (0.5 * gap)) ** 2
    tongue = ramp(tongue * 1.5) * ramp(np.float32((gap - 0.15) / 0.15))
    deep = over(deep, np.array([0.62, 0.27, 0.27], np.float32) * light * 0.85, tongue)
    ivory = np.array([0.95, 0.92, 0.86], np.float32) * np.minimum(light, 1.05)
    ivory = ivory * (0.97 - 0.40 * t2 - 0.05 * np.cos(u * (2 * np.pi / 0.085)) ** 8)[..., None]
    swell = np.sqrt(bow)
    upper = ramp((inner_up + f.teeth_up * swell - v) / px) * ramp((0.88 - at) / 0.15)
    deep = over(deep, ivory, upper)
    if f.teeth_low > 0.01:
        lower = ramp((v - inner_low + f.teeth_low * swell) / px) * ramp((0.75 - at) / 0.15)
        deep = over(deep, ivory * 0.85, lower)
    lip_shadow = 1 - 0.45 * np.exp(-np.maximum(v - inner_up, 0) / 0.035)
    return over(colour, deep * lip_shadow[..., None], inside)


def _eyes(
    face: Face, f: Features, colour: np.ndarray, light: np.ndarray, u: np.ndarray, v: np.ndarray, px: float
) -> np.ndarray:
    """Eyeballs between the lids, then lash line, lower rim and lid crease."""
    who = face.identity
    gaze_x, gaze_y = 0.05 * face.pose.gaze[0], 0.025 * face.pose.gaze[1]
    side = np.sign(u)
    au = np.abs(u)
    t = np.clip((au - f.eye_u) / f.eye_half, -1.15, 1.15)
    upper, lower = f.lids(t)
    above, at = np.maximum(v - upper, 0), np.abs(t)
    inside = ramp((v - upper) / px) * ramp((lower - v) / px) * ramp((1.0 - at) * f.eye_half / px + 0.3)
    white = np.array([0.93, 0.92, 0.90], np.float32) * np.clip(light, 0.25, 1.02)
    white = white * (1 - 0.28 * t * t)[..., None]
    du, dv = au - f.eye_u - side * gaze_x, v - EYE_V + 0.006 - gaze_y
    d = np.sqrt(du * du + dv * dv)
    radius = 0.098 * who.eye_size
    tone = (0.55 + 0.6 * np.minimum(d / radius, 1) ** 2) * (1 - 0.55 * ramp((d - 0.85 * radius) / (1.2 * px)))
    iris = np.asarray(who.iris, np.float32) * tone[..., None] * np.clip(light, 0.4, 1.1)
    eye = over(white, iris, ramp((radius - d) / px))
    eye = over(eye, (0.03, 0.03, 0.035), ramp((0.45 * radius - d) / px))
    eye = eye * (1 - 0.55 * np.exp(-above / 0.035))[..., None]
    lx, ly, _ = lamp(face)
    glint = bump(side * du - 0.04 * lx, dv, 0, 0.04 * ly - 0.006, 0.022, 0.022)
    eye = over(eye, (1.0, 1.0, 1.0), glint * 0.9)
    colour = over(colour, eye, inside)
    reach = ramp((1.08 - at) / 0.12)
    lash_width = max(0.026 if who.lip_upper > 0.075 else 0.020, 0.5 * px)
    lash = np.exp(-(((v - upper + 0.004) / lash_width) ** 2)) * reach * (0.64 + 0.16 * t)
    rim = np.exp(-(((v - lower - 0.008) / max(0.014, 0.45 * px)) ** 2)) * reach
    crease = np.exp(-(((v - upper + 0.055) / 0.018) ** 2)) * ramp((1.05 - at) / 0.3)
    return colour * ((1 - lash) * (1 - 0.32 * rim) * (1 - 0.22 * crease))[..., None]


def _glasses(f: Features, colour: np.ndarray, u: np.ndarray, v: np.ndarray, px: float) -> np.ndarray:
    au = np.abs(u)
    d = (((au - f.eye_u) / 0.29) ** 4 + ((v - EYE_V - 0.035) / 0.215) ** 4) ** 0.25
    rim = ramp((0.018 - np.abs(d - 1) * 0.25) / px + 0.25)
    bridge = ramp((0.016 - np.abs(v - EYE_V + 0.01 + 0.03 * np.cos(au * 12))) / px + 0.2)
    temple = ramp((0.016 - np.abs(v - EYE_V)) / px + 0.2) * (au > f.eye_u + 0.285)
    frame = np.maximum(np.maximum(rim, bridge * (au < f.eye_u - 0.285)), temple)
    return over(colour + (0.04 * (d < 1))[..., None], (0.07, 0.06, 0.06), np.minimum(frame, 1) * 0.9)
