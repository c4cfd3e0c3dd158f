"""Memory against the size of the data set, resident and streamed, and what streaming costs."""

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from common import CLASSES, Run, paired, ratio

from asm.parts.batches import Samples, StreamedFaces

KINDS = ("resident", "streamed")


def memory(device: torch.device, *, counts: list[int], **shape: object) -> dict[str, object]:
    """Peak memory in MB of a process that trains one epoch, by number of samples."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            path = _pixels(Path(folder), count, shape["image_size"])
            row: dict[str, object] = {"samples": count, "faces_mb": round(path.stat().st_size / 1e6)}
            for kind in KINDS:
                words = [sys.executable, __file__, str(path), kind, str(device), json.dumps(shape)]
                done = subprocess.run(words, capture_output=True, text=True, check=True)
                row |= {f"{kind}_{name}": value for name, value in json.loads(done.stdout).items()}
            rows.append(row)
            path.unlink()
    return {**shape, "peak_mb": rows}


def streaming(device: torch.device, *, count: int, repeats: int, **shape: object) -> dict[str, object]:
    """Seconds of a resident epoch over those of one whose faces come from the memory map."""
    with tempfile.TemporaryDirectory() as folder:
        path = _pixels(Path(folder), count, shape["image_size"])
        runs = [Run(_samples(path, kind, device), **shape) for kind in KINDS]
        resident, streamed = paired(*(run.epoch for run in runs), repeats, device)
    return {
        **shape,
        "samples": count,
        "samples_per_second_resident": round(count / min(resident), 1),
        "samples_per_second_streamed": round(count / min(streamed), 1),
        **ratio(resident, streamed),
    }


def _pixels(folder: Path, count: int, size: int) -> Path:
    path = folder / f"faces{count}.npy"
    pixels = np.lib.format.open_memmap(path, "w+", np.uint8, (count, size, size, 3))
    rng = np.random.default_rng(0)
    for start in range(0, count, 1000):
        part = pixels[start : start + 1000]
        part[:] = rng.integers(0, 256, part.shape, np.uint8)
    pixels.flush()
    return path


def _samples(path: Path, kind: str, device: torch.device) -> Samples:
    pixels = torch.from_numpy(np.load(path, mmap_mode="c"))
    labels = torch.randint(0, CLASSES, (len(pixels),))
    faces = StreamedFaces(pixels, torch.arange(len(pixels)), torch.device("cpu"))
    samples = Samples([str(i) for i in range(len(pixels))], faces, labels, torch.zeros_like(labels))
    return samples.to(device, resident=kind == "resident")


class _Anonymous(threading.Thread):
    """Peak of this process's memory that is no page of a file, in bytes, looked at 200 times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self.start()

    def run(self) -> None:
        while True:
            lines = Path("/proc/self/status").read_text().splitlines()
            now = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
            self.peak = max(self.peak, now)
            time.sleep(0.005)


def _peak(path: Path, kind: str, device: torch.device, shape: dict[str, object]) -> dict[str, int]:
    """Of this process in MB: on the host without pages of files, which the system takes back; on the GPU."""
    anonymous = _Anonymous()
    Run(_samples(path, kind, device), **shape).epoch()
    found = {"host_mb": round(anonymous.peak / 1e6)}
    if device.type == "cuda":
        found["device_mb"] = round(torch.cuda.max_memory_allocated(device) / 1e6)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(
        json.dumps(_peak(Path(sys.argv[1]), sys.argv[2], torch.device(sys.argv[3]), json.loads(sys.argv[4])))
    )
