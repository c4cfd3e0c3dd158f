from pathlib import Path

import numpy as np
from PIL import Image


def write_picture(path: Path, shade: int = 128, mode: str = "L") -> Path:
    """An image file of one shade, by default 4x4 grey; its suffix decides the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4), shade, np.uint8)).convert(mode).save(path)
    return path
