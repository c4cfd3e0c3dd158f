"""Small pictures of aligned faces, for pages."""

import base64
import io

import numpy as np
from PIL import Image

QUALITY = 80


def jpeg(face: np.ndarray, side: int) -> bytes:
    """A face, uint8 [S, S, 1 or 3], as a JPEG file of at most `side` pixels."""
    image = Image.fromarray(face[..., 0] if face.shape[2] == 1 else face)
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def data_url(face: np.ndarray, side: int) -> str:
    """The same inside the address of an image, for pages of a single file."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg(face, side)).decode()}"
