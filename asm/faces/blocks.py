"""A block of images: read, detect, warp, and kept as one file that tells which images it was made from."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asm.basics.files import atomic_write
from asm.datasets.base import FaceDataset
from asm.faces.alignment import crop_face
from asm.faces.detection import FaceDetector
from asm.faces.store import FACE_KINDS

UNREADABLE = -1  # beside the indices into FACE_KINDS
HELD = 512 * 2**20  # bytes of a block's images that are kept in memory


@dataclass(frozen=True)
class Options:
    """What a block's bytes depend on, beside its images. See `align_dataset`."""

    size: int
    detect: bool
    pad: float
    upscale: float
    batch_size: int
    device: str


@dataclass(frozen=True)
class Block:
    """A finished block; `crops` and `landmarks` have one row for each row of `kinds` that was readable."""

    digest: np.ndarray  # str [], of the images
    kinds: np.ndarray  # int8 [n], index into FACE_KINDS or UNREADABLE
    reasons: np.ndarray  # str [n]
    crops: np.ndarray  # uint8 [m, S, S, C]
    landmarks: np.ndarray  # float32 [m, 5, 2]
    others: np.ndarray  # int16 [n], faces beside the one that was taken

    def save(self, path: Path) -> None:
        """Write the block whole or not at all: a killed run leaves whole blocks."""
        with atomic_write(path) as partial:
            np.savez(partial, **vars(self))

    @classmethod
    def load(cls, path: Path) -> Block | None:
        """The block of a file; None if it is missing, or a power cut left it incomplete."""
        try:
            with np.load(path) as parts:
                return cls(**parts)
        except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile):
            return None


class BlockImages(Sequence[np.ndarray]):
    """The readable images of a block, each uint8 [H, W] or [H, W, 3]. `reasons` has for each row why it has
    none ("" if it has one), `digests` what it was made from. Images beyond `HELD` bytes are read again
    whenever they are asked for, so that what large ones cost ends with each of them."""

    def __init__(self, dataset: FaceDataset, rows: range) -> None:
        self._dataset = dataset
        self._rows: list[int] = []
        self._held: dict[int, np.ndarray] = {}
        self.reasons: list[str] = []
        self.digests: list[bytes] = []
        size = 0
        for row in rows:
            try:
                image = dataset.read(row)
                reason = "" if image.size else "the image is empty"
            except OSError as error:
                reason = reason_of(error, str(dataset.table["path"][row]))
            self.reasons.append(reason)
            self.digests.append(digest_of(reason or image))
            if not reason:
                size += image.nbytes
                if size <= HELD:
                    self._held[len(self._rows)] = image
                self._rows.append(row)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, i: int) -> np.ndarray:
        return self._held[i] if i in self._held else self._dataset.read(self._rows[i])

    @property
    def held(self) -> list[np.ndarray] | None:
        """All images; None if some are not kept in memory."""
        return list(self._held.values()) if len(self._held) == len(self) else None


def reason_of(error: OSError, path: str) -> str:
    """The error's text without addresses and absolute paths, so that the report is the same anywhere."""
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", " ".join(str(error).split()))
    if path:
        end = re.escape(path)
        text = re.sub(rf"(?<=['\"])[^'\"]*{end}|[^\s'\"]*{end}", lambda _: path, text)
    return text or type(error).__name__


def digest_of(image: np.ndarray | str) -> bytes:
    """Of an image's shape, type and pixels, or of the reason why it cannot be read."""
    content = image.encode() if isinstance(image, str) else np.ascontiguousarray(image)
    kind = "" if isinstance(image, str) else f"{image.dtype.str} {image.shape}"
    found = hashlib.blake2b(f"{kind}\0".encode(), digest_size=16)
    found.update(content)
    return found.digest()


def align_block(
    images: Sequence[np.ndarray], reasons: list[str], digest: str, options: Options, path: Path
) -> int:
    """Detect, crop and save one block, given its readable images and the `reasons` of all its rows; returns
    their number. Runs in any process."""
    kinds = np.full(len(reasons), UNREADABLE, np.int8)
    landmarks = np.full((len(images), 5, 2), np.nan, np.float32)
    others = np.zeros(len(reasons), np.int16)
    readable = [i for i, reason in enumerate(reasons) if not reason]
    if options.detect:
        found = _detector(options).detect(images)
        for position, (i, face) in enumerate(zip(readable, found, strict=True)):
            if face is None:
                kinds[i] = FACE_KINDS.index("fallback")
            else:
                kinds[i] = FACE_KINDS.index("retry" if face.retried else "mtcnn")
                landmarks[position] = face.landmarks
                others[i] = face.others
    else:
        kinds[readable] = FACE_KINDS.index("as_is")
    crops = [crop_face(images[i], points, options.size) for i, points in enumerate(landmarks)]
    stacked = stack(crops, options.size)
    Block(np.array(digest), kinds, np.array(reasons, dtype=np.str_), stacked, landmarks, others).save(path)
    return len(reasons)


def stack(crops: list[np.ndarray], size: int) -> np.ndarray:
    """uint8 [n, S, S, C], C = 1 if all are grey; grey among colour becomes RGB."""
    channels = max((crop.shape[2] for crop in crops), default=1)
    stacked = np.empty((len(crops), size, size, channels), np.uint8)
    for target, crop in zip(stacked, crops, strict=True):
        target[:] = crop
    return stacked


_detectors: dict[Options, FaceDetector] = {}  # one per process: loading the nets takes longer than a block


def _detector(options: Options) -> FaceDetector:
    if options not in _detectors:
        _detectors.clear()
        _detectors[options] = FaceDetector(
            pad=options.pad, upscale=options.upscale, batch_size=options.batch_size, device=options.device
        )
    return _detectors[options]
