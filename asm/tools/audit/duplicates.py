"""Images that a data set holds twice, exactly or nearly, by their aligned faces."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
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
    count = len(pictures)
    pairs = np.concatenate([_pairs(pictures, start) for start in range(0, count, ROWS)], axis=1)
    links = coo_array((np.ones(pairs.shape[1], bool), pairs), shape=(count, count))
    rows = np.unique(pairs)
    components = connected_components(links, directed=False)[1][rows]
    pixels = pd.Series([aligned.faces[row].tobytes() for row in rows], dtype=object)
    manifest = aligned.manifest.iloc[rows]
    found = pd.DataFrame(
        {
            "group": np.unique(components, return_inverse=True)[1] + 1,
            **{name: manifest[name].to_numpy() for name in ("id", "split", "true")},
            "exact": pixels.duplicated(keep=False).to_numpy(),
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


def _pairs(pictures: Tensor, start: int) -> np.ndarray:
    """Rows a < b of nearly equal pictures, [2, pairs]; a is one of the `ROWS` from `start` on."""
    a, b = (pictures[start : start + ROWS] @ pictures[start:].T >= NEARLY).nonzero(as_tuple=True)
    return torch.stack([a, b])[:, b > a].numpy() + start
