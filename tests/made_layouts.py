"""RAF-DB, FER+, AffectNet and MS-Celeb weights, made up in their official layouts.

python tests/made_layouts.py data/raw [--affectnet first|2021] [--images N]: N a class in training, a quarter
of them in testing; rendered faces, whose labels are right, and random weights.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from asm.datasets import affectnet, ferplus, rafdb
from asm.parts.backbones.resnet18 import ResNet18
from asm.rendered import CLASSES
from asm.rendered.dataset import render_dataset

NEW_HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
AFFECTNET_HEADER = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
)
Faces = dict[str, dict[str, list[np.ndarray]]]  # split -> expression -> images [S, S, 3]
Rows = list[tuple[str, str, list[int], int]]  # of FER+: usage, name, ten votes, FER2013's own id


def draw(images: int, seed: int = 0) -> Faces:
    """So many faces of each expression in training, a quarter in testing; contempt looks like disgust."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        counts = {"train": 7 * images, "valid": 7, "test": 7 * max(1, images // 4)}
        render_dataset(out, **counts, seed=seed, workers=1)
        pixels, table = np.load(out / "images.npy"), pd.read_csv(out / "manifest.csv")
    faces: Faces = {"train": {}, "valid": {}, "test": {}}
    for split, true, image in zip(table.split, table.true, pixels, strict=True):
        faces[split].setdefault(CLASSES[true], []).append(image)
    for of_split in faces.values():
        of_split["contempt"] = [np.flip(image, axis=1) for image in of_split["disgust"]]
    return faces


def save(path: Path, image: np.ndarray, side: int, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(image)).convert(mode).resize((side, side)).save(path)


def of_classes(faces: Faces, split: str, classes: tuple[str, ...]) -> list[tuple[int, np.ndarray]]:
    """Class and image, the classes in turn, as lists that are no order of classes have them."""
    columns = [[(k, image) for image in faces[split][name]] for k, name in enumerate(classes)]
    return [pair for row in zip(*columns, strict=True) for pair in row]


def write_rafdb(root: Path, faces: Faces) -> None:
    """`EmoLabel`, `Image/aligned` (100 px crops) and `Image/original` under `root`/basic, as it unpacks."""
    rows = []
    for split, digits in (("train", 5), ("test", 4)):
        for number, (k, image) in enumerate(of_classes(faces, split, rafdb.CLASSES), start=1):
            name = f"{split}_{number:0{digits}d}"
            rows.append(f"{name}.jpg {k + 1}")
            save(root / "basic" / "Image" / "aligned" / f"{name}_aligned.jpg", image[8:104, 8:104], 100)
            save(
                root / "basic" / "Image" / "original" / f"{name}.jpg",
                np.pad(image, ((40,), (60,), (0,))),
                200,
            )
    (root / "basic" / "EmoLabel").mkdir()
    (root / "basic" / rafdb.LIST).write_text("\n".join(rows) + "\n")


def write_affectnet_first(root: Path, faces: Faces) -> None:
    """training.csv, validation.csv with all eleven ids; 8 to 10 have no images."""
    for split, file in affectnet.CSV.items():
        rows = []
        for n, (k, image) in enumerate(of_classes(faces, split, affectnet.CLASSES)):
            rows.append(f"{n % 3 + 1}/{split}{n:04x}.jpg,0,0,224,224,1;2;3,{k},0.1,0.2")
            save(root / affectnet.IMAGES / f"{n % 3 + 1}" / f"{split}{n:04x}.jpg", image, 224)
        rows += [f"4/none{split}{k}.jpg,0,0,0,0,,{k},-2,-2" for k in (8, 9, 10)]
        (root / file).write_text("\n".join([AFFECTNET_HEADER, *rows]) + "\n")


