"""Tiny data that every test can train on: three classes told apart by colour, 32 px."""

import numpy as np
import torch

from asm import training
from asm.data import Data, Samples
from asm.method_params import METHOD_SECTIONS
from asm.methods import Batch, Method
from asm.params import CellConfig
from asm.schema import Section


def make_samples(prefix: str, count: int, seed: int) -> Samples:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    faces = rng.integers(0, 120, (count, 32, 32, 3), dtype=np.uint8)
    faces[np.arange(count), :, :, labels] += 100
    return Samples(
        [f"{prefix}{i}" for i in range(count)],
        torch.from_numpy(faces),
        torch.from_numpy(labels),
        torch.zeros(count, dtype=torch.int64),
    )


def make_data(train: int = 30, flipped: int = 6) -> Data:
    """`flipped` of the training labels are wrong."""
    samples = make_samples("train", train, 0)
    clean = samples.labels.numpy().copy()
    samples.labels[:flipped] = (samples.labels[:flipped] + 1) % 3
    return Data(
        ("red", "green", "blue"), samples, make_samples("valid", 6, 1), make_samples("test", 12, 2), clean
    )


def make_config(method: str = "asm", **sections) -> CellConfig:
    """A cell of width 4; keyword arguments replace keys of its sections."""
    content = {
        "cell": "tiny",
        "dataset": "tiny",
        "noise": "n20",
        "init": "scratch",
        "method": method,
        "seed": 0,
        "schedule": "fair",
        "training": {"image_size": 32, "width": 4, "epochs": 4, "warmup_epochs": 1, "batch_size": 8},
        "optimizer": {"lr": 0.003},
        "sampling": {},
        "augment": {},
        **{name: {} for name in METHOD_SECTIONS[method]},
    }
    if "forget_rate" in METHOD_SECTIONS[method].get(method, Section).model_fields:
        content[method]["forget_rate"] = 0.2
    for name, values in sections.items():
        content[name] = {**content[name], **values} if isinstance(values, dict) else values
    return CellConfig.model_validate(content)


def make_method(name: str, data: Data | None = None, **sections) -> Method:
    """The method with real networks of width 4, as the loop makes it."""
    return training.make_method(make_config(name, **sections), data or make_data(), None)


def make_batch(samples: Samples, rows: list[int], epoch: int = 3) -> Batch:
    """The batch that the loop would make of these rows."""
    index = torch.tensor(rows)
    return Batch(
        index, index, samples.faces[index], samples.labels[index], epoch, torch.Generator().manual_seed(0)
    )
