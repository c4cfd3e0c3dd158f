"""What a finished cell leaves: history, predictions, mining, features, weights and a description."""

import json
import platform
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from asm.basics.files import atomic_write
from asm.methods.base import EVALUATION_BATCH, Method, Mined
from asm.parts import distributed
from asm.parts.batches import Data, Faces, fetch
from asm.parts.weights import write_weights

TSNE_TRAINING_SAMPLES = 1500
PACKAGES = ("numpy", "pandas", "scipy", "scikit-learn")  # beside torch


@dataclass
class Record:
    """What the epochs leave beside the networks; part of the checkpoint."""

    history: list[dict[str, float]] = field(default_factory=list)  # one row an epoch
    timings: list[dict[str, float]] = field(default_factory=list)
    # by epoch: the subsets that it used, int8 [N]; test probabilities [networks, N, K] of the last ones
    subsets: dict[int, Tensor] = field(default_factory=dict)
    predictions: dict[int, Tensor] = field(default_factory=dict)


def write(method: Method, data: Data, record: Record, inputs: dict[str, str], out: Path) -> None:
    """history.csv, test_predictions.npz, train_predictions.npz, features.npz, weights.safetensors, run.json.

    Args:
        inputs: SHA-256 of each part of what the cell was trained with.

    Raises:
        InputError: the disk is full or not writable.
    """
    predictions, subsets, device = record.predictions, record.subsets, data.train.labels.device
    with atomic_write(out / "history.csv") as path:
        pd.DataFrame(record.history).to_csv(path, index=False, float_format="%.9g")
    _save(
        out / "test_predictions.npz",
        epochs=np.array(list(predictions)),
        ids=np.array(data.test.ids),
        true=data.test.labels.cpu().numpy(),
        probabilities=torch.stack(list(predictions.values())).numpy(),  # [epochs, networks, N, K]
    )
    _save(
        out / "train_predictions.npz",
        **judged(method, data, method.predict_all(data.train.faces)),
        epochs=np.array(list(subsets), dtype=np.int64),
        subsets=torch.stack(list(subsets.values())).numpy() if subsets else np.empty((0, 0), np.int8),
    )
    chosen = np.random.default_rng(0).permutation(len(data.train.ids))[:TSNE_TRAINING_SAMPLES]
    chosen.sort()
    test_subset = np.empty(0, np.int8)
    if subsets:
        test_probs = predictions[max(predictions)].to(device)
        test_subset = method.mine(test_probs, data.test.labels, adapt=False).subset.cpu().numpy()
    _save(
        out / "features.npz",
        test=_features(method, data.test.faces, torch.arange(len(data.test.ids))),
        test_subset=test_subset,
        train=_features(method, data.train.faces, torch.from_numpy(chosen)),
        train_rows=chosen,
    )
    write_weights(method.state_dict(), out / "weights.safetensors")
    run = {
        "config": method.config.model_dump(exclude_none=True),
        "classes": list(data.classes),
        "train_images": len(data.train.ids),
        "parameters": sum(p.numel() for p in method.parameters()),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        },
        "provenance": _provenance(inputs),
    }
    with atomic_write(out / "run.json") as path:
        path.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")


def judged(method: Method, data: Data, probs: Tensor) -> dict[str, np.ndarray]:
    """What the networks, and the method's rule, make of the training samples at the end.

    Args:
        probs: the networks' probabilities of the training samples [networks, N, K].

    Returns:
        `ids`, `given`, `true` [N] and the mean `probabilities` [N, K]; by `Method.mine` `final_subset` int8
        [N], `confidence` [N], `clean_threshold` and `noisy_threshold` [K], each empty for a method that has
        no such thing.
    """
    mined = method.mine(probs, data.train.labels) or Mined(torch.empty(0, dtype=torch.int8))
    rule = {name: torch.empty(0) if value is None else value for name, value in vars(mined).items()}
    found = {"given": data.train.labels, "probabilities": probs.mean(0), "final_subset": rule.pop("subset")}
    arrays = {name: value.cpu().numpy() for name, value in (found | rule).items()}
    return {"ids": np.array(data.train.ids), "true": data.true, **arrays}


def _provenance(inputs: dict[str, str]) -> dict[str, Any]:
    """Where a run comes from, beside its configuration, code and versions. The seconds it took are in timing/
    instead: they differ each time, and these bytes do not."""
    packages = {}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            packages[name] = metadata.version(name)
    return {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "inputs": inputs,
        "packages": packages,
        "processes": distributed.size(),
        "processor": torch.backends.cpu.get_cpu_capability(),  # another instruction set rounds otherwise
    }


def _save(path: Path, **arrays: np.ndarray) -> None:
    with atomic_write(path) as partial:
        np.savez_compressed(partial, **arrays)


def _features(method: Method, faces: Faces, rows: Tensor) -> np.ndarray:
    """Pooled features of the first network in evaluation mode, float32 [len(rows), D]."""
    method.eval()
    with torch.inference_mode():
        parts = fetch(faces, rows.split(EVALUATION_BATCH))
        features = [method.networks[0].features(method.plain(part)) for part in parts]
    return torch.cat(features).float().cpu().numpy()
