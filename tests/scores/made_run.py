"""A run of five test and six training samples, small enough to work its scores out by hand."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

CLASSES = ["a", "b", "c"]
TEST_TRUE = np.array([0, 0, 1, 1, 1])  # no test sample of class c
# The ensemble's predictions after epochs 2 to 6: 5, 4, 3, 4 and 3 of 5 are right.
PREDICTED = np.array([[0, 0, 1, 1, 1], [0, 0, 1, 1, 0], [0, 1, 1, 0, 1], [0, 0, 1, 1, 0], [0, 2, 1, 1, 0]])

GIVEN, TRUE = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 1, 1, 2, 0])  # samples 1 and 5 are wrong
SUBSETS = np.array([[0, 2, 0, 1, 2, 0], [0, 2, 0, 0, 0, 2]], np.int8)  # epochs 5 and 6
# Of the given label: .9 .3 .8 .2 .7 .1; the largest: .9 .6 .8 .5 .7 .75; by entropy: 0 < 2 < 5 < 4 < 1 < 3.
TRAIN_PROBS = np.array(
    [[0.9, 0.05, 0.05], [0.3, 0.6, 0.1], [0.1, 0.8, 0.1], [0.5, 0.2, 0.3], [0.2, 0.1, 0.7], [0.75, 0.15, 0.1]]
)
# what the method's rule made of them at the end: not what Eq. 1-6 would make of these probabilities
RULE = {
    "final_subset": np.array([0, 1, 0, 2, 0, 2], np.int8),
    "confidence": np.array([0.9, 0.3, 0.8, 0.2, 0.7, 0.1], np.float32),
    "clean_threshold": np.array([0.85, 0.75, 0.65], np.float32),
    "noisy_threshold": np.array([0.25, 0.45, 0.15], np.float32),
}
NOISE = {"kind": "symmetric", "rate": 0.3, "excluded": 1, "wrong": 2, "realised": 1 / 3}
FACES = {"images": 12, "unreadable": 1, "fallback": 3, "fallback_share": 0.25}


def stored_probabilities() -> np.ndarray:
    """[epochs, networks, N, K]. The first network gives its class .8; the second always class 0, with .5."""
    first = np.where(np.eye(3)[PREDICTED] == 1, 0.8, 0.1)
    second = np.broadcast_to([0.5, 0.25, 0.25], first.shape).copy()
    # the last sample at the end: the mean of probabilities says 0, that of logits 1
    first[-1, -1], second[-1, -1] = [0.98, 0.01, 0.01], [0.001, 0.6, 0.399]
    return np.stack([first, second], 1).astype(np.float32)


def make_manifest() -> pd.DataFrame:
    """Not in the run's order; the test samples 1 and 4 and the training samples 3 and 4 are blends."""
    ids = [*(f"test{i}" for i in range(5)), *(f"train{i}" for i in range(6))]
    ambiguous = [False, True, False, False, True, False, False, False, True, True, False]
    return pd.DataFrame({"id": ids, "ambiguous": ambiguous}).iloc[::-1].reset_index(drop=True)


def write_faces(folder: Path, manifest: pd.DataFrame) -> None:
    """The store of aligned faces, as far as the scores read it."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = {"path": "x", "split": "x", "true": 0, "face": "mtcnn"}
    manifest.assign(**columns).to_csv(folder / "manifest.csv", index=False)
    (folder / "summary.json").write_text(json.dumps(FACES | {"dataset": "made", "size": 8}))


def write_run(run: Path, networks: int = 2) -> None:
    """The files that training leaves: ASM's, or with one network those of a method that does not mine."""
    run.mkdir(parents=True)
    mines = networks == 2
    warmup = [None] * 4
    history = {
        "epoch": range(1, 7),
        "lr": [0.001] * 6,
        "test_accuracy": [0.2, 1.0, 0.8, 0.6, 0.8, 0.6],
        "valid_accuracy": [0.0, 0.5, 0.6, 0.7, 0.8, 0.9],
        "test_mean_class_accuracy": [0.1, 1.0, 0.8, 0.7, 0.8, 0.6],
        "valid_mean_class_accuracy": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5],
        "loss_total": [2.0, 1.5, 1.0, 0.9, 0.8, 0.7],
        "forward_passes": [2.0] * 4 + [4.4, 4.6],
    }
    if mines:
        history |= {
            "lambda": [*warmup, 0.4, 0.5],
            "subset_clean": [*warmup, 3 / 6, 4 / 6],
            "subset_ambiguous": [*warmup, 1 / 6, 0.0],
            "subset_noisy": [*warmup, 2 / 6, 2 / 6],
            **{f"threshold_clean_{k}": [*warmup, 0.7, 0.8 + k / 100] for k in range(3)},
            **{f"threshold_noisy_{k}": [*warmup, 0.3, 0.2 - k / 100] for k in range(3)},
        }
    pd.DataFrame(history).to_csv(run / "history.csv", index=False)
    np.savez(
        run / "test_predictions.npz",
        epochs=np.arange(2, 7),
        ids=np.array([f"test{i}" for i in range(5)]),
        true=TEST_TRUE,
        probabilities=stored_probabilities()[:, :networks],
    )
    np.savez(
        run / "train_predictions.npz",
        ids=np.array([f"train{i}" for i in range(6)]),
        given=GIVEN,
        true=TRUE,
        probabilities=TRAIN_PROBS.astype(np.float32),
        epochs=np.array([5, 6] if mines else [], np.int64),
        subsets=SUBSETS if mines else np.empty((0, 0), np.int8),
        **(RULE if mines else {name: values[:0] for name, values in RULE.items()}),
    )
    config = {"cell": "tiny", "dataset": "made", "method": "asm" if mines else "baseline", "seed": 3}
    config["schedule"] = "fair"
    info = {
        "config": config,
        "classes": CLASSES,
        "train_images": 6,
        "parameters": 1234,
        "versions": {"torch": "2"},
    }
    (run / "run.json").write_text(json.dumps(info))
