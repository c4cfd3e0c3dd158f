"""What a folder of images holds, and what of it a user should know before training on it."""

from __future__ import annotations

import difflib
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from asm import datasets
from asm.basics.errors import InputError
from asm.datasets import affectnet, ferplus, listed, rafdb
from asm.datasets.base import FaceDataset
from asm.datasets.names import printable
from asm.faces.blocks import digest_of, reason_of
from asm.faces.detection import FaceDetector

SPLIT = {"test_share": 0.2, "split_seed": 0}  # of images that come without one
BORDER = {"pad": 0.25, "upscale": 2.0}  # MTCNN finds more faces in tight or small crops with it
DRAWN = 50  # images in which faces are looked for
SECONDS = 10.0  # at most so long for reading, and for looking for faces
SMALL_CLASS = 20  # training images below which a class is hardly learnt
ALIKE, FEW = 0.75, 0.2  # two classes are taken for one: their names' similarity, the smaller one's share
# Who is on an image, in usual names: S005_001.png, 12_joy.jpg, KA.AN1.39.tiff, <class>/<person>/x.jpg
PERSONS = (
    r"(?:^|/)([A-Za-z]+[-_]?\d+)[-_.][^/]+\.\w+$",
    r"(?:^|/)(\d+)[-_][^/]+$",
    r"(?:^|/)([A-Z]{2})\.[^/]+$",
    r"([^/]+)/[^/]+$",
)
FEWEST_PERSONS = 10


@dataclass(frozen=True)
class Found:
    """A data set that can be trained on, how to read it, and what was seen of it."""

    dataset: FaceDataset
    source: str
    options: dict[str, Any]
    align: dict[str, Any]  # of the profile's data set
    seconds_a_face: float  # of the alignment, one thread; see `busy`
    said: list[str]  # lines that tell of the images
    notes: list[str]  # what should be mended, or known

    @property
    def train(self) -> int:
        """Number of training images."""
        return int((self.dataset.table["split"] == "train").sum())


@dataclass
class _Seen:
    """What reading images showed. `rows`: digest of the pixels -> images that have them."""

    kept: list[np.ndarray] = field(default_factory=list)
    sizes: Counter = field(default_factory=Counter)
    unreadable: dict[str, str] = field(default_factory=dict)
    rows: dict[bytes, list[int]] = field(default_factory=dict)
    read: int = 0


def source_of(root: Path) -> tuple[str, dict[str, Any]]:
    """The source whose files are in `root`, and the options that it is read with."""
    basic = root / "basic" if (root / "basic" / rafdb.LIST).is_file() else root
    if (basic / rafdb.LIST).is_file():
        aligned = (basic / rafdb.FOLDERS["aligned"]).is_dir()
        return "rafdb", {"images": "aligned" if aligned else "original"}
    if (root / ferplus.KAGGLE).is_file() or (root / ferplus.FOLDERS["train"]).is_dir():
        return "ferplus", {}
    if (root / affectnet.IMAGES).is_dir() or (root / affectnet.FOLDERS["train"]).is_dir():
        return "affectnet", {}
    return "folder", {}


def look(
    root: Path, source: str | None, options: dict[str, Any], align: dict[str, Any], device: str
) -> Found:
    """Read the data set under `root` and look at its images.

    Args:
        source, options, align: as a profile's data set has them; what is left out is found out.

    Raises:
        InputError: what the loader refuses; none of the images that were looked at can be read.
    """
    if not root.is_dir():
        raise InputError(f"new: {root}: no such folder")
    if source is None:
        source, usual = source_of(root)
        options = usual | options
    dataset, options, said = _load(root, source, options)
    seen = _read(dataset)
    said = [_counts(root, dataset, source), *said, *_sizes(seen)]
    found, cost, faces = _alignment(seen.kept, device)
    if source == "rafdb" and options.get("images") == "aligned":
        found = {"detect": False}  # as they are published
    align = align or found
    cost = cost if align.get("detect", True) else 0.0
    notes = list(_notes(dataset, seen, "test_share" in options))
    return Found(dataset, source, options, align, cost, [*said, faces], notes)


