"""Scores of one finished run, from its stored predictions and, for the mining, from the true labels."""

from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from pydantic import BaseModel, ValidationError
from scipy.stats import spearmanr
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, recall_score, roc_auc_score

from asm import mining
from asm.basics.errors import InputError
from asm.basics.files import read_json
from asm.faces import store
from asm.scores import run as finished
from asm.scores import schema
from asm.scores.label_quality import assess, entropy, finite, vote_entropy, votes_of

T = TypeVar("T", bound=BaseModel)


def score_run(run: Path, faces: Path, noise: Path) -> schema.Scores:
    """All scores of a finished run.

    Args:
        run: the folder that training wrote.
        faces: the store of aligned faces that it was trained on.
        noise: noise.json, what was done to the labels that it was given.

    Raises:
        InputError: a file is missing or damaged, or the run does not belong to this data set.
    """
    manifest = store.read_manifest(faces / "manifest.csv")
    counts = _read(schema.FaceCounts, faces / "summary.json", "build the aligned faces again")
    known = {"train_images": finished.read_info(run)["train_images"]}
    labels = _read(schema.GivenLabels, noise, "corrupt the labels again", known)
    try:
        return evaluate(run, manifest, counts, labels)
    except InputError:
        raise
    except (LookupError, TypeError, ValueError) as error:  # ValueError: pydantic's, too
        raise InputError(
            f"{run}: with {faces / 'summary.json'} and {noise} not the results of one training "
            f"({' '.join(str(error).split())[:200]}); train this cell again"
        ) from error


def assess_out_of_sample(config: dict[str, Any], predictions: Path, faces: Path) -> schema.LabelQuality:
    """What tells wrong labels and ambiguous faces, asked of networks that were not trained on them.

    Args:
        config: of the cell.
        predictions: npz with the arrays of `asm.training.folds.out_of_sample`.
        faces: the store of aligned faces that it was trained on.

    Raises:
        InputError: a file is missing or of other data; nothing is known of the samples' labels.
    """
    stored = finished.read_arrays(predictions)
    rows = finished.rows_of(store.read_manifest(faces / "manifest.csv"), stored["ids"], predictions)
    found = assess(config["method"], stored, rows)
    if found is None:
        raise InputError(f"{config['cell']}: no wrong labels, votes or blends are known; leave it out")
    return found


def evaluate(
    run: Path, manifest: pd.DataFrame, faces: schema.FaceCounts, noise: schema.GivenLabels
) -> schema.Scores:
    """`score_run` of what its files hold. `manifest`: the data set's rows (`id`, optional `ambiguous`,
    `votes_*`)."""
    info, history = finished.read_info(run), finished.read_history(run)
    train = finished.read_arrays(run / finished.TRAIN)
    rows = finished.rows_of(manifest, train["ids"], run / finished.TRAIN)
    config = info["config"]
    return schema.Scores(
        **{key: config[key] for key in ("cell", "dataset", "method", "seed", "schedule")},
        classes=info["classes"],
        noise=noise,
        versions=info["versions"],
        faces=faces,
        cost=schema.Cost(
            parameters=info["parameters"], forward_passes=float(history["forward_passes"].iloc[-1])
        ),
        test=_on_test(run, manifest, history, info["classes"]),
        fit=fit_scores(train),
        curves=_curves(history, info["classes"]),
        mining=mining_scores(train, rows, history, info["classes"]),
        label_quality=assess(config["method"], train, rows),
    )


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


def subset_quality(codes: np.ndarray, known: np.ndarray, subset: str) -> dict[str, Any]:
    """One epoch's partition against what is known of the samples.

    Args:
        codes: int8 [N], of asm.mining.
        known: bool [N], e.g. "the given label is wrong" for the subset "noisy".
        subset: the name of the subset that should hold the known ones.

    Returns:
        precision, recall and F1 of `subset` as a detector of the `known` ones (all None where there are none,
        the precision also for an empty subset), and `share`: the share of known ones in each subset (None for
        an empty one).
    """
    called = codes == mining.SUBSETS.index(subset)
    hits, size = (called & known).sum(), called.sum() + known.sum()
    return {
        "precision": _share(known, called) if known.any() else None,
        "recall": _share(called, known),
        "f1": float(2 * hits / size) if known.any() else None,
        "share": {name: _share(known, codes == code) for code, name in enumerate(mining.SUBSETS)},
    }


