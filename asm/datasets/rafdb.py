"""RAF-DB, basic emotions: 15,339 images, of which 12,271 for training (Li, Deng and Du, CVPR 2017)."""

from pathlib import Path, PurePosixPath

import pandas as pd

from asm.basics.errors import InputError
from asm.datasets import base

CLASSES = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")  # RAF ids 1 to 7
TITLE = "RAF-DB"
PAPER = {7: "rafdb"}
LIST = "EmoLabel/list_patition_label.txt"  # spelt so in the release
FOLDERS = {"aligned": "Image/aligned", "original": "Image/original"}
TREE = """
EmoLabel/list_patition_label.txt      train_00001.jpg 5
Image/aligned/train_00001_aligned.jpg (or Image/original/train_00001.jpg, with `images: original`)
"""
SOURCE = "RAF-DB is free for research: its authors send the password, see www.whdeng.cn/RAF/model1.html"


def load(root: Path, images: str = "aligned") -> base.FaceDataset:
    """RAF-DB as its authors pack it: `root` is the folder `basic`, or the one that holds it.

    `images`: "aligned" (the authors' 100x100 crops, which the paper's peers use) or "original". Ids are the
    names in the list without ".jpg". There is no validation split. Raises InputError for a missing or damaged
    data set.
    """
    if not isinstance(images, str) or images not in FOLDERS:
        raise InputError(f"rafdb: images: expected one of {', '.join(FOLDERS)}, found {images!r}.")
    if not (root / LIST).is_file() and (root / "basic" / LIST).is_file():
        root = root / "basic"
    listed = root / LIST
    if not listed.is_file():
        raise base.absent("rafdb", root, TREE, SOURCE)
    if not (root / FOLDERS[images]).is_dir():
        raise base.absent(f"rafdb (images: {images})", root / FOLDERS[images], TREE, SOURCE)

    rows = base.read_pairs(listed)
    base.require_inside(root, listed, rows.name, rows.line)
    labels = base.integers(listed, rows.value, rows.line, "a RAF-DB label", 1, len(CLASSES)) - 1
    splits, paths = [], []
    for name, line in zip(rows.name, rows.line, strict=True):
        split = name.partition("_")[0]
        if split not in ("train", "test"):
            raise InputError(f"{listed}, row {line}: expected a name train_… or test_…, found {name!r}.")
        file = f"{PurePosixPath(name).stem}_aligned.jpg" if images == "aligned" else name
        splits.append(split)
        paths.append(f"{FOLDERS[images]}/{file}")
    left_out = base.require_files("rafdb", root, paths, LIST)
    table = pd.DataFrame(
        {
            "id": [PurePosixPath(name).stem for name in rows.name],
            "path": paths,
            "split": splits,
            "true": labels,
        }
    )
    return base.check(base.FaceDataset("rafdb", CLASSES, table, base.Files(root, tuple(paths)), left_out))
