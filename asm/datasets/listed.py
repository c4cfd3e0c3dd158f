"""Csv files of one's own images: columns by name, known exports, votes, boxes."""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Annotated, NamedTuple
from urllib.parse import unquote

import numpy as np
import pandas as pd
from pydantic import Field

from asm.basics.errors import InputError
from asm.basics.yaml import Section, parse
from asm.datasets import base
from asm.datasets.names import alike, same_text

CSV = "labels.csv"
SPLITS = {"train": "train", "valid": "valid", "val": "valid", "test": "test"}  # folder or csv value -> split
NO_LABEL = ("nan", "null", "na", "n/a")  # what programs write for a missing one
VOTES = "votes_"
MOST = 1e6  # votes, pixels: more is a slip
SOFT = 10  # as so many votes a soft label counts
_FIELD = re.compile(r"\{([^{}]*)\}")
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts before a file's name
_Four = Annotated[list[str], Field(min_length=4, max_length=4)]


class Columns(Section):
    """What the columns of the csv files are called."""

    path: str = "path"  # or a pattern of columns: faces/{id}.jpg
    label: str = "label"
    split: str = "split"
    subject: str | None = None
    annotator: str | None = None  # a row for each: their labels are votes
    votes: Annotated[list[str], Field(min_length=2)] | None = None  # one a class, with its name
    box: _Four | None = None  # x1, y1, x2, y2 in pixels
    box_size: _Four | None = None  # x, y, width, height


class _Export(NamedTuple):
    """A csv file as another program writes it: what its header has, and the folder its images are in."""

    header: set[str]
    folder: str
    columns: dict[str, str]
    labels: Mapping[str, str] = MappingProxyType({})  # what stands there -> class
    uploaded: bool = False  # the images' names are addresses on a server


