"""The packed store of aligned faces: a directory with pixels, manifest, landmarks, report and summary.

- `faces.npy` uint8 [N, S, S, C], C = 1 (grey sources) or 3;
- `manifest.csv`: the data set's rows, in the order of the faces, with the column `face` (see FACE_KINDS);
- `landmarks.npy` float32 [N, 5, 2], pixels of the source image, NaN where no face was found or looked for;
- `report.csv`: id and reason of every image that could not be read, shows no face or has the pixels of one in
  another split, and path and reason of every file that was left out;
- `summary.json`: name, classes, size, counts, and the SHA-256 of the first three.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from asm.basics.errors import InputError
from asm.basics.files import read_csv, read_json

# Found at first, found at full scale, no face found (whole frame), not looked for (already aligned images).
FACE_KINDS = ("mtcnn", "retry", "fallback", "as_is")
_SUMMED = ("faces.npy", "landmarks.npy", "manifest.csv")
_COLUMNS = {"id": str, "path": str, "split": str, "true": int, "face": str}
_REMEDY = "build it again with the align stage (dvc repro)."


@dataclass(frozen=True)
class AlignedFaces:
    """Aligned faces of one data set; row i of `manifest` belongs to faces[i] and landmarks[i]."""

    name: str
    classes: tuple[str, ...]
    faces: np.memmap  # uint8 [N, S, S, C], read-only
    manifest: pd.DataFrame
    landmarks: np.ndarray  # float32 [N, 5, 2]


def load(directory: Path) -> AlignedFaces:
    """Open a store; the pixels stay on disk until they are used.

    Raises:
        InputError: a part is missing, unreadable or not what was written, or the parts do not fit together.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise InputError(f"{directory}: no such directory of aligned faces; {_REMEDY}")
    summary = read_json(directory / "summary.json", _REMEDY)
    faces = _read(directory / "faces.npy", lambda path: np.load(path, mmap_mode="r"))
    landmarks = _read(directory / "landmarks.npy", np.load)
    if not isinstance(summary.get("classes"), list) or "dataset" not in summary:
        raise InputError(
            f'{directory / "summary.json"}: expected the keys "dataset" and "classes"; {_REMEDY}'
        )
    manifest = read_manifest(directory / "manifest.csv")
    if (
        faces.dtype != np.uint8
        or faces.ndim != 4
        or faces.shape[1] != faces.shape[2]
        or faces.shape[3] not in (1, 3)
    ):
        raise InputError(
            f"{directory / 'faces.npy'}: expected uint8 [N, S, S, 1 or 3], "
            f"found {faces.dtype} {list(faces.shape)}; {_REMEDY}"
        )
    if not len(faces) == len(manifest) == len(landmarks) or landmarks.shape[1:] != (5, 2):
        raise InputError(
            f"{directory}: the parts do not fit together: {len(faces)} faces, {len(manifest)} manifest rows, "
            f"landmarks {list(landmarks.shape)}; {_REMEDY}"
        )
    classes = tuple(str(name) for name in summary["classes"])
    strange = manifest.index[~manifest["true"].isin(range(len(classes)))]
    if len(strange):
        raise InputError(
            f"{directory / 'manifest.csv'}: row {strange[0]} has the label {manifest['true'][strange[0]]}, "
            f"expected 0..{len(classes) - 1}; {_REMEDY}"
        )
    for name, found in digests(directory).items():
        if dict(summary.get("sha256") or {}).get(name) != found:
            raise InputError(f"{directory / name}: not what was written, the SHA-256 differs; {_REMEDY}")
    return AlignedFaces(str(summary["dataset"]), classes, faces, manifest, landmarks)


def digests(directory: Path) -> dict[str, str]:
    """The SHA-256 of each file whose SHA-256 the summary records."""
    found = {}
    for name in _SUMMED:
        with open(directory / name, "rb") as handle:
            found[name] = hashlib.file_digest(handle, "sha256").hexdigest()
    return found


def read_manifest(path: Path) -> pd.DataFrame:
    """A store's manifest.csv, which needs no pixels: one row per face, in their order.

    Raises:
        InputError: the file is missing or unreadable, or lacks a column.
    """
    manifest = read_csv(Path(path), _COLUMNS, _REMEDY)
    if not manifest["id"].is_unique:
        twice = manifest["id"][manifest["id"].duplicated()].iloc[0]
        raise InputError(f"{path}: the id '{twice}' is there twice; {_REMEDY}")
    return manifest


def _read(path: Path, read):
    if not path.is_file():
        raise InputError(f"{path}: missing part of the aligned faces; {_REMEDY}")
    try:
        return read(path)
    except Exception as error:  # damage has many faces
        raise InputError(f"{path}: cannot be read ({error}); {_REMEDY}") from error
