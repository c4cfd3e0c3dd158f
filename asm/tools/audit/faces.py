"""A data set's faces for an audit, aligned once, and the features of all of them, computed once."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from asm.basics.code import code_hash
from asm.basics.files import exclusive
from asm.datasets.base import FaceDataset
from asm.faces import process, store
from asm.faces.blocks import BlockImages
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
    """The faces of a data set; `others`: id -> number of faces beside the one that was taken; `digest`: of
    images, ids and options."""

    aligned: AlignedFaces
    unreadable: dict[str, str]  # id -> reason
    left_out: dict[str, str]  # file that is no part of the data set -> reason
    others: dict[str, int]
    digest: str


def align(dataset: FaceDataset, source: str, options: Align, cache: Path, device: torch.device) -> Faces:
    """Find and align all faces, or take them from `cache` where images, ids and options are the same.

    Raises:
        InputError: see `asm.faces.process.align_dataset`.
    """
    values = {"size": SIZE, **options.model_dump()}
    digest = _digest_of_images(dataset, values, code_hash("align", {"source": source}))
    folder = cache / f"faces-{digest[:16]}"
    if not folder.is_dir():
        _remove(cache, "faces-*")
        work = cache / "align"
        with exclusive(cache / "lock"):
            partial = cache / "faces.partial"
            partial.mkdir(parents=True, exist_ok=True)
            places = {"out": partial / "store", "work": work, "others": partial / "others.csv"}
            process.align_dataset(dataset, **values, **places, device=str(device), code=digest)
            partial.rename(folder)
            shutil.rmtree(work)
    aligned = store.load(folder / "store")
    # labels and splits may have changed since: they are no part of what is kept
    table = dataset.table.set_index("id").loc[aligned.manifest["id"]].reset_index()
    manifest = table.assign(face=aligned.manifest["face"])
    report = pd.read_csv(folder / "store" / "report.csv", dtype=str, keep_default_na=False)
    others = pd.read_csv(folder / "others.csv", dtype={"id": str}, keep_default_na=False)
    return Faces(
        replace(aligned, classes=dataset.classes, manifest=manifest),
        _with_reason(report, "unreadable: "),
        _with_reason(report, "left out: "),
        dict(zip(others["id"], others["others"].tolist(), strict=True)),
        digest,
    )


def _with_reason(report: pd.DataFrame, kind: str) -> dict[str, str]:
    """Ids of the report's rows whose reason is of this kind, and what follows."""
    rows = report[report["reason"].str.startswith(kind)]
    return dict(zip(rows["id"], rows["reason"].str.removeprefix(kind), strict=True))


def features(faces: Faces, params: Params, cache: Path, device: torch.device) -> FeatureBank:
    """The bank of all faces by the frozen face-recognition network, every face as if it were for training;
    from `cache` where faces and options are the same.

    Raises:
        InputError: the package with the network's weights is not installed.
    """
    count = len(faces.aligned.faces)
    components = max(1, min(params.features.components, count // SMALL_SET))
    options = params.features.model_copy(update={"components": components})
    sections = (options, params.augment, params.strong_augment)
    code = code_hash("features", {"backbone": BACKBONE})
    content = [faces.digest, code, torch.__version__, *(part.model_dump_json() for part in sections)]
    digest = hashlib.sha256("\0".join(content).encode()).hexdigest()
    folder = cache / f"features-{digest[:16]}"
    if not (folder / bank.SUMMARY).is_file():
        _remove(cache, "features-*")
        everyone = faces.aligned.manifest.assign(split="train")
        aligned = replace(faces.aligned, manifest=everyone)
        with exclusive(cache / "lock"):
            partial = cache / "features.partial"
            network = frozen_network()
            write_bank(
                aligned, network, *sections, out=partial, work=cache / "features", device=device, stamp=code
            )
            partial.rename(folder)
            shutil.rmtree(cache / "features")
    return bank.load(folder)


def frozen_network() -> backbones.Backbone:
    """dlib's face-recognition network from the installed package. Raises InputError where there is none."""
    layers, _ = dlib.read(dlib.installed_file())
    state = dlib.as_backbone(layers, dlib.calibration_faces(CALIBRATION_FACES, SIZE))
    return backbones.build(BACKBONE, 1, WIDTH, state, head_seed=0)


def _digest_of_images(dataset: FaceDataset, options: dict[str, Any], code: str) -> str:
    table = dataset.table
    inputs = {"ids": table["id"].tolist(), "code": code, "torch": torch.__version__, **options}
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode())
    for rows in tqdm(list(_blocks(len(table))), "reading", file=sys.stderr, unit="block"):
        for image in BlockImages(dataset, rows).digests:
            digest.update(image)
    return digest.hexdigest()


def _blocks(rows: int) -> Iterator[range]:
    for start in range(0, rows, process.BLOCK):
        yield range(start, min(start + process.BLOCK, rows))


def _remove(cache: Path, pattern: str) -> None:
    """What an earlier audit of other images or options left."""
    for folder in cache.glob(pattern):
        shutil.rmtree(folder)
