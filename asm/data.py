"""A cell's data as the training loop holds it: whole splits as tensors on the device."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from asm.errors import InputError
from asm.faces.store import AlignedFaces


@dataclass(frozen=True)
class Samples:
    """One split, in manifest order.

    `ids` N strings, `faces` uint8 [N, S, S, C], `labels` int64 [N], `origin` int64 [N]: which of the data
    sets that make up this one a sample comes from (all 0 where it is one).
    """

    ids: list[str]
    faces: Tensor
    labels: Tensor
    origin: Tensor

    def to(self, device: torch.device) -> "Samples":
        return Samples(self.ids, *(x.to(device) for x in (self.faces, self.labels, self.origin)))


@dataclass(frozen=True)
class Data:
    """A cell's data: training samples with their given labels, validation (may be empty) and test.

    `clean` holds the training samples' labels before corruption, int64 [N] on the CPU. It is only written
    beside the results, for the scores of the mining; no method sees it.
    """

    classes: tuple[str, ...]
    train: Samples
    valid: Samples
    test: Samples
    clean: np.ndarray

    def to(self, device: torch.device) -> "Data":
        splits = (split.to(device) for split in (self.train, self.valid, self.test))
        return Data(self.classes, *splits, self.clean)


def select(aligned: AlignedFaces, labels: pd.DataFrame) -> Data:
    """A cell's data: the training samples of `labels` (`id`, `label` = given, `clean`) and the untouched
    validation and test split. A training sample with the given label -1 is left out.

    Raises:
        InputError: the labels do not belong to this data set.
    """
    manifest = aligned.manifest
    labels = labels.set_index("id")
    given = manifest["id"].map(labels["label"])
    is_train = manifest["split"] == "train"
    if len(labels) != is_train.sum() or given[is_train].isna().any():
        raise InputError(
            f"{aligned.name}: {len(labels)} given labels for {is_train.sum()} training samples, "
            f"{int(given[is_train].isna().sum())} of them without one; run the corrupt stage again"
        )

    origin = np.zeros(len(manifest), np.int64)
    if "origin" in manifest:
        origin = pd.factorize(manifest["origin"], sort=True)[0].astype(np.int64)

    def samples(chosen: pd.Series, values: pd.Series) -> Samples:
        rows = np.flatnonzero(chosen)
        faces = torch.from_numpy(aligned.faces[rows])
        numbers = torch.from_numpy(values.to_numpy(dtype=np.int64, copy=True)[rows])
        return Samples(
            manifest["id"].iloc[rows].tolist(), faces, numbers, torch.from_numpy(origin[rows].copy())
        )

    train_samples = samples(is_train & (given >= 0), given.fillna(-1))
    return Data(
        tuple(aligned.classes),
        train_samples,
        *(samples(manifest["split"] == split, manifest["label"]) for split in ("valid", "test")),
        clean=labels.loc[train_samples.ids, "clean"].to_numpy(dtype=np.int64),
    )
