"""Baseline (ASM paper, Tables 1-2): one ResNet-18 trained with cross-entropy on the labels as given."""

import torch.nn.functional as F
from torch import Tensor

from asm.methods.base import Batch, Method


class Baseline(Method):
    title = "Baseline"

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        (z,) = self.logits(self.weak(batch))
        return {"total": F.cross_entropy(z.float(), batch.labels)}
