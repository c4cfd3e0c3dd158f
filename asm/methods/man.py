"""Zhang, Sun, Li, Wang: MAN: Mining Ambiguity and Noise for Facial Expression Recognition in the Wild,
Pattern Recognition Letters 2022.

At each epoch's start both networks predict the training set: two right predictions make a sample clean, one
ambiguous, none noisy. Clean samples are learnt with cross-entropy, ambiguous ones with cross-entropy and the
networks' agreement, noisy ones with the agreement of a weak and a strong view, without their labels. The
losses are ASM's (losses.py), averaged over the two networks and over a subset's own size.

`forward`: each subset goes through the networks by itself (as released), so that BatchNorm sees subsets, or
all together as in ASM. Where the feature map is 1 x 1 BatchNorm cannot normalise a single sample: there,
a batch with a subset of one goes through all together.
`mining_view`: a weak view (as released) or none.
Departures from the released code:
- the class at test comes from the networks' mean probability, not from their mean logits, so that each
  network's own accuracy is known too
- accuracies are those of the last epochs, not of the best one on the test set
- the strong view's magnitude is 10 of 30, a third of the released strength (10 of 10: shear .3, rotation 30
  degrees, colours x 1.9, ...), but for the translation (34 px of 224 here, 10 px released); on rendered faces
  at 30 % noise no effect was seen (86.9 % ours, 87.0 % with the released view, one seed)
- strong views are drawn for the noisy samples only; the views themselves are those of views.py
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from asm import losses, mining
from asm.basics.yaml import Scale, Section, Share, Weight
from asm.methods.base import Batch, Method, Mined
from asm.methods.config import CellConfig
from asm.parts.batches import Samples
from asm.parts.views import StrongAugment


class Options(Section):
    """The section `man` of params.yaml."""

    omega: Weight  # weight of the ambiguous samples' loss
    gamma: Weight  # weight of the noisy samples' loss
    beta: Weight
    lambda_max: Share
    ramp_end: Scale  # share of the epochs
    forward: Literal["split", "joint"]  # a forward pass per subset, or one for all of a batch
    mining_view: Literal["weak", "eval"]


class MAN(Method):
    title = "MAN"
    sections = {"man": Options, "strong_augment": StrongAugment}

    num_networks = 2

    def __init__(
        self, config: CellConfig, networks: list[nn.Module], num_classes: int, samples: Samples
    ) -> None:
        super().__init__(config, networks, num_classes, samples)
        _, self.side = networks[0].feature_size(config.training.image_size)
        self.subset: Tensor | None = None  # int8 [N] on the CPU; None during warm-up

    def start_epoch(self, epoch: int) -> dict[str, float]:
        """Co-division of the training set, from the first epoch after warm-up on."""
        if epoch <= self.config.training.warmup_epochs:
            return {}
        labels = self.samples.labels
        probs = self.predict_all(self.samples.faces, self._mining_view(epoch))
        self.subset = self.mine(probs, labels).subset.cpu()
        shares = torch.bincount(self.subset.long(), minlength=3) / len(labels)
        return {
            **{f"subset_{name}": share for name, share in zip(mining.SUBSETS, shares.tolist(), strict=True)},
            "lambda": self._lambda(epoch),
        }

    def mine(self, probs: Tensor, labels: Tensor, adapt: bool = True) -> Mined:
        """Subsets by the number of networks that predict the label, from [2, N, K] and [N]."""
        right = (probs.argmax(dim=2) == labels).sum(dim=0)
        codes = [mining.NOISY, mining.AMBIGUOUS, mining.CLEAN]  # of 0, 1 and 2 right predictions
        return Mined(torch.tensor(codes, dtype=torch.int8, device=labels.device)[right])

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """L_clean + omega L_ambiguous + gamma L_noisy; during warm-up cross-entropy on all samples."""
        y, options, weak = batch.labels, self.config.man, self.weak(batch)
        if self.subset is None:
            z1, z2 = self.logits(weak)
            return {"total": losses.supervised(z1.float(), z2.float(), y) / 2}

        subset = self.subset[batch.rows_cpu]
        clean, ambiguous, noisy = (
            (subset == code).nonzero().squeeze(1).to(y.device, non_blocking=True)
            for code in (mining.CLEAN, mining.AMBIGUOUS, mining.NOISY)
        )
        strong = self.strong_view(batch.faces[noisy], batch.generator)
        (c1, c2), (w1, w2), (s1, s2), (a1, a2) = self._forward(
            [weak[clean], weak[noisy], strong, weak[ambiguous]]
        )
        sup = losses.supervised(c1, c2, y[clean]) / 2
        mut = losses.mutual(a1, a2, y[ambiguous], self._lambda(batch.epoch)) / 2
        usc = losses.consistency(w1, s1, w2, s2) / 2
        total = sup + options.omega * mut + options.gamma * usc
        return {"total": total, "sup": sup, "mut": mut, "usc": usc}

    def _forward(self, parts: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Both networks' logits, float32 [n, K], of each part [n, 3, S, S]; a part may be empty."""
        sizes = [len(part) for part in parts]
        # one sample's 1 x 1 map cannot be normalised
        too_small = self.side == 1 and 1 in sizes
        if self.config.man.forward == "joint" or too_small:
            z1, z2 = (z.float().split(sizes) for z in self.logits(torch.cat(parts)))
            return list(zip(z1, z2, strict=True))
        nothing = parts[0].new_zeros(0, self.num_classes)
        return [
            tuple(z.float() for z in self.logits(part)) if len(part) else (nothing, nothing) for part in parts
        ]

    def _mining_view(self, epoch: int) -> Callable[[Tensor], Tensor]:
        if self.config.man.mining_view == "eval":
            return self.plain
        generator = Generator().manual_seed(self.config.seed * 1000 + epoch)  # not the training views'
        return partial(self.weak_view, generator=generator)

    def _lambda(self, epoch: int) -> float:
        options = self.config.man
        ramp_end = options.ramp_end * self.config.training.epochs
        return losses.ramp(epoch, ramp_end, options.lambda_max, options.beta)
