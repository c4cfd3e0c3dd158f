"""Networks that know a few samples by heart."""

import torch
from torch import Tensor, nn


class Table(nn.Module):
    """A network that answers an image, which is its row, with that row's logits: these probabilities of class
    0, the rest for class 1."""

    def __init__(self, of_zero: list[float]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([[p, 1 - p] for p in of_zero]).log())

    def forward(self, images: Tensor) -> Tensor:
        return self.logits[images]
