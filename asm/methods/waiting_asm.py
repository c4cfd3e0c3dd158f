"""ASM that waits for memorisation: ours, not the paper's.

Mining presumes networks that would memorise wrong labels. Where they do not (yet), ASM throws out right
labels and gains nothing by it. So a share of the training samples is held out: their labels are looked at,
and never learnt from. While the networks repeat the labels that they were trained on hardly more often than
those held out, training goes on as in the warm-up; once the gap has passed a bound, mining begins and does
not stop.

That networks fit clean labels first and memorise wrong ones later is known (Arpit et al., A Closer Look at
Memorization in Deep Networks, ICML 2017), and is what early-learning regularisation rests on (Liu et al.,
NeurIPS 2020), which acts from the start; here a measurement decides the epoch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from asm import mining
from asm.basics.yaml import Section, Share
from asm.methods.asm import ASM
from asm.methods.base import Batch
from asm.parts.batches import Samples

if TYPE_CHECKING:
    from asm.methods.config import CellConfig


class Waiting(Section):
    """The section `waiting` of params.yaml."""

    held_out: Annotated[float, Field(ge=0, lt=1)]  # share of the training samples
    mine_from_gap: Share  # between the accuracies on given labels; 0: no wait, and nothing is held out

    @model_validator(mode="after")
    def _measured(self) -> Waiting:
        if self.mine_from_gap and not self.held_out:
            raise ValueError("`mine_from_gap` is measured on labels `held_out`: 0.05, say")
        return self


class WaitingASM(ASM):
    title = "Waiting ASM"
    ours = True
    sections = ASM.sections | {"waiting": Waiting}

    def __init__(
        self, config: CellConfig, networks: list[nn.Module], num_classes: int, samples: Samples
    ) -> None:
        super().__init__(config, networks, num_classes, samples)
        self.register_buffer("largest_gap", torch.tensor(0.0))  # so far
        share = config.waiting.held_out if config.waiting.mine_from_gap else 0.0
        order = torch.randperm(len(samples.ids), generator=torch.Generator().manual_seed(config.seed))
        self.held_out = order < share * len(order)  # bool [N] on the CPU

    def measure(self, probs: Tensor) -> dict[str, float]:
        """The gap: the share of labels that are repeated among those trained on, less that among those held
        out."""
        labels = self.samples.labels
        if not self.config.waiting.mine_from_gap:
            return {}
        right = mining.mean_probabilities(*probs).argmax(dim=1) == labels
        held_out = self.held_out.to(labels.device)
        gap = (right[~held_out].float().mean() - right[held_out].float().mean()).item()
        self.largest_gap.clamp_(min=gap)
        return {"fit_gap": gap}

    def mines(self) -> bool:
        """True once the largest gap so far exceeds the bound, or where no bound is set."""
        bound = self.config.waiting.mine_from_gap
        return bound == 0 or bool(self.largest_gap > bound)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """ASM's, of the samples that are not held out; all 0 where too few are left (`_kept`)."""
        found = super().losses(batch)
        return found if self._kept(batch) is not None else {name: 0 * value for name, value in found.items()}

    def learnt(self, batch: Batch) -> Batch:
        """The samples that are not held out."""
        kept = self._kept(batch)
        if kept is None or len(kept) == len(batch.rows_cpu):
            return batch
        chosen = kept.to(batch.labels.device, non_blocking=True)
        rows, faces, labels = (value[chosen] for value in (batch.rows, batch.faces, batch.labels))
        return replace(batch, rows=rows, rows_cpu=batch.rows_cpu[kept], faces=faces, labels=labels)

    def _kept(self, batch: Batch) -> Tensor | None:
        """Which of the batch are not held out, rows on the CPU; None where they are fewer than two and the
        networks see images, as batch normalisation needs two."""
        kept = (~self.held_out[batch.rows_cpu]).nonzero().squeeze(1)
        return kept if self.sees_features or len(kept) >= 2 else None
