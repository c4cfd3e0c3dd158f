"""Mean probabilities of every face of a data set, by two networks that were not trained on it; or a run's."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from asm.basics.code import code_hash
from asm.basics.yaml import parse
from asm.grid.params import METHODS, Params
from asm.methods.config import CellConfig, Training, cell_config
from asm.parts.bank import FeatureBank
from asm.parts.batches import cell_data
from asm.scores.label_quality import Rule, rule_of
from asm.scores.run import TRAIN, project, read_arrays, read_info
from asm.tools.audit.faces import BACKBONE, SIZE, WIDTH
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


@dataclass(frozen=True)
class Judgement:
    """What networks make of N labelled faces.

    `rule` is what the method's own rule makes of them; `made_by` says in words where the probabilities are
    from.
    """

    ids: list[str]
    given: np.ndarray  # int64 [N]
    probabilities: np.ndarray  # float32 [N, K]
    rule: Rule
    made_by: str


def by_folds(
    features: FeatureBank, given: np.ndarray, params: Params, folds: int, work: Path, device: torch.device
) -> Judgement:
    """Out-of-sample probabilities of all faces of a bank whose faces are all for training.

    Args:
        given: labels int64 [N], in the bank's order.
        work: where an interrupted run keeps its place; removed at the end.

    Raises:
        InputError: fewer faces than folds, or than classes.
    """
    labels = pd.DataFrame({"id": features.manifest["id"], "given": given, "true": given})
    data, config = cell_data(features, labels), configuration(params, len(given))
    with warnings.catch_warnings(), _progress(folds * config.training.epochs):
        # of classes with fewer samples than folds, which the ranking leaves unjudged
        warnings.filterwarnings("ignore", "The least populated class")
        stored = out_of_sample(config, data, None, work, device, folds)
    shutil.rmtree(work)
    made_by = (
        f"{folds}-fold cross-validation with {METHODS[METHOD].title} on a frozen face-recognition network"
    )
    return Judgement(data.train.ids, given, stored["probabilities"], rule_of(stored), made_by)


def by_run(run: Path) -> Judgement:
    """A trained cell's probabilities of its training samples: out of sample where the cell was also trained
    by folds, else its own, which know the labels they were trained on.

    Raises:
        InputError: the run is incomplete.
    """
    info = read_info(run)
    config = info["config"]
    by_folds = project(run) / "data" / "out_of_sample" / f"{config['cell']}.npz"
    stored = read_arrays(by_folds if by_folds.is_file() else run / TRAIN)
    how = "by folds" if by_folds.is_file() else "in sample: its networks were trained on these labels"
    return Judgement(
        stored["ids"].tolist(),
        stored["given"],
        stored["probabilities"],
        rule_of(stored),
        f"the run {config['cell']}, {how}",
    )


def configuration(params: Params, count: int) -> CellConfig:
    """Of the networks that judge `count` faces: ASM by params.yaml, with heads on features. Small sets need
    small batches: after a handful of steps thresholds are too low to mean anything."""
    kind = METHODS[METHOD]
    batch_size = max(SMALLEST_BATCH, min(HEAD.batch_size, count // STEPS))
    sections = {name: getattr(params, name).model_dump() for name in ("optimizer", "sampling", "augment")}
    content = {
        "cell": "audit",
        "dataset": "audit",
        "noise": "given",
        "init": "dlib",
        "method": METHOD,
        "seed": 0,
        "schedule": "fair",
        "code": code_hash("out_of_sample", {"method": METHOD, "backbone": BACKBONE}),
        "training": HEAD.model_dump() | {"batch_size": batch_size},
        **sections,
        **{name: getattr(params, name).model_dump() for name in kind.sections},
    }
    content["optimizer"] = content["optimizer"] | OPTIMIZER
    return parse(cell_config(kind), content, "audit: params.yaml")


@contextlib.contextmanager
def _progress(epochs: int):
    """A bar instead of the line that training prints after each epoch."""
    with tqdm(total=epochs, desc="training", unit="epoch", file=sys.stderr) as bar:

        class Lines(io.TextIOBase):
            def write(self, text: str) -> int:
                bar.update(text.count(": epoch "))
                if "going on after epoch" in text:
                    bar.update(int(text.split()[-1]))
                return len(text)

        with contextlib.redirect_stdout(Lines()):
            yield