def _load(root: Path, source: str, options: dict[str, Any]) -> tuple[FaceDataset, dict[str, Any], list[str]]:
    """The data set; where it has no split, with one drawn: by person if the names tell them."""
    said: list[str] = []
    try:
        dataset = datasets.load(source, root, **options)
        if "test_share" not in options and "folds" not in options:
            return dataset, options, said
    except InputError as refused:
        if source != "folder" or "test_share" in options or "folds" in options:
            raise
        options = options | SPLIT
        try:
            dataset = datasets.load(source, root, **options)
        except InputError:
            if listed.files(root, options.get("csv")) or (root / "test").is_dir():
                raise refused from None
            raise
        said.append("no split: a fifth of each class is drawn for testing, by a seed")
    if "subject" in dataset.table or not (pattern := person_pattern(dataset)):
        return dataset, options, said
    try:
        apart = datasets.load(source, root, **options, subject=pattern)
    except InputError:  # a class whose images are all of people who are drawn for testing
        return dataset, options, said
    count = apart.table["subject"].nunique()
    said.append(f"names tell {count} people, such as {apart.table['subject'][0]}: nobody is in both splits")
    return apart, options | {"subject": pattern}, said


def person_pattern(dataset: FaceDataset) -> str | None:
    """The regular expression that finds in the paths who is on an image; None where none is likely: it is to
    find at least `FEWEST_PERSONS`, none on a fifth of the images, most of them in more classes than one."""
    table = dataset.table
    for pattern in PERSONS:
        names = table["path"].str.extract(pattern, expand=False)
        if names.isna().any():
            continue
        images, classes = names.value_counts(), table["true"].groupby(names).nunique()
        if len(images) >= FEWEST_PERSONS and images.max() < len(table) / 5 and classes.median() >= 2:
            return pattern
    return None


def _read(dataset: FaceDataset) -> _Seen:
    """Images in random order, all of them or as many as there is time for."""
    seen, started = _Seen(), time.monotonic()
    for row in np.random.default_rng(0).permutation(len(dataset.table)).tolist():
        if seen.read and time.monotonic() > started + SECONDS:
            break
        seen.read += 1
        try:
            image = dataset.read(row)
        except OSError as error:
            path = str(dataset.table["path"][row])
            seen.unreadable[path] = reason_of(error, path)
            continue
        seen.sizes[image.shape[:2]] += 1
        seen.rows.setdefault(digest_of(image), []).append(row)
        if len(seen.kept) < DRAWN:
            seen.kept.append(image)
    if not seen.kept:
        path, reason = next(iter(seen.unreadable.items()))
        raise InputError(
            f"new: none of the {seen.read} images looked at can be read, such as {path}: {reason}"
        )
    return seen


def _counts(root: Path, dataset: FaceDataset, source: str) -> str:
    """Images a class and split, as a table."""
    table = dataset.table
    splits = [split for split in ("train", "valid", "test") if (table["split"] == split).any()]
    width = max(len(name) for name in dataset.classes)
    lines = [f"{root}: {len(table):,} images of {len(dataset.classes)} classes, read as `{source}`"]
    lines.append("  ".join(["", " " * width, *(f"{split:>7}" for split in splits)]))
    for k, name in enumerate(dataset.classes):
        counts = (int(((table["true"] == k) & (table["split"] == split)).sum()) for split in splits)
        lines.append("  ".join(["", f"{name:<{width}}", *(f"{count:>7,}" for count in counts)]))
    return "\n".join(lines)


