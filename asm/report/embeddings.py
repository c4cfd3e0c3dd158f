"""Features in two dimensions (t-SNE), as the t-SNE stage leaves them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asm.basics.errors import InputError


@dataclass(frozen=True)
class Embedding:
    """One cell's features: *_ids [n]; *_xy [n, 2]; labels [n] class ids; *_subset [n] codes, whose names are
    `subsets`, -1 where not mined."""

    test_ids: np.ndarray
    test_xy: np.ndarray
    test_true: np.ndarray
    test_predicted: np.ndarray
    test_subset: np.ndarray
    train_ids: np.ndarray
    train_xy: np.ndarray
    train_given: np.ndarray
    train_true: np.ndarray
    train_subset: np.ndarray
    classes: list[str]
    subsets: list[str]


def read_embedding(setting: dict[str, Any] | None, tsne_dir: Path) -> Embedding | None:
    """The embedding of the setting's first cell that has one; None when none has. Raises InputError naming
    the file when it lacks an array or its arrays do not fit together."""
    paths = [tsne_dir / f"{cell}.npz" for cell in (setting["cells"] if setting else [])]
    path = next((p for p in paths if p.exists()), None)
    if path is None:
        return None
    fields = list(Embedding.__dataclass_fields__)
    try:
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in fields}
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise InputError(f"{path}: not as the t-SNE stage writes it ({error}); run that again") from error
    for name in fields[:-2]:
        expected = len(arrays["test_xy" if name.startswith("test") else "train_xy"])
        if len(arrays[name]) != expected:
            raise InputError(f"{path}: {len(arrays[name])} {name}, not {expected}; run the t-SNE stage again")
    return Embedding(**arrays | {name: arrays[name].astype(str).tolist() for name in fields[-2:]})
