"""What a finished cell leaves: history, predictions, mining, features, weights and a description."""

import json
import platform
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from asm.basics.files import whole
from asm.methods.base import EVALUATION_BATCH, Method
from asm.methods.config import CellConfig
from asm.parts import distributed
from asm.parts.batches import Data, Faces, fetch
from asm.parts.weights import write_weights

TSNE_TRAINING_SAMPLES = 1500
PACKAGES = ("numpy", "pandas", "scipy", "scikit-learn")  # beside torch


def write(
    config: CellConfig,
    data: Data,
    method: Method,
    history: list[dict[str, float]],
    subsets: dict[int, Tensor],
    predictions: dict[int, Tensor],
    inputs: dict[str, str],
    out: Path,
    device: torch.device,
) -> None:
    """history.csv, test_predictions.npz, train_predictions.npz, features.npz, weights.safetensors, run.json.

    Args:
        history: one row an epoch.
        subsets: epoch -> int8 codes [N] of asm.mining; {} for a method that does not mine.
        predictions: epoch -> test probabilities [networks, N, K].
        inputs: SHA-256 of each part of what the cell was trained with.

    Raises:
        InputError: the disk is full or not writable.
    """
    with whole(out / "history.csv") as path:
        pd.DataFrame(history).to_csv(path, index=False, float_format="%.9g")
    _save(
        out / "test_predictions.npz",
        epochs=np.array(list(predictions)),
        ids=np.array(data.test.ids),
        true=data.test.labels.cpu().numpy(),
        probabilities=torch.stack(list(predictions.values())).numpy(),  # [epochs, networks, N, K]
    )
    train_probs = method.predict_all(data.train.faces)
    _save(
        out / "train_predictions.npz",
        ids=np.array(data.train.ids),
        given=data.train.labels.cpu().numpy(),
        true=data.true,
        probabilities=train_probs.mean(0).cpu().numpy(),  # [N, K] after the last epoch
        epochs=np.array(list(subsets), dtype=np.int64),
        subsets=torch.stack(list(subsets.values())).numpy() if subsets else np.empty((0, 0), np.int8),
    )
    chosen = np.random.default_rng(0).permutation(len(data.train.ids))[:TSNE_TRAINING_SAMPLES]
    chosen.sort()
    test_probs = predictions[max(predictions)].to(device)
    test_subset = np.empty(0, np.int8)
    if subsets:
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
        "config": config.model_dump(exclude_none=True),
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
    with whole(out / "run.json") as path:
        path.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")


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
    with whole(path) as partial:
        np.savez_compressed(partial, **arrays)


def _features(method: Method, faces: Faces, rows: Tensor) -> np.ndarray:
    """Pooled features of the first network in evaluation mode, float32 [len(rows), D]."""
    method.eval()
    with torch.inference_mode():
        parts = fetch(faces, rows.split(EVALUATION_BATCH))
        features = [method.networks[0].features(method.plain(part)) for part in parts]
    return torch.cat(features).float().cpu().numpy()
