"""The loop over a data set: read, detect, warp, pack; with any number of processes, killed at any moment.

Rows are worked off in blocks of fixed composition. A finished block is one file in the work directory; the
next run reads its images again and keeps it if they are still the same. So neither a kill nor the number of
processes can change a byte of the result (rounding in batched nets depends on the rest of a batch).
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from asm.basics.errors import InputError
from asm.basics.files import atomic_write, mapped, writing
from asm.basics.workers import start_worker
from asm.datasets.base import SPLITS, FaceDataset
from asm.datasets.names import printable
from asm.faces import store
from asm.faces.blocks import UNREADABLE, Block, BlockImages, Options, align_block
from asm.faces.store import FACE_KINDS

BLOCK = 64  # rows per block: about a second of work, which is all that a kill can cost
_STAMP = "stamp.json"
_Job = tuple[BlockImages, list[str], str, Options, Path]  # of `align_block`


def align_dataset(
    dataset: FaceDataset,
    *,
    size: int,
    detect: bool,
    pad: float,
    upscale: float,
    batch_size: int,
    out: Path,
    work: Path,
    device: str = "cpu",
    workers: int | None = None,
    code: str = "",
    others: Path | None = None,
) -> dict:
    """Align every face of a data set and write the store that `asm.faces.store.load` reads.

    Args:
        size: side of the crops in pixels.
        detect: False for images that are aligned already: their centre squares, resized.
        pad, upscale, batch_size, device: of `FaceDetector`. FER+ (48 pixels): pad .25, upscale 2.
        out: directory of the store; appears (or is replaced) only when complete.
        work: directory for finished blocks, kept at the end. A run with the same ids, options and `code`
            continues from there: it keeps blocks whose images are unchanged. What another left is dropped.
        workers: processes; default min(2, CPU cores), but 1 for a small data set. Several need a calling
            script with `if __name__ == "__main__":`.
        code: hash of the code and configuration that blocks depend on.
        others: csv file, if wanted, of the images with several faces: `id`, and how many `others` beside the
            one that was taken. Small ones that were not searched for are not among them (`FaceDetector`).

    Returns:
        The contents of summary.json.

    Raises:
        InputError: no image of the data set, of a split or of a class in training can be read; `work` holds
            something else; a worker process died; the disk is full or not writable.
    """
    options = Options(size, detect, float(pad), float(upscale), batch_size, device)
    if size < 1 or batch_size < 1 or pad < 0 or upscale <= 0 or (workers is not None and workers < 1):
        raise InputError(
            f"{dataset.name}: expected size, batch_size, workers >= 1, pad >= 0, upscale > 0; "
            f"found {options}, workers {workers}."
        )
    out, work = Path(out), Path(work)
    _open_work(dataset, options, code, work)
    rows = len(dataset.table)
    paths = {start: work / f"{start:09d}.npz" for start in range(0, rows, BLOCK)}
    if workers is None:
        workers = min(2, os.cpu_count() or 1) if len(paths) >= 16 else 1  # a process starts for seconds

    with tqdm(total=rows, unit="img", desc=f"align {dataset.name}", smoothing=0.05) as bar:
        digests: list[bytes] = []  # of every image

        def jobs() -> Iterator[_Job]:
            for start, path in paths.items():
                images = BlockImages(dataset, range(start, min(start + BLOCK, rows)))
                digests.extend(images.digests)
                digest = hashlib.blake2b(b"".join(images.digests), digest_size=16).hexdigest()
                block = Block.load(path)
                if block is not None and str(block.digest) == digest:
                    bar.update(len(images.reasons))
                else:
                    yield images, images.reasons, digest, options, path

        _run(jobs(), min(workers, len(paths)), bar.update)
    if others is not None:
        found = np.concatenate([Block.load(path).others for path in paths.values()])
        table = pd.DataFrame({"id": dataset.table["id"], "others": found})
        table[found > 0].to_csv(others, index=False, lineterminator="\n")
    try:
        return _write(dataset, options, list(paths.values()), digests, out)
    finally:
        shutil.rmtree(_partial(out), ignore_errors=True)


# --- processes ---


def _run(jobs: Iterator[_Job], workers: int, update: Callable[[int], object]) -> None:
    """Do all jobs, in this process or in several. Images are read here: a data set need not be picklable."""
    if workers <= 1:
        with _one_thread():
            for job in jobs:
                update(align_block(*job))
        return
    # "spawn": forking a process in which torch has run threads or CUDA is unsafe.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker)
    pending: set[Future[int]] = set()
    try:
        for images, *others in jobs:
            if images.held is None:  # too large to be sent
                with _one_thread():
                    update(align_block(images, *others))
                continue
            pending.add(pool.submit(align_block, images.held, *others))
            if len(pending) > workers:  # one block waits ready; more would only fill memory
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in finished:
                    update(future.result())
        for future in pending:
            update(future.result())
    except BrokenProcessPool as error:
        raise InputError(
            "aligning faces: a worker process died. Either memory ran out, or the calling script lacks "
            '`if __name__ == "__main__":`. Run it with workers=1; finished images are kept.'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    torch.set_num_threads(1)
    start_worker()


@contextmanager
def _one_thread() -> Iterator[None]:
    """As in the worker processes, so that results are the same."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


