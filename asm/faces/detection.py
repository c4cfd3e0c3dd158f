"""MTCNN face detection, in batches and in float64, with MTCNN's boxes.

MTCNN: Zhang, Zhang, Li, Qiao, "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional
Networks", 2016; weights and code of facenet-pytorch (in its wheel, nothing is downloaded).

In float32 each kind of processor, number of threads and batch size gives other last digits. MTCNN cuts its
candidates at whole pixels and takes or leaves them by thresholds, so that such a digit moves a landmark by
up to a pixel here and there. In float64 the digits that differ are a billion times smaller, and what is left
of them is rounded away (`PARTS`). It takes twice the time, once for a data set.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from facenet_pytorch import MTCNN
from PIL import Image

from asm.faces.alignment import as_rgb

SMALLEST_FACE = 20  # pixels; MTCNN's default min_face_size, and what k = 0 searches for
FACTOR = 0.709  # ratio of neighbouring scales in MTCNN's image pyramid
LONGEST_SIDE = (
    1024  # larger images are shrunk to this for the search (the crop is still cut from the original)
)
PARTS = 64  # of a pixel, to which boxes and landmarks are rounded
SURE = 0.95  # probability from which a second box counts as a face and not as background
_SHORTEST_SIDE = 24  # smaller images are enlarged to this: below SMALLEST_FACE the pyramid would be empty


@dataclass(frozen=True)
class Detection:
    """One face, in pixels of the image as given (integers are pixel centres, x to the right, y down).

    `landmarks` float32 [5, 2]: left eye, right eye (as seen in the image), nose, left and right mouth corner;
    `box` float32 [4]: x1, y1, x2, y2; `probability`: of the last net; `retried`: found only at full scale;
    `others`: how many more faces the image shows, of a probability of at least `SURE`.
    """

    landmarks: np.ndarray
    box: np.ndarray
    probability: float
    retried: bool = False
    others: int = 0


@dataclass(frozen=True)
class _Frame:
    """An image as MTCNN gets it, and the way back, per axis: (x + .5) / scale - .5 - shift."""

    pixels: np.ndarray
    scale: tuple[float, float]
    shift: tuple[int, int]

    def to_source(self, points: np.ndarray) -> np.ndarray:
        """float32 [n, 2] of float64 [n, 2], to 1 / `PARTS` of a pixel."""
        exact = (points + 0.5) / np.array(self.scale) - 0.5 - np.array(self.shift)
        return (np.rint(exact * PARTS) / PARTS).astype(np.float32)


class FaceDetector:
    """The main face of each image.

    The search first leaves out the finest `min_face_scales` scales of the pyramid, and is repeated with all
    scales for the images in which nothing was found. `min_face_size = 20 / .709**k` keeps the remaining
    scales where they were, so that boxes do not move (a round number moves them by pixels). k is lowered for
    small images: faces down to a third of the shorter side are always searched for at first (with a half,
    k = 3 moved landmarks in 2 % of FER+).

    Of several faces the one with the greatest `probability x box area x (1 - d/2)` is taken, d being the
    distance of the box's centre from the image's, as a share of half the diagonal (0 centre, 1 corner).

    Args:
        min_face_scales: k above; 0 is plain MTCNN.
        pad: replicated border added on every side before the search, as a share of the image's height or
            width (.25 for tight crops).
        upscale: enlargement before the search (2 for 48-pixel images).
        batch_size: images of one size that go through the nets together.
        device: "cpu" or "cuda[:n]".
    """

    def __init__(
        self,
        min_face_scales: int = 3,
        *,
        pad: float = 0.0,
        upscale: float = 1.0,
        batch_size: int = 16,
        device: str = "cpu",
    ) -> None:
        if min_face_scales < 0 or pad < 0 or upscale <= 0 or batch_size < 1:
            raise ValueError(
                "expected min_face_scales >= 0, pad >= 0, upscale > 0, batch_size >= 1; "
                f"found {min_face_scales}, {pad}, {upscale}, {batch_size}"
            )
        self.min_face_scales, self.pad, self.upscale = min_face_scales, pad, upscale
        self.batch_size = batch_size
        nets = MTCNN(device=torch.device(device)).eval()
        self._mtcnn = nets.to(dtype=torch.float64, memory_format=torch.channels_last)

    def detect(self, images: Sequence[np.ndarray]) -> list[Detection | None]:
        """The main face of each image, None where there is none.

        Args:
            images: uint8 [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] (alpha is ignored), of any sizes.

        Batches are formed in the order given, per image size, so the same list gives the same floats.
        """
        found: list[Detection | None] = [None] * len(images)
        frames, by_size = self._frames(images)
        for size, members in by_size.items():
            k = self._scales_left_out(min(size))
            self._search(members, frames, k, found)
            missed = [i for i in members if found[i] is None]
            if k > 0 and missed:
                self._search(missed, frames, 0, found)
                for i in missed:
                    if found[i] is not None:
                        found[i] = replace(found[i], retried=True)
        return found

    def detect_all(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        """Every face of each image, from left to right, searched for at all scales.

        Args:
            images: as of `detect`.
        """
        found: list[list[Detection]] = [[] for _ in images]
        frames, by_size = self._frames(images)
        self._mtcnn.min_face_size = SMALLEST_FACE
        for members in by_size.values():
            for batch, faces_of_batch in self._batches(members, frames):
                for i, faces in zip(batch, faces_of_batch, strict=True):
                    if faces is not None:
                        each = (_detection(faces, n, frames[i]) for n in range(len(faces[0])))
                        found[i] = sorted(each, key=lambda face: float(face.box[0]))
        return found

    def _frames(
        self, images: Sequence[np.ndarray]
    ) -> tuple[dict[int, _Frame], dict[tuple[int, int], list[int]]]:
        """What the nets get of each image that can hold a face, and these images' numbers by size."""
        frames: dict[int, _Frame] = {}
        by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
        for i, image in enumerate(images):
            frame = _frame(image, self.pad, self.upscale)
            if frame is not None:
                frames[i] = frame
                by_size[frame.pixels.shape[:2]].append(i)
        return frames, by_size

    def _scales_left_out(self, shorter_side: int) -> int:
        k = self.min_face_scales
        while k > 0 and SMALLEST_FACE / FACTOR**k > shorter_side / 3:
            k -= 1
        return k

    def _search(
        self, members: list[int], frames: dict[int, _Frame], k: int, found: list[Detection | None]
    ) -> None:
        self._mtcnn.min_face_size = SMALLEST_FACE / FACTOR**k
        for batch, faces_of_batch in self._batches(members, frames):
            for i, faces in zip(batch, faces_of_batch, strict=True):
                found[i] = _choose(faces, frames[i])

    def _batches(self, members: list[int], frames: dict[int, _Frame]) -> Iterator[tuple[list[int], list]]:
        """The images of one size, a batch at a time, and what `_faces` finds in each."""
        for start in range(0, len(members), self.batch_size):
            batch = members[start : start + self.batch_size]
            yield batch, self._faces(np.stack([frames[i].pixels for i in batch]))

    def _faces(self, batch: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray] | None]:
        """Per image: boxes [n, 4], probabilities [n], landmarks [n, 5, 2], or None."""
        try:
            boxes, probabilities, points = self._mtcnn.detect(batch, landmarks=True)
        except (IndexError, RuntimeError) as error:
            # facenet-pytorch trips over a candidate box that lies wholly outside its image.
            if not isinstance(error, IndexError) and "non-empty list" not in str(error):
                raise
            if len(batch) > 1:
                return [faces for image in batch for faces in self._faces(image[None])]
            return [None]
        # Object arrays whose form depends on the number of faces: convert image by image.
        return [
            None
            if boxes[i] is None or len(boxes[i]) == 0
            else (
                np.asarray(boxes[i], np.float64),
                np.asarray(probabilities[i], np.float64),
                np.asarray(points[i], np.float64),
            )
            for i in range(len(batch))
        ]


