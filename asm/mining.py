"""Adaptive threshold learning and sample mining (paper §3.2-3.3, Eq. 1-6).

Probabilities are float tensors [N, K], labels int64 [N], thresholds float [K]. Everything is vectorised: the
cost is linear in N.
"""

import torch
from torch import Tensor

CLEAN, AMBIGUOUS, NOISY = 0, 1, 2
SUBSETS = ("clean", "ambiguous", "noisy")


def mean_probabilities(p1: Tensor, p2: Tensor) -> Tensor:
    """Mean of the two networks' class probabilities, [N, K] (§3.1, inside Eq. 3)."""
    return (p1 + p2).mul_(0.5)


def clean_thresholds(probs: Tensor, labels: Tensor, previous: Tensor) -> Tensor:
    """Eq. 1: for each class, the mean top probability over samples whose given label is the predicted class.

    Args:
        probs: mean probabilities [N, K], each row summing to one.
        labels: given labels [N] in 0..K-1.
        previous: thresholds [K] of the epoch before; a class without a correct prediction keeps its own.

    Returns:
        T_c, [K], in [0, 1].
    """
    predicted = probs.argmax(dim=1)  # of equal probabilities the first
    correct = (predicted == labels).to(torch.float64)
    # float64 sums: a million float32 terms would lose the fourth digit on some devices
    total = torch.zeros(len(previous), dtype=torch.float64, device=probs.device)
    count = torch.zeros_like(total)
    total.index_add_(0, labels, probs.amax(dim=1).to(torch.float64) * correct)
    count.index_add_(0, labels, correct)
    return torch.where(count > 0, (total / count.clamp(min=1)).to(previous.dtype), previous)


def noisy_thresholds(clean: Tensor) -> Tensor:
    """Eq. 2: T_n = 1 - T_c, both [K]."""
    return 1 - clean


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
        return probs.gather(1, labels[:, None]).squeeze(1)
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
    below = confidence < noisy.index_select(0, labels)
    above = confidence > clean.index_select(0, labels)
    subset = torch.where(below, _code(NOISY, labels), _code(AMBIGUOUS, labels))
    return torch.where(above, _code(CLEAN, labels), subset)


def rows_of(subset: Tensor, device: torch.device) -> list[Tensor]:
    """The clean, the ambiguous and the noisy rows of codes [B], on `device`. The codes are on the CPU, where
    a GPU need not wait for the number of rows."""
    rows = ((subset == code).nonzero().squeeze(1) for code in (CLEAN, AMBIGUOUS, NOISY))
    return [one.to(device, non_blocking=True) for one in rows]


def shares(subset: Tensor) -> dict[str, float]:
    """Each subset's share of codes [N], by `subset_<name>` as the history has it."""
    share = torch.bincount(subset.long(), minlength=len(SUBSETS)) / len(subset)
    return {f"subset_{name}": value for name, value in zip(SUBSETS, share.tolist(), strict=True)}


def _code(code: int, labels: Tensor) -> Tensor:
    return torch.tensor(code, dtype=torch.int8, device=labels.device)
