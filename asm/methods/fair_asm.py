"""ASM that spares rare classes: ours, not the paper's.

A class that few images have is learnt late: its T_c is low when mining starts, so its T_n = 1 - T_c is
high, most of its samples are called noisy, nothing teaches the class any more, and its thresholds stay
where they are. On FER+ ASM calls all of contempt noisy. Two bounds prevent that: T_n is at most a
threshold, and at most a share of a class's samples, those of the lowest confidence, are called noisy; the
others are ambiguous. The wait of `WaitingASM` is part of it; `waiting.mine_from_gap: 0` turns it off.

Related: small-loss selection class by class, so that tail classes are not neglected (CBS: Liu et al.,
Learning with Imbalanced Noisy Data by Preventing Bias in Sample Selection, 2024); in semi-supervised
learning, alignment of the predictions' class shares (ReMixMatch: Berthelot et al., ICLR 2020) and per-class
thresholds with a fairness penalty (FreeMatch: Wang et al., ICLR 2023). These choose samples or change
targets; here only what is thrown out has a bound.
"""

import torch
from torch import Tensor

from asm.basics.yaml import Section, Share
from asm.methods.waiting_asm import WaitingASM
from asm.mining import AMBIGUOUS, NOISY


class Fair(Section):
    """The section `fair` of params.yaml."""

    max_noisy: Share  # at most this share of a class is called noisy; 1: no limit
    max_threshold: Share  # T_n is at most this; 1: no limit


class FairASM(WaitingASM):
    title = "Fair ASM"
    ours = True
    sections = WaitingASM.sections | {"fair": Fair}

    def thresholds(self, mean: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Eq. 1-2, T_n bounded."""
        clean, noisy = super().thresholds(mean, labels)
        return clean, noisy.clamp(max=self.config.fair.max_threshold)

    def split(self, confidence: Tensor, labels: Tensor, clean: Tensor, noisy: Tensor) -> Tensor:
        """Eq. 4-6, a bounded share of each class noisy."""
        subset = super().split(confidence, labels, clean, noisy)
        return cap_noisy(subset, confidence, labels, self.config.fair.max_noisy)


def cap_noisy(subset: Tensor, confidence: Tensor, labels: Tensor, share: float) -> Tensor:
    """Leave at most `share` of each class's samples NOISY, those of the lowest confidence (of equal ones the
    first); the others become AMBIGUOUS. Codes [N] from codes, confidences and given labels [N]."""
    order = confidence.argsort(stable=True)
    order = order[labels[order].argsort(stable=True)]  # by class, in each by confidence
    count = torch.bincount(labels)
    rank = torch.empty_like(labels)
    rank[order] = torch.arange(len(labels), device=labels.device) - (count.cumsum(0) - count)[labels[order]]
    beyond = (subset == NOISY) & (rank + 1 > share * count[labels])
    return subset.masked_fill(beyond, AMBIGUOUS)
