"""A backbone as unlike ResNet-18 as the interface allows: another stem, two stages, a map of S / 4."""

from torch import nn

from asm.parts.backbones.base import Backbone


class TwoStages(Backbone):
    """`width` channels after the stem, 3 * width in the feature map."""

    published_names = {"entry": "stem", "classifier": "head"}  # noqa: RUF012

    def __init__(self, outputs: int, width: int) -> None:
        super().__init__()
        self.stem = _halve(3, width)
        self.stages = nn.ModuleList([nn.Conv2d(width, 2 * width, 1), _halve(2 * width, 3 * width)])
        self.head = nn.Linear(3 * width, outputs)


def _halve(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())
