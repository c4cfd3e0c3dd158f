"""What one training step of dlib's network costs, and what would make it cheaper on a processor."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from common import CLASSES, paired, ratio
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from asm.parts import backbones

SIDE = 2048  # of the square matrices whose product is the ceiling


def step(
    image_size: int,
    batch_size: int,
    backbone: str,
    width: int,
    *,
    memory_format: torch.memory_format = torch.channels_last,
    fused: bool = True,
    compiled: bool = False,
) -> Callable[[], None]:
    """A step of the baseline on random images, like the training loop's but for what the options change."""
    network: nn.Module = backbones.build(backbone, CLASSES, width, None, head_seed=0)
    network.to(memory_format=memory_format)
    optimizer = torch.optim.Adam(network.parameters(), fused=fused)
    images = torch.randn(batch_size, 3, image_size, image_size).to(memory_format=memory_format)
    labels = torch.randint(0, CLASSES, (batch_size,))
    forward = torch.compile(network) if compiled else network

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(forward(images), labels).backward()
        optimizer.step()

    return run


def products(operations: int) -> Callable[[], None]:
    """As many floating-point operations in products of square matrices, which nothing does faster."""
    a, b = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    count = max(1, round(operations / (2 * SIDE**3)))

    def run() -> None:
        for _ in range(count):
            a @ b

    return run


def finetuning(
    repeats: int, small: int, image_size: int, batch_size: int, **shape: object
) -> dict[str, object]:
    """Seconds of a step that is changed in one thing, over ours; per image where the batch is larger.

    Args:
        small: pixels of a smaller image.
    """
    ours = step(image_size, batch_size, **shape)
    with FlopCounterMode(display=False) as counter:
        ours()
    changed = {
        "channels first": (step(image_size, batch_size, memory_format=torch.contiguous_format, **shape), 1),
        "Adam not fused": (step(image_size, batch_size, fused=False, **shape), 1),
        "batch twice as large": (step(image_size, 2 * batch_size, **shape), 2),
        "torch.compile": (step(image_size, batch_size, compiled=True, **shape), 1),
        f"{small} px": (step(small, batch_size, **shape), 1),
        "matrix products": (products(counter.get_total_flops()), 1),
    }
    found = {}
    for name, (function, batches) in changed.items():
        theirs, mine = paired(function, ours, repeats, torch.device("cpu"))
        found[name] = ratio([seconds / batches for seconds in theirs], mine)
        print(name, found[name], flush=True)
    return {
        "image_size": image_size,
        "batch_size": batch_size,
        **shape,
        "gigaflop": round(counter.get_total_flops() / 1e9, 1),
        "seconds": round(min(mine), 3),
        "changed": found,
    }
