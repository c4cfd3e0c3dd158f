"""Zhang, Sun, An, Wang: ASM: Adaptive Sample Mining for In-The-Wild Facial Expression Recognition, 2023.

Two networks agree on class-wise thresholds, which split the training set each epoch into clean, ambiguous
and noisy samples; each subset has its own loss. The equations are in mining.py (1-6) and losses.py (7-11).
This file is the paper and the choices where it is silent (docs/paper.md, params.yaml), and no more: what we
changed is in waiting_asm.py and fair_asm.py, which override `measure`, `thresholds`, `mines`, `split` or
`learnt`.

The sum of a subset's losses is divided by the size of the batch, so that each sample weighs the same; the
paper does not say. The strong view is RandAugment at 10 of 30, a third of the strength of the authors'
earlier released code (MAN); on rendered faces at 30 % noise no effect was seen (87.7 % ours, 87.1 % at full
strength, one seed).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from asm import losses, mining
from asm.basics.yaml import Section, Share
from asm.methods.base import Batch, Method, Mined
from asm.parts.batches import Samples
from asm.parts.views import StrongAugment

if TYPE_CHECKING:
    from asm.methods.config import CellConfig


class Thresholds(Section):
    """§3.2-3.3, Eq. 1-6."""

    adaptive: bool  # false: the initial values throughout
    init_clean: Share
    init_noisy: Share
    confidence: Literal["label", "max"]


class Losses(losses.Weights):
    """§3.4, Eq. 7-12, and what the ablation of Table 2 leaves out."""

    replace_with_ce: list[Literal["mutual", "consistency"]]
    drop_noisy: bool


class ASM(Method):
    title = "ASM"
    sections = {"thresholds": Thresholds, "losses": Losses, "strong_augment": StrongAugment}

    num_networks = 2

    def __init__(
        self, config: CellConfig, networks: list[nn.Module], num_classes: int, samples: Samples
    ) -> None:
        super().__init__(config, networks, num_classes, samples)
        self.register_buffer("clean_threshold", torch.full((num_classes,), config.thresholds.init_clean))
        self.register_buffer("noisy_threshold", torch.full((num_classes,), config.thresholds.init_noisy))
        self.subset: Tensor | None = None  # int8 [N] on the CPU; None during warm-up

    def start_epoch(self, epoch: int) -> dict[str, float]:
        """Eq. 1-6 over the whole training set, from the first epoch after warm-up on."""
        if epoch <= self.config.training.warmup_epochs:
            return {}
        probs = self.predict_all(self.samples.faces)
        logs = self.measure(probs)
        mined = self.mine(probs, self.samples.labels)
        self.clean_threshold, self.noisy_threshold = mined.clean_threshold, mined.noisy_threshold
        logs |= {f"threshold_clean_{k}": t for k, t in enumerate(self.clean_threshold.tolist())}
        logs |= {f"threshold_noisy_{k}": t for k, t in enumerate(self.noisy_threshold.tolist())}
        if not self.mines():
            self.subset = None
            return logs
        self.subset = mined.subset.cpu()
        return {**mining.shares(self.subset), **logs, "lambda": self._lambda(epoch)}

    def mine(self, probs: Tensor, labels: Tensor, adapt: bool = True) -> Mined:
        """Eq. 1-6 from both networks' probabilities [2, N, K] and given labels [N]."""
        mean = mining.mean_probabilities(*probs)
        clean, noisy = self.clean_threshold, self.noisy_threshold
        if adapt and self.config.thresholds.adaptive:
            clean, noisy = self.thresholds(mean, labels)
        confidence = mining.confidence(mean, labels, self.config.thresholds.confidence)
        return Mined(self.split(confidence, labels, clean, noisy), confidence, clean, noisy)

    def measure(self, probs: Tensor) -> dict[str, float]:
        """What else is seen in the probabilities [2, N, K] of the training set; numbers for the history."""
        return {}

    def thresholds(self, mean: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Eq. 1-2: T_c and T_n, both [K], from mean probabilities [N, K] and given labels [N]."""
        clean = mining.clean_thresholds(mean, labels, self.clean_threshold)
        return clean, mining.noisy_thresholds(clean)

    def mines(self) -> bool:
        """Whether this epoch learns from the subsets; if not, it goes on as the warm-up."""
        return True

    def split(self, confidence: Tensor, labels: Tensor, clean: Tensor, noisy: Tensor) -> Tensor:
        """Eq. 4-6: int8 codes [N] from confidences and given labels [N] and thresholds [K]."""
        return mining.partition(confidence, labels, clean, noisy)

    def learnt(self, batch: Batch) -> Batch:
        """The samples of a batch that the losses see."""
        return batch

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Eq. 12: L_sup + omega L_mut + gamma L_usc; during warm-up cross-entropy on all samples."""
        batch = self.learnt(batch)
        y, options, weak = batch.labels, self.config.losses, self.weak(batch)
        if self.subset is None:
            z1, z2 = self.logits(weak)
            return {"total": losses.supervised(z1.float(), z2.float(), y)}

        clean, ambiguous, noisy = mining.rows_of(self.subset[batch.rows_cpu], y.device)
        # one forward per network: the weak batch and the noisy samples' strong views together
        if "consistency" not in options.replace_with_ce and not options.drop_noisy:
            weak = torch.cat([weak, self.strong_view(batch.faces[noisy], batch.generator)])
        z1, z2 = (z.float() for z in self.logits(weak))
        n = len(y)
        (w1, s1), (w2, s2) = (z1[:n], z1[n:]), (z2[:n], z2[n:])

        sup = losses.supervised(w1[clean], w2[clean], y[clean], n)
        if "mutual" in options.replace_with_ce:  # Table 2: an excluded loss becomes cross-entropy
            mut = losses.supervised(w1[ambiguous], w2[ambiguous], y[ambiguous], n)
        else:
            weight = self._lambda(batch.epoch)
            mut = losses.mutual(w1[ambiguous], w2[ambiguous], y[ambiguous], weight, n)
        if options.drop_noisy:
            usc = torch.zeros_like(sup)
        elif "consistency" in options.replace_with_ce:
            usc = losses.supervised(w1[noisy], w2[noisy], y[noisy], n)
        else:
            usc = losses.consistency(w1[noisy], s1, w2[noisy], s2, n)
        total = sup + options.omega * mut + options.gamma * usc
        return {"total": total, "sup": sup, "mut": mut, "usc": usc}

    def _lambda(self, epoch: int) -> float:
        return self.config.losses.lambda_at(epoch, self.config.training.epochs)
