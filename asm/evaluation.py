"""Scores of one finished run, computed from its stored predictions and, for the mining, from known truth.

numpy only: no network is run here. Accuracies and shares are fractions in [0, 1].
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_auc_score

from asm.errors import InputError

SUBSETS = ("clean", "ambiguous", "noisy")  # asm.mining's codes 0, 1, 2; that module would load torch


def expected_calibration_error(probs: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Mean |accuracy - confidence| over equal-width bins of confidence, weighted by size (Guo et al., 2017).

    Args:
        probs: [N, K], rows sum to one.
        labels: [N].
    """
    confidence, correct = probs.max(1), probs.argmax(1) == labels
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    count = np.bincount(index, minlength=bins)
    gap = np.bincount(index, correct, bins) - np.bincount(index, confidence, bins)
    return float(np.abs(gap).sum() / count.sum())


def subset_quality(codes: np.ndarray, flipped: np.ndarray) -> dict[str, Any]:
    """How well one epoch's partition tells wrong labels from right ones.

    Args:
        codes: int8 [N], 0 clean, 1 ambiguous, 2 noisy.
        flipped: bool [N], the given label is known to be wrong.

    Returns:
        precision, recall and F1 of "noisy" as a detector of `flipped` (None where undefined), and each
        subset's share of wrong labels (None for an empty subset).
    """
    called = codes == 2
    hits = int((called & flipped).sum())
    precision = hits / called.sum() if called.any() else None
    recall = hits / flipped.sum() if flipped.any() else None
    f1 = None
    if flipped.any():
        f1 = 2 * hits / (called.sum() + flipped.sum())
    else:
        precision = None
    return {
        "precision": _number(precision),
        "recall": _number(recall),
        "f1": _number(f1),
        "wrong_share": {
            name: _number(flipped[codes == code].mean()) if (codes == code).any() else None
            for code, name in enumerate(SUBSETS)
        },
    }


def vote_entropy(votes: np.ndarray) -> np.ndarray:
    """Shannon entropy in nats of each row of vote counts [N, V] -> [N]; 0 for a row without votes."""
    total = votes.sum(1, keepdims=True)
    share = votes / np.maximum(total, 1)
    return -(share * np.log(np.where(share > 0, share, 1))).sum(1)


def mining_scores(run: Path, manifest: pd.DataFrame) -> dict[str, Any] | None:
    """Mining against truth, epoch by epoch; None for a method that does not mine.

    Args:
        run: a run's folder.
        manifest: the data set's rows (`id`, optional `ambiguous`, `votes_*`).
    """
    stored = _load(run / "mining.npz")
    if len(stored["epochs"]) == 0:
        return None
    given = stored["given_labels"]
    flipped = given != stored["clean_labels"]
    quality = [subset_quality(codes, flipped) for codes in stored["subsets"]]
    of_label = stored["probabilities"][np.arange(len(given)), given]
    truth = manifest.set_index("id").loc[stored["train_ids"]]
    last = stored["subsets"][-1]
    return {
        "epoch": stored["epochs"].tolist(),
        **{f"noisy_{name}": [q[name] for q in quality] for name in ("precision", "recall", "f1")},
        "wrong_share": {name: [q["wrong_share"][name] for q in quality] for name in SUBSETS},
        "auroc_flipped": _auroc(flipped, -of_label),
        "ambiguity": _ambiguity(last, stored["probabilities"], truth),
        "vote_entropy_spearman": _vote_correlation(stored["probabilities"], truth),
    }


def _ambiguity(codes: np.ndarray, probs: np.ndarray, truth: pd.DataFrame) -> dict[str, Any] | None:
    """The ambiguous subset against known blends; the ranking is by entropy of the mean probabilities."""
    if "ambiguous" not in truth:
        return None
    known = truth["ambiguous"].to_numpy(dtype=bool)
    called = codes == 1
    return {
        "precision": _number(known[called].mean()) if called.any() else None,
        "recall": _number(called[known].mean()) if known.any() else None,
        "auroc": _auroc(known, _entropy(probs)),
        "share": _number(known.mean()),
    }


def _vote_correlation(probs: np.ndarray, truth: pd.DataFrame) -> float | None:
    """Spearman's rank correlation of the prediction's entropy with the entropy of the annotators' votes."""
    columns = [c for c in truth if c.startswith("votes_")]
    if not columns:
        return None
    return _number(spearmanr(_entropy(probs), vote_entropy(truth[columns].to_numpy(float))).statistic)


