"""The backbone's initial weights: a file of the user's, or action-unit regression on rendered faces.

The latter sees noise-free expression parameters of other rendered identities, but no expression label. It is
not the equivalent of pre-training on MS-Celeb-1M, which teaches identity: say so beside every result.
"""

import math
import sys
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Generator, Tensor
from tqdm import tqdm

from asm.basics.errors import InputError
from asm.basics.yaml import Section, Seed, Share
from asm.faces.alignment import similarity, warp
from asm.parts import backbones, views
from asm.parts.views import Augment
from asm.training.epoch import batches, epoch_seed


class Pretrain(Section):
    """The section `pretrain` of params.yaml."""

    batch_size: Annotated[int, Field(ge=2)]
    lr: Annotated[float, Field(gt=0)]
    jitter: Share  # of the landmarks, share of the inter-ocular distance
    seed: Seed


def align_rendered(images: np.ndarray, landmarks: np.ndarray, size: int, jitter: float, seed: int) -> Tensor:
    """Crop rendered faces [N, H, W, 3] by their true landmarks [N, 5, 2], moved by normal noise of standard
    deviation `jitter` x inter-ocular distance, as a detector would. Returns uint8 [N, size, size, 3]."""
    rng = np.random.default_rng(seed)
    distance = np.linalg.norm(landmarks[:, 0] - landmarks[:, 1], axis=1)[:, None, None]
    moved = landmarks + rng.normal(0, 1, landmarks.shape) * jitter * distance
    crops = [warp(image, similarity(points, size), size) for image, points in zip(images, moved, strict=True)]
    return torch.from_numpy(np.stack(crops))


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
