"""Backbones, by the name that a profile's `training.backbone` gives them: the name of their file here."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asm.basics import named
from asm.basics.errors import InputError
from asm.parts.backbones.base import Backbone

__all__ = ["Backbone", "Passes", "backbone_class", "build", "count_passes"]


def backbone_class(name: str) -> type[Backbone]:
    """The backbone that asm/parts/backbones/<name>.py defines. Raises InputError for an unknown name."""
    try:
        return named.named_class(__name__, name, Backbone)
    except KeyError:
        known = named.names(__name__)
        raise InputError(f"training.backbone: '{name}' is not among {known}") from None


def build(name: str, outputs: int, width: int, initial: dict[str, Tensor] | None, head_seed: int) -> Backbone:
    """A network with the `initial` backbone (None: random) and a head, or all of it, drawn from `head_seed`.

    The paper's two networks share the pre-trained backbone; their heads are the "different initialisations".
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(head_seed)
        network = backbone_class(name)(outputs, width)
    if initial is not None:
        network.load_state_dict(initial, strict=False)
    return network


class Passes:
    """How many images have gone through any backbone of a model since `images` was last set."""

    images = 0


def count_passes(model: nn.Module) -> Passes:
    """Count from now on, at the stem of each backbone inside `model`."""
    passes = Passes()

    def count(_: nn.Module, inputs: tuple[Tensor]) -> None:
        passes.images += len(inputs[0])

    for module in model.modules():
        if isinstance(module, Backbone):
            module.stem.register_forward_pre_hook(count)
    return passes