def fit_scores(train: dict[str, np.ndarray]) -> schema.Fit:
    """How much of the right and of the wrong given labels the networks' mean probabilities after the last
    epoch repeat. `train`: the arrays of train_predictions.npz."""
    learned, right = train["probabilities"].argmax(1) == train["given"], train["given"] == train["true"]
    return schema.Fit(right=_share(learned, right), wrong=_share(learned, ~right))


def mining_scores(
    train: dict[str, np.ndarray], rows: pd.DataFrame, history: pd.DataFrame, classes: list[str]
) -> schema.Mining | None:
    """Mining against the true labels, epoch by epoch; None for a run that did not mine.

    The rankings (AUROC, rank correlation) are by the networks' mean probabilities after the last epoch: a low
    confidence, or where the method has none a low probability of the given label, should tell wrong labels.

    Args:
        train: the arrays of train_predictions.npz.
        rows: the manifest's rows of these samples (optional `ambiguous`, `votes_*`).
        history: the run's, with T_c for a method with thresholds.
        classes: their names.
    """
    if len(train["epochs"]) == 0:
        return None
    given, probs, subsets = train["given"], train["probabilities"], train["subsets"]
    wrong = given != train["true"]
    confident = train["confidence"] if len(train["confidence"]) else probs[np.arange(len(given)), given]
    quality = [subset_quality(codes, wrong, "noisy") for codes in subsets]
    noisy = subsets == mining.NOISY
    by_class = {
        name: [_share(called, ~wrong & (given == k)) for called in noisy] for k, name in enumerate(classes)
    }
    return schema.Mining(
        epoch=train["epochs"].tolist(),
        **{f"noisy_{name}": [epoch[name] for epoch in quality] for name in ("precision", "recall", "f1")},
        wrong_share={subset: [epoch["share"][subset] for epoch in quality] for subset in mining.SUBSETS},
        right_noisy=[_share(called, ~wrong) for called in noisy],
        right_noisy_by_class={name: shares[-1] for name, shares in by_class.items()},
        right_noisy_by_class_epoch=by_class,
        clean_threshold_start=_clean_threshold(history, int(train["epochs"][0]), len(classes)),
        auroc_wrong=_auroc(wrong, -confident),
        ambiguity=_ambiguity(subsets[-1], probs, rows),
        vote_entropy_spearman=_vote_correlation(probs, rows),
    )


def _clean_threshold(history: pd.DataFrame, epoch: int, classes: int) -> float | None:
    """Mean T_c over the classes in one epoch; None for a method without thresholds."""
    names = [f"threshold_clean_{k}" for k in range(classes)]
    if names[0] not in history:
        return None
    return float(history.loc[history["epoch"] == epoch, names].to_numpy(float).mean())


def _ambiguity(codes: np.ndarray, probs: np.ndarray, rows: pd.DataFrame) -> schema.Ambiguity | None:
    """The last epoch's subsets against known blends. The entropy does not see the given label."""
    if "ambiguous" not in rows:
        return None
    known = rows["ambiguous"].to_numpy(dtype=bool)
    found = subset_quality(codes, known, "ambiguous")
    auroc = _auroc(known, entropy(probs))
    return schema.Ambiguity(precision=found["precision"], recall=found["recall"], auroc=auroc)


def _vote_correlation(probs: np.ndarray, rows: pd.DataFrame) -> float | None:
    """Spearman's rank correlation of the prediction's entropy with the entropy of the annotators' votes.

    All ten votes of FER+ count, also "unknown" and "no face": an annotator who could name no expression
    disagrees with one who could, and without those votes 6 x happy + 4 x unknown would pass for unanimous.
    None where either entropy is the same for all samples.
    """
    if (votes := votes_of(rows)) is None:
        return None
    ours, theirs = entropy(probs), vote_entropy(votes)
    if np.ptp(ours) == 0 or np.ptp(theirs) == 0:
        return None
    return float(spearmanr(ours, theirs).statistic)


