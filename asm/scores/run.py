"""A finished run's files, and the rows of its data set that they are about."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from asm.basics.errors import InputError
from asm.basics.files import read_csv, read_json

# epochs [E], ids [N], true labels [N], probabilities [E, networks, N, K]
TEST = "test_predictions.npz"
# what asm.training.results.judged says of the training samples after the last epoch; the epochs [E] that used
# mined subsets, and these, int8 codes of asm.mining [E, N] (E = 0 without mining)
TRAIN = "train_predictions.npz"
FEATURES = "features.npz"  # of the t-SNE figures

_REMEDY = "the run is incomplete or damaged, train this cell again"
_JUDGED = (
    *("ids", "given", "true", "probabilities"),
    *("final_subset", "confidence", "clean_threshold", "noisy_threshold"),
)
_INFO = {"config": dict, "classes": list, "train_images": int, "parameters": int, "versions": dict}
_ARRAYS = {
    TEST: ("epochs", "ids", "true", "probabilities"),
    TRAIN: (*_JUDGED, "epochs", "subsets"),
    FEATURES: ("test", "test_subset", "train", "train_rows"),
}


def read_info(run: Path) -> dict[str, Any]:
    """A run's configuration, classes, versions and size; training writes it last. InputError if it is missing
    or damaged."""
    path = run / "run.json"
    info = read_json(path, _REMEDY)
    for key, kind in _INFO.items():
        if not isinstance(info.get(key), kind):
            raise InputError(f"{path}: expected a {kind.__name__} under '{key}'; {_REMEDY}")
    return info


def read_history(run: Path) -> pd.DataFrame:
    """history.csv, one row an epoch. InputError if it is missing or damaged, or epochs are missing."""
    path = run / "history.csv"
    history = read_csv(path, {"epoch": int, "test_accuracy": float, "forward_passes": float}, _REMEDY)
    epochs = read_info(run)["config"].get("training", {}).get("epochs", len(history))
    if len(history) == 0 or history["epoch"].tolist() != list(range(1, epochs + 1)):
        raise InputError(f"{path}: expected a row for each of the epochs 1 to {epochs}; {_REMEDY}")
    return history


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of one npz file of a run, or of predictions by folds (any other name). InputError if it is
    missing or damaged."""
    if not path.is_file():
        raise InputError(f"{path}: not found; {_REMEDY}")
    try:
        with np.load(path) as stored:
            arrays = dict(stored)
    except Exception as error:  # damage has many faces
        raise InputError(f"{path}: cannot be read ({error}); {_REMEDY}") from error
    if missing := [name for name in _ARRAYS.get(path.name, _JUDGED) if name not in arrays]:
        raise InputError(f"{path}: the arrays {missing} are missing; {_REMEDY}")
    return arrays


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


def project(run: Path) -> Path:
    """The folder of the profile that a run, `<project>/runs/<cell>`, belongs to. InputError if it is none."""
    folder = run.resolve().parents[1]
    if not (folder / "data").is_dir():
        raise InputError(f"{run}: expected a run's folder, <profile>/runs/<cell>, beside <profile>/data")
    return folder
