"""Pre-training by action-unit regression on rendered faces.

It sees noise-free expression parameters of other rendered identities, but no expression label. It is not the
equivalent of pre-training on MS-Celeb-1M, which teaches identity: say so beside every result.
"""

import math
import sys
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Generator, Tensor
from tqdm import tqdm

from asm.basics.errors import InputError
from asm.basics.yaml import Positive, Section, Seed, Share
from asm.parts import backbones, views
from asm.parts.batches import batches, epoch_seed
from asm.parts.device import pick_device
from asm.parts.views import Augment
from asm.parts.weights.base import Network, Weights, align_rendered
from asm.rendered.dataset import render_action_units

DRAWN = 112  # side of the rendered images, in pixels


class Pretrain(Section):
    """The section `pretrain` of params.yaml."""

    batch_size: Annotated[int, Field(ge=2)]
    lr: Annotated[float, Field(gt=0)]
    jitter: Share  # of the landmarks, share of the inter-ocular distance
    seed: Seed


class Synthetic(Weights):
    """The number of faces to render, and of epochs to train on them."""

    about = (
        "pre-training on the action units of rendered faces, not the analogue of the paper's pre-training on "
        "MS-Celeb-1M"
    )
    licence = "pre-trained on rendered faces: the licence of this project"
    sections: ClassVar = {"pretrain": Pretrain, "augment": Augment}

    faces: Annotated[int, Field(ge=2)]  # one alone cannot be normalised
    epochs: Positive

    def make(
        self, files: Path, network: Network, options: dict[str, Any]
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        pretrain: Pretrain = options["pretrain"]
        images, units, landmarks = render_action_units(self.faces, size=DRAWN, seed=pretrain.seed)
        faces = align_rendered(images, landmarks, network.image_size, pretrain.jitter, pretrain.seed)
        state, errors = regress_action_units(
            faces,
            torch.from_numpy(units),
            network.backbone,
            network.width,
            self.epochs,
            pretrain,
            options["augment"],
            pick_device(),
        )
        return state, {"faces": self.faces, "squared_error_by_epoch": [round(e, 5) for e in errors]}


def regress_action_units(
    faces: Tensor,
    targets: Tensor,
    name: str,
    width: int,
    epochs: int,
    options: Pretrain,
    weak: Augment,
    device: torch.device,
) -> tuple[dict[str, Tensor], list[float]]:
    """Train the backbone `name` to regress action units from faces.

    Args:
        faces: uint8 [N, S, S, 3].
        targets: action-unit intensities, float32 [N, A].

    Returns:
        The backbone's tensors (head left out) and each epoch's mean squared error, in units of the targets'
        overall variance (1 = no better than the mean).

    Raises:
        InputError: the error became NaN or infinite.
    """
    mean = targets.mean(0)
    scale = (targets - mean).square().mean().sqrt()
    faces, targets = faces.to(device), ((targets - mean) / scale).to(device)
    network = backbones.build(name, targets.shape[1], width, None, head_seed=options.seed).to(device)
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=options.lr, fused=True)
    errors = []
    for epoch in tqdm(range(1, epochs + 1), "pre-training", file=sys.stderr, unit="epoch"):
        generator = Generator().manual_seed(epoch_seed(options.seed, epoch))
        for group in optimizer.param_groups:
            group["lr"] = options.lr * (1 - (epoch - 1) / epochs)
        total = torch.zeros((), dtype=torch.float64, device=device)
        network.train()
        for index in batches(torch.randperm(len(faces), generator=generator), options.batch_size):
            rows = index.to(device)
            # not flipped: left and right action units are told apart by where they are
            view = views.weak_view(faces[rows], weak.model_copy(update={"flip": 0.0}), generator)
            loss = F.mse_loss(network(view), targets[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach().double() * len(index)
        total = float(total)  # once an epoch: each look would stall a GPU
        if not math.isfinite(total):
            raise InputError(
                f"pre-training: the error of epoch {epoch} is {total}; lower pretrain.lr (found {options.lr})"
            )
        errors.append(total / len(faces))
    return {k: v.cpu() for k, v in network.backbone_state().items()}, errors
