"""Scores of one finished run, computed from its stored predictions and, for the mining, from known truth.

numpy only: no network is run here. Accuracies and shares are fractions in [0, 1].
"""

import json
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

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


def subset_quality(codes: np.ndarray, truth: np.ndarray, subset: str) -> dict[str, Any]:
    """One epoch's partition against known truth.

    Args:
        codes: int8 [N], 0 clean, 1 ambiguous, 2 noisy.
        truth: bool [N], e.g. "the given label is wrong" for the subset "noisy".
        subset: the name of the subset that should hold the true ones.

    Returns:
        precision, recall and F1 of `subset` as a detector of `truth` (all None where nothing is true, the
        precision also for an empty subset), and `share`: the share of true ones in each subset (None for an
        empty one).
    """
    called = codes == SUBSETS.index(subset)
    hits, any_true = int((called & truth).sum()), bool(truth.any())
    return {
        "precision": float(hits / called.sum()) if any_true and called.any() else None,
        "recall": float(hits / truth.sum()) if any_true else None,
        "f1": float(2 * hits / (called.sum() + truth.sum())) if any_true else None,
        "share": {
            name: float(truth[codes == code].mean()) if (codes == code).any() else None
            for code, name in enumerate(SUBSETS)
        },
    }


def entropy(probs: np.ndarray) -> np.ndarray:
    """Shannon entropy in nats of each row of shares [N, K] -> [N]."""
    return -(probs * np.log(np.clip(probs, 1e-12, 1))).sum(1)


def vote_entropy(votes: np.ndarray) -> np.ndarray:
    """Shannon entropy in nats of each row of vote counts [N, V] -> [N]; 0 for a row without votes."""
    share = votes / np.maximum(votes.sum(1, keepdims=True), 1)
    return entropy(share)


def mining_scores(run: Path, manifest: pd.DataFrame, confidence: str = "label") -> dict[str, Any] | None:
    """Mining against truth, epoch by epoch; None for a method that does not mine.

    The rankings (AUROC, rank correlation) are by the networks' mean probabilities after the last epoch.

    Args:
        run: a run's folder.
        manifest: the data set's rows (`id`, optional `ambiguous`, `votes_*`).
        confidence: the run's reading of Eq. 3, by which low confidence should tell wrong labels: "label" is
            the probability of the given label, "max" the largest one.

    Raises:
        InputError: the run is incomplete or of other data.
    """
    stored = read_arrays(run / "mining.npz")
    if len(stored["epochs"]) == 0:
        return None
    truth = rows_of(manifest, stored["train_ids"], run / "mining.npz")
    given, probs, subsets = stored["given_labels"], stored["probabilities"], stored["subsets"]
    flipped = given != stored["clean_labels"]
    confident = probs.max(1) if confidence == "max" else probs[np.arange(len(given)), given]
    wrong = _by_epoch(subsets, flipped, "noisy")
    return {
        "epoch": stored["epochs"].tolist(),
        **{f"noisy_{name}": wrong[name] for name in ("precision", "recall", "f1")},
        "wrong_share": wrong["share"],
        "auroc_flipped": _auroc(flipped, -confident),
        "ambiguity": _ambiguity(subsets, probs, truth),
        "vote_entropy_spearman": _vote_correlation(probs, truth),
    }


def _by_epoch(subsets: np.ndarray, truth: np.ndarray, subset: str) -> dict[str, Any]:
    """`subset_quality` of each epoch's codes, int8 [E, N]: the same keys with lists over epochs."""
    quality = [subset_quality(codes, truth, subset) for codes in subsets]
    return {
        **{key: [q[key] for q in quality] for key in ("precision", "recall", "f1")},
        "share": {name: [q["share"][name] for q in quality] for name in SUBSETS},
    }


def _ambiguity(subsets: np.ndarray, probs: np.ndarray, truth: pd.DataFrame) -> dict[str, Any] | None:
    """The ambiguous subset against known blends: after the last epoch, and `by_epoch`. The AUROC is that of
    the entropy of the mean probabilities, which does not see the given label."""
    if "ambiguous" not in truth:
        return None
    known = truth["ambiguous"].to_numpy(dtype=bool)
    found = _by_epoch(subsets, known, "ambiguous")
    return {
        **{key: found[key][-1] for key in ("precision", "recall", "f1")},
        "auroc": _auroc(known, entropy(probs)),
        "by_epoch": found,
    }


