"""A head on features of a frozen backbone, as methods see a backbone."""

import torch
from torch import nn

from asm.parts.backbones.base import Backbone


class Perceptron(Backbone):
    """One hidden layer of `hidden` units on features [B, inputs], and a linear head.

    Its feature map is the hidden layer, as [B, hidden, 1, 1].
    """

    def __init__(self, outputs: int, inputs: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.stem = nn.Identity()
        layers = [nn.Linear(inputs, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout)]
        self.stages = nn.ModuleList([nn.Sequential(*layers, nn.Unflatten(1, (hidden, 1, 1)))])
        self.head = nn.Linear(hidden, outputs)

    def feature_size(self, image_size: int) -> tuple[int, int]:
        return self.head.in_features, 1


def build(outputs: int, inputs: int, hidden: int, dropout: float, head_seed: int) -> Perceptron:
    """All of it drawn from `head_seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(head_seed)
        return Perceptron(outputs, inputs, hidden, dropout)
