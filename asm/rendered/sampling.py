"""Random people, photographs and expressions: what is drawn at random for the procedural faces.

The spreads set the data set's level of difficulty; every function draws from the generator it is given.
"""

import numpy as np

from asm.rendered import CLASSES
from asm.rendered.anatomy import ACTION_UNITS, Face, Identity, Light, Nuisance, Pose

# Expressions as sets of action units at full intensity.
PROTOTYPES: dict[str, dict[str, float]] = {
    "neutral": {},
    "happiness": {"AU12": 1.0, "AU6": 0.9, "AU25": 0.7},
    "surprise": {"AU1": 1.0, "AU2": 1.0, "AU5": 1.0, "AU25": 0.4, "AU26": 0.9},
    "sadness": {"AU1": 0.95, "AU4": 0.35, "AU15": 1.0, "AU17": 0.7, "AU43": 0.5},
    "anger": {"AU4": 1.0, "AU5": 0.45, "AU7": 0.8, "AU23": 1.0, "AU17": 0.2},
    "disgust": {"AU9": 1.0, "AU10": 1.0, "AU15": 0.45, "AU7": 0.5, "AU25": 0.3},
    "fear": {"AU1": 1.0, "AU2": 0.6, "AU4": 0.5, "AU5": 1.0, "AU20": 1.0, "AU25": 0.5, "AU26": 0.25},
}
LOWEST_INTENSITY = 0.75

# sRGB, light to dark
SKIN = np.array(
    [[0.96, 0.80, 0.70], [0.89, 0.70, 0.58], [0.78, 0.57, 0.43], [0.58, 0.40, 0.29], [0.38, 0.25, 0.18]]
)
HAIR = np.array(
    [
        [0.05, 0.045, 0.045],
        [0.15, 0.09, 0.06],
        [0.30, 0.18, 0.10],
        [0.62, 0.45, 0.24],
        [0.45, 0.18, 0.08],
        [0.55, 0.54, 0.53],
    ]
)
IRIS = np.array(
    [[0.22, 0.13, 0.07], [0.36, 0.24, 0.12], [0.30, 0.38, 0.22], [0.30, 0.45, 0.62], [0.42, 0.46, 0.48]]
)


def _colour(values: np.ndarray) -> tuple[float, float, float]:
    r, g, b = np.clip(values, 0.02, 1.0)
    return float(r), float(g), float(b)


def sample_identity(rng: np.random.Generator) -> Identity:
    """A random person."""

    def around(mean: float, spread: float) -> float:
        return float(mean + spread * np.clip(rng.standard_normal(), -2, 2))

    tone = rng.beta(1.1, 1.3) * (len(SKIN) - 1)
    low = min(int(tone), len(SKIN) - 2)
    skin = SKIN[low] + (tone - low) * (SKIN[low + 1] - SKIN[low]) + rng.normal(0, 0.015, 3)
    dark = tone / (len(SKIN) - 1)
    hair_p = np.array(
        [0.3 + dark, 0.3, 0.2 * (1 - dark) + 0.02, 0.25 * (1 - dark) ** 2, 0.12 * (1 - dark) ** 2, 0.08]
    )
    hair = HAIR[rng.choice(len(HAIR), p=hair_p / hair_p.sum())] * rng.uniform(0.8, 1.2)
    iris_p = np.array([0.35 + dark, 0.3, 0.12 * (1 - dark), 0.25 * (1 - dark) ** 2, 0.12 * (1 - dark) ** 2])
    masculine = rng.random() < 0.5
    style_p = [0.07, 0.33, 0.5, 0.02, 0.03, 0.05] if masculine else [0.005, 0.025, 0.14, 0.28, 0.33, 0.22]
    style = int(rng.choice(6, p=style_p))
    volume = {0: 0.0, 1: 0.03, 2: 0.09, 3: 0.13, 4: 0.12, 5: 0.04}[style] * rng.uniform(0.8, 1.3)
    lip_tint = np.array([0.86, 0.56, 0.52]) if masculine else np.array([0.93, 0.50, 0.50])
    return Identity(
        width=around(0.95, 0.02),
        crown=around(1.34, 0.025),
        chin=around(1.24 if masculine else 1.21, 0.03),
        jaw_power=around(2.6, 0.2),
        jaw_round=around(0.50 if masculine else 0.53, 0.03),
        eye_distance=around(0.40, 0.012),
        eye_size=around(1.0 if masculine else 1.07, 0.05),
        eye_tilt=around(0.012, 0.01),
        brow_height=around(0.235 if masculine else 0.265, 0.012),
        brow_thickness=max(around(1.0 if masculine else 0.72, 0.12), 0.45),
        brow_arch=around(0.03 if masculine else 0.055, 0.01),
        nose_length=around(0.36, 0.018),
        nose_width=around(1.0 + 0.2 * dark, 0.07),
        nose_height=around(0.30, 0.025),
        mouth_height=around(0.76, 0.015),
        mouth_width=around(0.335, 0.018),
        lip_upper=around(0.062 + 0.02 * dark if masculine else 0.075 + 0.02 * dark, 0.007),
        lip_lower=around(0.088 + 0.02 * dark if masculine else 0.102 + 0.02 * dark, 0.008),
        cheek=around(1.0, 0.3),
        age=float(rng.beta(1.2, 2.5)),
        skin=_colour(skin),
        lips=_colour(skin * lip_tint * (1.02 - 0.05 * dark) + rng.normal(0, 0.02, 3)),
        iris=_colour(IRIS[rng.choice(len(IRIS), p=iris_p / iris_p.sum())] * rng.uniform(0.85, 1.15)),
        hair=_colour(hair),
        hair_style=style,
        hair_volume=float(volume),
        hairline=around(-0.80, 0.05),
        beard=float(rng.uniform(0.25, 0.65)) if masculine and rng.random() < 0.22 else 0.0,
        freckles=float(rng.random()) if rng.random() < 0.15 * (1 - dark) else 0.0,
        glasses=bool(rng.random() < 0.06),
        texture=int(rng.integers(2**31)),
    )


