"""Data sets: one file per source, each giving a checked `FaceDataset`."""

import inspect
from importlib import import_module
from pathlib import Path

from asm.datasets.base import FaceDataset
from asm.errors import InputError

SOURCES = {
    "synthetic": "asm.datasets.synthetic",
    "rafdb": "asm.datasets.rafdb",
    "ferplus": "asm.datasets.ferplus",
    "affectnet": "asm.datasets.affectnet",
    "folder": "asm.datasets.folder",
    "union": "asm.datasets.union",
}


def load(source: str, root: Path, **options: object) -> FaceDataset:
    """Read the data set of kind `source` (a key of `SOURCES`) under `root`.

    Raises InputError for an unknown source or option, and for a missing or damaged data set.
    """
    if source not in SOURCES:
        raise InputError(f"unknown data set source {source!r}; expected one of {', '.join(SOURCES)}.")
    loader = import_module(SOURCES[source]).load
    known = [p for p in inspect.signature(loader).parameters if p != "root"]
    unknown = [key for key in options if key not in known]
    if unknown:
        raise InputError(
            f"{source}: unknown option {', '.join(unknown)}; known: {', '.join(known) or 'none'}."
        )
    return loader(Path(root), **options)
