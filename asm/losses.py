"""Tri-regularisation (paper §3.4, Eq. 7-11). `z` are logits [n, K], `y` labels [n].

Every loss sums over the two networks as printed and divides the sum over its samples by `size`: the number of
its samples by default, the batch's size where each sample of a batch is to weigh the same. A loss of no
samples is exactly 0.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from asm.basics.yaml import Scale, Section, Share, Weight


class Weights(Section):
    """The weights of Eq. 8, 10 and 12, as params.yaml has them for ASM and for MAN."""

    omega: Weight  # Eq. 12: of L_mut
    gamma: Weight  # Eq. 12: of L_usc
    beta: Weight  # Eq. 10
    lambda_max: Share  # Eq. 10
    ramp_end: Scale  # Eq. 10: e_r as a share of the epochs

    def lambda_at(self, epoch: int, epochs: int) -> float:
        """Eq. 10 at `epoch` (counted from 1) of `epochs`."""
        return ramp(epoch, self.ramp_end * epochs, self.lambda_max, self.beta)


def _mean(per_sample: Tensor, size: int | None) -> Tensor:
    return per_sample.sum() / max(len(per_sample) if size is None else size, 1)


def supervised(z1: Tensor, z2: Tensor, y: Tensor, size: int | None = None) -> Tensor:
    """Eq. 7: cross-entropy of both networks, summed over the networks. Scalar.

    >>> z1, z2 = torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    >>> round(supervised(z1, z2, torch.tensor([0])).item(), 4)
    0.4402
    """
    per_sample = F.cross_entropy(z1, y, reduction="none") + F.cross_entropy(z2, y, reduction="none")
    return _mean(per_sample, size)


def contrastive(z1: Tensor, z2: Tensor, size: int | None = None) -> Tensor:
    """Eq. 9: D_KL(p1 || p2) + D_KL(p2 || p1), gradient through all four arguments. Scalar."""
    log1, log2 = F.log_softmax(z1, dim=1), F.log_softmax(z2, dim=1)
    # the two directions share their terms: sum_k (p1 - p2) (log p1 - log p2)
    return _mean(((log1.exp() - log2.exp()) * (log1 - log2)).sum(dim=1), size)


def ramp(epoch: int, ramp_end: float, lambda_max: float = 0.9, beta: float = 0.65) -> float:
    """Eq. 10: lambda at `epoch` (counted from 1), largest at `ramp_end`; not clipped after it.

    Example: lambda_max 0.9, beta 0.65, ramp_end 90 give .4766 at epoch 1 and .9 at epoch 90.
    """
    return lambda_max * math.exp(-beta * (1 - epoch / ramp_end) ** 2)


def mutual(z1: Tensor, z2: Tensor, y: Tensor, weight: float, size: int | None = None) -> Tensor:
    """Eq. 8: (1 - lambda) L_CE + lambda L_con with `weight` = lambda; L_CE is Eq. 7's sum. Scalar.

    >>> z1, z2 = torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    >>> [round(mutual(z1, z2, torch.tensor([0]), weight).item(), 4) for weight in (0.0, 0.9, 1.0)]
    [0.4402, 0.1788, 0.1497]
    """
    return (1 - weight) * supervised(z1, z2, y, size) + weight * contrastive(z1, z2, size)


def consistency(
    weak1: Tensor, strong1: Tensor, weak2: Tensor, strong2: Tensor, size: int | None = None
) -> Tensor:
    """Eq. 11: mean squared error between the probabilities of the weak and the strong view, summed over the
    networks. Arguments are logits [n, K]; the mean runs over the classes too; gradient through both views.

    >>> weak, strong = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    >>> round(consistency(weak, strong, weak, weak).item(), 4)  # of the first network alone
    0.145
    """
    per_sample = torch.zeros(len(weak1), device=weak1.device, dtype=weak1.dtype)
    for weak, strong in ((weak1, strong1), (weak2, strong2)):
        per_sample = per_sample + (weak.softmax(dim=1) - strong.softmax(dim=1)).square().mean(dim=1)
    return _mean(per_sample, size)
