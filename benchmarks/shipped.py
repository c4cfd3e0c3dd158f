"""The model that is in the package: heads on FER+'s training images, chosen on every tenth of them.

Needs the profile's features and labels without noise (`make repro PROFILE=ferplus` so far). The first call
trains each try on nine tenths and writes results/shipped.json; the second trains one of them on all, to a run
that the third writes as the package's file, with the temperature of the first:

    python benchmarks/shipped.py profiles/ferplus
    python benchmarks/shipped.py profiles/ferplus --train two_networks_512 --runs profiles/ferplus/runs
    python -m asm export profiles/ferplus/runs/two_networks_512 --format compact --temperature 1.28 \\
        --out asm/tools/predict/ferplus.safetensors
"""

import argparse
import contextlib
import io
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from common import RESULTS, seconds_of
from scipy.optimize import minimize_scalar
from sklearn.metrics import balanced_accuracy_score

from asm.basics.code import ROOT, code_hash
from asm.basics.yaml import parse
from asm.grid.params import METHODS, load_params
from asm.methods import cell_config
from asm.methods.config import COMMON_SECTIONS, CellConfig
from asm.parts import bank
from asm.parts.batches import Data, cell_data
from asm.parts.device import pick_device
from asm.scores.evaluation import expected_calibration_error
from asm.tools.export.classifier import tempered
from asm.training.cell import make_method, run_epochs, train

DATASET, NOISE, INIT, TENTH = "ferplus", "n00", "dlib", 10
SHORT = {"epochs": 16, "warmup_epochs": 3, "dropout": 0.0}
LONG = {"epochs": 24, "warmup_epochs": 4, "dropout": 0.5}
# name -> method, its training, whether classes are drawn equally often. Where no label is wrong, Co-teaching
# drops nothing and is `two_networks`
TRIES = {
    **{
        f"{method}_512": (method, {"hidden": 512, **LONG}, False)
        for method in ("two_networks", "asm", "baseline", "fair_asm")
    },
    "two_networks_512_balanced": ("two_networks", {"hidden": 512, **LONG}, True),
    "two_networks_1024": ("two_networks", {"hidden": 1024, **LONG}, False),
    "baseline_1024_as_in_ferplus": ("baseline", {"hidden": 1024, **SHORT}, False),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("profile", type=Path)
    parser.add_argument("--train", choices=TRIES)
    parser.add_argument("--runs", type=Path, help="where its run is written")
    args = parser.parse_args()
    device, folder = pick_device(), args.profile / "data"
    features = bank.load(folder / "features" / DATASET)
    labels = pd.read_csv(folder / "labels" / f"{DATASET}_{NOISE}" / "labels.csv", dtype={"id": str})
    data = cell_data(features, labels)
    if args.train:
        config = configuration(args.train)
        with tempfile.TemporaryDirectory() as work:
            places = (args.runs / config.cell, Path(work, "checkpoint"), Path(work, "timing.csv"))
            train(config, data, None, *places, device)
        return
    rows, path = np.arange(len(data.train.ids)), RESULTS / "shipped.json"
    held_out = rows % TENTH == 0
    samples = data.train.take(rows[~held_out]), data.train.take(rows[:0]), data.train.take(rows[held_out])
    part = Data(data.classes, *samples, data.true[~held_out])
    found = json.loads(path.read_text()) if path.is_file() else {}
    for name in TRIES:
        if name not in found:
            probs: list[np.ndarray] = []
            seconds = seconds_of(
                lambda name=name, probs=probs: probs.append(tried(name, part, device)), device
            )
            found[name] = judged(probs[0], samples[-1].labels.numpy()) | {"seconds": round(seconds, 1)}
            path.write_text(json.dumps(found, indent=1) + "\n")
            print(name, found[name], flush=True)


def configuration(name: str) -> CellConfig:
    """By params.yaml, with the rate of profiles/ferplus."""
    method, training, balanced = TRIES[name]
    kind, params = METHODS[method], load_params(ROOT / "params.yaml")
    content = {
        **{"cell": name, "dataset": DATASET, "noise": NOISE, "init": INIT, "method": method, "seed": 0},
        "schedule": "fair",
        "code": code_hash("asm.training.cell", {"method": method, "backbone": "dlib29"}),
        "training": {"input": "features", "image_size": 112, "backbone": "dlib29", "width": 32}
        | {"batch_size": 256, **training},
        **{part: getattr(params, part).model_dump() for part in (*COMMON_SECTIONS, *kind.sections)},
    }
    content["optimizer"] |= {"lr": 0.002, "lr_decay": 0.9 if training["epochs"] > 16 else 0.86}
    content["optimizer"]["weight_decay"] = 0.0
    content["sampling"]["balanced"] = balanced
    if kind.noise_rate_key:
        content[method][kind.noise_rate_key] = 0.0
    return parse(cell_config(kind), content, name)


def tried(name: str, data: Data, device: torch.device) -> np.ndarray:
    """Probabilities of the held-out images after the last epoch, [N, K]."""
    config = configuration(name)
    with tempfile.TemporaryDirectory() as work, contextlib.redirect_stdout(io.StringIO()):
        method = make_method(config, data, None).to(device)
        record = run_epochs(method, data.to(device), Path(work, "last.pt"), {})
    return record.predictions[config.training.epochs].mean(0).cpu().numpy()


def judged(probs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Percent; `ece_scaled` is of each half with the temperature of the other."""
    even = np.arange(len(labels)) % 2 == 0
    scaled = np.empty_like(probs)
    for half in (even, ~even):
        scaled[half] = at(probs[half], temperature(probs[~half], labels[~half]))
    predicted = probs.argmax(1)
    shares = {
        "accuracy": (predicted == labels).mean(),
        "mean_class_accuracy": balanced_accuracy_score(labels, predicted),
        "ece": expected_calibration_error(probs, labels),
        "ece_scaled": expected_calibration_error(scaled, labels),
    }
    found = {name: round(100 * float(value), 2) for name, value in shares.items()}
    return found | {"temperature": temperature(probs, labels), "images": len(labels)}


def at(probs: np.ndarray, degrees: float) -> np.ndarray:
    return tempered(torch.from_numpy(probs), degrees).numpy()


def temperature(probs: np.ndarray, labels: np.ndarray) -> float:
    """The likeliest one for these labels."""
    logs, targets = torch.from_numpy(probs).double().clamp(min=1e-30).log(), torch.from_numpy(labels)

    def loss(logarithm: float) -> float:
        return float(F.cross_entropy(logs / np.exp(logarithm), targets))

    return round(float(np.exp(minimize_scalar(loss, bounds=(-2, 2)).x)), 3)


if __name__ == "__main__":
    main()