# RAF-DB's classes, from 1; written out, so that folders do not depend on the code of another source
_RAFDB = dict(
    zip("1234567", ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"), strict=True)
)
EXPORTS = (
    _Export({"pth", "label", "relFCs"}, "", {"path": "pth"}),  # AffectNet, Kaggle
    _Export({"image", "label"}, "DATASET", {"path": "DATASET/{split}/{label}/{image}"}, _RAFDB),  # Kaggle
    _Export(  # Label Studio
        {"image", "choice", "annotator", "annotation_id"},
        "",
        {"path": "image", "label": "choice", "annotator": "annotator"},
        uploaded=True,
    ),
)


def files(root: Path, wanted: str | list[str] | dict[str, str] | None) -> list[tuple[str, str | None]]:
    """The csv files, each with the split that all its rows are of, if it tells; empty where there is none.

    Raises InputError for one that is not there, and where it is not clear which.
    """
    if wanted is None:
        exports = sorted(path.name for path in root.glob("project-*-at-*.csv"))  # Label Studio's names
        if (root / CSV).is_file():
            wanted = CSV
        elif (root / "train_labels.csv").is_file():
            wanted = {"train": "train_labels.csv", "test": "test_labels.csv"}
        elif len(exports) > 1:
            raise InputError(f"folder: {root} holds {', '.join(exports)}; name one by the option `csv`.")
        else:
            wanted = exports
    if isinstance(wanted, dict):
        found = [(name, SPLITS[split]) for split, name in wanted.items()]
    else:
        found = [(name, None) for name in ([wanted] if isinstance(wanted, str) else wanted)]
    for name, _ in found:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise InputError(f"folder: csv: expected a file in {root}, which DVC watches; found {name!r}.")
        if not (root / name).is_file():
            raise InputError(f"folder: csv: {root / name} is no file.")
    return found


def read(
    root: Path, names: Sequence[tuple[str, str | None]], columns: dict[str, object], drawn: bool
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The rows of the csv files `names` as a table; and the images left out, with the reason.

    The table has `path`, `label` (a class's name or number, as text), `split` (unless it is yet to be
    `drawn`), `file` and `line`; where known, `subject`, `x1`, `y1`, `x2`, `y2` and `votes_<class>`.
    Of votes the label with most is the image's; an image whose votes are tied is left out.

    Args:
        columns: the option (see `Columns`); the columns of a known export need not be given.

    Raises:
        InputError: a file or column is missing; a row has no path, label or split, one that is none, or
            another row's image.
    """
    first = root / names[0][0]
    known, export = _known(root, first, columns)
    named = parse(Columns, known | columns, "folder: columns")
    for one, other in (("box", "box_size"), ("annotator", "votes"), ("annotator", "box")):
        if getattr(named, one) and getattr(named, other):
            raise InputError(f"folder: columns: expected `{one}` or `{other}`, found both.")
    parts = [_rows(root / name, split, named, drawn) for name, split in names]
    table = pd.concat(parts, ignore_index=True)
    if not len(table):
        raise InputError(f"{first}: expected one row per image, found none.")
    if export and set(table.label) <= set(export.labels):
        table["label"] = table.label.map(export.labels)
    if export and export.uploaded:
        table["path"] = _downloaded(root, table)
    _check_labels(table[~table.tied])
    for file, rows in table.groupby("file", sort=False):
        base.require_inside(root, Path(str(file)), rows.path, rows.line)
    _check_paths(table, several=bool(named.annotator or "x1" in table))
    table["path"] = [PurePosixPath(path).as_posix() for path in table.path]
    if named.annotator:
        table = _counted(table)
    votes = [name for name in table if name.startswith(VOTES)]
    if votes and table[votes].sum(axis=1).max() <= 1:  # one hot, or one annotator: nothing is known beside it
        table = table.drop(columns=votes)
    left_out = dict.fromkeys(table.path[table.tied], "its votes are tied")
    return table[~table.pop("tied")].reset_index(drop=True), left_out


def _known(root: Path, path: Path, columns: dict[str, object]) -> tuple[dict[str, object], _Export | None]:
    """The columns that need not be named, by the header of the csv file, and whose export it is."""
    header = _header(path)
    votes = [name for name in header if name.startswith(VOTES)]
    known: dict[str, object] = {"votes": votes} if len(votes) > 1 else {}
    if "path" not in header and "path" not in columns:
        for export in EXPORTS:
            if export.header <= set(header) and (root / export.folder).is_dir():
                return known | export.columns, export
    return known, None


def _header(path: Path) -> list[str]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            return [name.strip() for name in next(csv.reader(file), [])]
    except (OSError, UnicodeDecodeError, csv.Error):
        return []  # reading its rows says what is wrong


def _rows(path: Path, split: str | None, columns: Columns, drawn: bool) -> pd.DataFrame:
    """The rows of one csv file, as of `read`, but with paths and labels as they stand there."""
    header = _header(path)
    in_path = _FIELD.findall(columns.path)
    split_there = split is None and not drawn
    if drawn and (split or columns.split in header):
        raise InputError(
            f"{path}: has a split already; leave out `test_share` and `folds`, or rename its column."
        )
    box = columns.box or columns.box_size or []
    labelled = not columns.votes or columns.label in header
    wanted = [name for name in in_path if name != "split" or "split" in header] or [columns.path]
    wanted += [columns.label] if labelled else []
    wanted += [columns.split] if split_there else []
    wanted += [name for name in (columns.subject, columns.annotator) if name]
    wanted += [*(columns.votes or []), *box]
    try:
        rows = base.read_rows(path, list(dict.fromkeys(wanted)))
    except InputError as error:
        if ": no column " not in str(error):
            raise
        remedy = "Other names: the option `columns`. Without a split, `test_share: 0.2` makes one."
        raise InputError(f"{error} {remedy}") from error
    table = pd.DataFrame({"file": str(path), "line": rows.line})
    if split_there:
        strange = rows[~rows[columns.split].isin(SPLITS)]
        if len(strange):
            raise InputError(
                f"{path}, row {strange.line.iloc[0]}: expected a split {', '.join(SPLITS)}; found "
                f"{strange[columns.split].iloc[0]!r}."
            )
        table["split"] = rows[columns.split].map(SPLITS)
    elif split:
        table["split"] = split
    if in_path:
        parts = [rows[name] if name in rows else table["split"] for name in in_path]
        between = _FIELD.split(columns.path)[::2]
        table["path"] = between[0]
        for values, after in zip(parts, between[1:], strict=True):
            table["path"] += values + after
    else:
        table["path"] = rows[columns.path]
    if columns.subject:
        table["subject"] = rows[columns.subject]
    if columns.annotator:
        table["annotator"] = rows[columns.annotator]
    if columns.votes:
        table = table.join(_votes(path, rows, columns.votes))
    if labelled:
        table = table.assign(label=rows[columns.label].map(same_text), tied=False)
    else:
        table = _by_votes(table)
    return table.join(_boxes(path, rows, box, bool(columns.box_size))) if box else table


def _numbers(path: Path, rows: pd.DataFrame, name: str, low: float) -> np.ndarray:
    values = pd.to_numeric(rows[name], errors="coerce").to_numpy(float)
    wrong = ~(abs(values) < MOST) | (values < low)
    if wrong.any():
        first = rows.iloc[int(wrong.argmax())]
        raise InputError(f"{path}, row {first.line}: {name}: expected a number, found {first[name]!r}.")
    return values


def _votes(path: Path, rows: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """`votes_<class>`, whole numbers: votes as they are, shares (rows that sum to 1) as `SOFT` votes."""
    classes = [same_text(name.removeprefix(VOTES)) for name in names]
    if len(set(classes)) < len(classes):
        raise InputError(f"{path}: two columns of votes are of one class: {', '.join(names)}.")
    votes = np.stack([_numbers(path, rows, name, 0) for name in names], axis=1)
    shares = (votes % 1 != 0).any()
    wrong = abs(votes.sum(1) - 1) > 0.02 if shares else votes.sum(1) == 0
    if wrong.any():
        expected = "shares that sum to 1, as other rows have them" if shares else "a vote for some class"
        raise InputError(f"{path}, row {rows.line[int(wrong.argmax())]}: expected {expected}.")
    votes = votes * SOFT if shares else votes.astype(np.int64)
    return pd.DataFrame(votes, columns=[VOTES + name for name in classes])


def _by_votes(table: pd.DataFrame) -> pd.DataFrame:
    """With the class that has most votes as `label`; `tied` where several have."""
    names = [name for name in table if name.startswith(VOTES)]
    votes = table[names].to_numpy(float)
    most = votes == votes.max(axis=1, keepdims=True)
    classes = np.array([name.removeprefix(VOTES) for name in names], dtype=object)
    return table.assign(label=classes[most.argmax(axis=1)], tied=most.sum(axis=1) > 1)


def _boxes(path: Path, rows: pd.DataFrame, names: Sequence[str], sized: bool) -> pd.DataFrame:
    left, top, right, bottom = (_numbers(path, rows, name, -np.inf) for name in names)
    if sized:
        right, bottom = left + right, top + bottom
    empty = (right <= left) | (bottom <= top)
    if empty.any():
        line = rows.line[int(empty.argmax())]
        raise InputError(
            f"{path}, row {line}: the box is empty: {', '.join(names)} are read as its "
            + ("left, top, width and height." if sized else "left, top, right and bottom.")
        )
    return pd.DataFrame({"x1": left, "y1": top, "x2": right, "y2": bottom})


def _check_labels(rows: pd.DataFrame) -> None:
    known: dict[str, tuple[str, str]] = {}
    for value, file, line in zip(rows.label, rows.file, rows.line, strict=True):
        if not value or value.casefold() in NO_LABEL or (_is_number(value) and not value.isdecimal()):
            raise InputError(
                f"{file}, row {line}: expected a class's name or its number 0, 1, …; found {value!r}. "
                "Give the image its label, or take the row out."
            )
        other, earlier = known.setdefault(alike(value), (value, f"row {line}"))
        if other != value:
            raise InputError(
                f"{file}, row {line}: the label {value!r} looks like {other!r} of {earlier}, and would "
                "be another class. Spell the two alike."
            )


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _check_paths(table: pd.DataFrame, several: bool) -> None:
    """Each row has a path, and unless an image may have `several` rows, its own."""
    known: dict[str, int] = {}
    for name, file, line in zip(table.path, table.file, table.line, strict=True):
        if not name:
            raise InputError(f"{file}, row {line}: expected an image's path, found none.")
        earlier = known.setdefault(PurePosixPath(name).as_posix(), line)
        if earlier != line and not several:
            raise InputError(
                f"{file}, row {line}: the image {name!r} is that of row {earlier} already. Keep one of them."
            )


def _counted(table: pd.DataFrame) -> pd.DataFrame:
    """One row an image: its annotators' labels as votes, of which there must be one each."""
    twice = table[table.duplicated(["path", "annotator"])]
    if len(twice):
        row = twice.iloc[0]
        raise InputError(
            f"{row.file}, row {row.line}: {row.annotator!r} has labelled {row.path!r} before. Keep one."
        )
    counts = pd.crosstab(table.path, table.label).add_prefix(VOTES)
    images = table.drop_duplicates("path").drop(columns="annotator").reset_index(drop=True)
    images = images.join(counts, on="path")
    return _by_votes(images)


def _downloaded(root: Path, table: pd.DataFrame) -> list[str]:
    """The files of Label Studio's addresses: /data/upload/3/1a2b3c4d-x.jpg (with its 8 letters or without
    them), /data/local-files/?d=folder/x.jpg, each the one file below `root` whose path ends so."""
    below: dict[str, list[str]] = {}
    for path in base.files_below(root):
        below.setdefault(path.rpartition("/")[2], []).append(path)
    paths = []
    for address, file, line in zip(table.path, table.file, table.line, strict=True):
        _, asked, wanted = address.partition("?d=")
        wanted = unquote(wanted if asked else PurePosixPath(address).name)
        name = wanted.rpartition("/")[2]
        found = below.get(name) or below.get(_UPLOADED.sub("", name), [])
        if asked:
            found = [
                path
                for path in found
                if f"/{wanted}".endswith(f"/{path}") or f"/{path}".endswith(f"/{wanted}")
            ]
        if len(found) > 1:
            raise InputError(
                f"{file}, row {line}: {address!r} may be {' or '.join(found[:3])}; keep one of them."
            )
        paths.append(found[0] if found else wanted)
    return paths
