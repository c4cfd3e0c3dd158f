"""One image file as 8-bit pixels: which formats are read, and what becomes of their modes."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

# Pillow's names, and how such files are called. No other decoder is tried, whatever a file's name: some start
# programs (EPS), few are tested against hostile files.
FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "AVIF": (".avif",),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k", ".jpf", ".jpx"),
}
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
MAX_PIXELS = 50_000_000  # a photograph's; one image more costs 150 MB, and its crop about ten times as much
GROUND = 128  # grey that shows through transparent pixels
_WITHOUT_WHITE = {"I": "32-bit integers", "F": "floats"}
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # MAX_PIXELS is below its bound


def read_image(path: Path) -> np.ndarray:
    """Pixels of an image file, upright by its EXIF tag: uint8 [H, W] if it is grey, else [H, W, 3] RGB.

    16 bits are scaled to 8, transparency is laid over grey. Raises OSError whatever is wrong with the file:
    missing, truncated, no image, of another format, too large, of a range that it does not tell.
    """
    try:
        with Image.open(path, formats=list(FORMATS)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise OSError(
                    f"cannot read the image {path}: {image.width} x {image.height} pixels; at most "
                    f"{MAX_PIXELS // 1_000_000} million are read, make it smaller"
                )
            deep = any(";16" in str(tile[3]) for tile in image.tile)  # before `load`, which forgets it
            image.load()
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I;16") or (upright.mode == "I" and image.format == "PPM"):
                tags = image.tag_v2 if image.format == "TIFF" else {}
                return _from_deep_grey(upright, tags, path)
            if upright.mode in _WITHOUT_WHITE:
                raise OSError(
                    f"cannot read the image {path}: mode {upright.mode}, {_WITHOUT_WHITE[upright.mode]}, "
                    "and the file does not tell which value is white; convert it to 8 bits"
                )
            grey = "L" if upright.mode in ("1", "L", "LA") else "RGB"
            if deep:
                _require_range(np.asarray(upright.convert(grey)), path)
            if upright.has_transparency_data:
                ground = Image.new("RGBA", upright.size, (GROUND, GROUND, GROUND, 255))
                upright = Image.alpha_composite(ground, upright.convert("RGBA"))
            return np.array(upright.convert(grey))
    except (OSError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise ValueError, SyntaxError, … on damaged files
        raise OSError(f"cannot read the image {path}: {error}") from error


def _from_deep_grey(image: Image.Image, tags: Mapping, path: Path) -> np.ndarray:
    """Grey of more than 8 bits, which Pillow would clip rather than scale. It has scaled it to 16 bits in all
    formats but TIFF, whose `tags` these are."""
    values = np.asarray(image).astype(np.uint16)
    pixels = (values >> (tags.get(258, (16,))[0] - 8)).astype(np.uint8)  # BitsPerSample
    _require_range(pixels, path)
    if tags.get(262) == 0:  # PhotometricInterpretation: white is zero
        pixels = 255 - pixels
    if "transparency" in image.info:
        pixels[values == image.info["transparency"]] = GROUND
    return pixels


def _require_range(pixels: np.ndarray, path: Path) -> None:
    """8 to 14 bits stored in 16 would turn (nearly) black."""
    if pixels.size and pixels.max() < 64:
        raise OSError(
            f"cannot read the image {path}: 16 bits a value, none of them in the upper three quarters of "
            "that range; are they of fewer bits? Convert it to 8 bits"
        )
