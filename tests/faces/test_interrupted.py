"""Aligned by a process that is killed, by several, and with other instructions: the same bytes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from test_process import contents, times, times_before_writing

from asm.basics.errors import InputError
from asm.datasets.base import FaceDataset, Pixels
from asm.faces import process
from asm.faces.store import load

CHILD = """
import sys, time
from pathlib import Path
import numpy as np
from test_interrupted import OPTIONS, of_pixels
from asm.faces import process

if __name__ == "__main__":
    process.BLOCK = 8
    images, out, work = map(Path, sys.argv[1:4])
    dataset = of_pixels(np.load(images))
    read = dataset.read
    def slow(row):
        time.sleep(float(sys.argv[4]))
        return read(row)
    object.__setattr__(dataset, "read", slow)
    process.align_dataset(dataset, out=out, work=work, workers=1, **OPTIONS)
"""
OPTIONS = {"size": 40, "detect": True, "pad": 0.25, "upscale": 2.0, "batch_size": 4}
OTHER_INSTRUCTIONS = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Prescott",
}


def of_pixels(images: np.ndarray) -> FaceDataset:
    count = len(images)
    columns = {
        "id": [str(i) for i in range(count)],
        "path": "",
        "split": ["train"] * (count - 4) + ["test"] * 4,
        "true": [i % 2 for i in range(count)],
    }
    return FaceDataset("pixels", ("a", "b"), pd.DataFrame(columns), Pixels(images))


@pytest.fixture
def small(rendered) -> np.ndarray:
    return np.stack([np.asarray(Image.fromarray(image).resize((48, 48))) for image in rendered.images])


@pytest.fixture
def start_child(tmp_path):
    """A process that aligns `images` to tmp_path/out, so many seconds an image, in this environment."""
    (tmp_path / "child.py").write_text(CHILD)

    def start(images: np.ndarray, seconds: float, **environment: str) -> subprocess.Popen:
        np.save(tmp_path / "images.npy", images)
        paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        places = [str(tmp_path / name) for name in ("child.py", "images.npy", "out", "work")]
        return subprocess.Popen(
            [sys.executable, *places, str(seconds)],
            env={**os.environ, "PYTHONPATH": paths, **environment},
            stderr=subprocess.PIPE,
        )

    return start


def test_another_processors_instructions_change_no_byte(tmp_path, small, start_child, monkeypatch):
    """Those of one without AVX: its networks add in another order; nor does the size of a batch."""
    child = start_child(small, 0, **OTHER_INSTRUCTIONS)
    monkeypatch.setattr(process, "BLOCK", 8)
    places = {"out": tmp_path / "ours", "work": tmp_path / "w", "workers": 1}
    process.align_dataset(of_pixels(small), **places, **{**OPTIONS, "batch_size": 1})
    _, text = child.communicate(timeout=250)
    assert child.returncode == 0, text.decode()
    assert contents(tmp_path / "ours") == contents(tmp_path / "out")


def test_sigkill_and_number_of_processes_do_not_change_a_byte(tmp_path, small, start_child, monkeypatch):
    """A child is killed in the middle and continued here; the reference is made by two processes at once."""
    monkeypatch.setattr(process, "BLOCK", 8)
    images = np.concatenate([np.roll(small, shift, 2) for shift in range(4)])
    work, out = tmp_path / "work", tmp_path / "out"
    child = start_child(images, 0.05)
    deadline = time.monotonic() + 120
    while len(list(work.glob("[0-9]*[0-9].npz"))) < 2:
        assert child.poll() is None, child.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not out.exists()
    finished = times(work)
    assert 2 <= len(finished) < 6
    # As a power cut may leave it: a block's file without its end.
    torn = min(finished)
    (work / torn).write_bytes((work / torn).read_bytes()[:-100])

    dataset = of_pixels(images)
    kept = times_before_writing(monkeypatch, work)
    process.align_dataset(dataset, out=out, work=work, workers=1, **OPTIONS)
    assert {name for name in finished if kept[name] != finished[name]} == {torn}

    process.align_dataset(dataset, out=tmp_path / "two", work=tmp_path / "2", workers=2, **OPTIONS)
    assert contents(out) == contents(tmp_path / "two")
    assert (load(out).manifest["face"] == "mtcnn").mean() > 0.8


def test_a_worker_that_dies_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "BLOCK", 8)
    monkeypatch.setattr(process, "_start_worker", os.abort)
    dataset = of_pixels(np.zeros((16, 48, 48), np.uint8))
    with pytest.raises(InputError, match="a worker process died"):
        process.align_dataset(dataset, out=tmp_path / "o", work=tmp_path / "w", workers=2, **OPTIONS)
