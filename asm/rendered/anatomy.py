"""Anatomy of a procedural face: who it is, what its muscles do, and the relief they make.

Head units: half a head's width is about 1, x points right, y down, z at the viewer. `u, v` are *canonical*
face coordinates (those of the same face seen frontally), so every feature is a formula in `u, v` and
`au = |u|`.
"""

from dataclasses import dataclass

import numpy as np

ACTION_UNITS: tuple[str, ...] = (
    "AU1",  # inner brow raiser
    "AU2",  # outer brow raiser
    "AU4",  # brow lowerer
    "AU5",  # upper lid raiser
    "AU6",  # cheek raiser
    "AU7",  # lid tightener
    "AU9",  # nose wrinkler
    "AU10",  # upper lip raiser
    "AU12",  # lip corner puller
    "AU15",  # lip corner depressor
    "AU17",  # chin raiser
    "AU20",  # lip stretcher
    "AU23",  # lip tightener
    "AU25",  # lips part
    "AU26",  # jaw drop
    "AU43",  # lids droop
)

EYE_V = -0.06  # height of the eyes' axis, head units


@dataclass(frozen=True)
class Identity:
    """What stays the same over one person's pictures; lengths in head units, colours are sRGB in 0..1."""

    width: float
    crown: float
    chin: float
    jaw_power: float
    jaw_round: float
    eye_distance: float
    eye_size: float
    eye_tilt: float
    brow_height: float
    brow_thickness: float
    brow_arch: float
    nose_length: float
    nose_width: float
    nose_height: float
    mouth_height: float
    mouth_width: float
    lip_upper: float
    lip_lower: float
    cheek: float
    age: float
    skin: tuple[float, float, float]
    lips: tuple[float, float, float]
    iris: tuple[float, float, float]
    hair: tuple[float, float, float]
    hair_style: int  # see scene.py: BALD, CROPPED, SHORT, BOB, LONG, TIED
    hair_volume: float
    hairline: float
    beard: float
    freckles: float
    glasses: bool
    texture: int  # seed of skin blotches and hair strands


@dataclass(frozen=True)
class Pose:
    """Angles in radians; scale in pixels per head unit at size 112; shift in head units; gaze -1..1."""

    yaw: float
    pitch: float
    roll: float
    scale: float
    shift: tuple[float, float]
    gaze: tuple[float, float]


@dataclass(frozen=True)
class Light:
    """One lamp (azimuth and elevation in radians) and the ambient share of the light."""

    azimuth: float
    elevation: float
    ambient: float
    warmth: float


@dataclass(frozen=True)
class Nuisance:
    """Background and camera; `blur` in pixels at size 112, `noise` as a share of full scale, `jpeg` 1-95."""

    seed: int
    shirt: tuple[float, float, float]
    exposure: float
    gamma: float
    grey: bool
    blur: float
    noise: float
    jpeg: int


@dataclass(frozen=True, eq=False)
class Face:
    """Everything `renderer.render` needs: a face with the same values gives the same pixels.

    `action_units` is float [A] in the order of `ACTION_UNITS`, 0 relaxed, 1 full (may exceed 1 a little).
    """

    identity: Identity
    pose: Pose
    light: Light
    action_units: np.ndarray
    nuisance: Nuisance


