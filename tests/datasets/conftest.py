from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def picture() -> Callable[..., Path]:
    """Write an image file of one shade, by default 4x4 grey; its suffix decides the format."""

    def write(path: Path, shade: int = 128, mode: str = "L") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), shade, np.uint8)).convert(mode).save(path)
        return path

    return write
