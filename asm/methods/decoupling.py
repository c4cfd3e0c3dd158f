"""Malach, Shalev-Shwartz: Decoupling "when to update" from "how to update", NeurIPS 2017.

Two networks see the same batch and learn from the samples on which their predicted classes differ, and from
no other: a wrong label does not make two networks disagree, so ever fewer wrong labels are learnt from.

Before, during `training.warmup_epochs`, they learn from all samples. `smallest_share`: the loss is divided by
the number of samples learnt from, but by at least this share of the batch, so that one sample does not weigh
like a batch. Departures:
- one optimiser for both networks, over the sum of their losses, instead of two: the same steps, for a
  network's parameters are in one of the two losses only
- the released code's L2 term is the optimiser's weight decay: 0.01 x 0.0005, so 5e-6 under `published`
- the released code has no warm-up, so none under `published`: there only disagreement ever teaches, at first
  that of the two heads, as the backbones start from the same weights
- its own views (crop, brightness, contrast) and its whitening of each image are not built: under `published`
  there is a flip alone
- it takes 15,000 steps, `published` 9,600 on RAF-DB (100 epochs of 96)
- its weights of the two classes, taken from each batch, are left out: they are for its binary data
- its option of collecting the samples of several batches until they fill one is left out
- the class at test comes from the networks' mean probability; the paper tests each network by itself, and
  these accuracies are in the history
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from asm.basics.yaml import Section, Share
from asm.methods.base import Batch, Method


class Options(Section):
    """The section `decoupling` of params.yaml."""

    smallest_share: Share  # the loss is divided by at least this share of the batch


class Decoupling(Method):
    title = "Decoupling"
    sections = {"decoupling": Options}

    num_networks = 2

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy where the networks disagree, summed over them; zero, with its gradient, if nowhere.

        `disagreement` is the share of such samples, also during warm-up.
        """
        z1, z2 = (z.float() for z in self.logits(self.weak(batch)))
        ce1, ce2 = (F.cross_entropy(z, batch.labels, reduction="none") for z in (z1, z2))
        differ = (z1.argmax(dim=1) != z2.argmax(dim=1)).float()
        warm_up = batch.epoch <= self.config.training.warmup_epochs
        used = torch.ones_like(differ) if warm_up else differ
        smallest = max(self.config.decoupling.smallest_share * len(used), 1.0)
        loss1, loss2 = ((used * ce).sum() / used.sum().clamp(min=smallest) for ce in (ce1, ce2))
        return {"total": loss1 + loss2, "net1": loss1, "net2": loss2, "disagreement": differ.mean()}
