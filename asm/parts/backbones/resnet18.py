"""ResNet-18 (He et al., 2016) at any width."""

import torch
from torch import Tensor, nn

from asm.parts.backbones.base import Backbone


class ResNet18(Backbone):
    """ResNet-18 with `width` channels in its first stage (64 in the paper) and a linear head.

    The feature map of images of side S is [B, 8 * width, s, s] with s = S / 32 rounded up.
    """

    # torchvision's names, which MS-Celeb-1M and ImageNet files have
    published_names = {  # noqa: RUF012
        "conv1": "stem.0",
        "bn1": "stem.1",
        **{f"layer{i + 1}": f"stages.{i}" for i in range(4)},
        "fc": "head",
    }

    def __init__(self, outputs: int, width: int = 64) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        channels = (1, 2, 4, 8)  # of the stages, in widths
        self.stages = nn.ModuleList(
            _stage(max(n // 2, 1) * width, n * width, stride=1 if n == 1 else 2) for n in channels
        )
        self.head = nn.Linear(8 * width, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut. Not torchvision's: importing that takes longer than all else.

    A shortcut with a stride leaves out pixels before its 1 x 1 convolution, not in it: the same numbers, but
    with fewer than 8 channels oneDNN's strided one writes beyond its memory on processors without AVX-512.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        if self.downsample is not None:
            shortcut = self.downsample(x[:, :, :: self.stride, :: self.stride])
        x = torch.relu_(self.bn1(self.conv1(x)))
        return torch.relu_(self.bn2(self.conv2(x)).add_(shortcut))


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(inputs, outputs, stride), BasicBlock(outputs, outputs, 1))
