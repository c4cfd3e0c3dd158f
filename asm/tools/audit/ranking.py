"""From probabilities to the table that a reviewer works through: labels that look wrong, faces that look
ambiguous."""

from __future__ import annotations

import numpy as np
import pandas as pd

from asm import mining
from asm.scores import label_quality

# What tells best; measured on FER2013's own labels (measured.json, by benchmarks/audit.py)
WRONG, AMBIGUOUS = "depth", "entropy"
# Where a T_c is not above 1/2, T_n of its class is not below: depths of different classes do not compare
WITHOUT_THRESHOLDS = "loss"


def table(
    judged: dict[str, np.ndarray], rows: pd.DataFrame, classes: list[str], folds: int
) -> tuple[pd.DataFrame, str]:
    """One row a face, the likeliest wrong label first: id, path, split, given and suggested class,
    probability of each class, ASM's subset and depth (above 0: noisy), loss, entropy, margin and cleanlab's
    scores (higher: more suspicious), both ranks from 1, and `judged`.

    Args:
        judged: the arrays of `asm.training.results.judged`.
        rows: `path` and `split` of each face, in their order.
        folds: faces of a class with fewer samples are not `judged` and come last: in some fold no network saw
            the class. 0 where there were no folds.

    Returns:
        The table, and the column that ranks wrong labels: `WRONG`, or `WITHOUT_THRESHOLDS`.
    """
    probs, given, rule = judged["probabilities"], judged["given"], label_quality.rule_of(judged)
    rivals = label_quality.rivals(probs, given)
    found = pd.DataFrame(
        {
            "id": judged["ids"].astype(object),
            "path": rows["path"].to_numpy(),
            "split": rows["split"].to_numpy(),
            "given": np.array(classes, dtype=object)[given],
            "suggested": np.array(classes, dtype=object)[probs.argmax(1)],
            **{f"p_{name}": probs[:, k] for k, name in enumerate(classes)},
            "subset": np.array(mining.SUBSETS, dtype=object)[rule.subset],
            "depth": label_quality.wrong_label_scores(rule)["asm_depth"],
            **rivals,
            "cleanlab_issue": label_quality.label_issues(probs, given),
            "judged": np.bincount(given, minlength=len(classes))[given] >= folds,
        }
    )
    score = WRONG if rule.clean.min() > 0.5 else WITHOUT_THRESHOLDS
    for rank, by in (("rank", score), ("ambiguity_rank", AMBIGUOUS)):
        suspicious = found[by].where(found["judged"], -np.inf)
        found[rank] = suspicious.rank(method="first", ascending=False).astype(int)
    if found["cleanlab_issue"].isna().all():
        found = found.drop(columns="cleanlab_issue")
    return found.sort_values("rank").reset_index(drop=True), score
