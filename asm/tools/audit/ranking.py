"""From probabilities to the table that a reviewer works through: labels that look wrong, faces that look
ambiguous."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from asm import mining
from asm.scores import label_quality
from asm.tools.audit.judgement import Judgement

# What tells best; measured on FER2013's own labels (measured.json, by benchmarks/audit.py)
WRONG, AMBIGUOUS = "depth", "entropy"
# Where a T_c is not above 1/2, T_n of its class is not below: depths of different classes do not compare
WITHOUT_THRESHOLDS = "loss"


def table(
    judgement: Judgement, rows: pd.DataFrame, classes: list[str], folds: int
) -> tuple[pd.DataFrame, str]:
    """One row a face, the likeliest wrong label first: id, path, split, given and suggested class,
    probability of each class, ASM's subset and depth (above 0: noisy), loss, entropy, margin and cleanlab's
    scores (higher: more suspicious), both ranks from 1, and `judged`.

    Args:
        rows: `path` and `split` of each face, in the judgement's order.
        folds: faces of a class with fewer samples are not `judged` and come last: in some fold no network saw
            the class. 0 where there were no folds.

    Returns:
        The table, and the column that ranks wrong labels: `WRONG`, or `WITHOUT_THRESHOLDS`.
    """
    probs, given = judgement.probabilities, judgement.given
    rule = label_quality.rule_of(judgement.config, judgement.history, probs, given)
    rivals = label_quality.rivals(probs, given)
    found = pd.DataFrame(
        {
            "id": judgement.ids,
            "path": rows["path"].to_numpy(),
            "split": rows["split"].to_numpy(),
            "given": np.array(classes, dtype=object)[given],
            "suggested": np.array(classes, dtype=object)[probs.argmax(1)],
            **{f"p_{name}": probs[:, k] for k, name in enumerate(classes)},
            "subset": np.array(mining.SUBSETS, dtype=object)[rule.subsets],
            "depth": label_quality.wrong_label_scores(rule)["asm_depth"],
            **rivals,
            "cleanlab_issue": _issues(probs, given),
            "judged": np.bincount(given, minlength=len(classes))[given] >= folds,
        }
    )
    score = WRONG if rule.clean.min() > 0.5 else WITHOUT_THRESHOLDS
    found["rank"] = _ranks(found[score].where(found["judged"], -np.inf))
    found["ambiguity_rank"] = _ranks(found[AMBIGUOUS].where(found["judged"], -np.inf))
    if found["cleanlab_issue"].isna().all():
        found = found.drop(columns="cleanlab_issue")
    return found.sort_values("rank").reset_index(drop=True), score


def _ranks(score: pd.Series) -> np.ndarray:
    """From 1, the highest first; equal ones in their order."""
    ranks = np.empty(len(score), np.int64)
    ranks[np.argsort(-score.to_numpy(), kind="stable")] = np.arange(1, len(score) + 1)
    return ranks


def _issues(probs: np.ndarray, given: np.ndarray) -> np.ndarray | None:
    """cleanlab's own choice of wrong labels, bool [N]; None where it is not installed."""
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        return None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "May not flag all label issues")  # of small classes
        return find_label_issues(given, probs, n_jobs=1)
