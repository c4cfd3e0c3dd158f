"""A bank of views: what a frozen backbone makes of several views of each face, computed once.

float16 [N, 1 + 2 n, D]: the face as it is; n weak views, each followed by its mirror image, n / 2 pairs; n
strong ones. An epoch draws from them anew where it would draw a view of the pixels: a flip with probability
1/2, and one of n / 2 draws of random erasing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Generator, Tensor

from asm.basics.errors import InputError
from asm.basics.files import read_json
from asm.faces.store import read_manifest

if TYPE_CHECKING:
    import pandas as pd

VIEWS, SUMMARY, MANIFEST = "views.npy", "summary.json", "manifest.csv"
_REMEDY = "build it again with the features stage (dvc repro)."


@dataclass(frozen=True)
class FeatureBank:
    """The bank of one data set, with what `asm.faces.store.AlignedFaces` says of its images; row i of
    `manifest` belongs to faces[i]."""

    name: str
    classes: tuple[str, ...]
    faces: np.memmap  # float16 [N, 1 + 2 n, D], read-only
    manifest: pd.DataFrame


def load(directory: Path) -> FeatureBank:
    """Open a bank; the features stay on disk until they are used.

    Raises:
        InputError: a part is missing or damaged, or the parts do not fit together.
    """
    manifest = read_manifest(directory / MANIFEST)
    summary = read_json(directory / SUMMARY, _REMEDY)
    try:
        faces = np.load(directory / VIEWS, mmap_mode="r")
        name, classes = str(summary["dataset"]), tuple(map(str, summary["classes"]))
        found = hashlib.sha256(faces).hexdigest()
    except Exception as error:  # damage has many faces
        raise InputError(f"{directory}: no readable bank of features ({error}); {_REMEDY}") from error
    if faces.dtype != np.float16 or faces.ndim != 3 or len(faces) != len(manifest) or faces.shape[1] % 4 != 1:
        raise InputError(
            f"{directory / VIEWS}: expected float16 [{len(manifest)}, 1 + 2 n, D], "
            f"found {faces.dtype} {list(faces.shape)}; {_REMEDY}"
        )
    if found != summary.get("sha256"):
        raise InputError(f"{directory / VIEWS}: not what was written, the SHA-256 differs; {_REMEDY}")
    return FeatureBank(name, classes, faces, manifest)


def plain(faces: Tensor) -> Tensor:
    """The features [B, D] of the faces as they are, float32; `faces` [B, 1 + 2 n, D], as below."""
    return faces[:, 0].float()


def weak(faces: Tensor, generator: Generator) -> Tensor:
    """The features [B, D] of one weak view of each face, drawn from its n."""
    return _pick(faces, 1 + _draw(faces, _count(faces), generator))


def mirrored_pair(faces: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Those of one weak view of each face and of its mirror image; which of them is flipped is drawn, too."""
    drawn = _draw(faces, _count(faces), generator)
    return _pick(faces, 1 + drawn), _pick(faces, 1 + (drawn ^ 1))


def strong(faces: Tensor, generator: Generator) -> Tensor:
    """The features [B, D] of one strong view of each face, drawn from its n."""
    count = _count(faces)
    return _pick(faces, 1 + count + _draw(faces, count, generator))


def _count(faces: Tensor) -> int:
    return (faces.shape[1] - 1) // 2


def _draw(faces: Tensor, count: int, generator: Generator) -> Tensor:
    """On the CPU, as all that is drawn for views."""
    return torch.randint(count, (len(faces),), generator=generator)


def _pick(faces: Tensor, view: Tensor) -> Tensor:
    rows = torch.arange(len(faces)) * faces.shape[1] + view
    return faces.flatten(0, 1).index_select(0, rows.to(faces.device, non_blocking=True)).float()
