"""ResNet-18 (He et al., 2016) at any width, and the weights it starts from.

Its parameter names are torchvision's, so that MS-Celeb-1M and ImageNet files load without a table of names.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from asm.errors import InputError

WHERE_TO_GET = {
    "msceleb": "resnet18_msceleb.pth, published with the FER repositories of DACL, RUL, EAC and DAN",
    "imagenet": "torchvision's resnet18 weights IMAGENET1K_V1 (resnet18-f37072fd.pth): on a machine with "
    "internet, `python -c \"from torchvision.models import resnet18; resnet18(weights='IMAGENET1K_V1')\"` "
    "saves the file under ~/.cache/torch/hub/checkpoints",
}


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


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    shortcut = None
    if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
        )
    return nn.Sequential(BasicBlock(inputs, outputs, stride, shortcut), BasicBlock(outputs, outputs))


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
    """All tensors but the head's, contiguous, as `read_weights` returns them."""
    return {k: v.contiguous() for k, v in network.state_dict().items() if not k.startswith("fc.")}


def read_weights(path: Path, width: int, kind: str = "") -> dict[str, Tensor]:
    """Backbone tensors from a .pth/.pt/.tar file (a state dict, or one under `state_dict`) or .safetensors.

    A `module.` prefix is dropped; heads (`fc.*`, `feature.*`) and whatever else is no backbone tensor are
    left out. Files are read with `weights_only=True`: one that would run code is refused.

    Raises:
        InputError: the file is missing or unreadable, or any backbone tensor is missing or of another shape.
            Loading part of a backbone would train from a half-random network without a word.
    """
    if not path.is_file():
        hint = WHERE_TO_GET.get(kind, "")
        raise InputError(f"{path}: no such weights file" + (f"; get {hint}" if hint else ""))
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as weights: {error}") from error
    except Exception as error:  # pickle.UnpicklingError has many faces, all of them "refused or broken"
        raise InputError(f"{path}: not a plain file of tensors, refused: {error}") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise InputError(f"{path}: expected a mapping of names to tensors, found {type(content).__name__}")
    state = {str(name).removeprefix("module."): value for name, value in state.items()}
    expected = backbone_state(ResNet18(1, width))
    missing = [k for k in expected if k not in state and not k.endswith("num_batches_tracked")]
    wrong = [
        f"{k} {tuple(state[k].shape)} instead of {tuple(v.shape)}"
        for k, v in expected.items()
        if k in state and tuple(state[k].shape) != tuple(v.shape)
    ]
    if missing or wrong:
        matched = len([k for k in expected if k in state]) - len(wrong)
        raise InputError(
            f"{path}: {matched} of {len(expected)} backbone tensors match a ResNet-18 of width {width}; "
            f"missing: {missing[:3] or 'none'}; other shape: {wrong[:3] or 'none'}; "
            f"the file holds e.g. {list(state)[:3]}. Give weights of this architecture and width."
        )
    return {k: state[k].contiguous() for k in expected if k in state}
