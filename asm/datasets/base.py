"""What every data set is turned into: a table of samples and a way to read one sample's pixels.

A loader is a function `load(root, **options) -> FaceDataset` in its own file; what loaders share is here:
reading images and text tables, and the errors a user meets when a data set is missing or damaged.
"""

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from asm.basics.errors import InputError
from asm.datasets.images import SUFFIXES, read_image
from asm.datasets.names import check_names, same_text

SPLITS = ("train", "valid", "test")
_OPEN_QUOTE = 'a quotation mark (") is opened and not closed in this line; close it, or take it out.'
_NAMED = 3  # how many offenders a message names


@dataclass(frozen=True)
class FaceDataset:
    """One data set as a table and a way to read a row's pixels.

    `table` has a RangeIndex and the columns `id` (str, unique), `path` (str, relative to the data set's root,
    for messages), `split` (one of `SPLITS`) and `true` (int, 0..K-1, the label before any corruption).
    Optional columns: `votes_<class>` (counts, with `votes_unknown` and `votes_nf` for FER+), `subject` (str),
    `original_label` (another annotator's label as one of our class ids, -1 unknown), `origin` (str, the part
    of a union) and, for faces drawn as blends, `ambiguous` (bool), `second_label` (int, -1 none) and
    `mixture` (float, the share of the class `true`).

    `read(row)` gives uint8 [H, W, 3] (RGB) or [H, W] (grey) and raises OSError when the image cannot be read.
    `left_out`: files under the root that one might take for part of the data set, and why they are none.
    """

    name: str
    classes: tuple[str, ...]
    table: pd.DataFrame
    read: Callable[[int], np.ndarray]
    left_out: dict[str, str] = field(default_factory=dict)


def check(dataset: FaceDataset) -> FaceDataset:
    """Return `dataset` unchanged if it can be trained on and tested.

    Raises InputError for a missing column, ids given twice, a label outside 0..K-1, an unknown split, a split
    without images, a class without a training image, and what `check_names` refuses.
    """
    name, table, classes = dataset.name, dataset.table, dataset.classes
    absent = [c for c in ("id", "path", "split", "true") if c not in table.columns]
    if absent:
        raise InputError(
            f"{name}: the table has no column {_some(absent)}; found: {', '.join(table.columns)}."
        )
    check_names(name, classes, table.id)
    if len(table) == 1:
        raise InputError(
            f"{name}: the data set holds one image ({table.path[0]}); at least one training image of every "
            "class and one test image are needed."
        )
    if len(set(classes)) < len(classes) or len(classes) < 2:
        raise InputError(
            f"{name}: two or more different classes are needed, found: {', '.join(classes) or 'none'}."
        )
    repeated = table.id[table.id.duplicated()].unique()
    if len(repeated):
        raise InputError(
            f"{name}: every id must be unique, but {len(repeated)} occur more than once: {_some(repeated)}. "
            "Remove or rename the repeated rows."
        )
    strange = table[~table.split.isin(SPLITS)]
    if len(strange):
        row = strange.index[0]
        raise InputError(
            f"{name}: row {row} ({strange.path[row]}) has the split {strange.split[row]!r}; "
            f"expected one of {', '.join(SPLITS)}."
        )
    outside = table[(table.true < 0) | (table.true >= len(classes))]
    if len(outside):
        row = outside.index[0]
        raise InputError(
            f"{name}: row {row} ({outside.path[row]}) has the label {outside.true[row]}; expected 0 to "
            f"{len(classes) - 1} ({', '.join(classes)})."
        )
    for split in ("train", "test"):
        if not (table.split == split).any():
            raise InputError(
                f"{name}: no {split} image among {len(table)}; training and test images are both needed."
            )
    counts = np.bincount(table.true[table.split == "train"], minlength=len(classes))
    empty = [c for c, n in zip(classes, counts, strict=True) if n == 0]
    if empty:
        raise InputError(
            f"{name}: no training image of the class {_some(empty)}; every class needs at least one. "
            "Add images of it to the training split, or take the class out of the data set."
        )
    return dataset


# --- images -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Files:
    """`FaceDataset.read` for one file per row (no closure: worker processes can have it)."""

    root: Path
    paths: tuple[str, ...]

    def __call__(self, row: int) -> np.ndarray:
        return read_image(self.root / self.paths[row])


@dataclass(frozen=True)
class Pixels:
    """`FaceDataset.read` for pixels in an array, or a file of one: uint8 [N, H, W] or [N, H, W, 3]."""

    images: np.ndarray

    def __call__(self, row: int) -> np.ndarray:
        return np.array(self.images[row])


