"""Tiny data that every test can train on: three classes told apart by colour, 32 px."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from asm.grid.params import METHODS, load_params
from asm.methods import Batch, Method, cell_config
from asm.methods.config import CellConfig
from asm.parts.batches import Data, Samples
from asm.parts.views import Augment, StrongAugment
from asm.training import cell


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


def make_bank_samples(prefix: str, count: int, seed: int) -> Samples:
    """The same from a bank of 4 weak and 4 strong views with 6 features: two are larger in each class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    features = rng.standard_normal((count, 1, 6)) + 0.3 * rng.standard_normal((count, 9, 6))
    features += 2.0 * (np.arange(6) % 3 == labels[:, None])[:, None]
    samples = make_samples(prefix, count, seed)
    return Samples(samples.ids, torch.from_numpy(features.astype(np.float16)), samples.labels, samples.origin)


def make_data(train: int = 30, wrong: int = 6, make: Callable[..., Samples] = make_samples) -> Data:
    """`wrong` of the training labels are wrong."""
    samples = make("train", train, 0)
    true = samples.labels.numpy().copy()
    samples.labels[:wrong] = (samples.labels[:wrong] + 1) % 3
    return Data(("red", "green", "blue"), samples, make("valid", 6, 1), make("test", 12, 2), true)


def random_probs(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Probabilities [N, K] and labels [N] of 1 to 60 samples, 2 to 8 classes; thresholds [K] of 0.8."""
    generator = torch.Generator().manual_seed(seed)
    n, k = (int(torch.randint(low, high, (), generator=generator)) for low, high in ((1, 61), (2, 9)))
    probs = torch.softmax(3 * torch.randn(n, k, generator=generator), 1)
    return probs, torch.randint(k, (n,), generator=generator), torch.full((k,), 0.8)


PARAMS = load_params(Path(__file__).resolve().parents[1] / "params.yaml")


def weak_options(**changed) -> Augment:
    """The weak view's options of params.yaml, with these changed."""
    return Augment(**PARAMS.augment.model_dump() | changed)


def strong_options(**changed) -> StrongAugment:
    """The strong view's options of params.yaml, with these changed."""
    return StrongAugment(**PARAMS.strong_augment.model_dump() | changed)


HEAD = {"input": "features", "hidden": 16, "dropout": 0.1}  # in `training`, for heads on features


def make_config(method: str = "asm", **sections) -> CellConfig:
    """A cell of width 4; keyword arguments replace keys of its sections."""
    kind = METHODS[method]
    content = {
        "cell": "tiny",
        "dataset": "tiny",
        "noise": "n20",
        "init": "scratch",
        "method": method,
        "seed": 0,
        "schedule": "fair",
        "code": "tests",
        "training": {
            "input": "aligned",
            "image_size": 32,
            "width": 4,
            "epochs": 4,
            "warmup_epochs": 1,
            "batch_size": 8,
        },
        **{
            name: getattr(PARAMS, name).model_dump()
            for name in ("optimizer", "sampling", "augment", *kind.sections)
        },
    }
    content["optimizer"]["lr"] = 0.003
    if kind.noise_rate_key:
        content[method][kind.noise_rate_key] = 0.2
    for name, values in sections.items():
        content[name] = {**content[name], **values} if isinstance(values, dict) else values
    return cell_config(kind).model_validate(content)


def make_method(name: str, data: Data | None = None, **sections) -> Method:
    """The method with real networks of width 4, as the loop makes it."""
    return cell.make_method(make_config(name, **sections), data or make_data(), None)


def make_batch(samples: Samples, rows: list[int], epoch: int = 3) -> Batch:
    """The batch that the loop would make of these rows."""
    index = torch.tensor(rows)
    return Batch(
        index, index, samples.faces[index], samples.labels[index], epoch, torch.Generator().manual_seed(0)
    )
