"""A cell's data as the training loop holds it: on the device, or streamed to it where it does not fit."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from asm.basics.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from asm.faces.store import AlignedFaces
    from asm.parts.bank import FeatureBank

MEMORY_SHARE = 0.5  # of what is free may be filled with faces; the rest is for the networks
READ_AHEAD = 4  # batches


class StreamedFaces:
    """Faces that stay in host memory or on disk and come to the device a batch at a time, read ahead by a
    thread. Stands in for a tensor uint8 [N, S, S, C] wherever faces are indexed or split; where networks
    learn from features (bank.py), for float16 [N, V, D].

    Args:
        source: [M, ...], any number of rows; usually a memory map.
        rows: int64 [N], the rows of `source` that belong here.
        device: where batches arrive.
    """

    def __init__(self, source: Tensor, rows: Tensor, device: torch.device) -> None:
        self.source, self.rows, self.device = source, rows, device
        self.shape = torch.Size((len(rows), *source.shape[1:]))
        self.nbytes = self.shape.numel() * source.element_size()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        return self._read(index).to(self.device, non_blocking=True)

    def batches(self, parts: Iterable[Tensor]) -> Iterator[Tensor]:
        """The faces of each index [B] of `parts` in turn, on the device."""
        waiting = deque()
        with ThreadPoolExecutor(1, "faces") as reader:
            for part in parts:
                waiting.append(reader.submit(self._read, part))
                if len(waiting) > READ_AHEAD:
                    yield waiting.popleft().result().to(self.device, non_blocking=True)
            while waiting:
                yield waiting.popleft().result().to(self.device, non_blocking=True)

    def _read(self, index: Tensor | slice) -> Tensor:
        rows = self.rows[index.cpu() if isinstance(index, Tensor) else index]
        faces = torch.empty(
            (len(rows), *self.shape[1:]),
            dtype=self.source.dtype,
            pin_memory=self.device.type == "cuda",
        )
        return torch.index_select(self.source, 0, rows, out=faces)  # lets other threads run meanwhile


Faces = Tensor | StreamedFaces


def fetch(faces: Faces, parts: Iterable[Tensor]) -> Iterator[Tensor]:
    """The faces of each index [B] (on the CPU) of `parts` in turn, uint8 [B, S, S, C] on the device."""
    if isinstance(faces, StreamedFaces):
        return faces.batches(parts)
    return (faces[part.to(faces.device, non_blocking=True)] for part in parts)


@dataclass(frozen=True)
class Samples:
    """One split, in manifest order.

    `ids` N strings, `faces` uint8 [N, S, S, C] or their features float16 [N, V, D], `labels` int64 [N],
    `origin` int64 [N]: which of the data sets that make up this one a sample comes from (all 0 where it is
    one).
    """

    ids: list[str]
    faces: Faces
    labels: Tensor
    origin: Tensor

    def to(self, device: torch.device, resident: bool = True) -> Samples:
        """On the device; the faces only if they are to be `resident`, else as `StreamedFaces`."""
        faces = self.faces
        if isinstance(faces, StreamedFaces):
            faces = faces.source[faces.rows] if resident else StreamedFaces(faces.source, faces.rows, device)
        elif not resident:
            faces = StreamedFaces(faces, torch.arange(len(faces)), device)
        if isinstance(faces, Tensor):
            faces = faces.to(device)
        return Samples(self.ids, faces, self.labels.to(device), self.origin.to(device))

    def take(self, rows: np.ndarray) -> Samples:
        """The samples in these rows, int64 [M]; call it before `to`."""
        faces, index = self.faces, torch.from_numpy(rows)
        if isinstance(faces, StreamedFaces):
            faces = StreamedFaces(faces.source, faces.rows[index], faces.device)
        else:
            faces = faces[index]
        return Samples([self.ids[i] for i in rows], faces, self.labels[index], self.origin[index])


@dataclass(frozen=True)
class Data:
    """A cell's data: training samples with their given labels, validation (may be empty) and test.

    `true` holds the training samples' labels before corruption, int64 [N] on the CPU. It is only written
    beside the results, for the scores of the mining; no method sees it.
    """

    classes: tuple[str, ...]
    train: Samples
    valid: Samples
    test: Samples
    true: np.ndarray

    def to(self, device: torch.device) -> Data:
        """On the device: resident if all faces fit into `memory_for_faces`, else streamed."""
        splits = (self.train, self.valid, self.test)
        resident = sum(split.faces.nbytes for split in splits) <= memory_for_faces(device)
        return Data(self.classes, *(split.to(device, resident) for split in splits), self.true)


def memory_for_faces(device: torch.device) -> int:
    """Bytes that faces may take on the device: ASM_MEMORY_GB (of 10^9 bytes) from the environment, else half
    of what is free. Where they do not fit they are streamed, which changes no result.

    Raises:
        InputError: ASM_MEMORY_GB is not a number.
    """
    given = os.environ.get("ASM_MEMORY_GB")
    if given is not None:
        try:
            return int(float(given) * 1e9)
        except ValueError:
            raise InputError(f"ASM_MEMORY_GB: expected a number of gigabytes, found '{given}'") from None
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
    else:
        import psutil  # not on a machine that only runs benchmarks/gpu.py

        free = psutil.virtual_memory().available
    return int(free * MEMORY_SHARE)


def cell_data(aligned: AlignedFaces | FeatureBank, labels: pd.DataFrame) -> Data:
    """A cell's data: the training samples of `labels` (columns `id`, `given`, `true`) and the untouched
    validation and test split. A training sample with the given label -1 is left out. Pixels stay in their
    file until `Data.to`.

    Raises:
        InputError: the labels do not belong to this data set.
    """
    manifest, classes = aligned.manifest, len(aligned.classes)
    strange = labels[~labels["given"].between(-1, classes - 1) | ~labels["true"].between(0, classes - 1)]
    if len(strange) or not labels["id"].is_unique:
        found = strange if len(strange) else labels[labels["id"].duplicated()]
        raise InputError(
            f"{aligned.name}: the given label of {found['id'].iloc[0]} is there twice or is none of the "
            f"{classes} classes; run the corrupt stage again"
        )
    labels = labels.set_index("id")
    given = manifest["id"].map(labels["given"])
    is_train = manifest["split"] == "train"
    if len(labels) != is_train.sum() or given[is_train].isna().any():
        raise InputError(
            f"{aligned.name}: {len(labels)} given labels for {is_train.sum()} training samples, "
            f"{int(given[is_train].isna().sum())} of them without one; run the corrupt stage again"
        )

    origin = np.zeros(len(manifest), np.int64)
    if "origin" in manifest:
        origin = np.unique(manifest["origin"].to_numpy(dtype=str), return_inverse=True)[1].astype(np.int64)
    pixels = _as_tensor(aligned.faces)

    def samples(chosen: pd.Series, values: pd.Series) -> Samples:
        rows = np.flatnonzero(chosen)
        faces = StreamedFaces(pixels, torch.from_numpy(rows), torch.device("cpu"))
        numbers = torch.from_numpy(values.to_numpy(dtype=np.int64, copy=True)[rows])
        return Samples(
            manifest["id"].iloc[rows].tolist(), faces, numbers, torch.from_numpy(origin[rows].copy())
        )

    train_samples = samples(is_train & (given >= 0), given.fillna(-1))
    return Data(
        tuple(aligned.classes),
        train_samples,
        *(samples(manifest["split"] == split, manifest["true"]) for split in ("valid", "test")),
        true=labels.loc[train_samples.ids, "true"].to_numpy(dtype=np.int64),
    )


def _as_tensor(pixels: np.ndarray) -> Tensor:
    """A view of the memory map [N, ...]; never written to, though torch knows no read-only tensors."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(pixels)


def batches(order: Tensor, size: int, smallest: int = 2) -> Iterator[Tensor]:
    """Split `order` into batches; a last one of fewer than `smallest` samples joins the one before (BatchNorm
    needs two in each process)."""
    parts = list(order.split(size))
    if len(parts) > 1 and len(parts[-1]) < smallest:
        parts[-2:] = [torch.cat(parts[-2:])]
    yield from parts


def epoch_seed(seed: int, epoch: int) -> int:
    """A 63-bit seed for one epoch of one run; unrelated for neighbouring seeds and epochs."""
    digest = hashlib.sha256(f"{seed}/{epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
