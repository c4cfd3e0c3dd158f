"""Benchmark 6: memory against the size of the data set, resident and streamed, and what streaming costs."""

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from common import CLASSES, asm_config, make_asm, paired, ratio
from training import epoch

from asm.parts.batches import Samples, StreamedFaces


def memory(
    device: torch.device, *, counts: list[int], image_size: int, width: int, batch_size: int, precision: str
) -> dict[str, object]:
    """Peak memory in MB of a process that trains one epoch, by number of samples; MB per 1,000 samples."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            path = _pixels(Path(folder), count, image_size)
            row: dict[str, object] = {"samples": count, "faces_mb": round(path.stat().st_size / 1e6)}
            for kind in ("resident", "streamed"):
                options = [str(path), kind, str(device), str(width), str(batch_size), precision]
                done = subprocess.run(
                    [sys.executable, __file__, *options], capture_output=True, text=True, check=True
                )
                row |= {f"{kind}_{name}": value for name, value in json.loads(done.stdout).items()}
            rows.append(row)
            path.unlink()
    first, last = rows[0], rows[-1]
    more = (last["samples"] - first["samples"]) / 1000
    growth = {
        name: round((last[name] - first[name]) / more, 2)
        for name in first
        if name.startswith(("resident", "streamed"))
    }
    return {"image_size": image_size, "width": width, "peak_mb": rows, "mb_per_1000_samples": growth}


def streaming(
    device: torch.device,
    *,
    count: int,
    image_size: int,
    width: int,
    batch_size: int,
    precision: str,
    repeats: int,
) -> dict[str, object]:
    """Seconds of a resident epoch over those of one whose faces come from the memory map."""
    with tempfile.TemporaryDirectory() as folder:
        path = _pixels(Path(folder), count, image_size)
        runs = []
        for kind in ("resident", "streamed"):
            samples = _samples(path, kind, device)
            method, optimizer = make_asm(asm_config(image_size, width, batch_size, precision), samples)
            runs.append(lambda m=method, o=optimizer, s=samples: epoch(m, o, s))
        resident, streamed = paired(*runs, repeats, device)
    return {
        "image_size": image_size,
        "width": width,
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
    count = len(pixels)
    labels = torch.randint(0, CLASSES, (count,))
    faces = StreamedFaces(pixels, torch.arange(count), torch.device("cpu"))
    samples = Samples([str(i) for i in range(count)], faces, labels, torch.zeros_like(labels))
    return samples.to(device, resident=kind == "resident")


def _peak(path: Path, kind: str, device: torch.device, width: int, batch_size: int, precision: str) -> dict:
    """Of this process in MB: on the host without pages of files, which the system takes back; on the GPU."""
    anonymous = _Anonymous()
    samples = _samples(path, kind, device)
    size = samples.faces.shape[1]
    method, optimizer = make_asm(asm_config(size, width, batch_size, precision), samples)
    epoch(method, optimizer, samples)
    found = {"host_mb": round(anonymous.peak / 1e6)}
    if device.type == "cuda":
        found["device_mb"] = round(torch.cuda.max_memory_allocated(device) / 1e6)
    return found


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


if __name__ == "__main__":
    path, kind, device, width, batch_size, precision = sys.argv[1:]
    torch.set_num_threads(1)
    print(json.dumps(_peak(Path(path), kind, torch.device(device), int(width), int(batch_size), precision)))