def evaluate(run: Path, manifest: pd.DataFrame, noise: dict[str, Any]) -> dict[str, Any]:
    """All scores of a finished run.

    Args:
        run: the folder that training wrote.
        manifest: the aligned data set's rows.
        noise: kind, rate and realised rate of the corruption.

    Raises:
        InputError: a file of the run is missing or does not belong to this data set.
    """
    info = json.loads(_existing(run / "run.json").read_text(encoding="utf-8"))
    history = pd.read_csv(_existing(run / "history.csv"))
    stored = _load(run / "predictions.npz")
    classes, config = info["classes"], info["config"]
    known = set(manifest["id"])
    if strangers := [i for i in stored["test_ids"] if i not in known]:
        raise InputError(
            f"{run / 'predictions.npz'}: {len(strangers)} test samples, e.g. {strangers[:3]}, are not in "
            "this data set's manifest; the run belongs to other data: train it again"
        )
    truth, per_epoch = stored["test_labels"], stored["test_probabilities"]  # [E, networks, N, K]
    final = per_epoch[-1].mean(0)
    predicted = final.argmax(1)
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=range(len(classes)), zero_division=0
    )
    accuracy = history["test_accuracy"]
    test = {
        "images": len(truth),
        "averaged_epochs": len(per_epoch),
        "accuracy": {
            "last5": float((per_epoch.mean(1).argmax(2) == truth).mean()),
            "last": float((predicted == truth).mean()),
            "best": float(accuracy.max()),
            "best_epoch": int(history["epoch"][accuracy.idxmax()]),
        },
        "networks": [
            {
                "last5": float((per_epoch[:, i].argmax(2) == truth).mean()),
                "last": float((per_epoch[-1, i].argmax(1) == truth).mean()),
            }
            for i in range(per_epoch.shape[1])
        ],
        # the mean of log-probabilities ranks the classes as the mean of logits does
        "mean_logit_accuracy": float((np.log(per_epoch[-1] + 1e-30).mean(0).argmax(1) == truth).mean()),
        "balanced_accuracy": float(recall[support > 0].mean()),
        "macro_f1": float(f1[support > 0].mean()),
        "ece": expected_calibration_error(final, truth),
        "per_class": [
            {
                "class": name,
                "recall": float(recall[k]),
                "precision": float(precision[k]),
                "f1": float(f1[k]),
                "support": int(support[k]),
            }
            for k, name in enumerate(classes)
        ],
        "confusion": confusion_matrix(truth, predicted, labels=range(len(classes))).tolist(),
    }
    if "valid_accuracy" in history:
        test["valid_accuracy"] = {"last5": float(history["valid_accuracy"].tail(len(per_epoch)).mean())}
    if "ambiguous" in manifest:
        plain = ~manifest.set_index("id").loc[stored["test_ids"], "ambiguous"].to_numpy(dtype=bool)
        hits = per_epoch.mean(1).argmax(2)[:, plain] == truth[plain]
        test["unambiguous_accuracy"] = float(hits.mean())
    return {
        **{key: config[key] for key in ("cell", "dataset", "method", "seed")},
        "classes": classes,
        "noise": {**noise, "train_images": info["train_images"]},
        "versions": info["versions"],
        "test": test,
        "curves": _curves(history, classes),
        "mining": mining_scores(run, manifest),
    }


def _curves(history: pd.DataFrame, classes: list[str]) -> dict[str, Any]:
    """The history by name, as lists over epochs; None where an epoch has no value (warm-up)."""

    def column(name: str) -> list[float | None]:
        return [None if pd.isna(v) else float(v) for v in history[name]]

    curves: dict[str, Any] = {"epoch": history["epoch"].tolist(), "accuracy": column("test_accuracy")}
    for name in ("lr", "lambda", *(f"subset_{s}" for s in SUBSETS)):
        if name in history:
            curves[name] = column(name)
    for kind in ("clean", "noisy"):
        if f"threshold_{kind}_0" in history:
            curves[f"threshold_{kind}"] = {
                name: column(f"threshold_{kind}_{k}") for k, name in enumerate(classes)
            }
    curves["losses"] = {
        name.removeprefix("loss_"): column(name) for name in history if name.startswith("loss_")
    }
    return curves


def _entropy(probs: np.ndarray) -> np.ndarray:
    return -(probs * np.log(np.clip(probs, 1e-12, 1))).sum(1)


def _auroc(positive: np.ndarray, score: np.ndarray) -> float | None:
    """None where one of the two groups is empty."""
    if positive.all() or not positive.any():
        return None
    return float(roc_auc_score(positive, score))


def _number(value: Any) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path}: not found; the run is incomplete, train this cell again")
    return path


def _load(path: Path) -> dict[str, np.ndarray]:
    with np.load(_existing(path)) as stored:
        return dict(stored)
