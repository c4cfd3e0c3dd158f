"""dlib's face-recognition network (King, 2017), without its last block, which serves identity.

Its convolutions have biases, its first has no padding, and where it halves the map the convolution has none
either. Beside the average-pooled shortcut the smaller of the two is filled with zeros, at the end of rows,
columns and channels. `asm.parts.dlib` reads its published weights.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asm.parts.backbones.base import Backbone


class Dlib29(Backbone):
    """`width` channels in its first stage (32 as published) and a linear head.

    The maps of images of 150 (112, 80) pixels are 35, 17, 8, 4 (26, 13, 6, 3; 18, 9, 4, 2) a side.
    """

    smallest_image = 56

    def __init__(self, outputs: int, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, stride=2),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
        )
        self.stages = nn.ModuleList(
            [
                nn.Sequential(*(Block(width, width) for _ in range(3))),
                _stage(width, 2 * width, 3),
                _stage(2 * width, 4 * width, 2),
                _stage(4 * width, 8 * width, 2),
            ]
        )
        self.head = nn.Linear(8 * width, outputs)


class Block(nn.Module):
    """Two 3 x 3 convolutions beside the shortcut; `down` halves the map."""

    def __init__(self, inputs: int, outputs: int, down: bool = False) -> None:
        super().__init__()
        self.down = down
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=2 if down else 1, padding=0 if down else 1)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(torch.relu_(self.bn1(self.conv1(x)))))
        if not self.down:
            return torch.relu_(y.add_(x))
        x = F.avg_pool2d(x, 2)
        size = torch.maximum(torch.tensor(x.shape), torch.tensor(y.shape)).tolist()
        return torch.relu_(_filled(y, size).add_(_filled(x, size)))


def _stage(inputs: int, outputs: int, others: int) -> nn.Sequential:
    """A block that halves the map, and `others` that keep it."""
    return nn.Sequential(Block(inputs, outputs, down=True), *(Block(outputs, outputs) for _ in range(others)))


def _filled(x: Tensor, size: list[int]) -> Tensor:
    """`x` [B, C, H, W] with zeros at the end of its last three dimensions, up to `size`."""
    (_, channels, rows, columns), (_, all_channels, all_rows, all_columns) = x.shape, size
    return F.pad(x, (0, all_columns - columns, 0, all_rows - rows, 0, all_channels - channels))
