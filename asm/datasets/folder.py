"""Anyone's own images: a folder per class, or a csv file."""

import os
from pathlib import Path, PurePosixPath

import pandas as pd

from asm.basics.errors import InputError
from asm.datasets import base
from asm.datasets.images import SUFFIXES
from asm.datasets.names import alike, by_number, check_names, same_text

CSV = "labels.csv"
SPLITS = {"train": "train", "valid": "valid", "val": "valid", "test": "test"}  # folder or csv value -> split
NO_LABEL = ("nan", "null", "na", "n/a")  # what programs write for a missing one
TREE = """
train/<class>/<image>                 a folder per class, in each split; jpg, png, gif, webp, tif, ppm, ...
test/<class>/<image>
valid/<class>/<image>                 optional
or
labels.csv                            with the columns path,label,split; paths from here; splits as above
"""
SOURCE = "Bring the images into one of these two forms."


def load(root: Path, classes: list[str] | None = None) -> base.FaceDataset:
    """A data set of one's own: `labels.csv` if there is one, else `<split>/<class>/<image>`, also in folders
    within a class's.

    `classes` fixes the order of the class ids; by default the names are sorted, numbers in them by value (2
    before 10). In the csv file a label is a class's name, or its number in `classes` from 0 (without
    `classes`, the numbers are the names). Ids are the paths, which must lie under `root`. Raises InputError
    for missing or damaged data, for a label that is not among the classes, is empty or negative, and for two
    that look like one.
    """
    if classes is not None:
        if not isinstance(classes, list | tuple) or not classes:
            raise InputError(f"folder: classes: expected a list of names, found {classes!r}.")
        for name in classes:
            if isinstance(name, bool) or not isinstance(name, str | int):
                raise InputError(f"folder: classes: expected names, found {name!r}; put it in quotes.")
        classes = [same_text(str(name)) for name in classes]
        check_names("folder", classes, [])
    if (root / CSV).is_file():
        table, classes, left_out = _from_csv(root, classes)
    elif (root / "train").is_dir():
        table, classes, left_out = _from_folders(root, classes)
    else:
        raise base.absent("folder", root, TREE, SOURCE)
    read = base.Files(root, tuple(table.path))
    return base.check(base.FaceDataset("folder", tuple(classes), table, read, left_out))


def _from_csv(root: Path, classes: list[str] | None) -> tuple[pd.DataFrame, list[str], dict[str, str]]:
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
    rows["label"] = rows.label.map(same_text)
    _check_labels(path, rows)
    numbered = all(value.isdecimal() for value in rows.label)
    if classes is None:
        classes = sorted(set(rows.label), key=by_number)
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
    paths = _paths(path, rows)
    left_out = base.require_files("folder", root, paths, CSV)
    splits = rows.split.map(SPLITS)
    table = pd.DataFrame({"id": paths, "path": paths, "split": splits, "true": labels})
    return table, classes, left_out


def _check_labels(path: Path, rows: pd.DataFrame) -> None:
    known: dict[str, tuple[str, int]] = {}
    for value, line in zip(rows.label, rows.line, strict=True):
        if not value or value.casefold() in NO_LABEL or (_is_number(value) and not value.isdecimal()):
            raise InputError(
                f"{path}, row {line}: expected a class's name or its number 0, 1, …; found {value!r}. "
                "Give the image its label, or take the row out."
            )
        other, earlier = known.setdefault(alike(value), (value, line))
        if other != value:
            raise InputError(
                f"{path}, row {line}: the label {value!r} looks like {other!r} of row {earlier}, and would "
                "be another class. Spell the two alike."
            )


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _paths(path: Path, rows: pd.DataFrame) -> list[str]:
    """The rows' paths in one spelling, each of them once."""
    known: dict[str, int] = {}
    for name, line in zip(rows.path, rows.line, strict=True):
        if not name:
            raise InputError(f"{path}, row {line}: expected an image's path, found none.")
        earlier = known.setdefault(PurePosixPath(name).as_posix(), line)
        if earlier != line:
            raise InputError(
                f"{path}, row {line}: the image {name!r} is that of row {earlier} already. Keep one of them."
            )
    return list(known)


def _from_folders(root: Path, classes: list[str] | None) -> tuple[pd.DataFrame, list[str], dict[str, str]]:
    splits = [name for name in SPLITS if (root / name).is_dir()]
    if {"val", "valid"} <= set(splits):
        raise InputError(f"folder: {root} holds both valid/ and val/; expected one of them. Merge the two.")
    if "test" not in splits:
        raise base.absent("folder (no test images)", root, TREE, SOURCE)
    folders = {split: _class_folders(root / split) for split in splits}
    if classes is None:
        classes = sorted(folders["train"], key=by_number)
    for split in splits:
        for name, folder in folders[split].items():
            if name not in classes:
                raise InputError(
                    f"folder: {root / split / folder} is no folder of a class; expected "
                    f"{', '.join(classes)}. Rename the folder, or give it training images."
                )
    rows, left_out = [], {}
    for path in base.files_below(root):
        split, _, rest = path.partition("/")
        name, _, file = rest.partition("/")
        if split not in splits or not file:
            left_out[path] = "in no class's folder of a split"
        elif not path.lower().endswith(SUFFIXES):
            left_out[path] = "its suffix is none of an image that is read"
        elif not (root / path).is_file():
            left_out[path] = "no file, or a broken link"
        else:
            label = classes.index(same_text(name))
            rows.append(((splits.index(split), name, file), path, SPLITS[split], label))
    if not rows:
        raise base.absent("folder (no images)", root, TREE, SOURCE)
    table = pd.DataFrame(sorted(rows), columns=["order", "path", "split", "true"]).drop(columns="order")
    table.insert(0, "id", table.path)
    return table, classes, dict(sorted(left_out.items()))


def _class_folders(folder: Path) -> dict[str, str]:
    """Class and name of each folder there."""
    with os.scandir(folder) as entries:
        names = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    classes: dict[str, str] = {}
    for name in names:
        other = classes.setdefault(same_text(name), name)
        if other != name:
            raise InputError(
                f"folder: {folder} holds two folders whose names look the same, {other!a} and {name!a}. "
                "Merge the two."
            )
    return classes
