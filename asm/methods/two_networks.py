"""Two networks with different heads, each trained with cross-entropy on the labels as given: a control, no
published method.

What ASM gains over the baseline it owes in part to the mean of two networks. This is that mean alone: ASM's
own warm-up, kept to the end.
"""

from torch import Tensor

from asm import losses
from asm.methods.base import Batch, Method


class TwoNetworks(Method):
    title = "Two networks"

    num_networks = 2

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        z1, z2 = self.logits(self.weak(batch))
        return {"total": losses.supervised(z1.float(), z2.float(), batch.labels)}
