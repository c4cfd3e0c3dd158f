"""Benchmark 5: batched MTCNN against one image at a time, on rendered faces; needs the whole project."""

import numpy as np
import torch
from common import paired, ratio
from facenet_pytorch import MTCNN
from PIL import Image

from asm.faces.detection import Detection, FaceDetector
from asm.rendered.dataset import render_action_units

AFFECTNET = 287_651 + 4_000  # images of the eight classes, training and validation


def alignment(*, count: int, image_size: int, repeats: int) -> dict[str, object]:
    """Images/s of both on one thread, whether they find the same faces, and hours for AffectNet's images."""
    pixels = list(render_action_units(count, size=image_size, seed=7, workers=1)[0])
    mtcnn, detector = MTCNN(), FaceDetector()
    images = [Image.fromarray(one) for one in pixels]
    device = torch.device("cpu")
    singly, batched = paired(
        lambda: [mtcnn.detect(image, landmarks=True) for image in images],
        lambda: detector.detect(pixels),
        repeats,
        device,
    )
    expected = [mtcnn.detect(image, landmarks=True) for image in images]
    found = detector.detect(pixels)
    differences = [_difference(*pair) for pair in zip(expected, found, strict=True)]
    return {
        "image_size": image_size,
        "images": count,
        "images_per_second_singly": round(count / min(singly), 1),
        "images_per_second": round(count / min(batched), 1),
        **ratio(singly, batched),
        "found_by_one_of_both_only": sum(d is None for d in differences),
        "largest_difference_pixels": round(max(d for d in differences if d is not None), 4),
        "hours_for_affectnet_on_one_core": round(AFFECTNET / (count / min(batched)) / 3600, 2),
    }


def _difference(expected: tuple, found: Detection | None) -> float | None:
    """Largest distance of box and landmarks in pixels from the nearest of MTCNN's faces; None if only one of
    both found any, 0 if neither."""
    boxes, _, points = expected
    if (boxes is None) != (found is None):
        return None
    if found is None:
        return 0.0
    return min(
        max(np.abs(box - found.box).max(), np.abs(point - found.landmarks).max())
        for box, point in zip(boxes, points, strict=True)
    )
