"""The embedded data set of rendered faces, as the `render` stage leaves it."""

from pathlib import Path

import numpy as np
import pandas as pd

from asm.basics.errors import InputError
from asm.datasets import base
from asm.rendered import CLASSES

TITLE = "rendered faces"
_COLUMNS = {
    "id": str,
    "path": str,
    "split": str,
    "true": int,
    "ambiguous": bool,
    "second_label": int,
    "mixture": float,
    "identity": str,
}


def load(root: Path) -> base.FaceDataset:
    """What `asm.rendered.dataset.render_dataset` wrote into `root`; images stay on disk until they are read.

    Raises InputError where a file is missing or the files do not belong together.
    """
    remedy = "the `render` stage makes it: dvc repro render"
    image_file, manifest = root / "images.npy", root / "manifest.csv"
    for path in (image_file, manifest):
        if not path.is_file():
            raise InputError(f"synthetic faces: {path} not found; {remedy}")
    try:
        images = np.load(image_file, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise InputError(f"synthetic faces: {image_file} is no readable array ({error}); {remedy}") from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        found = f"{images.dtype} {list(images.shape)}"
        raise InputError(
            f"synthetic faces: {image_file} should be uint8 [N, S, S, 3], found {found}; {remedy}"
        )
    try:
        table = pd.read_csv(manifest, dtype=_COLUMNS, keep_default_na=False)
    except ValueError as error:
        fault = str(error).strip()  # pandas ends some with a line end
        raise InputError(f"synthetic faces: {manifest} is no readable table ({fault}); {remedy}") from error
    missing = [column for column in _COLUMNS if column not in table.columns]
    if missing:
        raise InputError(f"synthetic faces: {manifest} lacks the columns {', '.join(missing)}; {remedy}")
    if len(table) != len(images):
        counts = f"{len(table)} rows, {image_file.name} {len(images)} images"
        raise InputError(f"synthetic faces: {manifest} has {counts}; {remedy}")
    return base.check(base.FaceDataset("synthetic", CLASSES, table, base.Pixels(images)))
