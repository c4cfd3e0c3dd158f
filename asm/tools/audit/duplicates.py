"""Images that a data set holds twice, exactly or nearly, by their aligned faces."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from asm.faces.store import AlignedFaces

THUMB = 16  # side, in pixels, of the grey pictures that are compared
NEARLY = 0.995  # correlation of two such pictures from which they count as one
FLAT = 4.0  # grey levels; pictures of a smaller standard deviation resemble all others
ROWS = 2048  # compared at a time


def find(aligned: AlignedFaces) -> pd.DataFrame:
    """Groups of equal or nearly equal faces, one row a face: `group` (from 1), `id`, `split`, `true` (its
    class id), `exact` (another face of the group has the same pixels), in the order of the faces.

    Faces a ~ b and b ~ c are one group, whether or not a ~ c.
    """
    pictures = _pictures(aligned)
    first, second = _pairs(pictures)
    group = np.arange(len(pictures))
    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        low, high = sorted((_root(group, a), _root(group, b)))
        group[high] = low
    rows = np.unique(np.concatenate([first, second]))
    roots = np.array([_root(group, row) for row in rows], dtype=np.int64)
    pixels = [hashlib.blake2b(aligned.faces[row].tobytes(), digest_size=16).hexdigest() for row in rows]
    manifest = aligned.manifest.iloc[rows]
    found = pd.DataFrame(
        {
            "group": np.unique(roots, return_inverse=True)[1] + 1,
            **{name: manifest[name].to_numpy() for name in ("id", "split", "true")},
            "exact": pd.Series(pixels, dtype=str).duplicated(keep=False).to_numpy(),
        }
    )
    return found.sort_values("group", kind="stable").reset_index(drop=True)


def _pictures(aligned: AlignedFaces) -> Tensor:
    """float32 [N, THUMB * THUMB], each of mean 0 and length 1; 0 for flat ones."""
    parts = []
    for start in range(0, len(aligned.faces), ROWS):
        faces = torch.from_numpy(aligned.faces[start : start + ROWS].astype(np.float32)).mean(dim=3)
        parts.append(F.adaptive_avg_pool2d(faces, THUMB).flatten(1))
    pictures = torch.cat(parts)
    pictures -= pictures.mean(dim=1, keepdim=True)
    pictures[pictures.std(dim=1) < FLAT] = 0
    return F.normalize(pictures, dim=1)


def _pairs(pictures: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Rows a < b of nearly equal pictures."""
    first, second = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for start in range(0, len(pictures), ROWS):
        part = pictures[start : start + ROWS]
        a, b = (part @ pictures[start:].T >= NEARLY).nonzero(as_tuple=True)
        later = b > a
        first.append((a[later] + start).numpy())
        second.append((b[later] + start).numpy())
    return np.concatenate(first), np.concatenate(second)


def _root(group: np.ndarray, row: int) -> int:
    while group[row] != row:
        group[row] = group[group[row]]
        row = group[row]
    return int(row)
