"""The embedded data set: seven expressions from action units, known ambiguous blends, disjoint identities.

The level of difficulty is fixed: intensity from 0.75, one picture in ten a blend of two expressions.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from asm.basics.errors import InputError
from asm.basics.files import atomic_write, mapped, writing
from asm.basics.workers import start_worker
from asm.rendered import CLASSES, renderer
from asm.rendered.anatomy import ACTION_UNITS
from asm.rendered.sampling import sample_action_units, sample_expression, sample_face, sample_identity

IMAGES_PER_IDENTITY = len(CLASSES)
_CHUNK = 32

# First word of every seed: data sets and pre-training draw from disjoint namespaces and share no identity.
_DATASET, _PRETRAINING = 0x5EED, 0xAC71
_IDENTITY, _IMAGE, _PLAN = 1, 2, 3


@dataclass(frozen=True)
class _Plan:
    """One picture before it is drawn; `seed` and `identity_seed` are entropy for SeedSequence."""

    identity_seed: tuple[int, ...]
    seed: tuple[int, ...]
    label: int
    second: int
    mixture: float


def _draw(plans: list[_Plan], size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, landmarks and action units of a chunk of plans (runs in a worker)."""
    images = np.empty((len(plans), size, size, 3), np.uint8)
    landmarks = np.empty((len(plans), 5, 2), np.float32)
    units = np.empty((len(plans), len(ACTION_UNITS)), np.float32)
    for i, plan in enumerate(plans):
        rng = np.random.default_rng(plan.seed)
        identity = sample_identity(np.random.default_rng(plan.identity_seed))
        if plan.label >= 0:
            units[i] = sample_expression(rng, plan.label, plan.second, plan.mixture)
        else:
            units[i] = sample_action_units(rng)
        images[i], landmarks[i] = renderer.render(sample_face(rng, identity, units[i]), size)
    return images, landmarks, units


def _start_worker() -> None:
    start_worker()
    threadpool_limits(1)


def _drawn(
    plans: list[_Plan], size: int, workers: int, what: str
) -> Iterator[tuple[slice, tuple[np.ndarray, ...]]]:
    """For each chunk of `plans`, in order: its rows, and the images, landmarks and action units of them."""
    chunks = [plans[i : i + _CHUNK] for i in range(0, len(plans), _CHUNK)]
    draw = partial(_draw, size=size)
    with ExitStack() as stack:
        drawn = map(draw, chunks)
        if workers > 1 and len(chunks) > 1:
            pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start_worker)
            stack.callback(pool.shutdown, cancel_futures=True)
            drawn = pool.map(draw, chunks)
        progress = stack.enter_context(tqdm(total=len(plans), desc=what, unit="img", mininterval=1.0))
        start = 0
        try:
            for chunk in drawn:
                rows = slice(start, start := start + len(chunk[0]))
                yield rows, chunk
                progress.update(len(chunk[0]))
        except BrokenProcessPool as error:
            raise InputError(f"{what}: a worker process died; memory ran out, or it was killed") from error


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise InputError(f"synthetic faces: {name} must be at least {least}, found {value}")


def _plan_dataset(
    counts: dict[str, int], seed: int, ambiguous_share: float, keep: dict[str, float]
) -> tuple[list[_Plan], pd.DataFrame]:
    plans, rows = [], []
    seen = [0] * len(CLASSES)  # training images of each class
    for s, (split, count) in enumerate(counts.items()):
        rng = np.random.default_rng([_DATASET, seed, _PLAN, s])
        blends = set(rng.permutation(count)[: round(ambiguous_share * count)].tolist())
        for i in range(count):
            person, turn = divmod(i, IMAGES_PER_IDENTITY)
            label = (turn + person) % len(CLASSES)
            second, mixture = -1, 1.0
            if i in blends:
                second = (label + int(rng.integers(1, len(CLASSES)))) % len(CLASSES)
                mixture = round(float(rng.uniform(0.5, 0.62)), 4)
            if split == "train":
                seen[label] += 1
                share = keep.get(CLASSES[label], 1.0)
                if int(seen[label] * share) == int((seen[label] - 1) * share):
                    continue  # the class is made rare
            row = len(rows)
            identity, image = (_DATASET, seed, _IDENTITY, s, person), (_DATASET, seed, _IMAGE, s, i)
            plans.append(_Plan(identity, image, label, second, mixture))
            rows.append(
                {
                    "id": f"{split}_{i:05d}",
                    "path": f"images.npy[{row}]",
                    "split": split,
                    "true": label,
                    "ambiguous": second >= 0,
                    "second_label": second,
                    "mixture": mixture,
                    "identity": f"{split}_{person:04d}",
                }
            )
    return plans, pd.DataFrame(rows)


