"""Labels corrected by hand: what a review (`python -m asm audit`) leaves, applied to any source.

In a profile: `mine: {source: folder, root: ..., options: {corrections: corrections.csv}}`; the file lies in
the data set's folder, which DVC watches.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from asm.basics.errors import InputError
from asm.datasets import base

COLUMNS = ("id", "given", "action", "label")
KEEP, RELABEL, DROP, AMBIGUOUS = ACTIONS = ("keep", "relabel", "drop", "ambiguous")


def apply(dataset: base.FaceDataset, root: Path, name: object) -> base.FaceDataset:
    """The data set with the corrections of the csv file `root`/`name`, and a line on stderr that counts them.

    The columns are `id`, `given` (the label that was reviewed, a class), `action` (keep, relabel, drop or
    ambiguous) and `label` (the new class of a relabelled image, else empty). Only `relabel` and `drop` change
    anything; a class that loses all its images to other classes is left out. The table gets the column
    `corrected_from`: the class before the correction, empty where there was none.

    Raises InputError for a missing file, a path that leads out of `root`, a row with an unknown id, class or
    action or an id that an earlier row has, a `given` that is no longer the image's label, and for what
    `base.check` refuses.
    """
    if not isinstance(name, str) or Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(
            f"corrections: expected the name of a csv file in {root}, found {name!r}. DVC watches "
            "that folder: put the file there."
        )
    path, table = root / name, dataset.table
    if not path.is_file():
        raise InputError(
            f"{path}: no such file of corrections; `python -m asm audit` makes one: put it there."
        )
    corrections = _read(path, dataset)
    rows = corrections.row.to_numpy(dtype=np.int64)
    relabelled = corrections.action.to_numpy() == RELABEL
    true = table.true.to_numpy(dtype=np.int64, copy=True)
    true[rows[relabelled]] = corrections.new.to_numpy()[relabelled]
    corrected_from = np.full(len(table), "", dtype=object)
    corrected_from[rows[relabelled]] = corrections.given.to_numpy()[relabelled]
    kept = np.ones(len(table), bool)
    kept[rows[corrections.action.to_numpy() == DROP]] = False
    counts = corrections.action.value_counts()
    print(
        f"{path}: {counts.get(RELABEL, 0)} labels corrected, {counts.get(DROP, 0)} images left out, "
        f"{counts.get(KEEP, 0) + counts.get(AMBIGUOUS, 0)} kept as they are",
        file=sys.stderr,
    )
    changed = table.assign(true=true, corrected_from=corrected_from)[kept].reset_index(drop=True)
    rows_kept = np.flatnonzero(kept)
    corrected = replace(
        dataset,
        table=changed,
        read=base.Rows((dataset.read,), np.zeros_like(rows_kept), rows_kept),
        left_out={file: why for file, why in dataset.left_out.items() if root / file != path},
    )
    return base.check(_without_emptied(corrected, table.true))


def _read(path: Path, dataset: base.FaceDataset) -> pd.DataFrame:
    """The file's rows, checked, with `row` in the data set's table and `new`, the id of the new class."""
    corrections = base.read_rows(path, list(COLUMNS))
    classes = {name: k for k, name in enumerate(dataset.classes)}
    row_of = {name: row for row, name in enumerate(dataset.table.id)}
    labels = dataset.table.true.to_numpy()
    seen: dict[str, int] = {}
    new = np.full(len(corrections), -1, np.int64)
    for i, (name, given, action, label, line) in enumerate(corrections.itertuples(index=False)):
        where = f"{path}, row {line}"
        if name not in row_of:
            raise InputError(
                f"{where}: no image has the id {name!r}. Was the file made for another data set?"
            )
        if name in seen:
            raise InputError(
                f"{where}: {name!r} was corrected in row {seen[name]} already; keep one of them."
            )
        seen[name] = line
        if action not in ACTIONS:
            raise InputError(f"{where}: expected an action {', '.join(ACTIONS)}; found {action!r}.")
        present = dataset.classes[labels[row_of[name]]]
        if given != present:
            raise InputError(
                f"{where}: the label of {name!r} was {given!r} when it was reviewed and is {present!r} now. "
                "Take the row out, or review the image again."
            )
        if (label in classes) != (action == RELABEL) or (action != RELABEL and label):
            expected = f"a class among {', '.join(classes)}" if action == RELABEL else "no label"
            raise InputError(f"{where}: expected {expected} beside {action!r}; found {label!r}.")
        if action == RELABEL:
            new[i] = classes[label]
    rows = [row_of[name] for name in corrections.id]
    return corrections.assign(row=np.array(rows, dtype=np.int64), new=new)


def _without_emptied(dataset: base.FaceDataset, before: pd.Series) -> base.FaceDataset:
    """Without the classes that had images `before` and have none now."""
    left = set(dataset.table.true)
    kept = [k for k in range(len(dataset.classes)) if k in left or not (before == k).any()]
    if len(kept) == len(dataset.classes):
        return dataset
    number = {old: new for new, old in enumerate(kept)}
    table = dataset.table.assign(true=dataset.table.true.map(number))
    gone = [name for k, name in enumerate(dataset.classes) if k not in kept]
    print(f"{dataset.name}: no image is left of {', '.join(gone)}: the class is left out", file=sys.stderr)
    return replace(dataset, classes=tuple(dataset.classes[k] for k in kept), table=table)