@dataclass(frozen=True)
class Rows:
    """`FaceDataset.read` for rows of other data sets: row i is `rows[i]` of `readers[part[i]]`."""

    readers: tuple[Callable[[int], np.ndarray], ...]
    part: np.ndarray  # int64 [N]
    rows: np.ndarray  # int64 [N]

    def __call__(self, row: int) -> np.ndarray:
        return self.readers[self.part[row]](int(self.rows[row]))


def require_inside(root: Path, listed: Path, names: Iterable[str], lines: Iterable[int]) -> None:
    """Raise InputError for the first of `names`, image paths in the file `listed`, that may lead out of
    `root`: a change of such an image would not be noticed."""
    for name, line in zip(names, lines, strict=True):
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise InputError(
                f"{listed}, row {line}: expected an image's path, neither absolute nor with '..', found "
                f"{name!r}. The images must lie under {root}: DVC watches that folder alone. Put them there."
            )


def require_files(
    name: str, root: Path, paths: Iterable[str], listed_in: str, unused: Iterable[str] = ()
) -> dict[str, str]:
    """Raise InputError if files named in `listed_in` are not under `root`; one directory scan per folder.

    Args:
        unused: named there, too, but not part of the data set: these may be missing.

    Returns:
        The images beside them that are not named there -> this reason (`FaceDataset.left_out`).
    """
    present: dict[str, set[str]] = {}
    missing, listed = [], dict.fromkeys(paths)
    for path in listed:
        folder, _, file = path.rpartition("/")
        if folder not in present:
            present[folder] = file_names(root / folder)
        if file not in present[folder]:
            missing.append(path)
    if missing:
        raise InputError(
            f"{name}: {len(missing)} image(s) listed in {listed_in} are not under {root}: {_some(missing)}. "
            f"{_why_missing(missing[0], present)}"
        )
    found = (f"{folder}/{file}" if folder else file for folder, files in present.items() for file in files)
    images = (path for path in found if path.lower().endswith(SUFFIXES) and not _is_hidden(path))
    return dict.fromkeys(sorted(set(images) - {*listed, *unused}), f"not in {listed_in}")


def _is_hidden(path: str) -> bool:
    return path.rpartition("/")[2].startswith(".")


def _why_missing(path: str, present: dict[str, set[str]]) -> str:
    folder, _, file = path.rpartition("/")
    if "\\" in path:
        return "Write the folders with /, not with \\."
    if twin := next((n for n in present[folder] if same_text(n) == same_text(file)), None):
        return (
            f"There is one whose name looks the same, but is other Unicode: {twin!a}, not {file!a}. "
            "Bring both to one form, such as NFC."
        )
    return "Unpack the images again, or take the rows out of the list."


def file_names(folder: Path) -> set[str]:
    """Names of the files (not the folders) in `folder`; empty if there is no such folder."""
    if not folder.is_dir():
        return set()
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if entry.is_file()}


