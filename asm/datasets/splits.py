"""A test set for images that come without one, drawn by a seed; and who is on which image."""

import hashlib
import re
from collections.abc import Sequence

import numpy as np

from asm.basics.errors import InputError


def drawn(
    labels: Sequence[int], units: Sequence[str], seed: int, share: float | None, folds: int | None, fold: int
) -> np.ndarray:
    """Which images are for testing, bool [N]: all images of a unit (a person, a file) or none.

    Units are ordered by a hash of `seed` and their name, so that one more moves few others; class by class
    where none shows two classes. The first `share` of them are for testing, at least one and not all; or, of
    `folds` parts, the part `fold` (from 0).
    """
    classes: dict[str, set[int]] = {}
    for unit, label in zip(units, labels, strict=True):
        classes.setdefault(unit, set()).add(label)
    mixed = any(len(found) > 1 for found in classes.values())
    groups: dict[int, list[str]] = {}
    for unit in sorted(classes, key=lambda unit: hashlib.sha256(f"{seed}\0{unit}".encode()).digest()):
        groups.setdefault(0 if mixed else min(classes[unit]), []).append(unit)
    chosen: set[str] = set()
    for group in groups.values():
        if folds is not None:
            chosen.update(group[fold::folds])
        else:
            chosen.update(group[: min(max(1, round((share or 0) * len(group))), len(group) - 1)])
    return np.array([unit in chosen for unit in units])


def subjects_of(paths: Sequence[str], pattern: str) -> list[str]:
    """Who is on each image: the first group of the regular expression `pattern`, found in its path, or all
    that it finds. Raises InputError for a pattern that is none, and a path in which it finds nothing."""
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InputError(f"folder: subject: no regular expression: {pattern!r} ({error}).") from error
    subjects = []
    for path in paths:
        found = expression.search(path)
        subject = found and found[1 if expression.groups else 0]
        if not subject:
            raise InputError(
                f"folder: subject: {pattern!r} finds nothing in {path!r}; write one for all names."
            )
        subjects.append(subject)
    return subjects


def require_apart(subjects: Sequence[str], splits: Sequence[str]) -> None:
    """Raise InputError if a person is in two splits: networks would be tested on whom they know."""
    where: dict[str, str] = {}
    shared = [s for s, split in zip(subjects, splits, strict=True) if where.setdefault(s, split) != split]
    if shared:
        raise InputError(
            f"folder: {len(set(shared))} subject(s) are in two splits, such as {shared[0]!r}; move "
            "their images to one, have the split made (`test_share`), or leave `subject` out."
        )
