"""The loop over a data set: read, detect, warp, pack; with any number of processes, killed at any moment.

Rows are worked off in blocks of fixed composition. A finished block is one file in the work directory,
written under another name and then renamed. So a killed run leaves whole blocks, and neither the kill nor the
number of processes can change a byte of the result (rounding in batched nets depends on the rest of a batch).
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import shutil
import signal
import sys
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from asm.datasets.base import FaceDataset
from asm.errors import InputError
from asm.faces.alignment import crop_face
from asm.faces.detection import FaceDetector
from asm.faces.store import FACE_KINDS

BLOCK = 64  # rows per block: about a second of work, which is all that a kill can cost
VERSION = 1  # of the algorithm: raise it when the same options give other pixels; old blocks are dropped
_UNREADABLE = -1  # beside the indices into FACE_KINDS
_STAMP = "stamp.json"


@dataclass(frozen=True)
class Options:
    """What a block's bytes depend on, beside its images. See `align_dataset`."""

    size: int
    detect: bool
    pad: float
    upscale: float
    batch_size: int
    device: str


@dataclass(frozen=True)
class _Block:
    """A finished block; `crops` and `landmarks` have one row for each row of `kinds` that was readable."""

    kinds: np.ndarray  # int8 [n], index into FACE_KINDS or _UNREADABLE
    reasons: np.ndarray  # str [n]
    crops: np.ndarray  # uint8 [m, S, S, C]
    landmarks: np.ndarray  # float32 [m, 5, 2]

    def save(self, path: Path) -> None:
        partial = path.with_suffix(".partial")
        with open(partial, "wb") as file:
            np.savez(file, **vars(self))
        os.replace(partial, path)

    @classmethod
    def load(cls, path: Path) -> _Block | None:
        """None for a missing file or one that a power cut left incomplete."""
        try:
            with np.load(path) as parts:
                return cls(**parts)
        except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile):
            return None


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
) -> dict:
    """Align every face of a data set and write the store that `asm.faces.store.load` reads.

    Args:
        size: side of the crops in pixels.
        detect: False for images that are aligned already: their centre squares, resized.
        pad, upscale, batch_size, device: of `FaceDetector`. FER+ (48 pixels): pad .25, upscale 2.
        out: directory of the store; appears (or is replaced) only when complete.
        work: directory for finished blocks; a run with the same images' ids and options continues from there,
            other contents of an earlier run are dropped. Removed at the end.
        workers: processes; default min(2, CPU cores), but 1 where little is to be done. Several need a
            calling script with `if __name__ == "__main__":`.

    Returns:
        The contents of summary.json.

    Raises:
        InputError: no image of the data set, of a split or of a class in training can be read; `work` holds
            something else; a worker process died.
    """
    options = Options(size, detect, float(pad), float(upscale), batch_size, device)
    if size < 1 or batch_size < 1 or pad < 0 or upscale <= 0 or (workers is not None and workers < 1):
        raise InputError(
            f"{dataset.name}: expected size, batch_size, workers >= 1, pad >= 0, upscale > 0; "
            f"found {options}, workers {workers}."
        )
    out, work = Path(out), Path(work)
    _open_work(dataset, options, work)
    rows = len(dataset.table)
    paths = {start: work / f"{start:09d}.npz" for start in range(0, rows, BLOCK)}
    # An unreadable image may have been mended since: its block is done again.
    done = {start for start, path in paths.items() if _is_done(path)}
    todo = [start for start in paths if start not in done]
    if workers is None:
        workers = min(2, os.cpu_count() or 1) if len(todo) >= 16 else 1  # a process starts for seconds

    def jobs() -> Iterator[tuple[list[np.ndarray | str], Options, Path]]:
        for start in todo:
            yield _read_block(dataset, range(start, min(start + BLOCK, rows))), options, paths[start]

    finished = sum(min(BLOCK, rows - start) for start in done)
    with tqdm(total=rows, initial=finished, unit="img", desc=f"align {dataset.name}", smoothing=0.05) as bar:
        _run(jobs(), min(workers, len(todo)), bar.update)
    summary = _write(dataset, options, list(paths.values()), out)
    shutil.rmtree(work)
    return summary


def rebuild(dataset: FaceDataset, ids: Iterable[str], landmarks: np.ndarray, size: int) -> np.ndarray:
    """Crops from the images and stored landmarks, without detection; at the stored size, the stored pixels.

    Args:
        ids: of the store's manifest, [N].
        landmarks: of the store, [N, 5, 2].
    Returns:
        uint8 [N, size, size, C].
    """
    row_of = {name: row for row, name in enumerate(dataset.table["id"])}
    unknown = [name for name in ids if name not in row_of]
    if unknown:
        raise InputError(f"{dataset.name}: no image with the id {unknown[0]!r} ({len(unknown)} such in all).")
    crops = [
        crop_face(dataset.read(row_of[name]), points, size)
        for name, points in zip(ids, landmarks, strict=True)
    ]
    return _stack(crops, size)


# --- blocks ---


def _read_block(dataset: FaceDataset, rows: range) -> list[np.ndarray | str]:
    """The rows' images, or the reason why there is none."""
    images: list[np.ndarray | str] = []
    for row in rows:
        try:
            image = dataset.read(row)
            images.append(image if image.size else "the image is empty")
        except OSError as error:
            images.append(_reason(error, str(dataset.table["path"][row])))
    return images


def _reason(error: OSError, path: str) -> str:
    """The error's text without addresses and absolute paths, so that the report is the same anywhere."""
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", " ".join(str(error).split()))
    if path:
        end = re.escape(path)
        text = re.sub(rf"(?<=['\"])[^'\"]*{end}|[^\s'\"]*{end}", lambda _: path, text)
    return text or type(error).__name__


