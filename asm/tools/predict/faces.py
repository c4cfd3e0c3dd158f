"""What photos and videos share: faces and their probabilities, rows of the table, drawn boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from asm.faces.alignment import as_rgb, crop_face
from asm.faces.detection import Detection, FaceDetector
from asm.tools.export.classifier import Description
from asm.tools.export.formats import Predictor

BATCH = 16  # images
SURE = 0.9  # MTCNN's probability from which a box counts as a face
TABLE = "predictions.csv"
COLUMNS = ("face", "x1", "y1", "x2", "y2", "detection", "expression", "probability", "reading")
SURE_COLOUR, UNSURE_COLOUR = "#2ca02c", "#ff7f0e"


class Reader:
    """Faces found, aligned and classified.

    Args:
        smallest: pixels; faces whose box has a shorter side are skipped, and counted in `skipped`.
    """

    def __init__(self, classify: Predictor, description: Description, smallest: int, device: str) -> None:
        self.classify, self.description, self.smallest = classify, description, smallest
        self.detector, self.skipped = FaceDetector(device=device), 0

    def __call__(self, images: Sequence[np.ndarray]) -> Iterator[tuple[list[Detection], np.ndarray]]:
        """The large faces of each image, uint8, from left to right, and their probabilities [faces, K]."""
        for image, found in zip(images, self.detector.detect_all(images), strict=True):
            sure = [face for face in found if face.probability >= SURE]
            large = [face for face in sure if _shorter_side(face) >= self.smallest]
            self.skipped += len(sure) - len(large)
            probabilities = np.empty((0, len(self.description.classes)), np.float32)
            if large:
                crops = [as_rgb(crop_face(image, face.landmarks, self.description.size)) for face in large]
                probabilities = self.classify(np.stack(crops))
            yield large, probabilities

    def header(self, first: str) -> list[str]:
        """The table's columns; `first` names the image."""
        return [first, *COLUMNS, *(f"p_{name}" for name in self.description.classes)]

    def rows(
        self, name: str, numbers: Sequence[int], faces: Sequence[Detection], probabilities: np.ndarray
    ) -> Iterator[list[object]]:
        """One row a face, or the image's name alone."""
        classes = self.description.classes
        if not faces:
            yield [name, *[""] * (len(COLUMNS) + len(classes))]
        for number, face, p in zip(numbers, faces, probabilities, strict=True):
            box = [f"{value:.1f}" for value in face.box]
            label = [classes[p.argmax()], f"{p.max():.4f}", self.reading(p)[0]]
            yield [name, number, *box, f"{face.probability:.4f}", *label, *(f"{x:.4f}" for x in p)]

    def reading(self, probabilities: np.ndarray) -> tuple[str, bool]:
        """A face's probabilities [K] in words, and whether they are at least the class's threshold T_c: else
        the face is said to be between its two likeliest expressions."""
        second, first = np.argsort(probabilities)[-2:]
        classes = self.description.classes
        if probabilities[first] >= self.description.thresholds[first]:
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
