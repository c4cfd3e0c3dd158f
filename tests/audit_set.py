"""A small folder of labelled images, and what makes its audit quick: a random frozen network, small heads."""

from pathlib import Path

import numpy as np
from PIL import Image

from asm.parts import backbones
from asm.tools.audit import judgement, prepared

CLASSES = ("anger", "fear", "joy")
QUICK = {"hidden": 64, "epochs": 9, "warmup_epochs": 3}
SHADES = ((200, 40, 40), (40, 200, 40), (40, 40, 200))


def write(root: Path, count: int = 60, wrong: int = 6) -> list[str]:
    """`count` pictures of a class's colour under train/ and a twelfth as many under test/; the first `wrong`
    training ones lie in another class's folder: their ids are returned."""
    rng = np.random.default_rng(0)
    misplaced = []
    for i in range(count + count // 12):
        split = "train" if i < count else "test"
        label = (i + 1) % 3 if i < wrong else i % 3
        path = root / split / CLASSES[label] / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(-40, 40, (7, 7, 3)).repeat(16, axis=0).repeat(16, axis=1)
        Image.fromarray((coarse + SHADES[i % 3]).clip(0, 255).astype(np.uint8)).save(path)
        if i < wrong:
            misplaced.append(path.relative_to(root).as_posix())
    return misplaced


def make_quick(monkeypatch) -> None:
    """No weights to install, few units and epochs, one thread."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(
        prepared, "frozen_network", lambda: backbones.build("dlib29", 1, 32, None, head_seed=0)
    )
    monkeypatch.setattr(judgement, "HEAD", judgement.HEAD.model_copy(update=QUICK))
