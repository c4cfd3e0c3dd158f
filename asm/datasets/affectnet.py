"""AffectNet, manually annotated part (Mollahosseini, Hasani and Mahoor, 2017), in its two releases.

Neither release has test labels, so the official validation set is the test split, as everywhere in the field.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from asm.basics.errors import InputError
from asm.datasets import base
from asm.datasets.absent import without_absent

CLASSES = (
    "neutral",
    "happiness",
    "sadness",
    "surprise",
    "fear",
    "disgust",
    "anger",
    "contempt",
)  # ids 0 to 7
TITLE = "AffectNet"
PAPER = {7: "affectnet7", 8: "affectnet8"}
LAST_ID = 10  # 8 none, 9 uncertain, 10 no face
IMAGES = "Manually_Annotated_Images"
CSV = {"train": "training.csv", "test": "validation.csv"}
FOLDERS = {"train": "train_set", "test": "val_set"}
TREE = """
the first release:                            or that of 2021:
training.csv, validation.csv                  train_set/images/0.jpg, val_set/images/0.jpg
Manually_Annotated_Images/<folder>/<hash>.jpg train_set/annotations/0_exp.npy, val_set/annotations/0_exp.npy
"""
SOURCE = "AffectNet is given to research groups on request: mohammadmahoor.com/affectnet"


def load(root: Path, num_classes: int = 8, absent_share: float = 0.0) -> base.FaceDataset:
    """AffectNet from `training.csv` and `validation.csv` where they are, else from `train_set` and `val_set`.

    `num_classes`: 8, or 7 without contempt. Images marked none, uncertain or no face are left out. Ids are
    the paths in the csv files, `train_set/<n>` in the release of 2021; a path given twice gets `#2`. Up to
    `absent_share` of the annotated images may be missing, and are left out.
    Raises InputError for a missing or damaged data set.
    """
    if type(num_classes) is not int or num_classes not in (7, 8):
        raise InputError(f"affectnet: num_classes: expected 7 or 8, found {num_classes!r}.")
    if (root / CSV["train"]).is_file():
        table = _from_csv(root)
    elif (root / FOLDERS["train"]).is_dir():
        table = _from_npy(root)
    else:
        raise base.absent("affectnet", root, TREE, SOURCE)
    annotated = table.path
    table = table[table.true < num_classes].reset_index(drop=True)
    table, absent = without_absent("affectnet", root, table, "the annotations", absent_share)
    left_out = absent | base.require_files("affectnet", root, table.path, "the annotations", annotated)
    classes, read = CLASSES[:num_classes], base.Files(root, tuple(table.path))
    return base.check(base.FaceDataset("affectnet", classes, table, read, left_out))


def _from_csv(root: Path) -> pd.DataFrame:
    parts = []
    for split, file in CSV.items():
        if not (root / file).is_file():
            raise base.absent("affectnet", root, TREE, SOURCE)
        rows = base.read_rows(root / file, ["subDirectory_filePath", "expression"])
        labels = base.integers(root / file, rows.expression, rows.line, "an expression id", 0, LAST_ID)
        names = rows["subDirectory_filePath"].tolist()
        base.require_inside(root, root / file, names, rows.line)
        paths = [f"{IMAGES}/{name}" for name in names]
        parts.append(pd.DataFrame({"id": names, "path": paths, "split": split, "true": labels}))
    table = pd.concat(parts, ignore_index=True)
    table["id"] = base.unique_ids(table.id)
    return table


def _from_npy(root: Path) -> pd.DataFrame:
    parts = []
    for split, folder in FOLDERS.items():
        images = _unhidden(root / folder / "images")
        if not images:
            raise base.absent("affectnet", root / folder / "images", TREE, SOURCE)
        annotations = _unhidden(root / folder / "annotations")
        names = sorted((n[: -len("_exp.npy")] for n in annotations if n.endswith("_exp.npy")), key=_number)
        unlabelled = sorted(
            n for n in images if n.endswith(".jpg") and f"{n[:-4]}_exp.npy" not in annotations
        )
        if unlabelled:
            raise InputError(
                f"affectnet: {len(unlabelled)} image(s) in {root / folder / 'images'} have no annotation; "
                f"the first is {unlabelled[0]}, expected annotations/{unlabelled[0][:-4]}_exp.npy for it. "
                "Unpack the annotations again, or remove the images."
            )
        labels = [_expression(root / folder / "annotations" / f"{name}_exp.npy") for name in names]
        paths = [f"{folder}/images/{name}.jpg" for name in names]
        ids = [f"{folder}/{name}" for name in names]
        parts.append(pd.DataFrame({"id": ids, "path": paths, "split": split, "true": labels}))
    return pd.concat(parts, ignore_index=True)


def _unhidden(folder: Path) -> set[str]:
    """Without what macOS puts beside each file: `._3_exp.npy`."""
    return {name for name in base.file_names(folder) if not name.startswith(".")}


def _number(name: str) -> tuple[int, str]:
    return (int(name) if name.isdecimal() else -1, name)


def _expression(path: Path) -> int:
    """The release stores each id as a 0-d array of text."""
    try:
        value = np.load(path, allow_pickle=False).item()
        label = int(value) if isinstance(value, str | bytes) or int(value) == value else -1
    except Exception as error:  # of another kind: an archive, a pickle, a structure, no numpy file at all
        kind = type(error).__name__
        raise InputError(
            f"{path}: expected a numpy file with one expression id, found something else ({kind}). "
            "Unpack the annotations again."
        ) from error
    if not 0 <= label <= LAST_ID:
        raise InputError(f"{path}: expected an expression id 0 to {LAST_ID}, found {value!r}.")
    return label
