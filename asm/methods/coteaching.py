"""Han, Yao, Yu, Niu, Xu, Hu, Tsang, Sugiyama: Co-teaching: Robust Training of Deep Neural Networks with
Extremely Noisy Labels, NeurIPS 2018.

Two networks see the same batch. Each picks the samples that have a small loss under it, and each learns from
the other's pick, so that one's mistakes are not confirmed by itself. The picks shrink to 1 - tau of the
batch.

`forget_rate`: tau, the cell's noise rate. `divide_twice`: as released and under `published`, the pick's mean
loss is divided by its size again. With Adam this changes little beside the weight of the weight decay while
losses are large; at losses of .001 three quarters of the gradients are below Adam's epsilon, and the first
step is .42 as long. Departures:
- both networks start from the same backbone, with different heads (the release: two independent ones), so
  that they disagree less at first
- one Adam for both networks, over the sum of their losses, instead of two: the same steps, for a network's
  parameters are in one of the two losses only and Adam treats each parameter by itself
- R(e) falls over `training.warmup_epochs` (T_k = 10), from all samples in the first epoch, as in Algorithm 1,
  where it is updated after an epoch: of tau, 0, .1, ... 1 are dropped from the 1st to the 11th epoch. The
  released code drops 0 in its first, untrained epoch, then .11, .22, ... 1 at the 9th
- under `published` 199 epochs are trained, and the rate falls and beta1 changes at the 80th, as released
- `published` has no augmentation, as released; images are normalised, which the released code does not do
- an odd last batch is used, not dropped
- the class at test comes from the networks' mean probability; the paper tests each network by itself, and
  these accuracies are in the history
"""

import torch.nn.functional as F
from torch import Tensor

from asm.basics.yaml import Section, Share
from asm.methods.base import Batch, Method
from asm.parts import selection


class Options(Section):
    """The section `coteaching` of params.yaml."""

    forget_rate: Share | None  # tau; none: the noise rate of the cell
    divide_twice: bool  # true: as released, the mean loss divided by the count again


class Coteaching(Method):
    title = "Co-teaching"
    sections = {"coteaching": Options}
    noise_rate_key = "forget_rate"

    num_networks = 2

    def start_epoch(self, epoch: int) -> dict[str, float]:
        return {"drop_rate": self._drop_rate(epoch)}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Algorithm 1: cross-entropy of each network on the other's pick, summed over the networks."""
        z1, z2 = self.logits(self.weak(batch))
        ce1, ce2 = (F.cross_entropy(z.float(), batch.labels, reduction="none") for z in (z1, z2))
        drop = self._drop_rate(batch.epoch)
        pick1, pick2 = selection.small_loss(ce1, drop), selection.small_loss(ce2, drop)
        loss1, loss2 = ce1[pick2].mean(), ce2[pick1].mean()
        if self.config.coteaching.divide_twice:
            loss1, loss2 = loss1 / len(pick2), loss2 / len(pick1)
        return {"total": loss1 + loss2, "net1": loss1, "net2": loss2}

    def _drop_rate(self, epoch: int) -> float:
        return selection.drop_rate(
            epoch, self.config.coteaching.forget_rate, self.config.training.warmup_epochs
        )