def _sizes(seen: _Seen) -> Iterator[str]:
    sides = sorted(min(size) for size in seen.sizes.elements())
    least, middle, most = sides[0], sides[len(sides) // 2], sides[-1]
    size = f"{least}" if least == most else f"{least} to {most}, of half of them up to {middle}"
    yield f"shorter side of the {seen.read:,} images looked at, in pixels: {size}"


def _alignment(images: Sequence[np.ndarray], device: str) -> tuple[dict[str, Any], float, str]:
    """With which options MTCNN finds most faces, the seconds it takes for one image, and that in words."""
    looked, (plain, border), seconds = _faces_of(images, device)
    said = f"MTCNN finds a face in {plain} of {looked} drawn images, with a border (pad, upscale) in {border}"
    if 2 * max(plain, border) < looked:
        return {"detect": False}, 0.0, f"{said}: too few, so they are taken as aligned"
    return (dict(BORDER), seconds[1], said) if border > plain else ({}, seconds[0], said)


def busy(device: str) -> float:
    """A clock in seconds: of the processor on one, whatever else runs there; else the wall's."""
    return time.process_time() if device == "cpu" else time.monotonic()


def _faces_of(images: Sequence[np.ndarray], device: str) -> tuple[int, list[int], list[float]]:
    """How many images were searched, and by each of the two alignments, without a border and with one, the
    images in which a face was found, and the seconds an image."""
    detectors = [FaceDetector(device=device), FaceDetector(device=device, **BORDER)]
    found, seconds, looked = [0, 0], [0.0, 0.0], 0
    begun = time.monotonic()
    while looked < len(images) and time.monotonic() < begun + SECONDS:
        part = images[looked : looked + 10]
        for i, detector in enumerate(detectors):
            started = busy(device)
            found[i] += sum(face is not None for face in detector.detect(part))
            seconds[i] += busy(device) - started
        looked += len(part)
    return looked, found, [each / looked for each in seconds]


def _notes(dataset: FaceDataset, seen: _Seen, drawn: bool) -> Iterator[str]:
    table, classes = dataset.table, dataset.classes
    paths = [printable(path) for path in table["path"]]
    if dataset.left_out:
        path, reason = next(iter(dataset.left_out.items()))
        yield f"files that are left out: {len(dataset.left_out)}, such as {printable(path)}: {reason}"
    if seen.unreadable:
        path, reason = next(iter(seen.unreadable.items()))
        count = f"{len(seen.unreadable)} of {seen.read:,}"
        yield f"images that cannot be read: {count}, such as {printable(path)}: {reason}"
    twins = [rows for rows in seen.rows.values() if len(rows) > 1]
    if twins:
        apart = sum(table["true"].iloc[rows].nunique() > 1 for rows in twins)
        across = sum(table["split"].iloc[rows].nunique() > 1 for rows in twins)
        worst = max(twins, key=lambda rows: table[["true", "split"]].iloc[rows].nunique().tolist())
        same = " = ".join(paths[row] for row in worst)
        said = f"images that occur more than once: {len(twins)}, such as {same}"
        yield f"{said}; {apart} with different labels, {across} in training and test"
    yield from _spelling(dataset)
    train = np.bincount(table["true"][table["split"] == "train"], minlength=len(classes))
    small = [f"{name} ({n})" for name, n in zip(classes, train, strict=True) if n < SMALL_CLASS]
    if small:
        yield f"too few training images to learn from: {', '.join(small)}"
    tested = int((table["split"] == "test").sum())
    if tested < 1000:
        half = 196 * (0.7 * 0.3 / tested) ** 0.5  # of the 95 % interval, in points, at 70 %
        note = f"{tested} test images measure an accuracy of 70 % to within ± {half:.1f} points"
        yield note + ("; `--options folds=5` tests on all, in five times the time" if drawn else "")


def _spelling(dataset: FaceDataset) -> Iterator[str]:
    """Small classes whose names are close to a larger one's."""
    counts = np.bincount(dataset.table["true"], minlength=len(dataset.classes)).tolist()
    known = list(zip(dataset.classes, counts, strict=True))
    for name, few in known:
        for other, many in known:
            if few <= FEW * many and _spelt_alike(name.casefold(), other.casefold()):
                said = f"{name} ({few} images) is spelt like {other} ({many})"
                yield f"{said}: are they one? move its images there"


def _spelt_alike(name: str, other: str) -> bool:
    if re.sub(r"\D", "", name) != re.sub(r"\D", "", other):  # au1 and au12
        return False
    begin = max(3, min(4, len(name), len(other)))
    return name[:begin] == other[:begin] or difflib.SequenceMatcher(None, name, other).ratio() >= ALIKE
