"""ResNet-18 (He et al., 2016) at any width.

Its parameter names are torchvision's, so that MS-Celeb-1M and ImageNet files load without a table of names.
"""

import torch
from torch import Tensor, nn


class ResNet18(nn.Module):
    """ResNet-18 with `width` channels in its first stage (64 in the paper) and a linear head.

    Input float [B, 3, S, S]; `feature_map` returns [B, 8 * width, s, s] with s = S / 32 rounded up,
    `features` its mean over the map [B, 8 * width], `forward` logits [B, outputs].
    """

    def __init__(self, outputs: int, width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(width, width, stride=1)
        self.layer2 = _stage(width, 2 * width, stride=2)
        self.layer3 = _stage(2 * width, 4 * width, stride=2)
        self.layer4 = _stage(4 * width, 8 * width, stride=2)
        self.fc = nn.Linear(8 * width, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def feature_map(self, images: Tensor) -> Tensor:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(images))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def features(self, images: Tensor) -> Tensor:
        return self.feature_map(images).mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.features(images))


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


class Passes:
    """How many images have gone through any ResNet-18 of a model since `images` was last set."""

    images = 0


def count_passes(model: nn.Module) -> Passes:
    """Count from now on, at the first convolution of each ResNet-18 inside `model`."""
    passes = Passes()

    def count(_: nn.Module, inputs: tuple[Tensor]) -> None:
        passes.images += len(inputs[0])

    for module in model.modules():
        if isinstance(module, ResNet18):
            module.conv1.register_forward_pre_hook(count)
    return passes


def build(outputs: int, width: int, initial: dict[str, Tensor] | None, head_seed: int) -> ResNet18:
    """A network with the `initial` backbone (None: random) and a head, or all of it, drawn from `head_seed`.

    The paper's two networks share the pre-trained backbone; their heads are the "different initialisations".
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(head_seed)
        network = ResNet18(outputs, width)
    if initial is not None:
        network.load_state_dict(initial, strict=False)
    return network


def backbone_state(network: ResNet18) -> dict[str, Tensor]:
    """All tensors but the head's, contiguous, as `weights.read_weights` returns them."""
    return {k: v.contiguous() for k, v in network.state_dict().items() if not k.startswith("fc.")}
