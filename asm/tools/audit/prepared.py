"""A data set's faces for an audit, aligned, and the features of all of them. Both are kept beside the audit,
so that the next one computes only what has changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch

from asm.basics.code import code_hash
from asm.datasets.base import FaceDataset
from asm.datasets.names import printable
from asm.faces import store
from asm.faces.process import align_dataset
from asm.faces.store import AlignedFaces
from asm.grid.params import Align, Params
from asm.parts import backbones, bank
from asm.parts.bank import FeatureBank
from asm.parts.weights import dlib
from asm.training.features import write_bank

SIZE = 112  # pixels of the aligned faces
BACKBONE, WIDTH = "dlib29", 32
# In evaluation mode the statistics that are measured on these faces cancel out (asm/parts/weights/dlib.py)
CALIBRATION_FACES = 32
SMALL_SET = 4  # at least so many faces for each principal component


@dataclass(frozen=True)
class Faces:
    """The faces of a data set; `others`: id -> number of faces beside the one that was taken."""

    aligned: AlignedFaces
    unreadable: dict[str, str]  # id -> reason
    left_out: dict[str, str]  # file that is no part of the data set -> reason
    others: dict[str, int]


def align(dataset: FaceDataset, options: Align, cache: Path, device: torch.device) -> Faces:
    """Find and align all faces; images that are in `cache` as they are now are not searched again.

    Raises:
        InputError: see `asm.faces.process.align_dataset`.
    """
    out, others = cache / "faces", cache / "others.csv"
    align_dataset(
        dataset,
        size=SIZE,
        **options.model_dump(),
        out=out,
        work=cache / "align",
        device=str(device),
        code=code_hash("asm.faces.process", {}),
        others=others,
    )
    report = pd.read_csv(out / "report.csv", dtype=str, keep_default_na=False)
    reasons = report[report["reason"].str.startswith("unreadable: ")]
    counts = pd.read_csv(others, dtype={"id": str}, keep_default_na=False)
    return Faces(
        store.load(out),
        dict(zip(reasons["id"], reasons["reason"].str.removeprefix("unreadable: "), strict=True)),
        {printable(name): reason for name, reason in dataset.left_out.items()},
        dict(zip(counts["id"], counts["others"].tolist(), strict=True)),
    )


def features(aligned: AlignedFaces, params: Params, cache: Path, device: torch.device) -> FeatureBank:
    """The bank of all faces by the frozen face-recognition network, every face as if it were for training;
    from `cache` where faces and options are the same.

    Raises:
        InputError: the package with the network's weights is not installed.
    """
    components = max(1, min(params.features.components, len(aligned.faces) // SMALL_SET))
    write_bank(
        replace(aligned, manifest=aligned.manifest.assign(split="train")),
        frozen_network(),
        params.features.model_copy(update={"components": components}),
        params.augment,
        params.strong_augment,
        out=cache / "bank",
        work=cache / "features",
        device=device,
        stamp=code_hash("asm.training.features", {"backbone": BACKBONE})
        + code_hash("asm.parts.weights.dlib", {}),
    )
    return bank.load(cache / "bank")


def frozen_network() -> backbones.Backbone:
    """dlib's face-recognition network from the installed package. Raises InputError where there is none."""
    layers, _ = dlib.read(dlib.installed_file())
    state = dlib.as_backbone(layers, dlib.calibration_faces(CALIBRATION_FACES, SIZE))
    return backbones.build(BACKBONE, 1, WIDTH, state, head_seed=0)
