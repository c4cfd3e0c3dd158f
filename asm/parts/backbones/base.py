"""What a backbone is to methods, initial weights and optimiser: a stem, stages, a feature map, a head."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn


class Backbone(nn.Module):
    """Base of all backbones. One sets, in its constructor `(outputs, width)`:

    - `stem`: from images, float [B, 3, S, S], to what the first stage takes;
    - `stages`: applied one after another; the last one's output [B, C, s, s] is the feature map;
    - `head`: a linear classifier on the pooled features; methods may replace it by one of their own.

    A method uses these parts and the functions below, and nothing else of a network.
    """

    # Names of a published weights file, by prefix, and ours: {"conv1": "stem.0"}
    published_names: ClassVar[dict[str, str]] = {}
    smallest_image: ClassVar[int] = 32  # side, in pixels

    stem: nn.Module
    stages: nn.ModuleList
    head: nn.Linear

    def feature_map(self, images: Tensor) -> Tensor:
        """The last stage's output, [B, C, s, s], of images [B, 3, S, S]."""
        x = self.stem(images)
        for stage in self.stages:
            x = stage(x)
        return x

    def features(self, images: Tensor) -> Tensor:
        """The mean over the map, [B, C]."""
        return self.feature_map(images).mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, outputs]."""
        return self.head(self.features(images))

    @torch.no_grad()
    def feature_size(self, image_size: int) -> tuple[int, int]:
        """(C, s): channels and side of the feature map for images of this side."""
        was_training = self.training
        weight = next(self.parameters())
        try:
            _, channels, side, _ = (
                self.eval().feature_map(weight.new_zeros(1, 3, image_size, image_size)).shape
            )
        finally:
            self.train(was_training)
        return channels, side

    def backbone_state(self) -> dict[str, Tensor]:
        """All tensors but the head's, contiguous: what initial weights hold."""
        return {k: v.contiguous() for k, v in self.state_dict().items() if not k.startswith("head.")}

    @classmethod
    def our_name(cls, name: str) -> str:
        """The name here of a tensor of a published weights file; other names stay."""
        part, dot, rest = name.partition(".")
        return f"{cls.published_names[part]}{dot}{rest}" if part in cls.published_names else name