def files_below(folder: Path, above: str = "") -> Iterator[str]:
    """Paths of all files in `folder` and the folders in it, from there; nothing that is hidden (`.name`)."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from files_below(Path(entry.path), f"{above}{entry.name}/")
            else:
                yield above + entry.name


def unique_ids(names: Sequence[str]) -> list[str]:
    """`names` with `#2`, `#3`, … added to the second, third, … occurrence of a name."""
    seen: dict[str, int] = {}
    ids = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        ids.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return ids


# --- text tables ------------------------------------------------------------------------------------------


def iter_rows(path: Path, columns: Sequence[str], header: bool = True) -> Iterator[tuple[int, list[str]]]:
    """The line at which each row of the csv file begins (from 1), and its fields of `columns`, stripped.

    Blank lines are skipped, other columns left out. Without a `header`, `columns` are the file's, in order.
    Raises InputError for a file that is no text, a missing column, a row longer or shorter than the header,
    and a quotation mark that is not closed in its line.
    """
    line, record = 1, []  # where a row begins, and its text

    def lines(file: Iterable[str]) -> Iterator[str]:
        for text in file:
            record.append(text)
            yield text

    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(lines(file))
            found = [c.strip() for c in next(reader, [])] if header else list(columns)
            lacking = [c for c in columns if c not in found]
            if lacking:
                other = next((sign for sign in ";\t|" if sign in "".join(found)), None)
                short = (name if len(name) < 100 else f"{name[:60]}…" for name in found)
                names = _some(short, 12).replace("\n", "\\n")
                hint = f" Are its fields separated by {other!r}? Write commas." if other else ""
                raise InputError(
                    f"{path}: no column {_some(lacking)}; the header has: {names or 'nothing'}.{hint}"
                )
            places = [found.index(c) for c in columns]
            line = reader.line_num + 1
            record.clear()
            for row in reader:
                begun, line = line, reader.line_num + 1
                marks, several = sum(text.count('"') for text in record), len(record) > 1
                record.clear()
                if not row:
                    continue
                fields = [row[p].strip() for p in places if p < len(row)]
                whole = len(row) == len(found)
                if several and (marks % 2 or not whole or any("\n" in field for field in fields)):
                    raise InputError(f"{path}, row {begun}: {_OPEN_QUOTE}")
                if not whole:
                    raise InputError(f"{path}, row {begun}: expected {len(found)} fields, found {len(row)}.")
                yield begun, fields
    except csv.Error as error:
        why = _OPEN_QUOTE if len(record) > 1 else f"expected comma-separated UTF-8 text, found: {error}."
        raise InputError(f"{path}, row {line}: {why}") from error
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: expected comma-separated UTF-8 text, found: {error}.") from error


def read_rows(path: Path, columns: Sequence[str], header: bool = True) -> pd.DataFrame:
    """All of `iter_rows` as a table of text, and `line`, each row's line in the file."""
    rows = list(iter_rows(path, columns, header))
    table = pd.DataFrame([fields for _, fields in rows], columns=list(columns), dtype=object)
    table["line"] = np.array([line for line, _ in rows], dtype=np.int64)
    return table


def read_pairs(path: Path) -> pd.DataFrame:
    """A list file of `<name> <label>` per line, as the columns `name` and `value` (text) and `line` (from 1).

    The label is the last word of its line, so a name may hold spaces if it ends in an image's suffix: in
    other lines of three words or more it is not known which is the label. Raises InputError for these and
    for any other line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: expected UTF-8 text, found: {error}.") from error
    rows = []
    for line, content in enumerate(text.splitlines(), start=1):
        words = content.strip().rsplit(maxsplit=1)
        if not words:
            continue
        if len(words) < 2:
            raise InputError(
                f"{path}, row {line}: expected '<file name> <label>', found {content.strip()!r}."
            )
        first, *others = words[0].split()
        if others and not words[0].lower().endswith(SUFFIXES):
            raise InputError(
                f"{path}, row {line}: expected '<file name> <label>', found {len(others) + 2} words: "
                f"{content.strip()!r}. Keep the name and the one label that is meant: of '<name> <noisy> "
                f"<clean>' the first two words, {f'{first} {others[0]}'!r}. A name with spaces must end in "
                "its suffix, such as .jpg."
            )
        rows.append((*words, line))
    return pd.DataFrame(rows, columns=["name", "value", "line"])


def integers(
    path: Path, values: Sequence[str], lines: Sequence[int], what: str, low: int, high: int
) -> np.ndarray:
    """`values` as int64 [N]; raises InputError naming the first row that is none in `low`..`high`."""
    numbers: dict[str, int] = {}
    for value in set(values):  # there are few, whatever the number of rows
        with suppress(ValueError):
            if low <= int(value) <= high:
                numbers[value] = int(value)
    for value, line in zip(values, lines, strict=True):
        if value not in numbers:
            raise InputError(
                f"{path}, row {line}: expected {what} as a whole number {low} to {high}, found {value!r}."
            )
    return np.array([numbers[value] for value in values], dtype=np.int64)


# --- messages ---------------------------------------------------------------------------------------------


def absent(name: str, root: Path, tree: str, source: str) -> InputError:
    """The error for a data set that is not at `root`: what is expected, what is there, where to get it."""
    if root.is_dir():
        names = sorted(e.name + ("/" if e.is_dir() else "") for e in root.iterdir())
        found = "the folder holds " + (_some(names, 12) if names else "nothing")
    else:
        found = "there is no such folder" if not root.exists() else "it is a file, not a folder"
    indented = "\n".join("    " + line for line in tree.strip("\n").splitlines())
    return InputError(f"{name}: not found at {root}: {found}.\nExpected there:\n{indented}\n{source}")


def _some(items: Iterable[object], limit: int = _NAMED) -> str:
    items = list(items)
    return ", ".join(map(str, items[:limit])) + (f", … ({len(items)} in all)" if len(items) > limit else "")
