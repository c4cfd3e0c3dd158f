"""FER+: the FER2013 images with ten crowd votes each (Barsoum et al., ICMI 2016).

Two layouts are read. *Folders*: `FER2013Train`, `FER2013Valid`, `FER2013Test` with the images as png, as
Microsoft's script writes them. *Kaggle*: `fer2013.csv`, the competition's own file. The folders are read if
FER2013Train holds png files, else `fer2013.csv`.

The votes come from the folders' `label.csv` (the default where all three are there) or from `fer2013new.csv`.
Both are Microsoft's, but differ in 1,602 rows; the published 28,236 training and 3,137 test images are the
majority rule on `label.csv`, while `fer2013new.csv` gives 28,259 and 3,153.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from asm.basics.errors import InputError
from asm.datasets import base

CLASSES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
TITLE = "FER+"
PAPER = {7: "ferplus", 8: "ferplus"}
VOTES = (*CLASSES, "unknown", "nf")  # nf: no face
FER2013_CLASSES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")  # ids 0 to 6
FOLDERS = {"train": "FER2013Train", "valid": "FER2013Valid", "test": "FER2013Test"}
USAGES = {"Training": "train", "PublicTest": "valid", "PrivateTest": "test"}
RULES = ("majority", "probability", "argmax", "any")
NEW, LABEL, KAGGLE = "fer2013new.csv", "label.csv", "fer2013.csv"
SIDE = 48  # pixels
TREE = """
FER2013Train/, FER2013Valid/, FER2013Test/   fer0000000.png …, label.csv in each
fer2013new.csv                               (needed where a label.csv is missing)
or
fer2013.csv, fer2013new.csv                  Kaggle's file with the pixels, and Microsoft's votes
FER2013Train/label.csv, …                    optional, all three: then the votes are theirs
"""
SOURCE = (
    "The votes are at github.com/microsoft/FERPlus; the images are those of the Kaggle competition "
    "'Challenges in Representation Learning: Facial Expression Recognition Challenge'."
)


def load(
    root: Path,
    num_classes: int = 8,
    rule: str = "majority",
    votes: str | None = None,
    merge_valid: bool = True,
    min_votes: int = 2,
) -> base.FaceDataset:
    """FER+ with the label that `rule` makes of the votes; see `apply_rule`.

    `num_classes`: 8, or 7 without the images whose label is contempt. `votes`: "label.csv" (the default if it
    is there) or "fer2013new.csv". `merge_valid`: train on FER2013's training and validation images, as the
    paper does. `original_label` is FER2013's own label where `fer2013.csv` and `fer2013new.csv` are there,
    else -1. Ids are the names without ".png"; four names of `fer2013new.csv` stand for two rows each, and the
    second row is `<name>#2`. Raises InputError for a missing or damaged data set.
    """
    if type(num_classes) is not int or num_classes not in (7, 8):
        raise InputError(f"ferplus: num_classes: expected 7 or 8, found {num_classes!r}.")
    if votes not in (None, LABEL, NEW):
        raise InputError(f"ferplus: votes: expected {LABEL} or {NEW}, found {votes!r}.")
    if not isinstance(merge_valid, bool):
        raise InputError(f"ferplus: merge_valid: expected true or false, found {merge_valid!r}.")
    in_folders = any(name.endswith(".png") for name in base.file_names(root / FOLDERS["train"]))
    kaggle = (root / KAGGLE).is_file()
    if not in_folders and not kaggle:
        raise base.absent("ferplus", root, TREE, SOURCE)

    table = read_votes(root, votes)
    true = apply_rule(table[[f"votes_{c}" for c in VOTES]].to_numpy(), rule, min_votes)
    table.insert(3, "true", true)
    voted_on, left_out = table.path, {}
    table = table[(true >= 0) & (true < num_classes)].reset_index(drop=True)
    rows = table.pop("row").to_numpy()
    table["original_label"] = -1
    read: base.Files | base.Pixels
    if in_folders:
        left_out = base.require_files("ferplus", root, table.path, "the votes", voted_on)
        read = base.Files(root, tuple(table.path))
        if kaggle and (root / NEW).is_file():
            table["original_label"], _, _ = _read_kaggle(root, rows, pixels=False)
    else:
        table["original_label"], lines, images = _read_kaggle(root, rows, pixels=True)
        table["path"] = [f"{KAGGLE}:{line}" for line in lines]
        read = base.Pixels(images)
    if merge_valid:
        table["split"] = table.split.replace("valid", "train")
    return base.check(base.FaceDataset("ferplus", CLASSES[:num_classes], table, read, left_out))


def apply_rule(votes: np.ndarray, rule: str, min_votes: int = 2) -> np.ndarray:
    """The label that each row of `votes` (int [N, 10], columns as `VOTES`) gets: int64 [N], -1 for left out.

    The rules "majority" and "probability" are those of Microsoft's reader (Barsoum et al., §3): entries with
    fewer than `min_votes` votes are first set to zero, and S is the sum of what is left.
    majority: the entry with more than S/2 votes.
    probability: entries are taken in the order of their votes, tied ones together, until they hold 3/4 of S
    or are three; taking stops at unknown or no face, which counts only if it comes first. The label is the
    first entry taken. Left out where more than three entries or at most S/2 votes are taken.
    argmax: the entry with most votes, the first of `VOTES` among equals; nothing is set to zero.
    These three leave out the rows where unknown or no face wins.
    any: the expression with most votes, whatever else was voted; only rows without such a vote are left out.
    """
    if rule not in RULES:
        raise InputError(f"ferplus: rule: expected one of {', '.join(RULES)}, found {rule!r}.")
    if isinstance(min_votes, bool) or not isinstance(min_votes, int) or not 1 <= min_votes <= 10:
        raise InputError(f"ferplus: min_votes: expected a whole number 1 to 10, found {min_votes!r}.")
    if rule == "probability":
        distinct, inverse = np.unique(votes, axis=0, return_inverse=True)
        labels = [_probability_rule(np.where(row >= min_votes, row, 0)) for row in distinct]
        return np.array(labels, dtype=np.int64)[inverse.ravel()]
    if rule == "any":
        expressions = votes[:, : len(CLASSES)]
        return np.where(expressions.sum(axis=1) > 0, expressions.argmax(axis=1), -1).astype(np.int64)
    label = votes.argmax(axis=1)
    if rule == "majority":
        kept = np.where(votes >= min_votes, votes, 0)
        label = np.where(2 * kept.max(axis=1) > kept.sum(axis=1), kept.argmax(axis=1), -1)
    return np.where(label < len(CLASSES), label, -1).astype(np.int64)


def _probability_rule(votes: np.ndarray) -> int:
    taken = np.zeros_like(votes)
    left = votes.copy()
    entries = 0
    stopped = False
    while not stopped and entries < 3 and 4 * taken.sum() < 3 * votes.sum():
        most = left.max()
        for k in np.flatnonzero(left == most):
            stopped = k >= len(CLASSES)
            if stopped and taken.any():
                break
            taken[k] = most
            left[k] = 0
            entries += 1
            if stopped:
                break
    if entries > 3 or 2 * taken.sum() <= votes.sum():
        return -1
    label = int(taken.argmax())
    return label if label < len(CLASSES) else -1


def read_votes(root: Path, votes: str | None = None) -> pd.DataFrame:
    """Every named image's votes, needing no image: `id`, `path` (in the folders), `split`, `row`, `votes_…`.

    `votes` as for `load`. `row` is the image's row in `fer2013new.csv` and so in `fer2013.csv`, from 0 (-1
    where the file is missing): the number in an image's name is *not* its row. Rows without a name are left
    out. Raises InputError for a missing or damaged file.
    """
    files = {split: root / folder / LABEL for split, folder in FOLDERS.items()}
    if votes is None:
        votes = LABEL if all(file.is_file() for file in files.values()) else NEW
    wanted = files.values() if votes == LABEL else [root / NEW]
    missing = [str(file.relative_to(root)) for file in wanted if not file.is_file()]
    if missing:
        raise base.absent(f"ferplus (votes: {votes}; no {', '.join(missing)})", root, TREE, SOURCE)
    new = _read_new(root / NEW) if (root / NEW).is_file() else None
    if votes == NEW:
        assert new is not None
        table = new[new.name != ""].reset_index(drop=True)
    else:
        parts = []
        for split, file in files.items():
            rows = base.read_rows(file, ("name", "box", *VOTES), header=False)
            base.require_inside(root, file, rows.name, rows.line)
            parts.append(_counted(file, rows).assign(split=split))
        table = pd.concat(parts, ignore_index=True)
        first = {} if new is None else {name: r for r, name in reversed(list(enumerate(new.name)))}
        table["row"] = [first.get(name, -1) for name in table.name]
        unknown = table[table.row < 0]
        if new is not None and len(unknown):
            raise InputError(
                f"{files[unknown.split.iloc[0]]}, row {unknown.line.iloc[0]}: expected a name that {NEW} has "
                f"too, found {unknown.name.iloc[0]!r}. The two must be of the same release."
            )
    return pd.DataFrame(
        {
            "id": base.unique_ids([name.removesuffix(".png") for name in table.name]),
            "path": [f"{FOLDERS[s]}/{name}" for s, name in zip(table.split, table.name, strict=True)],
            "split": table.split,
            "row": table.row,
            **{f"votes_{c}": table[c] for c in VOTES},
        }
    )


def _read_new(path: Path) -> pd.DataFrame:
    """fer2013new.csv, all rows, those without a name too: `name`, `split`, `row`, `line` and the votes."""
    columns = {
        "Usage": "split",
        "Image name": "name",
        **{c: c for c in CLASSES},
        "unknown": "unknown",
        "NF": "nf",
    }
    rows = _counted(path, base.read_rows(path, list(columns)).rename(columns=columns))
    strange = rows[~rows.split.isin(USAGES)]
    if len(strange):
        first = strange.iloc[0]
        raise InputError(
            f"{path}, row {first.line}: expected Usage {', '.join(USAGES)}; found {first.split!r}."
        )
    base.require_inside(path.parent, path, rows.name, rows.line)
    return rows.assign(split=rows.split.map(USAGES), row=np.arange(len(rows)))


def _counted(path: Path, rows: pd.DataFrame) -> pd.DataFrame:
    counts = {c: base.integers(path, rows[c], rows.line, f"the votes for {c}", 0, 10) for c in VOTES}
    return rows.assign(**counts)


def _read_kaggle(root: Path, rows: np.ndarray, pixels: bool) -> tuple[np.ndarray, list[int], np.ndarray]:
    """Original label, line and pixels in fer2013.csv of each of `rows` (its number in fer2013new.csv).

    The two files have no common key but the order of their rows, so their lengths and the usage of every row
    must agree. Pixels are uint8 [len(rows), 48, 48], empty unless asked for.
    """
    path = root / KAGGLE
    if not (root / NEW).is_file():
        raise base.absent(f"ferplus ({KAGGLE} has no names: no {NEW})", root, TREE, SOURCE)
    usages = base.read_rows(root / NEW, ["Usage"]).Usage
    distinct, where = np.unique(rows, return_inverse=True)
    place = {row: i for i, row in enumerate(distinct.tolist())}
    images = np.zeros((len(distinct) if pixels else 0, SIDE, SIDE), dtype=np.uint8)
    emotions, lines = [], []
    for row, (line, fields) in enumerate(base.iter_rows(path, ["emotion", "Usage"] + ["pixels"] * pixels)):
        if row < len(usages) and fields[1] != usages[row]:
            raise InputError(
                f"{path}, row {line}: expected Usage {usages[row]}, as row {row + 1} of {NEW} has it, found "
                f"{fields[1]!r}. The rows of the two files must be in the same, original order."
            )
        emotions.append(fields[0])
        lines.append(line)
        if pixels and row in place:
            images[place[row]] = _pixels(path, line, fields[2])
    if len(lines) != len(usages):
        raise InputError(f"{path}: expected {len(usages)} rows, as {NEW} has, found {len(lines)}.")
    original = base.integers(path, emotions, lines, "an emotion", 0, len(FER2013_CLASSES) - 1)
    to_class = np.array([CLASSES.index(c) for c in FER2013_CLASSES])
    return to_class[original[rows]], [lines[row] for row in rows], images[where] if pixels else images


def _pixels(path: Path, line: int, text: str) -> np.ndarray:
    try:
        values = np.fromstring(text, dtype=np.int64, sep=" ")
    except ValueError:
        values = np.empty(0, dtype=np.int64)
    if len(values) != SIDE * SIDE or values.min() < 0 or values.max() > 255:
        raise InputError(
            f"{path}, row {line}: expected {SIDE * SIDE} pixels 0 to 255, found {len(values)} numbers in "
            f"{text[:30]!r}…"
        )
    return values.reshape(SIDE, SIDE).astype(np.uint8)
