"""Wrong labels on purpose, for the training samples only: what is passed in is what may be changed.

`given_labels` makes them. Two kinds are drawn (`corrupt`), two are read: a list that others published
(`from_list`) and another annotator's labels (`original`). Draws come from NumPy's PCG64 seeded with `seed`,
so that equal arguments give equal labels on every machine.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from asm.basics.errors import InputError
from asm.datasets.base import integers, read_pairs
from asm.datasets.images import SUFFIXES
from asm.datasets.names import alike, same_text

KINDS = ("symmetric", "asymmetric")
EXCLUDED = -1
_NUMBERED = re.compile(r"(.*?)(|#[1-9][0-9]*)", re.DOTALL)  # of `base.unique_ids`

# What each expression is most easily taken for. Every class has an entry: the rate is that of all samples.
FER_PAIRS = {
    "neutral": "sadness",
    "happiness": "neutral",
    "surprise": "fear",
    "sadness": "neutral",
    "anger": "disgust",
    "disgust": "anger",
    "fear": "surprise",
    "contempt": "neutral",
}


def given_labels(
    train: pd.DataFrame, classes: Sequence[str], config: Mapping[str, Any], lists: Path
) -> np.ndarray:
    """The labels that training sees, int64 [N], by the noise of `config`; -1: the sample is left out.

    Noise may depend on all that the data set's table says of a sample, never on its pixels: for noise that
    depends on the face, write a list with a program of your own.

    Args:
        train: the training rows of the data set's table (`FaceDataset.table`).
        config: `kind` and its options, as a profile's `noises` and params.yaml's `noise` have them.
        lists: the folder of the lists of noisy labels.

    Raises:
        InputError: what `corrupt`, `from_list` and `original` refuse; a list that is not there.
    """
    true = train["true"].to_numpy()
    if config["kind"] == "list":
        path = lists / config["path"]
        if not path.is_file():
            raise InputError(f"{path}: no such file; put the list of noisy labels there")
        return from_list(path, train["id"].tolist(), true, classes, base=config.get("base"))
    if config["kind"] == "original":
        if "original_label" not in train:
            raise InputError("noise kind 'original': this data set holds no second annotator's labels")
        return original(true, train["original_label"].to_numpy())
    options = {key: config[key] for key in ("kind", "rate", "seed")}
    return corrupt(true, classes, pairs=config.get("pairs"), **options)


def corrupt(
    true: np.ndarray,
    classes: Sequence[str],
    *,
    kind: str,
    rate: float,
    seed: int,
    pairs: Mapping[str, str] | None = None,
) -> np.ndarray:
    """The given labels that noise makes of the `true` ones (int [N], 0..K-1): int64 [N].

    Each sample that can change does so with probability `rate`.
    symmetric: to another class, all equally likely (as SCN, RUL and EAC do, which the paper follows).
    asymmetric: to the class that `pairs` names for the sample's class, by default `FER_PAIRS`; both are names
    among `classes`. A class without a pair, or whose partner in `FER_PAIRS` is not among `classes`, keeps its
    labels.

    Raises InputError for an unknown kind, a rate outside [0, 1), a pair that is not among `classes`.
    """
    num_classes = len(classes)
    if kind not in KINDS:
        raise InputError(
            f"noise: unknown kind {kind!r}; drawn kinds are {', '.join(KINDS)}, read ones list and original."
        )
    if not 0 <= rate < 1:
        raise InputError(f"noise: expected a rate from 0 to below 1, found {rate!r}.")
    if num_classes < 2:
        raise InputError(f"noise: expected two or more classes, found {num_classes}.")
    true = _checked(true, num_classes, low=0)

    rng = np.random.Generator(np.random.PCG64(seed))
    target = np.arange(num_classes)
    if kind == "asymmetric":
        target = _targets(classes, pairs)
    can_change = np.arange(len(true)) if kind == "symmetric" else np.flatnonzero(target[true] != true)
    chosen = can_change[rng.random(len(can_change)) < rate]
    given = true.copy()
    if kind == "symmetric":
        given[chosen] = (true[chosen] + rng.integers(1, num_classes, size=len(chosen))) % num_classes
    else:
        given[chosen] = target[true[chosen]]
    return given


def from_list(
    path: Path, ids: Sequence[str], true: np.ndarray, classes: Sequence[str], *, base: int | None = None
) -> np.ndarray:
    """The labels that a list file gives the samples `ids`: int64 [N]; `true` are theirs without noise.

    The file has `<file name> <label>` per line, as EAC's `noise01.txt` (`train_00001.jpg`, labels from 1) and
    SCN's `0.1noise_train.txt` (absolute paths, labels from 0). Samples are found by file name, without
    suffix; where several folders hold files of one name, by as many folders above it as tell them apart. A
    name of two samples (`fer0000000` and `fer0000000#2`) is given twice, in their order, or with the `#2`.
    Lines for other samples (a test set's) are not used.

    A label is a class's name, or its number in `classes`, of which the first is `base`, 0 or 1. Unless `base`
    is given, all labels are read in one of these three ways: of those that suit every line the one that
    agrees with most of the true labels, among equals names before numbers from 1 before numbers from 0.

    Raises InputError for a malformed line, a label that is no class, a name given twice with different
    labels, ids that differ in their suffix alone, and ids that the list does not hold.
    """
    rows = read_pairs(path)
    readings = _readings(path, rows, classes, base)
    split = [_NUMBERED.fullmatch(i).groups() for i in ids]
    wanted = [(_parts(name), number) for name, number in split]
    depth = _depth(path, wanted)
    keys = ["/".join(parts[-depth:]) + number for parts, number in wanted]
    given = _given(path, rows, wanted, depth)
    missing = [i for i, key in zip(ids, keys, strict=True) if key not in given]
    if missing:
        extra = sorted(set(given) - set(keys))
        more = f"; {len(extra)} of its names are no training samples: {', '.join(extra[:3])}" if extra else ""
        remedy = "Use the list made for this data set."
        if depth > 1:
            remedy = f"Files of one name lie in several folders: write each name as in {keys[0]!r}."
        elif any("#" in i for i in missing):
            remedy = "A name that stands for two images is given twice, in their order, or with its #2."
        raise InputError(
            f"{path}: expected a label for each of the {len(keys)} training samples, but {len(missing)} are "
            f"not in the list: {', '.join(missing[:3])}{more}. {remedy}"
        )
    at = np.array([given[key] for key in keys], dtype=np.int64)
    return max((labels[at] for labels in readings), key=lambda found: int((found == true).sum()))


def _readings(path: Path, rows: pd.DataFrame, classes: Sequence[str], base: int | None) -> list[np.ndarray]:
    """The class of each row, int64 [rows], in each way in which all rows can be read, by preference."""
    readings = []
    if base is None:
        number = {alike(name): k for k, name in enumerate(classes)}
        named = np.array([number.get(alike(value), -1) for value in rows.value], dtype=np.int64)
        words = np.array([not value.isdecimal() for value in rows.value], dtype=bool)
        if (words & (named >= 0)).any() and (named < 0).any():
            row = rows.iloc[int(np.flatnonzero(named < 0)[0])]
            raise InputError(
                f"{path}, row {row.line}: expected a class among {', '.join(classes)}; found {row.value!r}."
            )
        if (named >= 0).all():
            readings.append(named)
            if words.any():
                return readings
    count = len(classes)
    low, high = (0 if base is None else base), count - (base == 0)
    try:
        numbers = integers(path, rows.value, rows.line, "a label", low, high)
    except InputError:
        if readings:
            return readings
        raise
    for first in (1, 0):
        if base in (None, first) and ((numbers >= first) & (numbers < count + first)).all():
            readings.append(numbers - first)
    if not readings:
        line = rows.line[int(np.flatnonzero(numbers == count)[0])]
        raise InputError(
            f"{path}, row {line}: the label {count} is too large for {count} classes counted from 0, and the "
            "list also has the label 0. Correct it, or use the data set that it was made for."
        )
    return readings


def original(true: np.ndarray, original_labels: np.ndarray) -> np.ndarray:
    """Another annotator's labels in place of the `true` ones: int64 [N]; -1, no known label, leaves the
    sample out.

    Raises InputError if no label is known, or the two differ in length.
    """
    original_labels = np.asarray(original_labels).astype(np.int64)
    if original_labels.shape != np.shape(true):
        raise InputError(f"noise: {len(true)} labels, but {len(original_labels)} original ones.")
    if not (original_labels >= 0).any():
        raise InputError(
            "noise: the data set knows no original label of any training sample. For FER+, put Kaggle's "
            "fer2013.csv and fer2013new.csv into its folder."
        )
    return original_labels.copy()


def describe(true: np.ndarray, given: np.ndarray, num_classes: int) -> dict:
    """What was done to the labels, ready for JSON; excluded samples (-1 in `given`) count only as such.

    Keys: `samples` and `excluded` (counts), `wrong` (count: given label not the true one), `realised` (share
    of the samples with a wrong label), `per_class` (the same, by true class; None for one without samples),
    `counts` and `transition` ([K][K], a row for each true class and a column for each given one; the latter's
    rows sum to 1, or are 0 without samples).
    """
    true, given = _checked(true, num_classes, low=0), _checked(given, num_classes, low=EXCLUDED)
    if len(true) != len(given):
        raise InputError(f"noise: {len(true)} true labels, but {len(given)} given ones.")
    kept = given != EXCLUDED
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(counts, (true[kept], given[kept]), 1)
    samples = counts.sum(axis=1)
    wrong = samples - counts.diagonal()
    return {
        "samples": int(samples.sum()),
        "excluded": int((~kept).sum()),
        "wrong": int(wrong.sum()),
        "realised": float(wrong.sum() / max(samples.sum(), 1)),
        "per_class": [w / n if n else None for w, n in zip(wrong.tolist(), samples.tolist(), strict=True)],
        "counts": counts.tolist(),
        "transition": (counts / np.maximum(samples, 1)[:, None]).tolist(),
    }


def _checked(labels: np.ndarray, num_classes: int, low: int) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"noise: expected whole numbers [N], found {labels.dtype} {list(labels.shape)}.")
    if len(labels) and not (low <= labels.min() and labels.max() < num_classes):
        raise InputError(
            f"noise: expected labels {low} to {num_classes - 1}, found {labels.min()} to {labels.max()}."
        )
    return labels.astype(np.int64)


def _targets(classes: Sequence[str], pairs: Mapping[str, str] | None) -> np.ndarray:
    """The class that each class becomes, [K]; itself where it has no pair."""
    number = {name: k for k, name in enumerate(classes)}
    if pairs is None:
        pairs = {a: b for a, b in FER_PAIRS.items() if a in number and b in number}
        if not pairs:
            raise InputError(
                f"noise: no default pair is among the classes {', '.join(classes)}; give `pairs`, such as "
                f"{{{classes[0]}: {classes[1]}}}."
            )
    unknown = [name for pair in pairs.items() for name in pair if name not in number]
    if unknown:
        raise InputError(f"noise: pairs: {unknown[0]!r} is not among the classes {', '.join(classes)}.")
    target = np.arange(len(classes))
    for name, other in pairs.items():
        if name == other:
            raise InputError(
                f"noise: pairs: {name!r} is paired with itself; leave it out to keep its labels."
            )
        target[number[name]] = number[other]
    return target


def _parts(name: str) -> tuple[str, ...]:
    """Folders and name, without an image's suffix."""
    path = PurePosixPath(same_text(name).replace("\\", "/"))
    stem = path.stem if path.suffix.lower() in SUFFIXES else path.name
    return (*path.parent.parts, stem.removesuffix("_aligned"))


def _depth(path: Path, wanted: list[tuple[tuple[str, ...], str]]) -> int:
    """How many last parts of their names tell the samples apart."""
    for depth in range(1, max((len(parts) for parts, _ in wanted), default=1) + 1):
        seen = Counter((parts[-depth:], number) for parts, number in wanted)
        if len(seen) == len(wanted):
            return depth
    shared = ["/".join(parts) for (parts, _), n in seen.items() if n > 1]
    raise InputError(
        f"{path}: a list can only serve a data set whose file names differ, but {len(shared)} name(s) differ "
        f"in their suffix alone: {', '.join(shared[:3])}. Rename the files."
    )


def _given(
    path: Path, rows: pd.DataFrame, wanted: list[tuple[tuple[str, ...], str]], depth: int
) -> dict[str, int]:
    """The row (from 0) of each name, as `depth` parts and the number of the sample that has it (`#2`)."""
    numbers: dict[str, list[str]] = {}
    for parts, number in wanted:
        numbers.setdefault("/".join(parts[-depth:]), []).append(number)
    found: dict[str, list[int]] = {}
    for row, name in enumerate(rows.name):
        found.setdefault("/".join(_parts(name)[-depth:]), []).append(row)
    given = {}
    for name, each in found.items():
        of_name = numbers.get(name, [""])
        if of_name == [""]:
            other = next((row for row in each if alike(rows.value[row]) != alike(rows.value[each[0]])), None)
            if other is not None:
                raise InputError(
                    f"{path}, row {rows.line[other]}: {name!r} had another label in row "
                    f"{rows.line[each[0]]}. Keep one."
                )
            given[name] = each[0]
            continue
        for place, number in enumerate(sorted(of_name, key=_occurrence)):
            at = place if len(each) == len(of_name) else _occurrence(number) - 1
            if at < len(each):
                given[name + number] = each[at]
    return given


def _occurrence(number: str) -> int:
    """Which of a name's samples has the `number`: 1 for the one without, 2 for `#2`, …"""
    return int(number[1:] or 1)
