"""Expressions read off photos: a csv file and annotated images."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from tqdm import tqdm

from asm.basics.errors import InputError
from asm.basics.files import writing
from asm.datasets.heic import SUFFIXES, read_photo
from asm.datasets.names import printable
from asm.tools.predict.faces import BATCH, COLUMNS, TABLE, Reader, annotate

IMAGE, ANNOTATED = "image", "images"


def find_images(path: Path) -> list[Path]:
    """The image, or all images in the folder and the folders in it, sorted, without the annotated ones that
    `predict` wrote. Raises InputError where there is no image."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"{path}: no such image, video or folder")
    top = path.resolve()
    tables = filter(_is_ours, (*top.rglob(TABLE), top.parent / TABLE))  # `path` may be the annotated folder
    written = [table.with_name(ANNOTATED) for table in tables]

    def is_annotated(image: Path) -> bool:  # <image>.jpg there; the user's own photos may be beside them
        place = top / image.relative_to(path)
        return Path(image.stem).suffix.lower() in SUFFIXES and any(map(place.is_relative_to, written))

    images = (p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    found = sorted(p for p in images if not is_annotated(p))
    if not found:
        raise InputError(f"{path}: no image in this folder; expected files that end in {', '.join(SUFFIXES)}")
    return found


def _is_ours(table: Path) -> bool:
    try:
        with open(table, encoding="utf-8", errors="replace") as file:
            return file.readline().startswith(",".join((IMAGE, *COLUMNS)))
    except OSError:
        return False


def predict(paths: Sequence[Path], root: Path, reader: Reader, out: Path) -> Counter[str]:
    """Write `out`/predictions.csv, one row a face (an image without one has a row without an expression), and
    `out`/images, an annotated JPEG of each image. Rows are written as they come: what is done stays.

    Args:
        root: images are named by their path from here.

    Returns:
        How many `faces` and `images` were read, and of what else was met, in words.

    Raises:
        InputError: none of the images can be read, or `out` cannot be written.
    """
    counts: Counter[str] = Counter()
    batches = _read(paths, counts)
    first = next(batches, None)  # before an older table is written over
    if first is None:
        raise InputError(f"{paths[0]}: cannot be read as an image, nor can any other of {len(paths)}")
    with writing(out / TABLE):
        (out / ANNOTATED).mkdir(parents=True, exist_ok=True)
        file = open(out / TABLE, "w", newline="", encoding="utf-8")  # noqa: SIM115
    with file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(reader.header(IMAGE))
        file.flush()
        for read in chain([first], batches):
            found = reader(list(read.values()))
            for (path, image), (faces, probabilities) in zip(read.items(), found, strict=True):
                name = path.relative_to(root).as_posix()
                numbers = range(1, len(faces) + 1)
                table.writerows(reader.rows(printable(name), numbers, faces, probabilities))
                target = out / ANNOTATED / f"{name}.jpg"
                try:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    annotate(image, faces, list(map(reader.reading, probabilities))).save(target, quality=90)
                except OSError as error:  # such as a name that is too long with its suffix
                    _say(target, error)
                    counts["annotated images that cannot be written"] += 1
                counts["images without a face"] += not faces
                counts["images"] += 1
                counts["faces"] += len(faces)
            file.flush()
    return counts


def _read(paths: Sequence[Path], counts: Counter[str]) -> Iterator[dict[Path, np.ndarray]]:
    """Pixels of the images that can be read, some at a time; the others are named and counted."""
    with tqdm(total=len(paths), unit="img", file=sys.stderr) as bar:
        for start in range(0, len(paths), BATCH):
            read = {}
            for path in paths[start : start + BATCH]:
                try:
                    read[path] = read_photo(path)
                except (OSError, MemoryError) as error:
                    _say(path, error)
                    counts["images that cannot be read"] += 1
            if read:
                yield read
            bar.update(len(paths[start : start + BATCH]))


def _say(path: Path, error: Exception) -> None:
    tqdm.write(printable(f"{path}: left out: {error}"), file=sys.stderr)