def sample_face(rng: np.random.Generator, identity: Identity, action_units: np.ndarray) -> Face:
    """A random photograph of `identity` making the face `action_units` [A]."""

    def normal(spread: float) -> float:
        return float(spread * np.clip(rng.standard_normal(), -2.2, 2.2))

    scale = float(rng.uniform(32.0, 35.5))
    pose = Pose(
        yaw=np.deg2rad(normal(6.6)),
        pitch=np.deg2rad(normal(3.6)),
        roll=np.deg2rad(normal(4.2)),
        scale=scale,
        shift=(normal(0.05), 0.07 + normal(0.04)),
        gaze=(normal(0.4), normal(0.3)),
    )
    light = Light(
        azimuth=np.deg2rad(normal(26.0)),
        elevation=np.deg2rad(float(rng.uniform(5, 50))),
        ambient=float(rng.uniform(0.45, 0.65)),
        warmth=normal(0.6),
    )
    shirt = rng.uniform(0.1, 0.9) + rng.uniform(-0.2, 0.2, 3)
    nuisance = Nuisance(
        seed=int(rng.integers(2**31)),
        shirt=_colour(shirt),
        exposure=float(rng.uniform(0.92, 1.12)),
        gamma=float(rng.uniform(0.88, 1.1)),
        grey=bool(rng.random() < 0.06),
        blur=float(rng.uniform(0, 0.6)),
        noise=float(rng.uniform(0.003, 0.018)),
        jpeg=int(rng.integers(76, 96)),
    )
    return Face(identity, pose, light, action_units.astype(np.float32), nuisance)


def _prototype(name: str) -> np.ndarray:
    return np.array([PROTOTYPES[name].get(unit, 0.0) for unit in ACTION_UNITS], np.float32)


def sample_expression(rng: np.random.Generator, label: int, second: int, mixture: float) -> np.ndarray:
    """Action units [A] of an expression; a blend of two where `second` is not -1."""
    count = len(ACTION_UNITS)

    def expression(k: int) -> np.ndarray:
        units = _prototype(CLASSES[k]) * rng.uniform(LOWEST_INTENSITY, 1.05) * rng.uniform(0.6, 1.3, count)
        return np.where(rng.random(count) < 0.1, 0.25 * units, units)

    units = expression(label)
    if second >= 0:
        units = mixture * units + (1 - mixture) * expression(second)
    units = units + rng.normal(0, 0.07, count)
    talking = rng.random() < 0.15
    units[ACTION_UNITS.index("AU26")] += talking * rng.uniform(0.1, 0.3)
    return units.astype(np.float32)


def sample_action_units(rng: np.random.Generator) -> np.ndarray:
    """Action units of no class in particular: a random mix of two prototypes and of single units."""
    count = len(ACTION_UNITS)
    a, b = rng.integers(len(CLASSES), size=2)
    share = rng.random()
    mixed = share * _prototype(CLASSES[a]) + (1 - share) * _prototype(CLASSES[b])
    single = (rng.random(count) < 0.2) * rng.random(count)
    units = np.maximum(mixed * rng.uniform(0.5, 1.3, count), single) * rng.uniform(0.5, 1.05)
    return (units + rng.normal(0, 0.07, count)).astype(np.float32)
