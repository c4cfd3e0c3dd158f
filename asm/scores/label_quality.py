"""What tells ambiguous faces and wrong labels: ASM's mining and obvious rivals, on the same probabilities.

All scores are computed from a finished run's mean probabilities on its training images, with the labels that
it was given; where annotators' votes, blends or wrong labels are known, each is judged by them. A higher
score always means more ambiguous, or more likely wrong.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.special import xlogy

from asm import mining
from asm.scores import schema

WITHOUT_MINING = "baseline"  # shows what the rule makes of a network that was trained without it
INITIAL_THRESHOLD = 0.8  # T_c of a class without a correct prediction (§3.2), for methods without thresholds
RESAMPLES = 1000
SMALLEST = 1e-6  # cleanlab's bound, against a division by 0
VOTES_APART = 2  # the two expressions with most votes, at most so many votes apart: ambiguous


def entropy(probs: np.ndarray) -> np.ndarray:
    """Shannon entropy in nats of each row of shares [N, K] -> [N]."""
    return -(probs * np.log(np.clip(probs, 1e-12, 1))).sum(1)


def votes_of(rows: pd.DataFrame) -> np.ndarray | None:
    """The annotators' votes [N, V] in a manifest's rows; None where it has none."""
    columns = [name for name in rows if name.startswith("votes_")]
    return rows[columns].to_numpy(float) if columns else None


def vote_entropy(votes: np.ndarray) -> np.ndarray:
    """Shannon entropy in nats of each row of vote counts [N, V] -> [N]; 0 for a row without votes. Rounded:
    the same counts in other columns are a tie, whatever order the floats were added in."""
    return entropy(votes / np.maximum(votes.sum(1, keepdims=True), 1)).round(9)


@dataclass(frozen=True)
class Rule:
    """What a rule made of N samples: their `subset`, int8 codes of asm.mining [N], their `confidence` [N] and
    `clean` and `noisy`, the thresholds T_c and T_n of each sample's class [N]."""

    subset: np.ndarray
    confidence: np.ndarray
    clean: np.ndarray
    noisy: np.ndarray


def rule_of(stored: Mapping[str, np.ndarray]) -> Rule:
    """The rule that a run, or its predictions by folds, stored (asm.training.results.judged); `paper_rule` of
    its probabilities where its method has no thresholds."""
    given = stored["given"]
    if not len(stored["clean_threshold"]):
        return paper_rule(stored["probabilities"], given)
    clean, noisy = stored["clean_threshold"][given], stored["noisy_threshold"][given]
    return Rule(stored["final_subset"], stored["confidence"], clean, noisy)


def paper_rule(probs: np.ndarray, given: np.ndarray) -> Rule:
    """Eq. 1-6 on mean probabilities [N, K] and given labels [N]."""
    p, y = torch.from_numpy(probs), torch.from_numpy(given)
    clean = mining.clean_thresholds(p, y, p.new_full((p.shape[1],), INITIAL_THRESHOLD))
    noisy = mining.noisy_thresholds(clean)
    confidence = mining.confidence(p, y, "label")
    subset = mining.partition(confidence, y, clean, noisy)
    return Rule(*(value.numpy() for value in (subset, confidence, clean[y], noisy[y])))


