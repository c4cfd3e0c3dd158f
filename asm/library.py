"""ASM for a training loop of your own: thresholds and subsets, the three losses, labels ranked by suspicion.

    from asm.library import consistency, mine, mutual, ramp, rank_label_issues, supervised

Arrays may be NumPy's or torch's; what `mine` returns is of the same kind, on the same device. The losses and
`ramp` are those of asm/losses.py. A whole loop: docs/library.md.
"""

from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from asm import mining
from asm.basics.errors import InputError
from asm.losses import consistency, contrastive, mutual, ramp, supervised
from asm.mining import AMBIGUOUS, CLEAN, NOISY
from asm.scores import label_quality

__all__ = [
    "AMBIGUOUS",
    "CLEAN",
    "NOISY",
    "Mined",
    "consistency",
    "contrastive",
    "mine",
    "mutual",
    "ramp",
    "rank_label_issues",
    "supervised",
]

Array = TypeVar("Array", np.ndarray, Tensor)
LOSS = "self_confidence"  # cleanlab's name of the score that ranks as the loss does
RANKINGS = ("depth", LOSS, "normalized_margin", "confidence_weighted_entropy")


class Mined(NamedTuple):
    """What Eq. 1-6 make of N samples of K classes: `subset`, int8 [N] of CLEAN, AMBIGUOUS and NOISY; the
    thresholds `clean` (T_c) and `noisy` (T_n), [K]; `confidence` [N]."""

    subset: np.ndarray | Tensor
    clean: np.ndarray | Tensor
    noisy: np.ndarray | Tensor
    confidence: np.ndarray | Tensor


def mine(
    probabilities: Array, labels: Array, previous: Array | None = None, confidence: str = "label"
) -> Mined:
    """Thresholds of each class and the subset of each sample (Eq. 1-6), once an epoch after the warm-up.

    Args:
        probabilities: [N, K], of two networks their mean; each row sums to one.
        labels: given labels [N], whole numbers 0..K-1.
        previous: `clean` of the epoch before, [K]: T_c of a class of which no label is predicted (none: 0.8).
        confidence: "label" or "max", see `asm.mining.confidence`.

    Raises:
        InputError: other shapes, labels out of range, probabilities that are none.

    >>> import numpy as np
    >>> probabilities = np.array([[0.9, 0.1], [0.75, 0.25], [0.6, 0.4], [0.05, 0.95], [0.98, 0.02]])
    >>> mined = mine(probabilities, labels=np.array([0, 0, 0, 1, 1]))
    >>> mined.clean  # of class 0 the mean of 0.9, 0.75 and 0.6
    array([0.75, 0.95])
    >>> mined.noisy.round(2)
    array([0.25, 0.05])
    >>> names = {CLEAN: "clean", AMBIGUOUS: "ambiguous", NOISY: "noisy"}
    >>> [names[code] for code in mined.subset.tolist()]  # a bound belongs to the ambiguous ones
    ['clean', 'ambiguous', 'ambiguous', 'ambiguous', 'noisy']
    """
    probs, given = _checked(probabilities, labels)
    if previous is None:
        before = probs.new_full((probs.shape[1],), label_quality.INITIAL_THRESHOLD)
    else:
        before = torch.as_tensor(previous, dtype=probs.dtype, device=probs.device)
    clean = mining.clean_thresholds(probs, given, before)
    noisy = mining.noisy_thresholds(clean)
    certain = mining.confidence(probs, given, confidence)
    found = Mined(mining.partition(certain, given, clean, noisy), clean, noisy, certain)
    return found if isinstance(probabilities, Tensor) else Mined(*(value.numpy() for value in found))


def rank_label_issues(
    labels: np.ndarray | Tensor, pred_probs: np.ndarray | Tensor, *, return_indices_ranked_by: str = "depth"
) -> np.ndarray:
    """Indices of all N samples, int64 [N], the one whose label is most likely wrong first.

    Called as cleanlab's `find_label_issues(labels, pred_probs)`, which returns those alone that it calls
    wrong; here these are the first `(mine(pred_probs, labels).subset == NOISY).sum()`.

    Args:
        labels: given labels [N], whole numbers 0..K-1.
        pred_probs: [N, K], of networks that were not trained on the sample (by cross-validation): others
            repeat wrong labels.
        return_indices_ranked_by: "depth", how far the given label's probability lies below T_n of its class
            (where a T_c is not above 1/2, depths do not compare: the probability itself, as for
            "self_confidence"); or cleanlab's "self_confidence", "normalized_margin" or
            "confidence_weighted_entropy". How good each is: docs/commands.md.

    Raises:
        InputError: as of `mine`; an unknown ranking.

    >>> import numpy as np
    >>> pred_probs = np.array([[0.9, 0.1], [0.75, 0.25], [0.6, 0.4], [0.05, 0.95], [0.98, 0.02]])
    >>> rank_label_issues([0, 0, 0, 1, 1], pred_probs).tolist()
    [4, 2, 1, 0, 3]
    """
    probs, given = (value.cpu() for value in _checked(pred_probs, labels))
    by = return_indices_ranked_by
    if by not in RANKINGS:
        raise InputError(f"return_indices_ranked_by: expected one of {', '.join(RANKINGS)}; found {by!r}")
    rule = label_quality.paper_rule(probs.numpy(), given.numpy())
    if by == "depth" and rule.clean.min() > 0.5:
        score = label_quality.wrong_label_scores(rule)["asm_depth"]
    else:
        name = "loss" if by in ("depth", LOSS) else by
        score = label_quality.rivals(probs.numpy(), given.numpy())[name]
    return np.argsort(-score, kind="stable")


def _checked(probabilities: np.ndarray | Tensor, labels: np.ndarray | Tensor) -> tuple[Tensor, Tensor]:
    """Both as tensors, on the device of the probabilities."""
    probs = torch.as_tensor(probabilities).detach()
    given = torch.as_tensor(labels, device=probs.device)
    if probs.ndim != 2 or given.shape != probs.shape[:1] or not len(given):
        shapes = f"{tuple(probs.shape)} and {tuple(given.shape)}"
        raise InputError(f"expected probabilities [N, K] and labels [N], found {shapes}")
    sums_to_one = ((probs.sum(1) - 1).abs() < 1e-2).all()
    if not (probs.is_floating_point() and sums_to_one and (probs >= 0).all()):
        raise InputError("expected probabilities whose rows sum to 1, found others; are they logits?")
    if given.is_floating_point() or given.min() < 0 or given.max() >= probs.shape[1]:
        raise InputError(f"expected labels as whole numbers 0 to {probs.shape[1] - 1}, found others")
    return probs, given.long()
