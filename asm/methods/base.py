"""What every method is: networks, an optional step before each epoch, losses, and a prediction."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from asm.params import CellConfig


@dataclass(frozen=True)
class Batch:
    """One training step's samples, on the device."""

    index: Tensor  # [B] rows of the training set
    weak: Tensor  # [B, 3, S, S] weak views
    labels: Tensor  # [B] given labels
    strong: Callable[[Tensor], Tensor]  # boolean mask [B] -> strong views of the chosen samples
    epoch: int  # counted from 1


class Method(nn.Module):
    """Base of all methods; one file each, to be read beside its paper.

    Buffers registered by a method travel with its checkpoint, so a method keeps there what the next epoch
    needs from the last.
    """

    num_networks: ClassVar[int] = 1

    def __init__(self, config: CellConfig, networks: list[nn.Module], num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.networks = nn.ModuleList(networks)
        self.num_classes = num_classes

    def start_epoch(self, epoch: int, labels: Tensor, predict: Callable[[], Tensor]) -> dict[str, float]:
        """Whatever precedes an epoch, such as mining; returns numbers for the history.

        `labels` are the training set's given labels [N]; `predict()` runs the networks over the training set
        in evaluation mode and returns probabilities [networks, N, K].
        """
        return {}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Scalars by name; the loop minimises `total` and logs the others."""
        raise TypeError(f"{type(self).__name__} defines no losses")

    def logits(self, images: Tensor) -> list[Tensor]:
        """Logits [B, K] of each network."""
        return [network(images) for network in self.networks]

    def predict(self, images: Tensor) -> Tensor:
        """Class probabilities of each network, float32 [networks, B, K]; their mean decides the class."""
        return torch.stack([z.float().softmax(dim=1) for z in self.logits(images)])