def normalized_margin(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """cleanlab's: how far the given label's probability is above the largest other one, 0 to 1, [N]."""
    others = probs.copy()
    others[np.arange(len(labels)), labels] = -np.inf
    return (probs[np.arange(len(labels)), labels] - others.max(axis=1) + 1) / 2


def confidence_weighted_entropy(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """cleanlab's: log(s + 1) / s of s, the entropy (largest: 1) over the given label's probability, [N]."""
    confidence = np.clip(probs[np.arange(len(labels)), labels], SMALLEST, None)
    weighted = -np.sum(xlogy(probs, probs), axis=1) / np.log(probs.shape[1]) / confidence
    return np.log(weighted + 1) / np.clip(weighted, SMALLEST, None)


def rivals(probs: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Scores [N] without thresholds, from mean probabilities [N, K] and given labels [N]. cleanlab's third
    score, the self-confidence, ranks as the loss does and is left out."""
    ordered = np.sort(probs, axis=1)
    of_given = mining.confidence(torch.from_numpy(probs), torch.from_numpy(labels), "label").numpy()
    return {
        "entropy": entropy(probs),
        "margin": ordered[:, -2] - ordered[:, -1],
        "loss": -np.log(np.maximum(of_given, np.finfo(probs.dtype).tiny)),
        "normalized_margin": 1 - normalized_margin(probs, labels),
        "confidence_weighted_entropy": 1 - confidence_weighted_entropy(probs, labels),
    }


def label_issues(probs: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
    """The samples that cleanlab lists by itself as wrong, bool [N], from mean probabilities [N, K] and given
    labels [N]; None where it is not installed (the extra `cleanlab`)."""
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        return None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "May not flag all label issues")  # of small classes
        return find_label_issues(labels, probs, n_jobs=1)


def ambiguity_scores(rule: Rule) -> dict[str, np.ndarray]:
    """ASM's: its ambiguous subset (0 or 1), and the depth inside the band between T_n and T_c (Eq. 6;
    negative outside)."""
    middle, half = (rule.clean + rule.noisy) / 2, (rule.clean - rule.noisy) / 2
    return {
        "asm_subset": (rule.subset == mining.AMBIGUOUS).astype(float),
        "asm_depth": half - np.abs(rule.confidence - middle),
    }


def wrong_label_scores(rule: Rule) -> dict[str, np.ndarray]:
    """ASM's: its noisy subset (0 or 1), and how far the confidence lies below T_n (Eq. 5; negative above)."""
    return {
        "asm_subset": (rule.subset == mining.NOISY).astype(float),
        "asm_depth": rule.noisy - rule.confidence,
    }


class Ranking:
    """Samples sorted by score [N] once, so that weighted rank statistics take linear time; equal scores are
    one group. Weights are small counts: as bytes they stay in the processor's cache, and sums are exact."""

    def __init__(self, score: np.ndarray) -> None:
        self.order = np.argsort(score, kind="stable")
        ordered = score[self.order]
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        self.starts = starts if len(starts) < len(score) else None
        self.sizes = np.diff(np.append(starts, len(score)))

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Of `values` [N] over each group."""
        ordered = values.take(self.order)
        if ordered.dtype == np.uint8:
            ordered = ordered.astype(np.int64)
        return ordered if self.starts is None else np.add.reduceat(ordered, self.starts)

    def auroc(self, positive: np.ndarray, negative: np.ndarray) -> float:
        """By this score; a sample counts `positive` or `negative` [N] times (uint8), a tie as a half."""
        yes, no = self.sums(positive), self.sums(negative)
        twice = int((yes * (2 * np.cumsum(no) - no)).sum())
        return twice / (2 * int(yes.sum()) * int(no.sum()))

    def ranks(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of each group where sample i occurs weights[i] times (uint8): its size, its mid-rank, centred."""
        mass = self.sums(weights)
        cumulated = np.cumsum(mass)
        return mass, cumulated - (mass + cumulated[-1]) / 2


class Target:
    """What scores are compared with by Spearman's rank correlation. `values`: [N]."""

    def __init__(self, values: np.ndarray) -> None:
        self.ranking = Ranking(values)

    def spearman(self, rankings: list[Ranking], weights: np.ndarray) -> list[float]:
        """With each ranking of the same samples, each counted `weights` [N] times (uint8)."""
        mass, ranks = self.ranking.ranks(weights)
        spread = (mass * ranks * ranks).sum()
        weighted = np.empty(len(weights))
        weighted[self.ranking.order] = np.repeat(ranks, self.ranking.sizes)
        weighted *= weights
        found = []
        for ranking in rankings:
            mass, ranks = ranking.ranks(weights)
            together = (ranks * ranking.sums(weighted)).sum()
            found.append(float(together / np.sqrt((mass * ranks * ranks).sum() * spread)))
        return found


def assess(method: str, stored: Mapping[str, np.ndarray], rows: pd.DataFrame) -> schema.LabelQuality | None:
    """A run's own rule and its rivals on its probabilities after the last epoch. Measures have a 95 %
    bootstrap interval over the samples. None for a method without thresholds (but `WITHOUT_MINING`), and
    where nothing is known of the training images.

    Args:
        method: the run's.
        stored: the arrays of `asm.training.results.judged`.
        rows: the manifest's rows of these samples (optional `ambiguous`, `votes_*`).
    """
    if not len(stored["clean_threshold"]) and method != WITHOUT_MINING:
        return None
    probs, given, rule = stored["probabilities"], stored["given"], rule_of(stored)
    others = rivals(probs, given)
    ambiguous = _ambiguous(rows, rule, ambiguity_scores(rule) | others)
    wrong = _wrong(given != stored["true"], rule, wrong_label_scores(rule) | others, probs, given)
    return schema.LabelQuality(ambiguous=ambiguous, wrong=wrong) if ambiguous or wrong else None


def _ambiguous(rows: pd.DataFrame, rule: Rule, scores: dict[str, np.ndarray]) -> schema.AmbiguousFaces | None:
    votes, spread = votes_of(rows), None
    if votes is not None:
        spread, most = vote_entropy(votes), np.sort(votes, axis=1)
        known = most[:, -1] - most[:, -2] <= VOTES_APART
    elif "ambiguous" in rows:
        known = rows["ambiguous"].to_numpy(dtype=bool)
    else:
        return None
    if known.all() or not known.any():
        return None
    return schema.AmbiguousFaces(
        truth="blends" if votes is None else "votes",
        share=float(known.mean()),
        scores=_judged(scores, known, spread),
        subset=_hits(rule.subset == mining.AMBIGUOUS, known),
        by_subset={
            name: _contents(rule.subset == code, known, spread) for code, name in enumerate(mining.SUBSETS)
        },
    )


def _contents(inside: np.ndarray, known: np.ndarray, spread: np.ndarray | None) -> schema.SubsetContents:
    """One subset: its size, its share of ambiguous samples, how often each entropy of the votes occurs."""
    values, counts = np.empty(0), np.empty(0, int)
    if spread is not None:
        values, counts = np.unique(spread[inside], return_counts=True)
    return schema.SubsetContents(
        samples=int(inside.sum()),
        ambiguous=float(known[inside].mean()) if inside.any() else None,
        vote_entropy=values.tolist(),
        counts=counts.tolist(),
    )


def _wrong(
    wrong: np.ndarray, rule: Rule, scores: dict[str, np.ndarray], probs: np.ndarray, given: np.ndarray
) -> schema.WrongLabels | None:
    if wrong.all() or not wrong.any():
        return None
    noisy = rule.subset == mining.NOISY
    judged = _judged(scores, wrong, None)
    for name, score in scores.items():
        if name != "asm_subset":  # as many samples as ASM calls noisy, those that score highest
            top = np.zeros(len(score), dtype=bool)
            top[np.argsort(-score, kind="stable")[: noisy.sum()]] = True
            judged[name].at_asm_size = _hits(top, wrong)
    listed = label_issues(probs, given)
    return schema.WrongLabels(
        samples=len(wrong),
        share=float(wrong.mean()),
        scores=judged,
        subset=_hits(noisy, wrong),
        cleanlab=None if listed is None else _hits(listed, wrong),
    )


def _hits(called: np.ndarray, known: np.ndarray) -> schema.Hits:
    """Size, precision (None if empty) and recall of a set of samples, bool [N], against the known ones."""
    found = int((called & known).sum())
    return schema.Hits(
        samples=int(called.sum()),
        precision=found / int(called.sum()) if called.any() else None,
        recall=found / int(known.sum()),
    )


def _judged(
    scores: dict[str, np.ndarray], known: np.ndarray, spread: np.ndarray | None
) -> dict[str, schema.Score]:
    """AUROC of `known` (and rank correlation with `spread`) by each score, with intervals of the same
    resamples."""
    rankings = [Ranking(score) for score in scores.values()]
    target = None if spread is None else Target(spread)

    def measure(weights: np.ndarray) -> list[float]:
        yes, no = weights * known, weights * ~known
        if not yes.any() or not no.any():
            return [np.nan] * len(rankings) * (1 if target is None else 2)
        values = [ranking.auroc(yes, no) for ranking in rankings]
        return values if target is None else values + target.spearman(rankings, weights)

    rng, n = np.random.default_rng(0), len(known)
    value = measure(np.ones(n, np.uint8))
    with np.errstate(invalid="ignore"):  # a resample of a few samples may hold one kind only
        drawn = [
            measure(np.bincount(rng.integers(n, size=n), minlength=n).astype(np.uint8))
            for _ in range(RESAMPLES)
        ]
    low, high = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
    triples = [[finite(v) for v in triple] for triple in zip(value, low, high, strict=True)]
    auroc = triples[: len(rankings)]
    ranks = triples[len(rankings) :] or [None] * len(rankings)
    return {
        name: schema.Score(auroc=area, spearman=rank, at_asm_size=None)
        for name, area, rank in zip(scores, auroc, ranks, strict=True)
    }


def finite(value: float) -> float | None:
    """None for what is not defined (NaN), such as the rank correlation of a score that is always the same."""
    return float(value) if np.isfinite(value) else None
