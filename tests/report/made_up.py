"""A made-up grid with plausible scores and t-SNE files, as the stages write them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml

from asm import report
from asm.mining import SUBSETS
from asm.report.cells import load_grid
from asm.report.details import RIVALS
from asm.report.layout import Table
from asm.report.results import Results

CLASSES = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear"]
EPOCHS, WARMUP = 12, 3
ABLATIONS = [
    {"losses.replace_with_ce": ["mutual", "consistency"]},
    {"losses.replace_with_ce": ["consistency"]},
    {"losses.replace_with_ce": ["mutual"]},
    {"thresholds.confidence": "max"},
    {"losses.drop_noisy": True},
]
OTHERS = [
    {"losses.beta": 0},
    {"losses.beta": 2},
    {"losses.omega": 0.2},
    {"losses.gamma": 5},
    {"thresholds.adaptive": False},
    {"thresholds.init_clean": 0.9, "thresholds.init_noisy": 0.1},
]


def make_grid(small: bool = False) -> dict:
    """A demo-like grid: 0 % and 30 % noise, three seeds, ablations at 30 %."""
    cells = []

    def add(noise: str, method: str, seed: int, changed: dict, tag: str = "") -> None:
        name = f"synthetic_{noise}_{method}{tag}_s{seed}"
        cells.append(
            {"cell": name, "dataset": "synthetic", "noise": noise, "method": method, "seed": seed}
            | {"init": "au", "schedule": "fair", "changed": changed}
        )

    for noise in ("n00", "n30"):
        for method in ("baseline", "asm"):
            for seed in range(1 if small else 3):
                add(noise, method, seed, {})
    if not small:
        add("n30", "scn", 0, {})
        for i, changed in enumerate([*ABLATIONS, *OTHERS]):
            add("n30", "asm", 0, changed, f"-{i}")
    return {
        "profile": "made_up",
        "datasets": {"synthetic": {"title": "rendered faces", "paper": None}},
        "noises": {"n30": {"kind": "symmetric", "rate": 0.3}, "n00": {"kind": "symmetric", "rate": 0.0}},
        "inits": {"au": {"weights": "au", "about": "action units"}},
        "methods": {
            method: {
                "title": title,
                "told_noise_rate": method in ("coteaching", "jocor"),
                "ours": method == "fair_asm",
            }
            for method, title in TITLES.items()
        },
        "input": "aligned",
        "hidden": None,
        "dropout": 0.0,
        "backbone": "resnet18",
        "image_size": 48,
        "width": 16,
        "epochs": EPOCHS,
        "warmup_epochs": WARMUP,
        "batch_size": 32,
        "precision": "fp32",
        "defaults": {},
        "cells": cells,
        "code": "tests",
    }


TITLES = {
    **{"baseline": "Baseline", "scn": "SCN", "rul": "RUL", "eac": "EAC", "asm": "ASM", "ran": "RAN"},
    **{"dmue": "DMUE", "man": "MAN", "coteaching": "Co-teaching", "jocor": "JoCoR"},
    **{"two_networks": "Two networks", "fair_asm": "Fair ASM"},
}
MANY = ("baseline", "scn", "rul", "eac", "asm", "dmue", "man", "jocor")
MINES = ("asm", "man", "fair_asm")
TWO_NETWORKS = (
    "asm",
    "fair_asm",
    "two_networks",
    "man",
    "coteaching",
    "decoupling",
    "jocor",
    "dividemix",
    "nct",
)


def make_many() -> dict:
    """Eight methods on two data sets, one of them the paper's, at three noises, with two seeds."""
    grid = make_grid(small=True)
    grid["datasets"]["ferplus"] = {"title": "FER+", "paper": "ferplus"}
    grid["noises"] = {f"n{r}0": {"kind": "symmetric", "rate": r / 10} for r in (0, 1, 3)}
    grid["cells"] = [
        {"cell": f"{dataset}_{noise}_{method}_s{seed}", "dataset": dataset, "noise": noise, "method": method}
        | {"seed": seed, "init": "au", "schedule": "fair", "changed": {}}
        for dataset in grid["datasets"]
        for noise in grid["noises"]
        for method in MANY
        for seed in range(2)
    ]
    return grid


