"""cells.yaml, written from profile.yaml beside it: what each stage of dvc.yaml is run for, in DVC's form.

DVC reads a stage's instances from a file, and can neither expand a grid nor derive what was left out. The
file holds these and no more: with other epochs, or another `set`, it stays as it is.
"""

from pathlib import Path

from asm.basics.errors import InputError
from asm.basics.files import atomic_write
from asm.basics.yaml import dump_rows
from asm.grid.profile import Profile, load_profile

NAME = "cells.yaml"
HEAD = "# Written from profile.yaml, for dvc.yaml; not to be edited.\n"


def cells_text(profile: Profile, name: str) -> str:
    """The content of cells.yaml. `name` is the profile's."""
    data = {key: row.model_dump(include={"dataset", "noise", "init"}) for key, row in profile.cells.items()}
    return HEAD + dump_rows(
        {
            "name": name,
            "input": profile.training.input,
            "render": {key: {} for key in profile.render},
            "datasets": {key: {"root": entry.root} for key, entry in profile.datasets.items()},
            "noises": {key: {} for key in profile.noises},
            "inits": {key: {} for key in profile.inits},
            "frozen": profile.frozen,
            "headline": profile.headline.model_dump(),
            "tsne": profile.tsne,
            "out_of_sample": {key: data[key] for key in profile.out_of_sample},
            "cells": data,
        }
    )


def write_cells(path: Path) -> bool:
    """Write cells.yaml beside the profile at `path`; returns whether it was another before, or none.

    Raises:
        InputError: the profile is not valid, or the file cannot be written.
    """
    text = cells_text(load_profile(path), path.resolve().parent.name)
    target = path.with_name(NAME)
    if target.is_file() and target.read_text(encoding="utf-8") == text:
        return False
    with atomic_write(target) as partial:
        partial.write_text(text, encoding="utf-8")
    return True


def check_cells(path: Path) -> None:
    """Raise InputError if cells.yaml was not in step with the profile at `path`; it is afterwards."""
    if write_cells(path):
        raise InputError(
            f"{path.with_name(NAME)}: did not match {path.name}, and has been written anew: run the "
            "command again (`dvc exp run` now without -S)"
        )
