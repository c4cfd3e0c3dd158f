"""How long a profile will take here: its networks are tried for some steps on made-up faces."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from asm.grid.params import Params
from asm.grid.profile import Profile
from asm.grid.resolve import resolve_cell
from asm.methods.config import CellConfig, Training
from asm.parts import backbones, views
from asm.parts.batches import Data, Samples
from asm.tools.new.look import Found, busy
from asm.training.cell import make_method, run_epochs
from asm.training.features import pooled

FACES = 16  # that the frozen network is timed on
STEPS = {"cuda": 16, "features": 16, "aligned": 2}  # of an epoch, on a GPU and on a CPU by input
STARTS = 8  # of Python, beside two a cell: configs, align, corrupt, init, features, report, ...


def seconds(found: Found, profile: Profile, params: Params, device: torch.device) -> float:
    """What `make repro` will take, with one cell a GPU or core at a time and nothing else running: on a CPU
    the processor's seconds are counted."""
    cores = len(os.sched_getaffinity(0))
    places = torch.cuda.device_count() if device.type == "cuda" else cores
    start, images, training = _start(), len(found.dataset.table), profile.training
    once = images * found.seconds_a_face / min(2, cores) + STARTS * start
    if training.input == "features":
        once += _features(training, params, device, found.train, images)
    train, cells, known = found.train, 0.0, {}
    for cell, row in profile.cells.items():
        if row.method not in known:
            known[row.method] = _seconds_a_sample(resolve_cell(params, profile, cell), found, params, device)
        cells += known[row.method] * train * training.epochs + 2 * start
    return once * len(profile.datasets) + cells / min(places, len(profile.cells))


def _start() -> float:
    """Processor seconds of a stage's process, which imports torch and pandas."""
    before = os.times()
    subprocess.run([sys.executable, "-c", "import asm.training.cell"], check=True)
    after = os.times()
    return sum(after[2:4]) - sum(before[2:4])  # of children: user, system


@torch.inference_mode()
def _features(training: Training, params: Params, device: torch.device, train: int, images: int) -> float:
    """Of the bank of views: a pass of each face as it is, and one of each view of a training face."""
    network = backbones.build(training.backbone, 1, training.width, None, head_seed=0).eval()
    network = network.to(device, memory_format=torch.channels_last)
    shape, generator = (FACES, training.image_size, training.image_size, 3), torch.Generator().manual_seed(0)
    faces = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(device)
    kinds = (
        lambda: views.evaluation_view(faces),
        lambda: views.weak_view(faces, params.augment, generator),
        lambda: views.strong_view(faces, params.strong_augment, generator),
    )
    pooled(network, kinds[0](), params.features.cells)
    taken = []
    for draw in kinds:
        started = busy(device.type)
        pooled(network, draw(), params.features.cells).cpu()
        taken.append((busy(device.type) - started) / FACES)
    plain, *drawn = taken
    return train * params.features.views * sum(drawn) + images * plain


def _seconds_a_sample(config: CellConfig, found: Found, params: Params, device: torch.device) -> float:
    """Of a training sample in an epoch: the second of two short ones, in which samples are mined."""
    size = config.training
    kind = "cuda" if device.type == "cuda" else size.input
    config = config.model_copy(
        update={"training": size.model_copy(update={"epochs": 2, "warmup_epochs": 1}), "cell": "tried"}
    )
    data = _made_up(size, STEPS[kind] * size.batch_size, found, params).to(device)
    method = make_method(config, data, None).to(device, memory_format=torch.channels_last)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        record = run_epochs(method, data, Path(folder) / "last.pt", {})
    return record.timings[-1]["busy_seconds"] / len(data.train.ids)


def _made_up(size: Training, count: int, found: Found, params: Params) -> Data:
    """`count` samples without any sense, of the size of the real ones."""
    rng, classes = np.random.default_rng(0), len(found.dataset.classes)

    def samples(name: str, count: int) -> Samples:
        if size.input == "features":
            shape = (count, 1 + 2 * params.features.views, params.features.components)
            faces = torch.from_numpy(rng.standard_normal(shape, np.float32)).half()
        else:
            shape = (count, size.image_size, size.image_size, 3)
            faces = torch.from_numpy(rng.integers(0, 256, shape, np.uint8))
        labels = torch.from_numpy(np.arange(count) % classes)
        return Samples([f"{name}{i}" for i in range(count)], faces, labels, torch.zeros(count).long())

    train = samples("train", count)
    return Data(
        found.dataset.classes,
        train,
        samples("valid", 0),
        samples("test", size.batch_size),
        train.labels.numpy(),
    )


def where(device: torch.device) -> str:
    """What it was measured on, in words."""
    cores = len(os.sched_getaffinity(0))
    if device.type == "cuda":
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(device)}"
    return f"one of this machine's {cores} CPU cores, all of which will be used"
