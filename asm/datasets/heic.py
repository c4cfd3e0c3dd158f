"""HEIC, as phones write it, beside what asm/datasets/images.py reads, where pillow-heif is installed."""

from pathlib import Path

import numpy as np

from asm.datasets import images

HEIC = (".heic", ".heif")
SUFFIXES = (*images.SUFFIXES, *HEIC)
REMEDY = "HEIC is read where pillow-heif is installed (`pip install '.[heic]'`)"


def read_photo(path: Path) -> np.ndarray:
    """As `asm.datasets.images.read_image`; of HEIC uint8 [H, W, 3], upright. Raises OSError for what cannot
    be read, HEIC without pillow-heif included."""
    if not path.name.lower().endswith(HEIC):
        return images.read_image(path)
    try:
        import pillow_heif
    except ImportError as error:
        raise OSError(f"cannot read the image {path}: {REMEDY}") from error
    try:
        photo = pillow_heif.open_heif(path)  # its main image, turned upright; decoded below
        if photo.size[0] * photo.size[1] > images.MAX_PIXELS:
            most = images.MAX_PIXELS // 1_000_000
            raise OSError(
                f"cannot read the image {path}: {photo.size[0]} x {photo.size[1]} pixels; at most {most} "
                "million are read"
            )
        return np.array(photo.to_pillow().convert("RGB"))
    except (OSError, MemoryError):
        raise
    except Exception as error:  # of libheif, on damaged files
        raise OSError(f"cannot read the image {path}: {error}") from error
