"""Wei, Feng, Chen, An: Combating Noisy Labels by Agreement: A Joint Training Method with Co-Regularization
(JoCoR), CVPR 2020.

Two networks are trained as one: a sample's loss is both networks' cross-entropy and the symmetric
Kullback-Leibler divergence between their predictions, and each step learns only from those samples of the
batch whose loss is small.

`agreement_weight`: 0.9, the paper's at 20 and 50 % noise; the released default is 0.1.
`forget_rate`: the cell's noise rate; for asymmetric noise the released code takes half of it.
Departures:
- the dropped share grows over `training.warmup_epochs` (10, as released, under its own schedule)
- the class at test comes from the networks' mean probability; the released code reports the mean of the two
  networks' accuracies, which the history holds one by one
- test images are never dropped, nor is an incomplete last batch
"""

import torch.nn.functional as F
from torch import Tensor

from asm.methods import shared
from asm.methods.base import Batch, Method


class JoCoR(Method):
    num_networks = 2

    def start_epoch(self, epoch: int) -> dict[str, float]:
        return {"drop_rate": self._drop_rate(epoch)}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The joint loss of the samples where it is small; every term has gradient through both networks."""
        z1, z2 = (z.float() for z in self.logits(self.weak(batch)))
        ce = sum(F.cross_entropy(z, batch.labels, reduction="none") for z in (z1, z2))
        log1, log2 = F.log_softmax(z1, dim=1), F.log_softmax(z2, dim=1)
        # D(p1 || p2) + D(p2 || p1): the two directions share their terms
        agreement = ((log1.exp() - log2.exp()) * (log1 - log2)).sum(dim=1)
        weight = self.config.jocor.agreement_weight
        joint = (1 - weight) * ce + weight * agreement
        kept = shared.small_loss(joint, self._drop_rate(batch.epoch))
        return {"total": joint[kept].mean(), "ce": ce[kept].mean(), "agreement": agreement[kept].mean()}

    def _drop_rate(self, epoch: int) -> float:
        return shared.drop_rate(epoch, self.config.jocor.forget_rate, self.config.training.warmup_epochs)