# --- the work directory and the result ---


def _open_work(dataset: FaceDataset, options: Options, code: str, work: Path) -> None:
    """Create the work directory, or empty one whose ids, options or code were others."""
    inputs = {"ids": dataset.table["id"].tolist(), "paths": dataset.table["path"].tolist()}
    content = {"code": code, "block": BLOCK, "torch": torch.__version__, **asdict(options), **inputs}
    stamp = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    stamp_file = work / _STAMP
    if work.is_dir() and any(work.iterdir()):
        if not stamp_file.is_file():
            raise InputError(
                f"{work}: expected an empty directory or one of an interrupted alignment (with {_STAMP}); "
                "found other files. Name another work directory, or empty this one."
            )
        if stamp_file.read_text(encoding="utf-8") == stamp:
            return
        tqdm.write(
            f"{work}: left by a run with other images, options or code; starting anew", file=sys.stderr
        )
        shutil.rmtree(work)
    with atomic_write(stamp_file) as path:
        path.write_text(stamp, encoding="utf-8")


def _partial(out: Path) -> Path:
    return out.with_name(out.name + ".partial")


def _write(
    dataset: FaceDataset, options: Options, blocks: list[Path], digests: list[bytes], out: Path
) -> dict:
    """Put the blocks together in a directory beside `out`, then rename it."""
    kinds_of, reasons_of, channels = [], [], 1
    for path in blocks:
        block = Block.load(path)
        kinds_of.append(block.kinds)
        reasons_of.append(block.reasons)
        channels = max(channels, block.crops.shape[3])
    kinds, reasons = np.concatenate(kinds_of), np.concatenate(reasons_of)
    readable = kinds != UNREADABLE
    _require_enough(dataset, readable, reasons)

    partial = _partial(out)
    replaced = out.with_name(out.name + ".replaced")
    for leftover in (partial, replaced):
        shutil.rmtree(leftover, ignore_errors=True)
    count = int(readable.sum())
    landmarks = np.empty((count, 5, 2), np.float32)
    with writing(out):
        partial.mkdir(parents=True)
    faces = mapped(partial / "faces.npy", (count, options.size, options.size, channels))
    start = 0
    for path in blocks:
        block = Block.load(path)
        stop = start + len(block.crops)
        faces[start:stop] = block.crops
        landmarks[start:stop] = block.landmarks
        start = stop
    names = np.array([*FACE_KINDS, ""], dtype=object)[kinds]
    no_face = names == "fallback"
    twins = _twins(dataset, digests, readable)
    left_out = [(printable(file), f"left out: {why}") for file, why in dataset.left_out.items()]
    ids, splits = dataset.table["id"].tolist(), dataset.table["split"].tolist()
    listed = sorted(
        [
            *((i, f"unreadable: {reasons[i]}") for i in np.flatnonzero(~readable)),
            *((i, "no face found: centre square of the whole image") for i in np.flatnonzero(no_face)),
            *((i, f"the same pixels as {ids[j]} in {splits[j]}") for i, j in twins.items()),
        ]
    )
    summary = {
        "dataset": dataset.name,
        "classes": list(dataset.classes),
        "size": options.size,
        "channels": channels,
        "images": count,
        "unreadable": int((~readable).sum()),
        "detected": int((names == "mtcnn").sum() + (names == "retry").sum()),
        "retry": int((names == "retry").sum()),
        "fallback": int(no_face.sum()),
        "fallback_share": round(float(no_face.sum() / count), 6),
        "detect": options.detect,
        "pad": options.pad,
        "upscale": options.upscale,
        # only where there are some, so that other data sets' summaries stay what they were
        **({"in_two_splits": len(twins)} if twins else {}),
        **({"left_out": len(left_out)} if left_out else {}),
        **({"corrected": _corrected(dataset)} if _corrected(dataset) else {}),
    }
    with writing(out):
        faces.flush()
        del faces
        np.save(partial / "landmarks.npy", landmarks)
        manifest = dataset.table[readable].assign(face=names[readable])
        manifest.to_csv(partial / "manifest.csv", index=False, lineterminator="\n")
        rows = [*((ids[i], why) for i, why in listed), *left_out]
        report = pd.DataFrame(rows, columns=["id", "reason"])
        report.to_csv(partial / "report.csv", index=False, lineterminator="\n")
        summary["sha256"] = store.digests(partial)
        text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
        (partial / "summary.json").write_text(text, encoding="utf-8")
        if out.exists():
            os.rename(out, replaced)
        os.rename(partial, out)
    shutil.rmtree(replaced, ignore_errors=True)
    where = f"all are in {out / 'report.csv'}"
    if not readable.all():
        i = int(np.argmin(readable))
        _warn(
            f"{dataset.name}: {(~readable).sum()} labelled image(s) cannot be read, such as {ids[i]} "
            f"({reasons[i]}); {where}"
        )
    if twins:
        i, j = next(iter(twins.items()))
        _warn(
            f"{dataset.name}: {len(twins)} image(s) are also in another split, pixel by pixel, such as "
            f"{ids[i]} in {splits[i]} and {ids[j]} in {splits[j]}; {where}"
        )
    if not readable.all():
        i = int(np.argmin(readable))
        example = f"{ids[i]} ({reasons[i]})"
        _warn(f"{dataset.name}: {(~readable).sum()} image(s) cannot be read, such as {example}; {where}")
    if left_out:
        file, why = left_out[0]
        _warn(f"{dataset.name}: {len(left_out)} file(s) are left out, such as {file} ({why[10:]}); {where}")
    return summary