def make_scores(cell: dict, grid: dict, accuracy: float | None = None) -> dict:
    """Plausible scores of one cell; `accuracy` fixes the mean of the last 5 epochs. Either network of a pair
    is 1.1 points below it."""
    rng = np.random.default_rng(list(cell["cell"].encode()))
    noise = grid["noises"][cell["noise"]]
    rate = 0.368 if noise["rate"] is None else noise["rate"]
    mined, pair_of_networks = cell["method"] in MINES, cell["method"] in TWO_NETWORKS
    if accuracy is None:
        accuracy = 0.9 - (0.15 if mined else 0.5) * rate - 0.02 * mined + rng.normal(0, 0.008)
    epochs = np.arange(1, EPOCHS + 1)
    curve = accuracy * (1 - 0.6 * np.exp(-epochs / 2)) + rng.normal(0, 0.006, EPOCHS)
    last = float(curve[-1])
    pair = {"last5": accuracy, "last": last, "best": min(accuracy + 0.012, 1.0), "best_epoch": 9}
    recall = rng.normal(accuracy, 0.05, 7).clip(0.3, 0.99)
    confusion = [
        [int(100 * r) if i == j else int((100 - 100 * r) / 6 + rng.integers(0, 3)) for j in range(7)]
        for i, r in enumerate(recall)
    ]
    mining, waiting = None, [None] * WARMUP
    subsets = dict.fromkeys(("subset_clean", "subset_ambiguous", "subset_noisy"))
    thresholds = None
    if mined:
        steps = EPOCHS - WARMUP
        noisy = np.linspace(rate * 1.2 + 0.02, rate * 0.95 + 0.01, steps)
        clean = np.linspace(0.4, 0.55, steps) * (1 - rate / 2)
        thresholds = {
            name: waiting
            + list(np.linspace(0.6 + 0.03 * k, 0.8 + 0.02 * k, steps) + rng.normal(0, 0.01, steps))
            for k, name in enumerate(CLASSES)
        }
        for key, share in zip(subsets, (clean, 1 - clean - noisy, noisy), strict=True):
            subsets[key] = waiting + list(share)
        any_wrong = rate > 0
        rise = np.linspace(0.55, 0.93, steps) + rng.normal(0, 0.01, steps)
        wrong = {"clean": 0.1 - rise / 12, "ambiguous": 0.5 - rise / 3, "noisy": rise}
        mining = {
            "epoch": list(range(WARMUP + 1, EPOCHS + 1)),
            "noisy_precision": list(rise) if any_wrong else [None] * steps,
            "noisy_recall": list(rise - 0.04) if any_wrong else [None] * steps,
            "noisy_f1": list(rise - 0.02) if any_wrong else [None] * steps,
            "wrong_share": {k: list(v * any_wrong) for k, v in wrong.items()},
            "auroc_wrong": 0.97 if any_wrong else None,
            "ambiguity": {"precision": 0.2, "recall": 0.4, "auroc": 0.7},
            "vote_entropy_spearman": None,
            "right_noisy": list(np.linspace(0.08, 0.04, steps)),
            "right_noisy_by_class": {name: 0.02 + 0.01 * k for k, name in enumerate(CLASSES)},
            "right_noisy_by_class_epoch": {name: [0.02 + 0.01 * k] * steps for k, name in enumerate(CLASSES)},
            "clean_threshold_start": 0.69 if cell["method"] == "asm" else None,
        }
    per_class = [
        {"name": c, "recall": r, "precision": r, "f1": r, "support": 100}
        for c, r in zip(CLASSES, recall, strict=True)
    ]
    return {
        **{k: cell[k] for k in ("cell", "dataset", "method", "seed", "schedule")},
        "classes": CLASSES,
        "noise": {**noise, "realised": rate + 0.001 if rate else 0.0, "train_images": 1400}
        | {"wrong": 450, "excluded": 12},
        "versions": {"python": "3.11.7", "torch": "2.11.0", "device": "cpu"},
        "faces": {"images": 2450, "unreadable": 1, "fallback": 49, "fallback_share": 0.02},
        "cost": {
            "parameters": 700_000 * (1 + pair_of_networks),
            "forward_passes": 1.0 + 2 * pair_of_networks,
        },
        "test": {
            "images": 700,
            "averaged_epochs": 5,
            "accuracy": pair,
            "networks": [{"last5": accuracy - 0.011}] * (1 + pair_of_networks),
            "mean_class_accuracy": {"last5": accuracy - 0.05, "last": accuracy - 0.04},
            "macro_f1": accuracy,
            "ece": 0.05,
            "per_class": per_class,
            "confusion": confusion,
            "valid_accuracy": accuracy - 0.01,
            "unambiguous_accuracy": min(accuracy + 0.05, 1),
        },
        "curves": {
            "epoch": epochs.tolist(),
            "accuracy": list(curve.clip(0, 1)),
            "mean_class_accuracy": list((curve - 0.05).clip(0, 1)),
            **subsets,
            "threshold_clean": thresholds,
        },
        "fit": {"right": 0.95, "wrong": (0.05 if mined else 0.5) if rate > 0 else None},
        "mining": mining,
        "label_quality": None,
    }


SCORES = ("asm_subset", "asm_depth", *RIVALS)