def _on_test(run: Path, manifest: pd.DataFrame, history: pd.DataFrame, classes: list[str]) -> schema.OnTest:
    stored = finished.read_arrays(run / finished.TEST)
    rows = finished.rows_of(manifest, stored["ids"], run / finished.TEST)
    true, per_epoch = stored["true"], stored["probabilities"]  # [E, networks, N, K]
    mean = per_epoch.mean(1)
    predicted = mean.argmax(2)
    right, accuracy, labels = predicted == true, history["test_accuracy"], range(len(classes))
    class_accuracy = [
        recall_score(true, epoch, labels=np.unique(true), average="macro") for epoch in predicted
    ]
    by_class = precision_recall_fscore_support(true, predicted[-1], labels=labels, zero_division=np.nan)
    _, _, f1, support = by_class
    plain = ~rows["ambiguous"].to_numpy(dtype=bool) if "ambiguous" in rows else np.zeros(len(true), bool)

    def recent(name: str) -> float | None:
        return float(history[name].tail(len(per_epoch)).mean()) if name in history else None

    return schema.OnTest(
        images=len(true),
        averaged_epochs=len(per_epoch),
        accuracy=schema.Accuracy(
            last5=right.mean(),
            last=right[-1].mean(),
            best=accuracy.max(),
            best_epoch=history["epoch"][accuracy.idxmax()],
        ),
        networks=[
            schema.NetworkAccuracy(last5=(network.argmax(2) == true).mean())
            for network in per_epoch.swapaxes(0, 1)
        ],
        mean_class_accuracy=schema.MeanClassAccuracy(last5=np.mean(class_accuracy), last=class_accuracy[-1]),
        macro_f1=f1[support > 0].mean(),
        ece=expected_calibration_error(mean[-1], true),
        per_class=[
            schema.ClassScore(name=name, precision=finite(p), recall=finite(r), f1=finite(f), support=n)
            for name, p, r, f, n in zip(classes, *by_class, strict=True)
        ],
        confusion=confusion_matrix(true, predicted[-1], labels=labels).tolist(),
        valid_accuracy=recent("valid_accuracy"),
        valid_mean_class_accuracy=recent("valid_mean_class_accuracy"),
        unambiguous_accuracy=_share(right.mean(0), plain),
    )


def _curves(history: pd.DataFrame, classes: list[str]) -> schema.Curves:
    """Of the history what the figures draw; None where an epoch has no value (warm-up)."""

    def column(name: str) -> list[float | None] | None:
        return [finite(value) for value in history[name]] if name in history else None

    thresholds = {name: column(f"threshold_clean_{k}") for k, name in enumerate(classes)}
    return schema.Curves(
        epoch=history["epoch"].tolist(),
        accuracy=column("test_accuracy"),
        mean_class_accuracy=column("test_mean_class_accuracy"),
        **{name: column(name) for name in ("subset_clean", "subset_ambiguous", "subset_noisy")},
        threshold_clean=thresholds if thresholds[classes[0]] else None,
    )


def _auroc(positive: np.ndarray, score: np.ndarray) -> float | None:
    """None where one of the two groups is empty."""
    if positive.all() or not positive.any():
        return None
    return float(roc_auc_score(positive, score))


def _share(marked: np.ndarray, among: np.ndarray) -> float | None:
    """Of the samples in `among` (bool [N]) the share that is `marked`; None where there are none."""
    return float(marked[among].mean()) if among.any() else None


def _read(model: type[T], path: Path, remedy: str, known: dict[str, Any] | None = None) -> T:
    """What a JSON file says of the fields of `model`; `known`: fields that stand elsewhere."""
    content = read_json(path, remedy) | (known or {})
    try:
        return model(**{name: content[name] for name in model.model_fields if name in content})
    except ValidationError as error:
        raise InputError(f"{path}: {schema.first_fault(error)}; {remedy}") from error
