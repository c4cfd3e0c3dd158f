"""Expressions read off photos: every face found, aligned and classified; a csv file and annotated images."""

from __future__ import annotations

import csv
import mimetypes
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from asm.basics.errors import InputError
from asm.basics.files import writing
from asm.datasets.images import SUFFIXES, read_image
from asm.datasets.names import printable
from asm.faces.alignment import as_rgb, crop_face
from asm.faces.detection import Detection, FaceDetector
from asm.tools.export.classifier import Description
from asm.tools.export.formats import Predictor

BATCH = 16  # photos
SURE = 0.9  # MTCNN's probability from which a box counts as a face
TABLE, ANNOTATED = "predictions.csv", "images"
COLUMNS = ("image", "face", "x1", "y1", "x2", "y2", "detection", "expression", "probability", "reading")
SURE_COLOUR, UNSURE_COLOUR = "#2ca02c", "#ff7f0e"


def find_images(path: Path) -> list[Path]:
    """The image, or all images in the folder and the folders in it, sorted, without the annotated ones that
    `predict` wrote.

    Raises:
        InputError: there is no image, or `path` is a video.
    """
    if (mimetypes.guess_type(path.name)[0] or "").startswith("video/"):
        raise InputError(
            f"{path}: a video, and images are read; save its frames first, and name their folder"
        )
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"{path}: no such image or folder")
    written = [table.with_name(ANNOTATED) for table in path.rglob(TABLE) if _is_ours(table)]
    found = sorted(
        p
        for p in path.rglob("*")
        if p.suffix.lower() in SUFFIXES and p.is_file() and not any(map(p.is_relative_to, written))
    )
    if not found:
        raise InputError(f"{path}: no image in this folder; expected files that end in {', '.join(SUFFIXES)}")
    return found


def _is_ours(table: Path) -> bool:
    with open(table, encoding="utf-8", errors="replace") as file:
        return file.readline().startswith(",".join(COLUMNS))


def predict(
    paths: Sequence[Path],
    root: Path,
    classify: Predictor,
    description: Description,
    smallest: int,
    out: Path,
    device: str = "cpu",
) -> Counter[str]:
    """Write `out`/predictions.csv, one row a face (an image without one has a row without an expression), and
    `out`/images, an annotated JPEG of each image. Rows are written as they come: what is done stays.

    Args:
        root: images are named by their path from here.
        smallest: pixels; faces whose box has a shorter side are skipped.

    Returns:
        How many `faces` and `images` were read, and of what else was met, in words.

    Raises:
        InputError: none of the images can be read, or `out` cannot be written.
    """
    detector, counts = FaceDetector(device=device), Counter()
    with writing(out / TABLE):
        (out / ANNOTATED).mkdir(parents=True, exist_ok=True)
        file = open(out / TABLE, "w", newline="", encoding="utf-8")  # noqa: SIM115
    with file, tqdm(total=len(paths), unit="img", file=sys.stderr) as bar:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*COLUMNS, *(f"p_{name}" for name in description.classes)])
        for start in range(0, len(paths), BATCH):
            read = {}
            for path in paths[start : start + BATCH]:
                try:
                    read[path] = read_image(path)
                except OSError as error:
                    _say(path, error)
                    counts["images that cannot be read"] += 1
            found = detector.detect_all(list(read.values()))
            for (path, image), faces in zip(read.items(), found, strict=True):
                name = path.relative_to(root).as_posix()
                sure = [face for face in faces if face.probability >= SURE]
                large = [face for face in sure if _shorter_side(face) >= smallest]
                probabilities = _classified(image, large, classify, description)
                table.writerows(_rows(printable(name), large, probabilities, description))
                readings = [reading(p, description) for p in probabilities]
                target = out / ANNOTATED / f"{name}.jpg"
                try:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    annotate(image, large, readings).save(target, quality=90)
                except OSError as error:  # such as a name that is too long with its suffix
                    _say(target, error)
                    counts["annotated images that cannot be written"] += 1
                counts[f"faces below {smallest} pixels skipped"] += len(sure) - len(large)
                counts["images without a face"] += not sure
                counts["images"] += 1
                counts["faces"] += len(large)
            file.flush()
            bar.update(len(paths[start : start + BATCH]))
    if not counts["images"]:
        raise InputError(f"{paths[0]}: cannot be read as an image, nor can any other of {len(paths)}")
    return counts


def _say(path: Path, error: OSError) -> None:
    tqdm.write(printable(f"{path}: left out: {error}"), file=sys.stderr)


def reading(probabilities: np.ndarray, description: Description) -> tuple[str, bool]:
    """A face's probabilities [K] in words, and whether they are at least the class's threshold T_c: else the
    face is said to be between its two likeliest expressions."""
    second, first = np.argsort(probabilities)[-2:]
    classes = description.classes
    if probabilities[first] >= description.thresholds[first]:
        return classes[first], True
    return f"between {classes[first]} and {classes[second]}", False


def annotate(
    image: np.ndarray, faces: Sequence[Detection], readings: Sequence[tuple[str, bool]]
) -> Image.Image:
    """The image with each face's box and what was read; orange where it is between two expressions."""
    picture = Image.fromarray(as_rgb(image))
    draw = ImageDraw.Draw(picture)
    width = max(1, round(max(picture.size) / 400))
    font = ImageFont.load_default(size=max(12, max(picture.size) // 50))
    for face, (text, sure) in zip(faces, readings, strict=True):
        colour = SURE_COLOUR if sure else UNSURE_COLOUR
        x1, y1, x2, y2 = face.box.tolist()
        draw.rectangle((x1, y1, x2, y2), outline=colour, width=width)
        left, _, right, bottom = draw.textbbox((0, 0), text, font=font)
        x = max(0, min(x1, picture.width - (right - left)))
        y = y1 - (bottom + 2) if y1 > bottom + 2 else min(y2 + 2, picture.height - bottom)
        draw.rectangle((x, y, x + right, y + bottom), fill=colour)
        draw.text((x, y), text, font=font, fill="white")
    return picture


def _shorter_side(face: Detection) -> float:
    x1, y1, x2, y2 = face.box
    return float(min(x2 - x1, y2 - y1))


def _classified(
    image: np.ndarray, faces: Sequence[Detection], classify: Predictor, description: Description
) -> np.ndarray:
    """Probabilities [len(faces), K]."""
    if not faces:
        return np.empty((0, len(description.classes)), np.float32)
    crops = [as_rgb(crop_face(image, face.landmarks, description.size)) for face in faces]
    return classify(np.stack(crops))


def _rows(
    name: str, faces: Sequence[Detection], probabilities: np.ndarray, description: Description
) -> Iterator[list[object]]:
    """One row a face, or the name alone."""
    if not faces:
        yield [name, *[""] * (len(COLUMNS) - 1 + len(description.classes))]
    for number, (face, p) in enumerate(zip(faces, probabilities, strict=True), start=1):
        box = [f"{value:.1f}" for value in face.box]
        label = [description.classes[p.argmax()], f"{p.max():.4f}", reading(p, description)[0]]
        yield [name, number, *box, f"{face.probability:.4f}", *label, *(f"{x:.4f}" for x in p)]
