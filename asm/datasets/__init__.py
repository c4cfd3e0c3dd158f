"""Data sets by their source, the name of a file here: its `load` gives a checked `FaceDataset`.

To add one: its file and its tests. That of a published one has `TITLE`, how reports print it, and `CLASSES`;
and where the ASM paper reports it, `PAPER`: number of classes -> its column in asm/report/paper.yaml.
"""

import inspect
import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from asm.basics import named
from asm.basics.errors import InputError
from asm.datasets.base import FaceDataset


def source_names() -> list[str]:
    """All sources: the files here that have a `load`."""
    return [name for name in named.names(__name__) if hasattr(import_module(f"{__name__}.{name}"), "load")]


def describe(name: str, source: str, options: dict[str, Any]) -> dict[str, Any]:
    """What is known of the data set `name` before it is read: `title`, how reports print it; the number of
    `classes`, None for a folder of the user's own; `paper`, its column in the paper's tables, None where it
    has none. Raises InputError for an unknown source."""
    module = _source(source)
    usual = options.get("classes") or getattr(module, "CLASSES", None)
    classes = options.get("num_classes", len(usual) if isinstance(usual, list | tuple) else None)
    title = getattr(module, "TITLE", name)
    if not isinstance(classes, int):
        return {"title": title, "classes": None, "paper": None}
    other = f" ({classes} classes)" if "num_classes" in options and classes != len(usual or ()) else ""
    column = getattr(module, "PAPER", {}).get(classes)
    return {"title": title + other, "classes": classes, "paper": column}


def _source(name: str) -> ModuleType:
    """asm/datasets/<name>.py. Only that file is imported: aligned faces depend on no other source's."""
    known = find_spec(f"{__name__}.{name}") if name.isidentifier() else None
    module = known and import_module(f"{__name__}.{name}")
    if module is None or not hasattr(module, "load"):
        raise InputError(f"unknown data set source {name!r}; expected one of {', '.join(source_names())}.")
    return module


def load(source: str, root: Path, corrections: str | None = None, **options: object) -> FaceDataset:
    """Read the data set under `root` by asm/datasets/<source>.py. `corrections`: a csv file in `root` that is
    applied to what any source reads (asm/datasets/corrections.py).

    Raises InputError for an unknown source or option, for a missing or damaged data set, and for a folder of
    it that is a link: what changes behind it would go unnoticed.
    """
    loader = _source(source).load
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