def quality(ours: float, rival: float) -> dict:
    """ASM's depth at AUROC `ours`, the loss at `rival`, every other score at .5; intervals of ± .01."""

    def of(name: str) -> dict:
        value = {"asm_depth": ours, "loss": rival}.get(name, 0.5)
        measured = [value, value - 0.01, value + 0.01]
        hits = {"samples": 300, "precision": 0.6, "recall": 0.9 if name == "loss" else 0.5}
        return {"auroc": measured, "spearman": measured, "at_asm_size": hits}

    held = {"vote_entropy": [0.0, 1.0], "counts": [10, 30]}
    subsets = {
        name: {"samples": 40, "ambiguous": share} | held
        for name, share in (("clean", 0.05), ("ambiguous", 0.2), ("noisy", None))
    }
    subset = {"samples": 300, "precision": 0.7, "recall": 0.8}
    ambiguous = {"truth": "votes", "share": 0.12, "scores": {n: of(n) for n in SCORES}, "subset": subset}
    wrong = {"samples": 1000, "share": 0.3, "scores": {n: of(n) for n in SCORES}, "subset": subset}
    return {"ambiguous": ambiguous | {"by_subset": subsets}, "wrong": wrong | {"cleanlab": subset}}


def write_tsne(path: Path, seed: int, mined: bool, tight: float, test: int = 700, train: int = 1400) -> None:
    """Seven clouds of points; a wider `tight` mixes the classes."""
    rng = np.random.default_rng(seed)
    centres = 30 * np.array([[np.cos(a), np.sin(a)] for a in np.linspace(0, 2 * np.pi, 8)[:-1]])

    def cloud(n: int) -> tuple[np.ndarray, np.ndarray]:
        true = rng.integers(0, 7, n)
        return centres[true] + rng.normal(0, tight, (n, 2)), true

    def subset(n: int) -> np.ndarray:
        drawn = rng.choice([0, 1, 2], n, p=[0.5, 0.3, 0.2])
        return (drawn if mined else np.full(n, -1)).astype(np.int8)

    test_xy, test_true = cloud(test)
    train_xy, train_true = cloud(train)
    wrong = rng.random(train) < 0.3
    given = np.where(wrong, (train_true + rng.integers(1, 7, train)) % 7, train_true)
    train_subset = subset(train)
    if mined:
        train_subset[wrong] = np.where(rng.random(wrong.sum()) < 0.85, 2, 1)
        train_subset[~wrong & (train_subset == 2) & (rng.random(train) < 0.9)] = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path, test_ids=[f"test/{i}" for i in range(test)], train_ids=[f"train/{i}" for i in range(train)],
        test_xy=test_xy, test_true=test_true, test_predicted=test_true, test_subset=subset(test),
        train_xy=train_xy, train_given=given, train_true=train_true, train_subset=train_subset,
        classes=CLASSES, subsets=SUBSETS,
    )  # fmt: skip


def write_run(root: Path, grid: dict, accuracies: dict[str, float] | None = None, skip: tuple = ()) -> Path:
    """Writes report.yaml, scores/, timing/ (empty) and tsne/ under `root`; `accuracies` by cell; `skip` stays
    blank."""
    for folder in ("scores", "timing"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    write_grid(root, grid)
    for cell in grid["cells"]:
        if cell["cell"] in skip:
            continue
        write_scores(root, make_scores(cell, grid, (accuracies or {}).get(cell["cell"])))
        if cell["seed"] == 0 and not cell["changed"]:
            mined = cell["method"] == "asm"
            write_tsne(root / "tsne" / f"{cell['cell']}.npz", 1, mined, 5 if mined else 9)
    return root


def write_grid(root: Path, grid: dict) -> None:
    (root / "report.yaml").write_text(yaml.safe_dump(grid))


def write_scores(root: Path, scores: dict) -> Path:
    path = root / "scores" / f"{scores['cell']}.json"
    path.write_text(json.dumps(scores))
    return path


def write_report(root: Path, out: Path | None = None) -> Path:
    """The report of the run under `root`; returns its folder."""
    out = out or root / "reports"
    report.write(root / "report.yaml", root / "scores", root / "timing", root / "tsne", out)
    return out


def read(root: Path, grid: dict | None = None, timing: Path | None = None) -> Results:
    """The run under `root`, by this grid if it is another than what was written."""
    if grid is not None:
        write_grid(root, grid)
    return Results(load_grid(root / "report.yaml", root / "scores", timing or root / "timing"))


def with_accuracies(
    grid: dict, write: Callable[..., Path], root: Path, wanted: dict[str, float], skip: tuple = ()
) -> Results:
    """The results of a run with these accuracies, by cell."""
    return read(write(root, grid, accuracies=wanted, skip=skip), grid)


def row(table: Table, **where: str) -> dict:
    """The one row of a table that has these values."""
    frame = table.frame
    for column, value in where.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1, frame
    return frame.iloc[0].to_dict()


def write_timing(directory: Path, seconds: dict[str, list[float]]) -> Path:
    """One csv of seconds per epoch for each of these cells."""
    directory.mkdir(parents=True, exist_ok=True)
    for cell, values in seconds.items():
        rows = "".join(f"{i},{value},{1000 / value:.4g}\n" for i, value in enumerate(values, start=1))
        (directory / f"{cell}.csv").write_text(f"epoch,busy_seconds,samples_per_second\n{rows}")
    return directory