def _vote_correlation(probs: np.ndarray, truth: pd.DataFrame) -> float | None:
    """Spearman's rank correlation of the prediction's entropy with the entropy of the annotators' votes.

    All ten votes of FER+ count, also "unknown" and "no face": an annotator who could name no expression
    disagrees with one who could, and without those votes 6 x happy + 4 x unknown would pass for unanimous.
    None where either entropy is the same for all samples.
    """
    columns = [c for c in truth if c.startswith("votes_")]
    if not columns:
        return None
    # rounded: the same counts in other columns are a tie, whatever order the floats were added in
    ours, theirs = entropy(probs), vote_entropy(truth[columns].to_numpy(float)).round(9)
    if np.ptp(ours) == 0 or np.ptp(theirs) == 0:
        return None
    return float(spearmanr(ours, theirs).statistic)


def evaluate(run: Path, manifest: pd.DataFrame, noise: dict[str, Any]) -> dict[str, Any]:
    """All scores of a finished run.

    Args:
        run: the folder that training wrote.
        manifest: the aligned data set's rows.
        noise: kind, rate and realised rate of the corruption.

    Raises:
        InputError: a file of the run is missing or does not belong to this data set.
    """
    info = read_info(run)
    history = pd.read_csv(_existing(run / "history.csv"))
    stored = read_arrays(run / "predictions.npz")
    classes, config = info["classes"], info["config"]
    rows = rows_of(manifest, stored["test_ids"], run / "predictions.npz")
    truth, per_epoch = stored["test_labels"], stored["test_probabilities"]  # [E, networks, N, K]
    final = per_epoch[-1].mean(0)
    predicted = final.argmax(1)
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=range(len(classes)), zero_division=np.nan
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
                "recall": _number(recall[k]),
                "precision": _number(precision[k]),
                "f1": _number(f1[k]),
                "support": int(support[k]),
            }
            for k, name in enumerate(classes)
        ],
        "confusion": confusion_matrix(truth, predicted, labels=range(len(classes))).tolist(),
    }
    if "valid_accuracy" in history:
        test["valid_accuracy"] = {"last5": float(history["valid_accuracy"].tail(len(per_epoch)).mean())}
    if "ambiguous" in rows:
        plain = ~rows["ambiguous"].to_numpy(dtype=bool)
        hits = per_epoch.mean(1).argmax(2)[:, plain] == truth[plain]
        test["unambiguous_accuracy"] = float(hits.mean()) if plain.any() else None
    return {
        **{key: config[key] for key in ("cell", "dataset", "method", "seed", "schedule")},
        "classes": classes,
        "noise": {**noise, "train_images": info["train_images"]},
        "versions": info["versions"],
        "cost": {
            "parameters": info["parameters"],
            "forward_passes": float(history["forward_passes"].iloc[-1]),  # per training sample
        },
        "test": test,
        "curves": _curves(history, classes),
        "mining": mining_scores(run, manifest, config.get("thresholds", {}).get("confidence", "label")),
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


def _auroc(positive: np.ndarray, score: np.ndarray) -> float | None:
    """None where one of the two groups is empty."""
    if positive.all() or not positive.any():
        return None
    return float(roc_auc_score(positive, score))


def _number(value: float) -> float | None:
    """None for NaN, scikit-learn's mark of an undefined score, which JSON does not know."""
    return None if np.isnan(value) else float(value)


def rows_of(manifest: pd.DataFrame, ids: np.ndarray, path: Path) -> pd.DataFrame:
    """The manifest's rows of a run's samples, in the run's order."""
    table = manifest.set_index("id")
    strangers = [str(i) for i in ids if i not in table.index]
    if strangers:
        raise InputError(
            f"{path}: {len(strangers)} of {len(ids)} samples, e.g. {', '.join(strangers[:3])}, are not in "
            "this data set's manifest; the run belongs to other data: train this cell again"
        )
    return table.loc[ids]


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path}: not found; the run is incomplete, train this cell again")
    return path


def read_info(run: Path) -> dict[str, Any]:
    """A run's configuration, classes, versions and size; training writes it last. InputError if missing."""
    return json.loads(_existing(run / "run.json").read_text(encoding="utf-8"))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of one npz file of a run. Raises InputError for a missing or truncated file."""
    _existing(path)
    try:
        with np.load(path) as stored:
            return dict(stored)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise InputError(f"{path}: cannot be read ({error}); train this cell again") from error
