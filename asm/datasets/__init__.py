"""Data sets by their source, the name of a file here: its `load` gives a checked `FaceDataset`.

To add one: its file and its tests.
"""

import inspect
import os
import pkgutil
from importlib import import_module
from pathlib import Path

from asm.basics.errors import InputError
from asm.datasets.base import FaceDataset

NO_SOURCES = ("base", "corrections", "images", "names", "noise")  # the other files beside this one


def source_names() -> list[str]:
    """All sources: the files here that read a data set."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in NO_SOURCES)


def load(source: str, root: Path, corrections: str | None = None, **options: object) -> FaceDataset:
    """Read the data set under `root` by asm/datasets/<source>.py. Only that file is imported, so that aligned
    faces depend on no other source's. `corrections`: a csv file in `root`, applied to what any source reads
    (asm/datasets/corrections.py).

    Raises InputError for an unknown source or option, for a missing or damaged data set, and for a folder of
    it that is a link: what changes behind it would go unnoticed.
    """
    if source not in source_names():
        raise InputError(f"unknown data set source {source!r}; expected one of {', '.join(source_names())}.")
    loader = import_module(f"asm.datasets.{source}").load
    known = [p for p in inspect.signature(loader).parameters if p != "root"]
    unknown = [key for key in options if key not in known]
    if unknown:
        raise InputError(
            f"{source}: unknown option {', '.join(unknown)}; known: {', '.join([*known, 'corrections'])}."
        )
    for folder, inside, _ in os.walk(root):
        for name in inside:
            if os.path.islink(os.path.join(folder, name)):
                raise InputError(
                    f"{source}: {os.path.join(folder, name)} is a link to a folder, whose changes DVC does "
                    "not see; put the folder there itself, or make the data set's root the link."
                )
    dataset = loader(Path(root), **options)
    if corrections is None:
        return dataset
    from asm.datasets.corrections import apply  # here: only what is needed is imported

    return apply(dataset, Path(root), corrections)
