"""Image files of every format and mode that is read, and those that are listed as unreadable."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from asm.datasets import images
from asm.datasets.images import GROUND, read_image

RAMP = np.arange(64, dtype=np.uint16).reshape(8, 8) * 4  # of 8 bits


def png(values: np.ndarray, colour_type: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of 16 bits a value from [H, W, C], which Pillow cannot write for C > 1."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize("suffix", images.SUFFIXES)
def test_every_named_format_is_read(tmp_path, suffix):
    kind = next(kind for kind, suffixes in images.FORMATS.items() if suffix in suffixes)
    Image.new("L", (40, 30), 200).save(tmp_path / f"x{suffix}", kind)
    assert read_image(tmp_path / f"x{suffix}").shape[:2] == (30, 40)
    assert np.abs(read_image(tmp_path / f"x{suffix}").astype(int) - 200).max() <= 2


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_and_fewer_in_sixteen_are_not_taken_for_black(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(RAMP * 257).save(path)
    assert (read_image(path) == RAMP).all()
    for factor in (1, 16, 64):  # 8, 12, 14 bits
        Image.fromarray(RAMP * factor).save(path)
        with pytest.raises(OSError, match=r"x\.\w+: 16 bits a value, .* Convert it to 8 bits"):
            read_image(path)


@pytest.mark.parametrize(("channels", "colour_type"), [(2, 4), (3, 2), (4, 6)])
def test_so_are_those_in_colour_and_with_transparency(tmp_path, channels, colour_type):
    values = np.repeat(RAMP[..., None], channels, axis=2) * 257
    if channels in (2, 4):
        values[..., -1] = 65535
    (tmp_path / "x.png").write_bytes(png(values, colour_type))
    assert (read_image(tmp_path / "x.png") == RAMP[..., None]).all()
    (tmp_path / "x.png").write_bytes(png(values // 257, colour_type))
    with pytest.raises(OSError, match="16 bits a value"):
        read_image(tmp_path / "x.png")


@pytest.mark.parametrize(("kind", "channels"), [(b"P5", 1), (b"P6", 3)])
@pytest.mark.parametrize("most", [255, 1023, 4095, 65535])
def test_the_maximum_that_a_ppm_states_is_white(tmp_path, kind, channels, most):
    values = np.repeat(np.array([0, most // 2, most])[:, None], channels, axis=1)
    body = values.astype(">u2" if most > 255 else np.uint8).tobytes()
    (tmp_path / "x.ppm").write_bytes(b"%s 3 1 %d\n%s" % (kind, most, body))
    pixels = read_image(tmp_path / "x.ppm").reshape(3, channels)
    assert np.abs(pixels.astype(int) - [[0], [127], [255]]).max() <= 1


def test_what_a_tiff_tells_of_its_greys_counts(tmp_path):
    values = (RAMP * 16).reshape(-1).tolist()
    packed = b"".join(
        bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255])
        for a, b in zip(values[::2], values[1::2], strict=True)
    )
    tags = {256: 8, 257: 8, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 8, 279: len(packed)}
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = b"II*\0" + struct.pack("<I", 8 + len(packed))
    (tmp_path / "12.tif").write_bytes(head + packed + struct.pack("<H", len(tags)) + directory + bytes(4))
    assert (read_image(tmp_path / "12.tif") == RAMP).all()

    negative = TiffImagePlugin.ImageFileDirectory_v2()
    negative[262] = 0  # white is zero
    Image.fromarray(65535 - RAMP * 257).save(tmp_path / "negative.tif", tiffinfo=negative)
    assert (read_image(tmp_path / "negative.tif") == RAMP).all()


@pytest.mark.parametrize(
    ("values", "mode"),
    [(RAMP.astype(np.float32) / 255, "F, floats"), (RAMP.astype(np.int32) << 20, "I, 32-bit integers")],
)
def test_greys_without_a_known_white_are_unreadable_by_their_mode(tmp_path, values, mode):
    Image.fromarray(values).save(tmp_path / "x.tif")
    with pytest.raises(OSError, match=rf"mode {mode}, and the file does not tell which value is white"):
        read_image(tmp_path / "x.tif")


def test_transparency_is_laid_over_grey(tmp_path):
    """The left half hides another colour, the middle shows half of it, the right is opaque."""
    hidden = np.zeros((4, 6, 4), np.uint8)
    hidden[..., 0] = 200
    hidden[:, 2:4, 3], hidden[:, 4:, 3] = 128, 255
    Image.fromarray(hidden).save(tmp_path / "x.png")
    pixels = read_image(tmp_path / "x.png").astype(int)
    assert np.abs(pixels[0, [0, 2, 4]] - [[GROUND] * 3, [164, 64, 64], [200, 0, 0]]).max() <= 1
    Image.fromarray(hidden[..., [0, 3]]).save(tmp_path / "grey.png")
    assert np.abs(read_image(tmp_path / "grey.png")[0, [0, 2, 4]].astype(int) - [GROUND, 164, 200]).max() <= 1


@pytest.mark.parametrize(
    ("mode", "shade", "suffix"), [("1", 1, "png"), ("L", 7, "png"), ("P", 3, "png"), ("P", 3, "gif")]
)
def test_a_transparent_shade_is_grey(tmp_path, mode, shade, suffix):
    image = Image.new(mode, (4, 4), shade)
    if mode == "P":
        image.putpalette([value for k in range(256) for value in (k, 0, 0)])
    image.save(tmp_path / f"x.{suffix}", transparency=shade)
    assert (read_image(tmp_path / f"x.{suffix}") == GROUND).all()


def test_a_transparent_shade_of_sixteen_bits_is_grey(tmp_path):
    values = RAMP[..., None] * 257
    (tmp_path / "x.png").write_bytes(png(values, 0, (b"tRNS", struct.pack(">H", 257 * 8))))
    assert (read_image(tmp_path / "x.png") == np.where(RAMP == 8, GROUND, RAMP)).all()


def test_no_other_decoder_is_tried_whatever_the_name(tmp_path, monkeypatch):
    """Pillow hands an EPS to Ghostscript."""
    head = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n"
    (tmp_path / "x.png").write_bytes(head)
    with Image.open(tmp_path / "x.png") as image:
        assert image.format == "EPS"
    with pytest.raises(OSError, match="cannot identify"):
        read_image(tmp_path / "x.png")


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, monkeypatch, recwarn):
    Image.new("1", (10_000, 10_000)).save(tmp_path / "x.png")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(OSError, match=r"x\.png: 10000 x 10000 pixels; at most 50 million are read"):
        read_image(tmp_path / "x.png")
