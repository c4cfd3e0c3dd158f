"""Adaptive threshold learning and sample mining (paper §3.2-3.3, Eq. 1-6).

Probabilities are float tensors [N, K], labels int64 [N], thresholds float [K]. Everything is vectorised:
the cost is linear in N.
"""

import math

import torch
from torch import Tensor

CLEAN, AMBIGUOUS, NOISY = 0, 1, 2
SUBSETS = ("clean", "ambiguous", "noisy")


def mean_probabilities(p1: Tensor, p2: Tensor) -> Tensor:
    """Mean of the two networks' class probabilities, [N, K] (§3.1, inside Eq. 3)."""
    return (p1 + p2).mul_(0.5)


def clean_thresholds(probs: Tensor, labels: Tensor, previous: Tensor) -> Tensor:
    """Eq. 1: per class, the mean maximum probability over its correctly predicted samples: those whose label
    has it.

    Args:
        probs: mean probabilities [N, K], each row summing to one.
        labels: given labels [N] in 0..K-1.
        previous: thresholds [K] of the epoch before; a class without a correct prediction keeps its own.

    Returns:
        T_c, [K], in [0, 1].
    """
    top, given = probs.amax(dim=1), _of_label(probs, labels)  # a third of the time of max() with its index
    correct = (given == top).to(torch.float64)
    classes = len(previous)
    # float64 sums: a million float32 terms would lose the fourth digit on some devices
    total = torch.zeros(classes, dtype=torch.float64, device=probs.device)
    count = torch.zeros_like(total)
    total.index_add_(0, labels, top.to(torch.float64) * correct)
    count.index_add_(0, labels, correct)
    return torch.where(count > 0, (total / count.clamp(min=1)).to(previous.dtype), previous)


def noisy_thresholds(clean: Tensor, kind: str = "complement") -> Tensor:
    """Eq. 2: T_n = 1 - T_c, [K].

    Args:
        clean: T_c [K].
        kind: "complement" is Eq. 2, what T_c leaves to all other classes together; "per_class" is what it
            leaves to each of them, (1 - T_c) / (K - 1): no part of the paper.
    """
    return (1 - clean) / (len(clean) - 1 if kind == "per_class" else 1)


def confidence(probs: Tensor, labels: Tensor, kind: str) -> Tensor:
    """Eq. 3: each sample's confidence, [N] in [0, 1].

    Args:
        probs: mean probabilities [N, K].
        labels: given labels [N].
        kind: "max" is Eq. 3 as printed, the largest mean probability, which does not depend on the label;
            "label" is the mean probability of the given label, as §1 and §3.3 describe it. The two agree on
            every correctly predicted sample, so Eq. 1 is the same for both.

    Raises:
        ValueError: on any other `kind`.
    """
    if kind == "max":
        return probs.max(dim=1).values
    if kind == "label":
        return _of_label(probs, labels)
    raise ValueError(f"confidence kind '{kind}': expected 'label' or 'max'")


def partition(confidence: Tensor, labels: Tensor, clean: Tensor, noisy: Tensor) -> Tensor:
    """Eq. 4-6: every sample in exactly one subset, by the thresholds of its given label's class.

    Args:
        confidence: [N] from `confidence`.
        labels: given labels [N].
        clean: T_c [K]; a sample is CLEAN if strictly above it.
        noisy: T_n [K]; a sample is NOISY if strictly below it and not CLEAN (where T_n > T_c, clean wins);
            all others, both bounds included, are AMBIGUOUS.

    Returns:
        int8 codes [N] out of CLEAN, AMBIGUOUS, NOISY.
    """
    ambiguous_or_noisy = torch.where(
        confidence < noisy.index_select(0, labels), _code(NOISY, labels), _code(AMBIGUOUS, labels)
    )
    return torch.where(confidence > clean.index_select(0, labels), _code(CLEAN, labels), ambiguous_or_noisy)


def cap_noisy(subset: Tensor, confidence: Tensor, labels: Tensor, share: float) -> Tensor:
    """Leave at most `share` of each class's samples NOISY, those of the lowest confidence; the others become
    AMBIGUOUS. No part of the paper. Codes [N] from codes, confidences and given labels [N]."""
    order = confidence.argsort(stable=True)
    order = order[labels[order].argsort(stable=True)]  # by class, in each by confidence
    count = torch.bincount(labels)
    rank = torch.empty_like(labels)
    rank[order] = torch.arange(len(labels), device=labels.device) - (count.cumsum(0) - count)[labels[order]]
    beyond = (subset == NOISY) & (rank + 1 > share * count[labels])
    return torch.where(beyond, _code(AMBIGUOUS, labels), subset)


def sharpen(probs: Tensor, temperature: float) -> Tensor:
    """Probabilities [N, K] as if their logits were divided by `temperature` (above 1: less confident)."""
    return (probs.clamp(min=torch.finfo(probs.dtype).tiny).log() / temperature).softmax(dim=1)


def calibrate(probs: Tensor, labels: Tensor) -> float:
    """The temperature in 1/4..8 at which held-out labels [N] are likeliest under mean probabilities [N, K]
    (Guo et al., 2017), on a grid of steps of 3.5 %. No part of the paper."""
    grid = torch.linspace(math.log(0.25), math.log(8), 101).exp().tolist()
    likely = [_of_label(sharpen(probs, t), labels).log().mean().item() for t in grid]
    return grid[likely.index(max(likely))]


def _of_label(probs: Tensor, labels: Tensor) -> Tensor:
    return probs.gather(1, labels[:, None]).squeeze(1)


def _code(code: int, labels: Tensor) -> Tensor:
    return torch.tensor(code, dtype=torch.int8, device=labels.device)