def _align_block(images: list[np.ndarray | str], options: Options, path: Path) -> int:
    """Detect, crop and save one block; returns its number of rows. Runs in any process."""
    readable = [i for i, image in enumerate(images) if not isinstance(image, str)]
    kinds = np.full(len(images), _UNREADABLE, np.int8)
    landmarks = np.full((len(readable), 5, 2), np.nan, np.float32)
    if options.detect:
        found = _detector(options).detect([images[i] for i in readable])
        for position, (i, face) in enumerate(zip(readable, found, strict=True)):
            if face is None:
                kinds[i] = FACE_KINDS.index("fallback")
            else:
                kinds[i] = FACE_KINDS.index("retry" if face.retried else "mtcnn")
                landmarks[position] = face.landmarks
    else:
        kinds[readable] = FACE_KINDS.index("as_is")
    crops = [
        crop_face(images[i], points, options.size) for i, points in zip(readable, landmarks, strict=True)
    ]
    reasons = np.array([image if isinstance(image, str) else "" for image in images], dtype=np.str_)
    _Block(kinds, reasons, _stack(crops, options.size), landmarks).save(path)
    return len(images)


def _stack(crops: list[np.ndarray], size: int) -> np.ndarray:
    """uint8 [n, S, S, C], C = 1 if all are grey; grey among colour becomes RGB."""
    channels = max((crop.shape[2] for crop in crops), default=1)
    stacked = np.empty((len(crops), size, size, channels), np.uint8)
    for target, crop in zip(stacked, crops, strict=True):
        target[:] = crop
    return stacked


_detectors: dict[Options, FaceDetector] = {}  # one per process: loading the nets takes longer than a block


def _detector(options: Options) -> FaceDetector:
    if options not in _detectors:
        _detectors.clear()
        _detectors[options] = FaceDetector(
            pad=options.pad, upscale=options.upscale, batch_size=options.batch_size, device=options.device
        )
    return _detectors[options]


# --- processes ---


def _run(jobs: Iterator[tuple], workers: int, update: Callable[[int], object]) -> None:
    """Do all jobs, in this process or in several. Images are read here: a data set need not be picklable."""
    if workers <= 1:
        with _one_thread():
            for job in jobs:
                update(_align_block(*job))
        return
    # "spawn": forking a process in which torch has run threads or CUDA is unsafe.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker)
    pending: set[Future[int]] = set()
    try:
        for job in jobs:
            pending.add(pool.submit(_align_block, *job))
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's; it lets running blocks finish
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)  # else a killed parent would leave its workers waiting for ever

    threading.Thread(target=end_with_parent, daemon=True).start()


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


def _open_work(dataset: FaceDataset, options: Options, work: Path) -> None:
    """Create the work directory, or empty one whose images or options were others."""
    inputs = {"ids": dataset.table["id"].tolist(), "paths": dataset.table["path"].tolist()}
    content = {"version": VERSION, "block": BLOCK, "torch": torch.__version__, **asdict(options), **inputs}
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
        tqdm.write(f"{work}: left by a run with other images or options; starting anew", file=sys.stderr)
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    stamp_file.write_text(stamp, encoding="utf-8")


def _is_done(path: Path) -> bool:
    block = _Block.load(path)
    return block is not None and not (block.kinds == _UNREADABLE).any()


def _write(dataset: FaceDataset, options: Options, blocks: list[Path], out: Path) -> dict:
    """Put the blocks together in a directory beside `out`, then rename it."""
    kinds_of, reasons_of, channels = [], [], 1
    for path in blocks:
        block = _Block.load(path)
        kinds_of.append(block.kinds)
        reasons_of.append(block.reasons)
        channels = max(channels, block.crops.shape[3])
    kinds, reasons = np.concatenate(kinds_of), np.concatenate(reasons_of)
    readable = kinds != _UNREADABLE
    _require_enough(dataset, readable, reasons)

    partial = out.with_name(out.name + ".partial")
    replaced = out.with_name(out.name + ".replaced")
    for leftover in (partial, replaced):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    count = int(readable.sum())
    landmarks = np.empty((count, 5, 2), np.float32)
    shape = (count, options.size, options.size, channels)
    faces = np.lib.format.open_memmap(partial / "faces.npy", mode="w+", dtype=np.uint8, shape=shape)
    start = 0
    for path in blocks:
        block = _Block.load(path)
        stop = start + len(block.crops)
        faces[start:stop] = block.crops
        landmarks[start:stop] = block.landmarks
        start = stop
    faces.flush()
    del faces
    np.save(partial / "landmarks.npy", landmarks)

    names = np.array([*FACE_KINDS, ""], dtype=object)[kinds]
    manifest = dataset.table[readable].assign(face=names[readable])
    manifest.to_csv(partial / "manifest.csv", index=False, lineterminator="\n")
    no_face = names == "fallback"
    text = np.where(
        readable, "no face found: centre square of the whole image", "unreadable: " + reasons.astype(object)
    )
    listed = no_face | ~readable
    report = pd.DataFrame({"id": dataset.table["id"][listed], "reason": text[listed]})
    report.to_csv(partial / "report.csv", index=False, lineterminator="\n")
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
    }
    text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
    (partial / "summary.json").write_text(text, encoding="utf-8")
    if out.exists():
        os.rename(out, replaced)
    os.rename(partial, out)
    shutil.rmtree(replaced, ignore_errors=True)
    return summary


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
    for label in sorted(set(table["label"][train]) - set(left["label"][left["split"] == "train"])):
        raise InputError(
            f"{dataset.name}: no training image of the class {dataset.classes[label]!r} can be read "
            f"({example}). Repair the files."
        )