def _frame(image: np.ndarray, pad: float, upscale: float) -> _Frame | None:
    """The padded, resized RGB image for the search; None if it is too thin to hold a face."""
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    pad_y, pad_x = round(pad * image.shape[0]), round(pad * image.shape[1])
    if pad_x or pad_y:
        image = np.pad(image, ((pad_y, pad_y), (pad_x, pad_x)) + ((0, 0),) * (image.ndim - 2), mode="edge")
    height, width = image.shape[:2]
    scale = max(upscale, _SHORTEST_SIDE / min(height, width))
    scale = min(scale, LONGEST_SIDE / max(height, width))
    new_width, new_height = round(width * scale), round(height * scale)
    if min(new_width, new_height) < SMALLEST_FACE:
        return None
    if (new_width, new_height) != (width, height):
        image = np.asarray(Image.fromarray(image).resize((new_width, new_height), Image.Resampling.BILINEAR))
    return _Frame(as_rgb(image), (new_width / width, new_height / height), (pad_x, pad_y))


def _choose(faces: tuple[np.ndarray, np.ndarray, np.ndarray] | None, frame: _Frame) -> Detection | None:
    """The main face by the rule of `FaceDetector`, in the source image's pixels."""
    if faces is None:
        return None
    boxes, probabilities, _ = faces
    height, width = frame.pixels.shape[:2]
    limit = np.array([width, height, width, height])
    x1, y1, x2, y2 = np.clip(boxes, 0, limit).T
    centre = np.array([width, height]) / 2
    distance = np.linalg.norm(np.stack([x1 + x2, y1 + y2], 1) / 2 - centre, axis=1) / np.linalg.norm(centre)
    best = int(np.argmax(probabilities * (x2 - x1) * (y2 - y1) * (1 - distance / 2)))
    others = int((np.delete(probabilities, best) >= SURE).sum())
    return replace(_detection(faces, best, frame), others=others)


def _detection(faces: tuple[np.ndarray, np.ndarray, np.ndarray], number: int, frame: _Frame) -> Detection:
    """One of an image's faces, in the source image's pixels."""
    boxes, probabilities, points = faces
    return Detection(
        landmarks=frame.to_source(points[number]),
        box=frame.to_source(boxes[number].reshape(2, 2)).reshape(4),
        probability=float(probabilities[number]),
    )