def _corrected(dataset: FaceDataset) -> int:
    """How many labels a review has changed (asm/datasets/corrections.py)."""
    return int((dataset.table["corrected_from"] != "").sum()) if "corrected_from" in dataset.table else 0


def _warn(line: str) -> None:
    tqdm.write(f"warning: {line}", file=sys.stderr)


def _twins(dataset: FaceDataset, digests: list[bytes], readable: np.ndarray) -> dict[int, int]:
    """Row of each readable image with the pixels of an image in an earlier split -> row of that one."""
    first: dict[bytes, int] = {}
    twins: dict[int, int] = {}
    split_of = dataset.table["split"].to_numpy()
    for split in SPLITS:
        rows = np.flatnonzero(readable & (split_of == split)).tolist()
        twins |= {row: first[digests[row]] for row in rows if digests[row] in first}
        for row in rows:
            first.setdefault(digests[row], row)
    return twins


def _require_enough(dataset: FaceDataset, readable: np.ndarray, reasons: np.ndarray) -> None:
    table = dataset.table
    if readable.all():
        return
    first = int(np.argmin(readable))
    example = f"e.g. {table['path'][first]}: {reasons[first]}"
    if not readable.any():
        raise InputError(
            f"{dataset.name}: none of the {len(table)} images can be read ({example}). "
            "Check that the data set is complete and unpacked."
        )
    left, train = table[readable], table["split"] == "train"
    for split in table["split"].unique():
        if not (left["split"] == split).any():
            raise InputError(
                f"{dataset.name}: no image of the split {split!r} can be read ({example}). Repair the files."
            )
    for label in sorted(set(table["true"][train]) - set(left["true"][left["split"] == "train"])):
        raise InputError(
            f"{dataset.name}: no training image of the class {dataset.classes[label]!r} can be read "
            f"({example}). Repair the files."
        )