def render_dataset(
    out: Path,
    *,
    train: int,
    valid: int,
    test: int,
    size: int = 112,
    seed: int,
    ambiguous_share: float = 0.10,
    keep: dict[str, float] | None = None,
    workers: int = 2,
) -> None:
    """Render the data set into directory `out`.

    Writes `images.npy` uint8 [N, size, size, 3], `landmarks.npy` float32 [N, 5, 2] (true positions, pixels)
    and `manifest.csv` with the columns of a data-set table plus `identity`. Every identity shows each class
    once and belongs to one split; `ambiguous_share` of each split are blends in which the class `true` has
    the share `mixture` (0.5-0.62) and `second_label` has the rest. `keep`, class -> share of its training
    images that are drawn, makes classes rare; all other images are the same with and without it. `workers`
    changes nothing in the result; more than one are spawned, so scripts must call this under
    `if __name__ == "__main__"`.

    Raises InputError for counts, size or share out of range, and for a full disk.
    """
    counts = {"train": train, "valid": valid, "test": test}
    for split, count in counts.items():
        _at_least(f"the number of {split} images", count, 0)
    _at_least("size", size, 32)
    _at_least("seed", seed, 0)
    if sum(counts.values()) == 0:
        raise InputError("synthetic faces: train, valid and test are all 0; ask for at least one image")
    if not 0 <= ambiguous_share <= 1:
        raise InputError(f"synthetic faces: ambiguous_share must be within 0..1, found {ambiguous_share}")
    for name, share in (keep or {}).items():
        if name not in CLASSES or not 0 < share <= 1:
            raise InputError(
                f"synthetic faces: keep: {name}: {share}: expected one of {', '.join(CLASSES)} and a share "
                "above 0, at most 1"
            )
    plans, table = _plan_dataset(counts, seed, ambiguous_share, keep or {})
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        # written last: an interrupted run must not look complete
        (out / "manifest.csv").unlink(missing_ok=True)
    images = mapped(out / "images.npy", (len(plans), size, size, 3))
    landmarks = np.empty((len(plans), 5, 2), np.float32)
    for rows, drawn in _drawn(plans, size, workers, "rendering faces"):
        images[rows], landmarks[rows], _ = drawn
    with writing(out):
        images.flush()
        np.save(out / "landmarks.npy", landmarks)
    with atomic_write(out / "manifest.csv") as path:
        table.to_csv(path, index=False)


def render_action_units(
    count: int, *, size: int, seed: int, workers: int = 2
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random faces for label-free pre-training: images, action units and landmarks.

    Returns uint8 [count, size, size, 3], float32 [count, A] in the order of `ACTION_UNITS` and float32
    [count, 5, 2] in pixels. The action units are the exact values the face was drawn with. Every image shows
    a person of its own; seeds live in another namespace than those of `render_dataset`, so these people are
    in no data set, whatever the seeds.

    Raises InputError for a count, size or seed out of range.
    """
    _at_least("the number of pre-training images", count, 1)
    _at_least("size", size, 32)
    _at_least("seed", seed, 0)
    plans = [
        _Plan((_PRETRAINING, seed, _IDENTITY, i), (_PRETRAINING, seed, _IMAGE, i), -1, -1, 1.0)
        for i in range(count)
    ]
    images = np.empty((count, size, size, 3), np.uint8)
    units = np.empty((count, len(ACTION_UNITS)), np.float32)
    landmarks = np.empty((count, 5, 2), np.float32)
    for rows, drawn in _drawn(plans, size, workers, "rendering pre-training faces"):
        images[rows], landmarks[rows], units[rows] = drawn
    return images, units, landmarks
