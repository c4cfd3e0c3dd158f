"""A block of images: read, detect, warp, and kept as one file that tells which images it was made from."""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asm.datasets.base import FaceDataset
from asm.faces.alignment import crop_face
from asm.faces.detection import FaceDetector
from asm.faces.store import FACE_KINDS

UNREADABLE = -1  # beside the indices into FACE_KINDS


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

    digest: np.ndarray  # str [], of the images; see `digest_of`
    kinds: np.ndarray  # int8 [n], index into FACE_KINDS or UNREADABLE
    reasons: np.ndarray  # str [n]
    crops: np.ndarray  # uint8 [m, S, S, C]
    landmarks: np.ndarray  # float32 [m, 5, 2]
    others: np.ndarray  # int16 [n], faces beside the one that was taken

    def save(self, path: Path) -> None:
        """Atomically: a killed run leaves whole blocks."""
        partial = path.with_suffix(".partial")
        with open(partial, "wb") as file:
            np.savez(file, **vars(self))
        os.replace(partial, path)

    @classmethod
    def load(cls, path: Path) -> Block | None:
        """None for a missing file or one that a power cut left incomplete."""
        try:
            with np.load(path) as parts:
                return cls(**parts)
        except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile):
            return None


def read_block(dataset: FaceDataset, rows: range) -> list[np.ndarray | str]:
    """The rows' images, or the reason why there is none."""
    images: list[np.ndarray | str] = []
    for row in rows:
        try:
            image = dataset.read(row)
            images.append(image if image.size else "the image is empty")
        except OSError as error:
            images.append(reason_of(error, str(dataset.table["path"][row])))
    return images


def reason_of(error: OSError, path: str) -> str:
    """The error's text without addresses and absolute paths, so that the report is the same anywhere."""
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", " ".join(str(error).split()))
    if path:
        end = re.escape(path)
        text = re.sub(rf"(?<=['\"])[^'\"]*{end}|[^\s'\"]*{end}", lambda _: path, text)
    return text or type(error).__name__


def digest_of(images: list[np.ndarray | str]) -> str:
    """Of shape, type and pixels of each image, or of the reason why it cannot be read."""
    found = hashlib.blake2b(digest_size=16)
    for image in images:
        content = image.encode() if isinstance(image, str) else np.ascontiguousarray(image)
        kind = len(content) if isinstance(image, str) else f"{image.dtype.str} {image.shape}"
        found.update(f"{kind}\0".encode())
        found.update(content)
    return found.hexdigest()


def align_block(images: list[np.ndarray | str], digest: str, options: Options, path: Path) -> int:
    """Detect, crop and save one block; returns its number of rows. Runs in any process."""
    readable = [i for i, image in enumerate(images) if not isinstance(image, str)]
    kinds = np.full(len(images), UNREADABLE, np.int8)
    landmarks = np.full((len(readable), 5, 2), np.nan, np.float32)
    others = np.zeros(len(images), np.int16)
    if options.detect:
        found = _detector(options).detect([images[i] for i in readable])
        for position, (i, face) in enumerate(zip(readable, found, strict=True)):
            if face is None:
                kinds[i] = FACE_KINDS.index("fallback")
            else:
                kinds[i] = FACE_KINDS.index("retry" if face.retried else "mtcnn")
                landmarks[position] = face.landmarks
                others[i] = face.others
    else:
        kinds[readable] = FACE_KINDS.index("as_is")
    crops = [
        crop_face(images[i], points, options.size) for i, points in zip(readable, landmarks, strict=True)
    ]
    reasons = np.array([image if isinstance(image, str) else "" for image in images], dtype=np.str_)
    Block(np.array(digest), kinds, reasons, stack(crops, options.size), landmarks, others).save(path)
    return len(images)


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
