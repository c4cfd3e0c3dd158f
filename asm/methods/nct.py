"""Sarfraz, Arani, Zonooz: Noisy Concurrent Training for Efficient Learning under Label Noise, WACV 2021.

Two networks learn from the labels and from each other's softened predictions, with a weight that moves from
the former to the latter. Each sees labels of its own, some of them replaced at random anew in every batch
("target variability"), so that neither memorises wrong ones.

`beta`, `ramp_end`: of the weight's ramp, as released (5, and 20 of 200 epochs); ASM cites 0.65 and 90 of 100.
`flip_rate`: the rate of replacement is the first during `training.warmup_epochs` (3 in the released schedule)
and rises towards the last as r_0 + (r_1 - r_0) log(t) / log(T), as released: T epochs follow the warm-up, and
t counts them from 0, so that the first two still have r_0 and the last has a little less than r_1 (0.6995 of
200 epochs, 0.67 of 12). A replacement is drawn from all classes, so that 1 / K of them change nothing.
Departures:
- one optimiser instead of two: the same steps, as no gradient passes from one network's loss to the other
- both networks start from the same backbone, with different heads (the release: two independent ones), so
  that they have less to learn from each other at first
- both networks see the same view; under its own schedule that is a flip alone, where the release also crops
  32-px images padded by 4
- the class at test comes from the networks' mean probability, not from their summed logits, so that each
  network's own accuracy is known too
"""

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Generator, Tensor

from asm import losses
from asm.basics.yaml import Scale, Section, Share, Weight
from asm.methods.base import Batch, Method


class Options(Section):
    """The section `nct` of params.yaml."""

    temperature: Scale
    alpha_max: Share
    beta: Weight  # as released; ASM cites 0.65
    ramp_end: Scale  # share of the epochs: 20 of 200; ASM cites 0.9
    # in the warm-up, and what it rises towards
    flip_rate: Annotated[list[Share], Field(min_length=2, max_length=2)]


class NCT(Method):
    title = "NCT"
    sections = {"nct": Options}

    num_networks = 2

    def start_epoch(self, epoch: int) -> dict[str, float]:
        return {"alpha": self._alpha(epoch), "flip_rate": self._flip_rate(epoch)}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Over both networks, the sum of (1 - alpha) CE(own labels) + alpha T^2 KL(peer || own)."""
        temperature, alpha = self.config.nct.temperature, self._alpha(batch.epoch)
        z1, z2 = (z.float() for z in self.logits(self.weak(batch)))
        ce, kl = torch.zeros_like(z1[0, 0]), torch.zeros_like(z1[0, 0])
        for own, peer in ((z1, z2), (z2, z1)):
            ce = ce + F.cross_entropy(own, self.vary(batch.labels, batch.epoch, batch.generator))
            log_own, log_peer = (F.log_softmax(z / temperature, dim=1) for z in (own, peer.detach()))
            kl = kl + temperature**2 * F.kl_div(log_own, log_peer, reduction="batchmean", log_target=True)
        return {"total": (1 - alpha) * ce + alpha * kl, "ce": ce, "kl": kl}

    def vary(self, labels: Tensor, epoch: int, generator: Generator) -> Tensor:
        """Labels [B], each replaced with the epoch's rate by one drawn uniformly from all classes."""
        chosen = torch.rand(len(labels), generator=generator) < self._flip_rate(epoch)
        shift = torch.randint(self.num_classes, (len(labels),), generator=generator)
        return (labels + (chosen * shift).to(labels.device)) % self.num_classes

    def _alpha(self, epoch: int) -> float:
        """alpha_max exp(-beta (1 - e / E_r)^2) with e counted from 0, constant from E_r on."""
        options = self.config.nct
        ramp_end = options.ramp_end * self.config.training.epochs
        return losses.ramp(min(epoch - 1, ramp_end), ramp_end, options.alpha_max, options.beta)

    def _flip_rate(self, epoch: int) -> float:
        first, last = self.config.nct.flip_rate
        warmup = self.config.training.warmup_epochs
        passed, ramp = epoch - 1 - warmup, self.config.training.epochs - warmup
        if passed <= 1:
            return first
        return first + (last - first) * math.log(passed) / math.log(ramp)
