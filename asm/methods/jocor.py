"""Wei, Feng, Chen, An: Combating Noisy Labels by Agreement: A Joint Training Method with Co-Regularization
(JoCoR), CVPR 2020.

Two networks are trained as one: a sample's loss is both networks' cross-entropy and the symmetric
Kullback-Leibler divergence between their predictions, and each step learns only from those samples of the
batch whose loss is small.

`agreement_weight`: 0.9, the paper's at 20 and 50 % noise; the released default is 0.1.
`forget_rate`: the cell's noise rate; for asymmetric noise the released code takes half of it.
Departures:
- the dropped share grows over `training.warmup_epochs` (10): of the forget rate, 0, .1, ... 1 from the 1st to
  the 11th epoch; the released code drops .11, .22, ... 1 up to the 9th
- both networks start from the same backbone, with different heads (the release: two independent ones), so
  that they agree more at first
- under `published` 199 epochs are trained, and the rate falls and beta1 changes at the 80th, as released
- `published` has no augmentation, as released; images are normalised and the network is a ResNet, for either
  of which the authors say that the weight of agreement has to be tuned anew. It is not
- the class at test comes from the networks' mean probability; the released code reports the mean of the two
  networks' accuracies, which the history holds one by one
- test images are never dropped, nor is an incomplete last batch
"""

import torch.nn.functional as F
from torch import Tensor

from asm.basics.yaml import Section, Share
from asm.methods.base import Batch, Method
from asm.parts import selection


class Options(Section):
    """The section `jocor` of params.yaml."""

    forget_rate: Share | None  # tau; none: the noise rate of the cell
    agreement_weight: Share  # lambda: 0.9 in the paper at 20 and 50 % noise, 0.1 the code's default


class JoCoR(Method):
    title = "JoCoR"
    sections = {"jocor": Options}
    noise_rate_key = "forget_rate"

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
        kept = selection.small_loss(joint, self._drop_rate(batch.epoch))
        return {"total": joint[kept].mean(), "ce": ce[kept].mean(), "agreement": agreement[kept].mean()}

    def _drop_rate(self, epoch: int) -> float:
        return selection.drop_rate(epoch, self.config.jocor.forget_rate, self.config.training.warmup_epochs)
