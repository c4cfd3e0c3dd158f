"""What networks, and the method's rule, make of training samples that the networks were not trained on:
cross-validation of a cell."""

from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import StratifiedKFold
from torch import Tensor

from asm.basics.errors import InputError
from asm.basics.files import exclusive
from asm.methods.config import CellConfig
from asm.parts.batches import Data
from asm.training.cell import fingerprint, make_method, run_epochs
from asm.training.results import judged

FOLDS = 5


def out_of_sample(
    config: CellConfig,
    data: Data,
    initial: dict[str, Tensor] | None,
    checkpoints: Path,
    device: torch.device,
    folds: int = FOLDS,
) -> dict[str, np.ndarray]:
    """Train the cell once for each fold, on the samples of the others.

    Args:
        data: validation and test samples are not looked at.
        initial: as of `asm.training.cell.train`.
        checkpoints: a folder, locked while running; an interrupted run goes on from there. The caller removes
            it once the result is stored.
        folds: drawn by the cell's seed, with the same share of each given label.

    Returns:
        The arrays of `results.judged`: each training sample's probabilities are those after the last epoch of
        its fold; the rule is the method's at its start, so that its thresholds come from these alone.

    Raises:
        InputError: no given label is there often enough for each fold to hold it.
    """
    given = data.train.labels.numpy()
    if np.bincount(given).max(initial=0) < folds:
        raise InputError(f"{config.cell}: {len(given)} training samples are too few for {folds} folds")
    split = StratifiedKFold(folds, shuffle=True, random_state=config.seed)
    rows, predicted = [], []
    with exclusive(checkpoints):
        for number, (rest, fold) in enumerate(split.split(np.empty(len(given)), given)):
            part = Data(
                data.classes,
                train=data.train.take(rest),
                valid=data.train.take(fold[:0]),
                test=data.train.take(fold),
                true=data.true[rest],
            )
            named = config.model_copy(update={"cell": f"{config.cell}, fold {number + 1} of {folds}"})
            stamp = fingerprint(named, part, initial)
            part = part.to(device)
            method = make_method(named, part, initial).to(device)
            method.to(memory_format=torch.channels_last)
            record = run_epochs(method, part, checkpoints / f"fold_{number}.pt", stamp)
            rows.append(fold)
            predicted.append(record.predictions[config.training.epochs])
    probs = torch.cat(predicted, dim=1)[:, np.concatenate(rows).argsort()]
    return judged(make_method(config, data, initial), data, probs)
