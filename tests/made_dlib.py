"""A weights file as dlib writes it, with random numbers; and dlib's network in plain functions."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from asm.parts.weights.dlib import DLIB_MEAN, EMBEDDING, Layer

# channels and blocks of each part; the first block of all but the first part halves the map
PARTS = ((32, 3), (64, 4), (128, 3), (256, 3), (256, 1))
BLOCKS = [
    (channels, part > 0 and block == 0) for part, (channels, n) in enumerate(PARTS) for block in range(n)
]


def random_layers(seed: int = 0) -> tuple[list[Layer], np.ndarray]:
    """Numbers with which the network neither dies nor explodes, and an embedding."""
    rng = np.random.default_rng(seed)

    def layer(outputs: int, inputs: int, side: int, gain: float) -> Layer:
        filters = rng.standard_normal((outputs, inputs, side, side), np.float32)
        rows = rng.standard_normal((3, outputs), np.float32)
        scale = np.float32(gain / np.sqrt(inputs * side**2))
        return Layer(filters * scale, rows[0] * 0.1, 1 + 0.1 * rows[1], rows[2] * 0.1)

    layers, inputs = [layer(32, 3, 7, 1.4)], 32
    for channels, _ in BLOCKS:
        layers += [layer(channels, inputs, 3, 1.4), layer(channels, channels, 3, 0.5)]
        inputs = channels
    return layers, rng.standard_normal(EMBEDDING, np.float32)


def integer(value: int) -> bytes:
    count = max(1, (abs(value).bit_length() + 7) // 8)
    return bytes([count | (0x80 if value < 0 else 0)]) + abs(value).to_bytes(count, "little")


def text(value: str) -> bytes:
    return integer(len(value)) + value.encode()


def tensor(*parts: np.ndarray, version: int = 2) -> bytes:
    values = np.concatenate([part.ravel() for part in parts])
    header = b"".join(map(integer, (version, len(values), 1, 1, 1)))
    return header + values.astype("<f4").tobytes()


def convolution(layer: Layer) -> bytes:
    """A convolution and the scaling after it, with some of dlib's other settings between them."""
    settings = b"".join(map(integer, (len(layer.weight), 3, 3, -1)))
    return (
        text("con_4") + tensor(layer.weight, layer.bias) + settings + text("affine_")
        + tensor(layer.gamma, layer.beta)
    )  # fmt: skip


def content(layers: list[Layer], embedding: np.ndarray) -> bytes:
    """What the file holds: a preamble, the layers in order, the map to the embedding."""
    last = text("fc_2") + integer(embedding.shape[1]) + integer(embedding.shape[0]) + tensor(embedding)
    return b"".join([integer(1), text("net"), *map(convolution, layers), last])


def write(path: Path, layers: list[Layer], embedding: np.ndarray) -> Path:
    path.write_bytes(content(layers, embedding))
    return path


# --- the network --------------------------------------------------------------------------------------------


def dlibs_own_input(faces: Tensor) -> Tensor:
    """[B, 3, S, S] of faces uint8 [B, S, S, 3], as dlib normalises them."""
    return (faces.float() - torch.tensor(DLIB_MEAN)).permute(0, 3, 1, 2) / 256


def plain_map(layers: list[Layer], images: Tensor, blocks: int = len(BLOCKS)) -> Tensor:
    """The map after this many blocks, of images normalised as dlib's are."""
    x = F.max_pool2d(_affine(layers[0], images, stride=2).relu(), 3, 2)
    for number, (_, down) in enumerate(BLOCKS[:blocks]):
        x = plain_block(layers[1 + 2 * number : 3 + 2 * number], x, down)
    return x


def plain_block(pair: list[Layer], x: Tensor, down: bool) -> Tensor:
    first, second = pair
    y = _affine(first, x, stride=2 if down else 1, padding=0 if down else 1).relu()
    y = _affine(second, y, padding=1)
    x = F.avg_pool2d(x, 2, 2) if down else x
    found = x.new_zeros([max(sizes) for sizes in zip(x.shape, y.shape, strict=True)])
    for part in (x, y):
        found[tuple(slice(n) for n in part.shape)] += part
    return found.relu()


def _affine(layer: Layer, x: Tensor, **options: int) -> Tensor:
    weight, bias, gamma, beta = map(torch.from_numpy, (layer.weight, layer.bias, layer.gamma, layer.beta))
    y = F.conv2d(x, weight, bias, **options)
    return y * gamma.view(1, -1, 1, 1) + beta.view(1, -1, 1, 1)
