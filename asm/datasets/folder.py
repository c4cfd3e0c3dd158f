"""Anyone's own images: a folder per class, or csv files."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from asm.basics.errors import InputError
from asm.basics.yaml import Section, Seed, parse
from asm.datasets import base, listed
from asm.datasets.absent import without_absent
from asm.datasets.heic import SUFFIXES, read_photo
from asm.datasets.listed import SPLITS
from asm.datasets.names import by_number, check_names, printable, same_text
from asm.datasets.splits import drawn, require_apart, subjects_of

MARGIN = 0.3  # of a box's sides, which the search for the face sees around it
WRITTEN = ("predictions.csv", "audit.csv")  # a folder with one of these is what our own commands wrote
TREE = """
train/<class>/<image>                 a folder per class, in each split; jpg, png, gif, webp, tif, ppm, ...
test/<class>/<image>
valid/<class>/<image>                 optional
or
<class>/<image>                       with the option test_share: 0.2, which makes the split
or
labels.csv                            with the columns path,label,split; paths from here; splits as above;
                                      other files and columns by the options csv and columns
"""
SOURCE = "Bring the images into one of these forms."


class Options(Section):
    csv: str | list[str] | dict[Literal["train", "valid", "val", "test"], str] | None
    columns: dict[str, Any]
    absent_share: Annotated[float, Field(ge=0, lt=1)]
    test_share: Annotated[float, Field(gt=0, lt=1)] | None
    split_seed: Seed
    folds: Annotated[int, Field(ge=2)] | None
    fold: Annotated[int, Field(ge=0)]
    subject: str | None


@dataclass(frozen=True)
class Photos(base.Files):
    """`base.Files` that also reads HEIC, and of a row with a box (x1, y1, x2, y2) the part around it."""

    boxes: np.ndarray | None = None  # float64 [N, 4]

    def __call__(self, row: int) -> np.ndarray:
        image = read_photo(self.root / self.paths[row])
        if self.boxes is None:
            return image
        (x1, y1, x2, y2), (height, width) = self.boxes[row], image.shape[:2]
        if not (x1 < width and y1 < height and x2 > 0 and y2 > 0):
            raise OSError(f"the box lies outside the image of {width} x {height} pixels")
        aside, above = MARGIN * (x2 - x1), MARGIN * (y2 - y1)
        top, left = max(0, int(y1 - above)), max(0, int(x1 - aside))
        return image[top : int(y2 + above) + 1, left : int(x2 + aside) + 1]


def load(
    root: Path,
    classes: list[str] | None = None,
    csv: str | list[str] | dict[str, str] | None = None,
    columns: dict[str, Any] | None = None,
    absent_share: float = 0.0,
    test_share: float | None = None,
    split_seed: int = 0,
    folds: int | None = None,
    fold: int = 0,
    subject: str | None = None,
) -> base.FaceDataset:
    """A data set of one's own: csv files if there are any (asm/datasets/listed.py), else
    `<split>/<class>/<image>`, also in folders within a class's; `<class>/<image>` where the split is drawn.

    Args:
        classes: fixes the order of the class ids; by default the names are sorted, numbers in them by value
            (2 before 10). In a csv file a label is a class's name, or its number in `classes` from 0 (without
            `classes`, the numbers are the names).
        csv: a file in `root`, several, or split -> file; default labels.csv, or a known export's.
        columns: the csv files' names for what `listed.Columns` has.
        absent_share: images that csv files name may be missing, up to this share of all.
        test_share: the split is drawn by `split_seed`, and this share of each class is for testing; all faces
            of an image, and of a subject, are on one side. `folds` and `fold` instead: for cross-validation,
            one data set for each `fold` from 0.
        subject: a regular expression that finds in a path who is on the image (or `columns: {subject: ...}`);
            a given split is then refused if a person is in two parts of it.

    Ids are the paths, which must lie under `root`, of further faces of an image with `#2`, ... Raises
    InputError for missing or damaged data, for a label that is not among the classes, is empty or negative,
    and for two that look like one.
    """
    given = {"csv": csv, "columns": columns or {}, "absent_share": absent_share, "test_share": test_share}
    given |= {"split_seed": split_seed, "folds": folds, "fold": fold, "subject": subject}
    options = parse(Options, given, "folder: options")
    to_draw = options.test_share is not None or options.folds is not None
    if (options.test_share and options.folds) or options.fold >= (options.folds or 1):
        raise InputError("folder: expected `test_share`, or `folds` and a `fold` below it.")
    classes = _named(classes)
    files = listed.files(root, options.csv)
    try:
        if files:
            table, classes, left_out = _from_csv(root, classes, files, options, to_draw)
        elif (root / "train").is_dir() or (to_draw and root.is_dir()):
            table, classes, left_out = _from_folders(root, classes, to_draw)
        else:
            raise base.absent("folder", root, TREE, SOURCE)
    except OSError as error:  # a link to itself, a folder that may not be read
        raise InputError(f"folder: {printable(str(error))}. Take it away, or give access to it.") from error
    if options.subject is not None:
        if "subject" in table:
            raise InputError(
                "folder: subject: expected the option, or a column of the csv files; found both."
            )
        table["subject"] = subjects_of(table.path, options.subject)
    if to_draw:
        units = table.subject if "subject" in table else table.path
        test = drawn(table.true, units, options.split_seed, options.test_share, options.folds, options.fold)
        table.insert(2, "split", np.where(test, "test", "train"))
    elif "subject" in table:
        require_apart(table.subject, table.split)
    boxes = None
    if "x1" in table:
        boxes = np.stack([table.pop(name).to_numpy(float) for name in ("x1", "y1", "x2", "y2")], axis=1)
    read = Photos(root, tuple(table.path), boxes)
    return base.check(base.FaceDataset("folder", tuple(classes), table, read, left_out))


def _named(classes: list[str] | None) -> list[str] | None:
    if classes is None:
        return None
    if not isinstance(classes, list | tuple) or not classes:
        raise InputError(f"folder: classes: expected a list of names, found {classes!r}.")
    for name in classes:
        if isinstance(name, bool) or not isinstance(name, str | int):
            raise InputError(f"folder: classes: expected names, found {name!r}; put it in quotes.")
    classes = [same_text(str(name)) for name in classes]
    check_names("folder", classes, [])
    return classes


def _from_csv(
    root: Path,
    classes: list[str] | None,
    files: list[tuple[str, str | None]],
    options: Options,
    to_draw: bool,
) -> tuple[pd.DataFrame, list[str], dict[str, str]]:
    rows, left_out = listed.read(root, files, options.columns, to_draw)
    numbered = all(value.isdecimal() for value in rows.label)
    if classes is None:
        classes = sorted(set(rows.label), key=by_number)
    if numbered and not set(rows.label) <= set(classes):
        path = Path(rows.file.iloc[0])
        labels = base.integers(path, rows.label, rows.line, "a class number", 0, len(classes) - 1)
    else:
        number = {name: k for k, name in enumerate(classes)}
        for value, file, line in zip(rows.label, rows.file, rows.line, strict=True):
            if value not in number:
                raise InputError(
                    f"{file}, row {line}: expected a label among {', '.join(classes)}; found {value!r}. "
                    "Correct the row, or add the class to `classes`."
                )
        labels = rows.label.map(number).to_numpy("int64")
    table = rows.drop(columns=["file", "line", "label"]).assign(true=labels)
    table.insert(0, "id", base.unique_ids(rows.path.tolist()))
    names = " and ".join(name for name, _ in files)
    table, absent = without_absent("folder", root, table, names, options.absent_share)
    left_out |= absent
    left_out |= base.require_files("folder", root, table.path, names, unused=left_out)
    return table, classes, left_out


def _from_folders(
    root: Path, classes: list[str] | None, to_draw: bool
) -> tuple[pd.DataFrame, list[str], dict[str, str]]:
    """`to_draw`: the split is yet to be made, of the images in train/ or, without that, in the classes'
    folders in `root`."""
    splits = [name for name in SPLITS if (root / name).is_dir()]
    if {"val", "valid"} <= set(splits):
        raise InputError(f"folder: {root} holds both valid/ and val/; expected one of them. Merge the two.")
    if to_draw and set(splits) - {"train"}:
        raise InputError(
            f"folder: {root} is split already, it holds {splits[-1]}/; leave out `test_share` and `folds`."
        )
    if "test" not in splits and not to_draw:
        raise base.absent("folder (no test images)", root, TREE, SOURCE)
    splits = splits or [""]
    written = {name for name in os.listdir(root) if _is_written(root / name)}
    folders = {split: _class_folders(root / split, set() if split else written) for split in splits}
    if classes is None:
        classes = sorted(folders[splits[0]], key=by_number)
    for split in splits:
        for name, folder in folders[split].items():
            if name not in classes:
                raise InputError(
                    f"folder: {root / split / folder} is no folder of a class; expected "
                    f"{', '.join(classes)}. Rename the folder, or give it training images."
                )
    rows, left_out = [], {}
    for path in base.files_below(root):
        if path.partition("/")[0] in written:
            continue
        split, _, rest = path.partition("/") if splits[0] else ("", "", path)
        name, _, file = rest.partition("/")
        if split not in splits or not file or same_text(name) not in folders[split]:
            left_out[path] = "in no class's folder" + (" of a split" if splits[0] else "")
        elif not path.lower().endswith(SUFFIXES):
            left_out[path] = "its suffix is none of an image that is read"
        elif not (root / path).is_file():
            left_out[path] = "no file, or a broken link"
        else:
            label = classes.index(same_text(name))
            rows.append(((splits.index(split), name, file), path, SPLITS.get(split, ""), label))
    if not rows:
        raise base.absent("folder (no images)", root, TREE, SOURCE)
    table = pd.DataFrame(sorted(rows), columns=["order", "path", "split", "true"]).drop(columns="order")
    table.insert(0, "id", table.path)
    return table.drop(columns="split") if to_draw else table, classes, dict(sorted(left_out.items()))


def _is_written(folder: Path) -> bool:
    return any((folder / name).is_file() for name in WRITTEN)


def _class_folders(folder: Path, others: set[str]) -> dict[str, str]:
    """Class and name of each folder there but `others`."""
    with os.scandir(folder) as entries:
        found = {e.name for e in entries if e.is_dir() and not e.name.startswith(".")}
    names = sorted(found - others)
    classes: dict[str, str] = {}
    for name in names:
        other = classes.setdefault(same_text(name), name)
        if other != name:
            raise InputError(
                f"folder: {folder} holds two folders whose names look the same, {other!a} and {name!a}. "
                "Merge the two."
            )
    return classes
