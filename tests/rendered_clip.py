"""A video of rendered faces whose expressions are known over time."""

from pathlib import Path

import numpy as np

from asm.rendered import CLASSES, renderer
from asm.rendered.anatomy import ACTION_UNITS
from asm.rendered.sampling import PROTOTYPES, sample_face, sample_identity


def face(identity: int, intensities: dict[str, float], photograph: int, size: int = 160) -> np.ndarray:
    """uint8 [size, size, 3]; another `photograph` has another pose and light."""
    units = [sum(share * PROTOTYPES[name].get(unit, 0.0) for name, share in intensities.items())
             for unit in ACTION_UNITS]  # fmt: skip
    person = sample_identity(np.random.default_rng(identity))
    drawn = sample_face(np.random.default_rng(photograph), person, np.array(units, np.float32))
    return renderer.render(drawn, size)[0]


def intensities(seconds: float, order: tuple[str, ...]) -> dict[str, float]:
    """An expression every two seconds, which comes from the neutral face and goes back to it."""
    name = order[int(seconds // 2) % len(order)]
    return {name: float(np.sin(np.pi * (seconds % 2) / 2))}


def expressions(start: int) -> tuple[str, ...]:
    """All but neutral, from one of them on."""
    names = [name for name in CLASSES if name != "neutral"]
    return tuple(names[start:] + names[:start])


def write(path: Path, frames: list[np.ndarray], fps: int, codec: str = "libx264") -> None:
    """`frames`, uint8 [H, W, 3] of even sides, as a video whose index stands before its pictures."""
    import av

    with av.open(str(path), "w", options={"movflags": "faststart"}) as clip:
        stream = clip.add_stream(codec, rate=fps, options={"crf": "18", "g": "5"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        clip.mux(stream.encode(None))
