"""Images that a list names and that are not there: left out, up to a share that the profile allows."""

import sys
from pathlib import Path

import pandas as pd

from asm.basics.errors import InputError
from asm.datasets import base


def without_absent(
    name: str, root: Path, table: pd.DataFrame, listed_in: str, share: float
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The rows of `table` whose image, `path` under `root`, is there; and the others' paths, with the reason.

    They are counted on stderr. More of them than `share` are left to `base.require_files`, which refuses
    them. Raises InputError for a share that is none.
    """
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
        raise InputError(f"{name}: absent_share: expected a share from 0 to below 1, found {share!r}.")
    present: dict[str, set[str]] = {}  # one scan a folder
    absent, paths = [], table.path.unique().tolist()
    for path in paths:
        folder, _, file = path.rpartition("/")
        if folder not in present:
            present[folder] = base.file_names(root / folder)
        if file not in present[folder]:
            absent.append(path)
    if not 0 < len(absent) <= share * len(paths):
        return table, {}
    print(
        f"{name}: {len(absent)} of {len(paths)} image(s) listed in {listed_in} are not there, and are left "
        f"out, such as {absent[0]}",
        file=sys.stderr,
    )
    kept = table[~table.path.isin(absent)].reset_index(drop=True)
    return kept, dict.fromkeys(absent, f"listed in {listed_in}, but not there")
