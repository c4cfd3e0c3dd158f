"""What networks that were not trained on it make of every face of a data set; or what a run stored."""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from asm.basics.code import code_hash
from asm.basics.yaml import parse
from asm.grid.params import METHODS, Params
from asm.methods import cell_config
from asm.methods.config import COMMON_SECTIONS, CellConfig, Training
from asm.parts.bank import FeatureBank
from asm.parts.batches import cell_data
from asm.scores.run import TRAIN, project, read_arrays
from asm.tools.audit.prepared import BACKBONE, SIZE, WIDTH
from asm.training.folds import out_of_sample

METHOD = "asm"
# Chosen on faces that no reported figure is of (docs/choices.md); smaller than in the profile ferplus, with
# dropout: what is memorised cannot be told from what is right
HEAD = Training(
    input="features",
    image_size=SIZE,
    backbone=BACKBONE,
    width=WIDTH,
    hidden=512,
    dropout=0.5,
    epochs=24,
    warmup_epochs=4,
    batch_size=256,  # of large sets, see `configuration`
)
STEPS, SMALLEST_BATCH = 32, 16  # at least so many steps an epoch, where batches are not the smallest
OPTIMIZER = {"lr": 0.002, "lr_decay": 0.9, "weight_decay": 0.0}


def by_folds(
    features: FeatureBank, given: np.ndarray, params: Params, folds: int, work: Path, device: torch.device
) -> tuple[dict[str, np.ndarray], str]:
    """Networks that were not trained on them judge all faces of a bank, whose faces are all for training.

    Args:
        given: labels int64 [N], in the bank's order.
        work: where an interrupted run keeps its place; to be removed when the audit is written.

    Returns:
        The arrays of `asm.training.folds.out_of_sample`, and in words where they are from.

    Raises:
        InputError: fewer faces than folds, or than classes.
    """
    labels = pd.DataFrame({"id": features.manifest["id"], "given": given, "true": given})
    data, config = cell_data(features, labels), configuration(params, len(given))
    with warnings.catch_warnings(), _progress(folds * config.training.epochs):
        # of classes with fewer samples than folds, which the ranking leaves unjudged
        warnings.filterwarnings("ignore", "The least populated class")
        judged = out_of_sample(config, data, None, work, device, folds)
    title = METHODS[METHOD].title
    return judged, f"{folds}-fold cross-validation with {title} on a frozen face-recognition network"


def by_run(run: Path, config: dict[str, Any]) -> tuple[dict[str, np.ndarray], str]:
    """What a trained cell stored of its training samples: out of sample where the cell was also trained by
    folds, else what networks say that know the labels they were trained on. Returns as `by_folds`.

    Raises:
        InputError: the run is incomplete.
    """
    by_folds = project(run) / "data" / "out_of_sample" / f"{config['cell']}.npz"
    if by_folds.is_file():
        return read_arrays(by_folds), f"the run {config['cell']}, by folds"
    how = "in sample: its networks were trained on these labels"
    return read_arrays(run / TRAIN), f"the run {config['cell']}, {how}"


def configuration(params: Params, count: int) -> CellConfig:
    """Of the networks that judge `count` faces: ASM by params.yaml, with heads on features. Small sets need
    small batches: after a handful of steps thresholds are too low to mean anything."""
    kind = METHODS[METHOD]
    sections = (*COMMON_SECTIONS, *kind.sections)
    batch_size = max(SMALLEST_BATCH, min(HEAD.batch_size, count // STEPS))
    content = {
        "cell": "audit",
        "dataset": "audit",
        "noise": "given",
        "init": "dlib",
        "method": METHOD,
        "seed": 0,
        "schedule": "fair",
        "code": code_hash("asm.training.folds", {"method": METHOD, "backbone": BACKBONE}),
        "training": HEAD.model_dump() | {"batch_size": batch_size},
        **{name: getattr(params, name).model_dump() for name in sections},
    }
    content["optimizer"] |= OPTIMIZER
    return parse(cell_config(kind), content, "audit: params.yaml")


@contextlib.contextmanager
def _progress(epochs: int) -> Iterator[None]:
    """A bar instead of the line that training prints after each epoch."""
    lines = io.StringIO()
    with tqdm(total=epochs, desc="training", unit="epoch", file=sys.stderr) as bar:

        def count(text: str) -> int:
            done = int(text.split()[-1]) if "going on after epoch" in text else text.count(": epoch ")
            bar.update(done)
            return len(text)

        lines.write = count
        with contextlib.redirect_stdout(lines):
            yield
