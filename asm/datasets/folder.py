"""Anyone's own images: a folder per class, or a csv file."""

import os
from pathlib import Path

import pandas as pd

from asm.datasets import base
from asm.errors import InputError

CSV = "labels.csv"
SPLITS = {"train": "train", "valid": "valid", "val": "valid", "test": "test"}  # folder or csv value -> split
TREE = """
train/<class>/<image>                 a folder per class, in each split; jpg, png, bmp, webp or tif
test/<class>/<image>
valid/<class>/<image>                 optional
or
labels.csv                            with the columns path,label,split; paths from here; splits as above
"""
SOURCE = "Bring the images into one of these two forms."


def load(root: Path, classes: list[str] | None = None) -> base.FaceDataset:
    """A data set of one's own: `labels.csv` if there is one, else `<split>/<class>/<image>`.

    `classes` fixes the order of the class ids; by default the names are sorted. In the csv file a label is a
    class's name, or its number in `classes` from 0 (without `classes`, the numbers are the names). Ids are
    the paths, which must lie under `root`. Raises InputError for missing or damaged data and for a label that
    is not among the classes.
    """
    if classes is not None:
        if not isinstance(classes, list | tuple) or not classes:
            raise InputError(f"folder: classes: expected a list of names, found {classes!r}.")
        classes = [str(name) for name in classes]
    if (root / CSV).is_file():
        table, classes = _from_csv(root, classes)
    elif (root / "train").is_dir():
        table, classes = _from_folders(root, classes)
    else:
        raise base.absent("folder", root, TREE, SOURCE)
    return base.check(base.FaceDataset("folder", tuple(classes), table, base.Files(root, tuple(table.path))))


def _from_csv(root: Path, classes: list[str] | None) -> tuple[pd.DataFrame, list[str]]:
    path = root / CSV
    rows = base.read_rows(path, ["path", "label", "split"])
    if not len(rows):
        raise InputError(f"{path}: expected one row per image, found none.")
    strange = rows[~rows.split.isin(SPLITS)]
    if len(strange):
        first = strange.iloc[0]
        raise InputError(
            f"{path}, row {first.line}: expected a split {', '.join(SPLITS)}; found {first.split!r}."
        )
    numbered = all(value.isdecimal() for value in rows.label)
    if classes is None:
        classes = sorted(set(rows.label), key=lambda name: (int(name) if numbered else 0, name))
    if numbered and not set(rows.label) <= set(classes):
        labels = base.integers(path, rows.label, rows.line, "a class number", 0, len(classes) - 1)
    else:
        number = {name: k for k, name in enumerate(classes)}
        for value, line in zip(rows.label, rows.line, strict=True):
            if value not in number:
                raise InputError(
                    f"{path}, row {line}: expected a label among {', '.join(classes)}; found {value!r}. "
                    "Correct the row, or add the class to `classes`."
                )
        labels = rows.label.map(number).to_numpy("int64")
    base.require_inside(root, path, rows.path, rows.line)
    base.require_files("folder", root, rows.path, CSV)
    splits = rows.split.map(SPLITS)
    return pd.DataFrame({"id": rows.path, "path": rows.path, "split": splits, "true": labels}), classes


def _from_folders(root: Path, classes: list[str] | None) -> tuple[pd.DataFrame, list[str]]:
    splits = [name for name in SPLITS if (root / name).is_dir()]
    if {"val", "valid"} <= set(splits):
        raise InputError(f"folder: {root} holds both valid/ and val/; expected one of them. Merge the two.")
    if "test" not in splits:
        raise base.absent("folder (no test images)", root, TREE, SOURCE)
    folders = {split: _class_folders(root / split) for split in splits}
    if classes is None:
        classes = folders["train"]
    rows = []
    for split in splits:
        for name in folders[split]:
            if name not in classes:
                raise InputError(
                    f"folder: {root / split / name} is no folder of a class; expected {', '.join(classes)}. "
                    "Rename the folder, or give it training images."
                )
            files = sorted(base.file_names(root / split / name))
            images = [f for f in files if f.lower().endswith(base.IMAGE_SUFFIXES) and not f.startswith(".")]
            rows += [(f"{split}/{name}/{f}", SPLITS[split], classes.index(name)) for f in images]
    if not rows:
        raise base.absent("folder (no images)", root, TREE, SOURCE)
    table = pd.DataFrame(rows, columns=["path", "split", "true"])
    table.insert(0, "id", table.path)
    return table, classes


def _class_folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