def write_affectnet_2021(root: Path, faces: Faces) -> None:
    """train_set and val_set: images of 224 px and a file a number."""
    for split, folder in affectnet.FOLDERS.items():
        (root / folder / "annotations").mkdir(parents=True)
        for n, (k, image) in enumerate(of_classes(faces, split, affectnet.CLASSES)):
            save(root / folder / "images" / f"{n}.jpg", image, 224)
            np.save(root / folder / "annotations" / f"{n}_exp.npy", np.array(str(k)))
            for name in ("val", "aro"):
                np.save(root / folder / "annotations" / f"{n}_{name}.npy", np.array("0.3"))


def ten(**votes: int) -> list[int]:
    return [votes.get(c, 0) for c in ferplus.VOTES]


def write_new(root: Path, rows: Rows) -> None:
    lines = [",".join([usage, name, *map(str, votes)]) for usage, name, votes, _ in rows]
    (root / "fer2013new.csv").write_text("\n".join([NEW_HEADER, *lines]) + "\n")


def write_label(root: Path, rows: Rows) -> None:
    """label.csv has the first row of each name, without header."""
    done = set()
    lines = {usage: [] for usage in ferplus.USAGES}
    for usage, name, votes, _ in rows:
        if name and name not in done:
            done.add(name)
            lines[usage].append(f'{name},"(0, 0, 48, 48)",{",".join(map(str, votes))}')
    for usage, split in ferplus.USAGES.items():
        folder = root / ferplus.FOLDERS[split]
        folder.mkdir(exist_ok=True)
        (folder / "label.csv").write_text("\n".join(lines[usage]) + "\n")


def write_ferplus(root: Path, faces: Faces) -> None:
    """The folders with 48 px images, Microsoft's votes in both forms, and Kaggle's file: FER2013's own
    label is another than the votes' for one image in three."""
    root.mkdir(parents=True)
    rows: Rows = []
    kaggle = ["emotion,pixels,Usage"]
    for usage, split in (("Training", "train"), ("PublicTest", "valid"), ("PrivateTest", "test")):
        for k, image in of_classes(faces, split, ferplus.CLASSES):
            number, name = len(rows), ferplus.CLASSES[k]
            votes = ten(**{name: 7, ferplus.CLASSES[(k + 1) % 8]: 2, "unknown": 1})
            own = name if name in ferplus.FER2013_CLASSES and number % 3 else "neutral"
            emotion = ferplus.FER2013_CLASSES.index(own)
            rows.append((usage, f"fer{number:07d}.png", votes, emotion))
            path = root / ferplus.FOLDERS[ferplus.USAGES[usage]] / rows[-1][1]
            save(path, image[12:100, 12:100], 48, "L")
            pixels = np.asarray(Image.open(path)).ravel().tolist()
            kaggle.append(f"{emotion},{' '.join(map(str, pixels))},{usage}")
    write_new(root, rows)
    write_label(root, rows)
    (root / ferplus.KAGGLE).write_text("\n".join(kaggle) + "\n")


def write_msceleb(path: Path, width: int = 64) -> None:
    """Random ResNet-18 weights in the container and under the names of the published file."""
    theirs = {ours: name for name, ours in ResNet18.published_names.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = ResNet18(1000, width).state_dict()

    def rename(name: str) -> str:
        part = next(part for part in theirs if name.startswith(f"{part}."))
        return f"module.{theirs[part]}{name[len(part) :]}"

    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"epoch": 3, "state_dict": {rename(name): value for name, value in state.items()}}, path)


def write_all(raw: Path, images: int, release: str = "first", width: int = 64) -> None:
    """All that the profile `paper` reads, under data/raw."""
    faces = draw(images)
    for name in ("rafdb", "ferplus", "affectnet"):
        shutil.rmtree(raw / name, ignore_errors=True)
    write_rafdb(raw / "rafdb", faces)
    write_ferplus(raw / "ferplus", faces)
    (write_affectnet_first if release == "first" else write_affectnet_2021)(raw / "affectnet", faces)
    write_msceleb(raw / "weights" / "resnet18_msceleb.pth", width)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("raw", type=Path)
    parser.add_argument("--affectnet", choices=["first", "2021"], default="first")
    parser.add_argument("--images", type=int, default=40)
    args = parser.parse_args()
    write_all(args.raw, args.images, args.affectnet)