@dataclass(frozen=True)
class Features:
    """Positions and sizes of the features of one identity under one set of action units (head units)."""

    eye_u: float
    eye_half: float
    lid_up: float
    lid_low: float
    lid_slant: float
    brow_v: float
    brow_in: float
    brow_out: float
    brow_raise_in: float
    brow_raise_out: float
    brow_arch: float
    nose_v: float
    nose_lift: float
    mouth_v: float
    mouth_half: float
    corner: float
    gap_up: float
    gap_low: float
    teeth_up: float
    teeth_low: float
    lip_up: float
    lip_low: float
    chin: float

    def brow(self, s: np.ndarray) -> np.ndarray:
        """Height of the brow's middle line at `s` = 0 (inner end) .. 1 (outer end)."""
        arch = self.brow_arch * (1 - ((s - 0.62) / 0.62) ** 2)
        inner, outer = (1 - s) ** 1.4, s**0.9
        return self.brow_v - arch + self.brow_raise_in * inner + self.brow_raise_out * outer

    def lids(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Upper and lower lid height at `t` = -1 (inner corner) .. 1 (outer corner)."""
        t2 = t * t
        axis = EYE_V - self.lid_slant * t
        upper = axis - self.lid_up * (1 - t2 * np.sqrt(t2)) * (1 - 0.12 * t)
        lower = axis + self.lid_low * (1 - t2) * (1 + 0.15 * t)
        return upper, lower

    def lips(self, u: np.ndarray) -> tuple[np.ndarray, ...]:
        """Heights at `u` of outer upper, inner upper, middle, inner lower, outer lower lip; last, the bow."""
        t2 = np.minimum((u / self.mouth_half) ** 2, 1.0)
        bow = 1 - t2
        swell = np.sqrt(bow)
        middle = self.mouth_v + self.corner * (t2 - 0.35)
        inner_up = middle - self.gap_up * swell
        inner_low = middle + self.gap_low * swell
        cupid = 1 - 0.28 * np.exp(-t2 / 0.012) - 0.25 * t2
        outer_up = inner_up - self.lip_up * (0.35 * swell + 0.65 * bow) * cupid
        outer_low = inner_low + self.lip_low * (0.45 * swell + 0.55 * bow)
        return outer_up, inner_up, middle, inner_low, outer_low, bow


def features(identity: Identity, action_units: np.ndarray) -> Features:
    """Where the muscles put the features. `action_units` is [A] in the order of `ACTION_UNITS`."""
    a = dict(zip(ACTION_UNITS, (float(x) for x in action_units), strict=True))
    jaw = max(a["AU26"], 0.0)
    part = max(a["AU25"], 0.0)
    smile = a["AU12"]
    gap = 0.40 * jaw + 0.11 * part * (1 + 0.4 * max(smile, 0)) + 0.02 * max(a["AU10"], 0)
    press = float(np.clip(1 - 0.62 * a["AU23"] - 0.25 * max(smile, 0), 0.25, 1.3))
    size = 0.2 * identity.eye_size
    squint = 0.42 * a["AU7"] + 0.38 * a["AU6"]
    return Features(
        eye_u=identity.eye_distance,
        eye_half=size,
        lid_up=max(
            0.088 * identity.eye_size * (1 + 0.85 * a["AU5"] - 0.45 * squint - 0.62 * a["AU43"]), 0.012
        ),
        lid_low=max(0.055 * identity.eye_size * (1 + 0.3 * a["AU5"] - 1.0 * squint), 0.006),
        lid_slant=identity.eye_tilt - 0.03 * (a["AU43"] + 0.5 * max(a["AU1"] - a["AU2"], 0)),
        brow_v=EYE_V - identity.brow_height + 0.045 * a["AU4"] + 0.03 * a["AU9"],
        brow_in=0.13 - 0.055 * a["AU4"],
        brow_out=0.68 - 0.03 * a["AU4"],
        brow_raise_in=-0.20 * a["AU1"] + 0.15 * a["AU4"] + 0.07 * a["AU9"],
        brow_raise_out=-0.19 * a["AU2"] - 0.02 * a["AU4"] + 0.05 * a["AU43"],
        brow_arch=identity.brow_arch,
        nose_v=identity.nose_length,
        nose_lift=0.055 * max(a["AU9"], 0) + 0.02 * max(a["AU10"], 0),
        mouth_v=identity.mouth_height - 0.04 * a["AU17"] - 0.02 * smile,
        mouth_half=identity.mouth_width
        * max(1 + 0.30 * smile + 0.30 * a["AU20"] - 0.22 * max(jaw - 0.3, 0) - 0.08 * a["AU23"], 0.6),
        corner=-0.20 * smile + 0.18 * a["AU15"] + 0.05 * a["AU20"],
        gap_up=0.28 * gap + 0.075 * max(a["AU10"], 0),
        gap_low=0.72 * gap,
        teeth_up=0.105 + 0.03 * max(a["AU10"], 0) + 0.02 * max(smile, 0),
        teeth_low=0.07 * float(np.clip(a["AU20"] + 0.5 * a["AU10"], 0, 1)),
        lip_up=identity.lip_upper * press,
        lip_low=identity.lip_lower * press * (1 + 0.25 * a["AU17"]),
        chin=identity.chin + 0.2 * jaw,
    )


def bump(x: np.ndarray, y: np.ndarray, cx: float, cy: float, sx: float, sy: float) -> np.ndarray:
    """Gaussian hill of height 1 at (cx, cy)."""
    dx, dy = (x - cx) * (1 / sx), (y - cy) * (1 / sy)
    return np.exp(-(dx * dx + dy * dy))


def ramp(x: np.ndarray) -> np.ndarray:
    """Smooth step from 0 at x <= -0.5 to 1 at x >= 0.5."""
    t = np.clip(x + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def outline(identity: Identity, chin: float, y: np.ndarray) -> np.ndarray:
    """Half width of the head at height `y` (0 outside crown..chin)."""
    top = np.clip(1 - np.abs(y / identity.crown) ** 2.3, 0, 1) ** 0.47
    t = np.clip(y / chin, 0, 1)
    low = (1 - t**identity.jaw_power) ** identity.jaw_round * (1 - 0.1 * t)
    return identity.width * np.where(y < 0, top, low)


def _nose(f: Features, identity: Identity, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Relief of the nose; large enough to take part in the projection."""
    tip = f.nose_v
    k = np.clip((v + 0.16) * (1 / (tip + 0.16)), 0, 1)
    width = (0.075 + 0.055 * k) * identity.nose_width
    ridge = (0.05 + 0.95 * k * np.sqrt(k)) * np.exp(-((u / width) ** 2)) * ramp((tip + 0.075 - v) * (1 / 0.1))
    ridge *= ramp((v + 0.2) * (1 / 0.25))
    wings = bump(np.abs(u), v, 0.14 * identity.nose_width, tip + 0.05 - f.nose_lift, 0.07, 0.065)
    ball = bump(u, v, 0, tip - 0.01, 0.11, 0.085)
    return identity.nose_height * (0.85 * ridge + 0.3 * ball + 0.42 * wings)


@dataclass(frozen=True)
class Relief:
    """Fields [H, W] over the image, float32: canonical coordinates, depth, distance inside the outline."""

    u: np.ndarray
    v: np.ndarray
    z: np.ndarray
    inside: np.ndarray
    projection_z: np.ndarray


def relief(face: Face, f: Features, x: np.ndarray, y: np.ndarray) -> Relief:
    """Depth and canonical coordinates at head-frame positions `x, y` (both [H, W])."""
    identity, pose = face.identity, face.pose
    sin_y, cos_y, sin_p, cos_p = np.sin(pose.yaw), np.cos(pose.yaw), np.sin(pose.pitch), np.cos(pose.pitch)
    sin_y, cos_y, sin_p, cos_p = float(sin_y), float(cos_y), float(sin_p), float(cos_p)
    half = outline(identity, f.chin, y)
    t = np.clip(y * (1 / f.chin), 0, 1)
    middle = 0.24 * sin_y * t
    r = np.abs(x - middle) / np.maximum(half, 0.02)
    inside = half - np.abs(x - middle)
    skull = np.clip(1 - np.abs(y / identity.crown) ** 2.3, 0, 1) ** 0.42
    profile = np.where(y < 0, skull, np.sqrt(1 - t**4 * 0.98))
    base = 0.95 * np.sqrt(np.clip(1 - r**2.3, 0, 1)) * profile
    z = base
    for _ in range(3):
        u = x * cos_y - z * sin_y
        v = y * cos_p - z * sin_p
        z = base + _nose(f, identity, u, v)
    return Relief(u, v, z + _soft_tissue(face, f, u, v), inside, z)


def _soft_tissue(face: Face, f: Features, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Everything on the head that is not the nose: sockets, cheeks, lips, folds and wrinkles."""
    identity = face.identity
    a = dict(zip(ACTION_UNITS, (max(float(x), 0.0) for x in face.action_units), strict=True))
    au = np.abs(u)
    brow_mid = float(f.brow(np.float32(0.45)))
    z = -0.13 * bump(au, v, f.eye_u - 0.03, EYE_V - 0.02, 0.25, 0.15)
    z += 0.075 * bump(au, v, f.eye_u, EYE_V, 0.17, 0.11)
    z += 0.065 * bump(au, v, 0.36, brow_mid + 0.01, 0.32, 0.075)
    cheek = 0.06 * identity.cheek + 0.1 * a["AU12"] + 0.05 * a["AU6"]
    z += cheek * bump(au, v, 0.52, 0.30 - 0.07 * a["AU12"] - 0.05 * a["AU6"], 0.22, 0.17)
    outer_up, _, middle, _, outer_low, bow = f.lips(u)
    low = f.mouth_v - f.corner * 0.35 + f.gap_low + f.lip_low
    z += 0.09 * bump(u, v, 0, f.mouth_v, 0.40, 0.28)
    z += 0.11 * bump(u, v, 0, f.chin - 0.2, 0.24, 0.14)
    z -= (0.07 + 0.05 * a["AU17"]) * bump(u, v, 0, low + 0.085, 0.26, 0.055)
    z -= 0.02 * bump(u, v, 0, f.mouth_v - 0.17, 0.04, 0.07)
    # nasolabial fold, from the nostril wing past the corner of the mouth
    k = (v - f.nose_v) * (1 / max(f.mouth_v - f.nose_v, 0.2))
    corner_u = max(f.mouth_half, 0.3)
    fold_u = 0.2 + (corner_u - 0.1) * np.clip(k, 0, 1.2)
    depth = 0.012 + 0.02 * identity.age + 0.045 * a["AU12"] + 0.045 * a["AU9"] + 0.045 * a["AU10"]
    z -= depth * np.exp(-(((au - fold_u) * (1 / 0.065)) ** 2)) * ramp((k + 0.05) * 4) * ramp((0.95 - k) * 2.5)
    # lips as rolls either side of the mouth line
    lips = (v > outer_up) & (v < outer_low)
    roll = np.where(
        v < middle,
        (v - outer_up) / np.maximum(middle - outer_up, 1e-3),
        (outer_low - v) / np.maximum(outer_low - middle, 1e-3),
    )
    z += np.where(lips, 0.07 * np.sqrt(bow) * np.sin(np.pi * np.clip(roll, 0, 1) ** 0.8), 0)
    # corners pull in
    z -= 0.035 * bump(au, v, f.mouth_half + 0.02, f.mouth_v + 0.65 * f.corner, 0.06, 0.06)
    bag = 0.018 * identity.age + 0.03 * a["AU6"] + 0.02 * a["AU7"]
    z += bag * bump(au, v, f.eye_u, EYE_V + 0.15, 0.17, 0.045)
    z -= 0.8 * bag * bump(au, v, f.eye_u, EYE_V + 0.22, 0.2, 0.04)
    raised = 0.5 * (a["AU1"] + a["AU2"])
    if raised > 0.1 or identity.age > 0.3:
        lines = np.cos((v - f.brow_v) * (2 * np.pi / 0.145) + 0.5 * np.cos(3 * u))
        window = bump(u, v, 0, f.brow_v - 0.32, 0.45, 0.16)
        z += (0.016 * raised + 0.003 * identity.age) * lines * window
    if a["AU4"] > 0.1:
        z -= 0.05 * a["AU4"] * bump(au, v, 0.075, f.brow_v + 0.06, 0.032, 0.12)
        z += 0.03 * a["AU4"] * bump(u, v, 0, f.brow_v + 0.05, 0.04, 0.12)
    if a["AU9"] > 0.1:
        z += 0.017 * a["AU9"] * np.cos((v + 0.6 * au) * (2 * np.pi / 0.12)) * bump(u, v, 0, 0.05, 0.15, 0.14)
    if a["AU6"] > 0.1:
        feet = np.cos(np.arctan2(v - EYE_V, au - f.eye_u) * 12)
        z += 0.012 * a["AU6"] * feet * bump(au, v, f.eye_u + f.eye_half + 0.12, EYE_V + 0.02, 0.1, 0.13)
    return z


def project(face: Face, f: Features, depth: np.ndarray, x0: float, y0: float, scale: float) -> np.ndarray:
    """Pixel positions [5, 2] of the landmarks, in MTCNN's order; `depth` [H, W] is the projection's.

    Solves the canonical-coordinate equation of `relief` for the position by fixed-point iteration.
    """
    corner = float(f.mouth_v + 0.65 * f.corner)
    u = np.array([-f.eye_u, f.eye_u, 0, -f.mouth_half, f.mouth_half])
    v = np.array([EYE_V, EYE_V, f.nose_v, corner, corner])
    pose = face.pose
    sin_r, cos_r = np.sin(pose.roll), np.cos(pose.roll)
    z = np.full(5, 0.9)
    height, width = depth.shape
    for _ in range(12):
        hx = (u + z * np.sin(pose.yaw)) / np.cos(pose.yaw)
        hy = (v + z * np.sin(pose.pitch)) / np.cos(pose.pitch)
        px = (cos_r * hx - sin_r * hy) * scale + x0
        py = (sin_r * hx + cos_r * hy) * scale + y0
        gx, gy = np.clip(px, 0, width - 1.001), np.clip(py, 0, height - 1.001)
        i, j = gy.astype(int), gx.astype(int)
        fy, fx = gy - i, gx - j
        z = (depth[i, j] * (1 - fx) + depth[i, j + 1] * fx) * (1 - fy)
        z += (depth[i + 1, j] * (1 - fx) + depth[i + 1, j + 1] * fx) * fy
    return np.stack([px, py], 1).astype(np.float32)
