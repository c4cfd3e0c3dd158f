"""Several data sets as one, for methods that learn from their different annotations (IPA2LT).

In a profile:

    both:
      source: union
      root: data/raw
      options:
        parts:
          affectnet: {source: affectnet, root: data/raw/affectnet, options: {num_classes: 7}}
          rafdb: {source: rafdb, root: data/raw/rafdb}
        test: [rafdb]
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field

from asm import datasets
from asm.basics.errors import InputError
from asm.basics.yaml import Name, Section, parse
from asm.datasets import base


class Part(Section):
    source: str
    root: str
    options: Annotated[dict[str, Any], Field(default_factory=dict)]


class Options(Section):
    parts: Annotated[dict[Name, Part], Field(min_length=2)]
    test: Annotated[list[str], Field(min_length=1)] | None = None


def load(
    root: Path, parts: dict[str, dict[str, Any]] | None = None, test: list[str] | None = None
) -> base.FaceDataset:
    """All training samples of `parts` (name -> source, root, options), with the column `origin`: their names.

    `test`: the parts whose validation and test samples are used (default: all). The classes, and their
    order, are the first part's; those of the others are joined to them by name. Each part's root must be
    `root` or under it, because DVC watches that folder alone. Ids begin with the part's name, paths with its
    folder. Columns beside the four that every data set has are dropped. Raises InputError for bad options,
    a part with a class that the first lacks, and whatever the parts' own loaders refuse.
    """
    options = parse(Options, {"parts": parts or {}, "test": test}, "union: options")
    tested = list(options.parts) if options.test is None else options.test
    unknown = [name for name in tested if name not in options.parts]
    if unknown:
        raise InputError(
            f"union: test: {', '.join(unknown)} not among the parts; expected {', '.join(options.parts)}."
        )
    loaded = {name: _load_part(root, name, part) for name, part in options.parts.items()}
    first, *_ = loaded
    classes = loaded[first].classes
    tables, left_out = [], {}
    for i, (name, dataset) in enumerate(loaded.items()):
        foreign = [c for c in dataset.classes if c not in classes]
        if foreign:
            raise InputError(
                f"union: {name} has the classes {', '.join(foreign)}, which {first}, the first part, "
                f"lacks; it has {', '.join(classes)}. Put a part with all classes first, or load "
                f"{name} without these (num_classes), or give the classes of both the same names."
            )
        table, class_ids = dataset.table, np.array([classes.index(c) for c in dataset.classes])
        folder = Path(options.parts[name].root).relative_to(root)
        left_out |= {(folder / path).as_posix(): why for path, why in dataset.left_out.items()}
        table = pd.DataFrame(
            {
                "id": [f"{name}/{x}" for x in table.id],
                "path": [(folder / path).as_posix() for path in table.path],
                "split": table.split,
                "true": class_ids[table.true],
                "origin": name,
                "part": i,
                "row": np.arange(len(table)),
            }
        )
        tables.append(table if name in tested else table[table.split == "train"])
    table = pd.concat(tables, ignore_index=True)
    read = base.Rows(
        tuple(d.read for d in loaded.values()), table.pop("part").to_numpy(), table.pop("row").to_numpy()
    )
    return base.check(base.FaceDataset("union", classes, table, read, left_out))


def _load_part(root: Path, name: str, part: Part) -> base.FaceDataset:
    folder = Path(part.root)
    if not folder.is_relative_to(root) or ".." in folder.relative_to(root).parts:
        raise InputError(
            f"union: parts.{name}.root: expected {root} or a folder under it, found {part.root}. DVC watches "
            "the union's root alone: set it to a folder that holds all parts."
        )
    try:
        return datasets.load(part.source, folder, **part.options)
    except InputError as error:
        raise InputError(f"union: parts.{name}: {error}") from error
