"""A finished run's files, and the rows of its data set that they are about."""

import json
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from asm.errors import InputError

# epochs [E], ids [N], true labels [N], probabilities [E, networks, N, K]
TEST = "test_predictions.npz"
# ids [N], given and true labels [N], mean probabilities [N, K] after the last epoch; the mined epochs [E] and
# their subsets, int8 codes of asm.mining [E, N] (E = 0 without mining)
TRAIN = "train_predictions.npz"


def read_info(run: Path) -> dict[str, Any]:
    """A run's configuration, classes, versions and size; training writes it last. InputError if missing."""
    return json.loads(_existing(run / "run.json").read_text(encoding="utf-8"))


def read_history(run: Path) -> pd.DataFrame:
    """history.csv, one row an epoch. InputError if missing."""
    return pd.read_csv(_existing(run / "history.csv"))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of one npz file of a run. Raises InputError for a missing or truncated file."""
    _existing(path)
    try:
        with np.load(path) as stored:
            return dict(stored)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise InputError(f"{path}: cannot be read ({error}); train this cell again") from error


def rows_of(manifest: pd.DataFrame, ids: np.ndarray, path: Path) -> pd.DataFrame:
    """The manifest's rows of a run's samples, in the run's order. Raises InputError naming `path` if the run
    is of other data."""
    table = manifest.set_index("id")
    strangers = [str(i) for i in ids if i not in table.index]
    if strangers:
        raise InputError(
            f"{path}: {len(strangers)} of {len(ids)} samples, e.g. {', '.join(strangers[:3])}, are not in "
            "this data set's manifest; the run belongs to other data: train this cell again"
        )
    return table.loc[ids]


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path}: not found; the run is incomplete, train this cell again")
    return path
