"""Wang, Peng, Yang, Meng, Qiao: Region Attention Networks for Pose and Occlusion Robust Facial Expression
Recognition (RAN), IEEE TIP 2020.

The face and fixed crops of it go through one ResNet-18. Self-attention weighs each region's features,
relation attention weighs them again beside their common mean, and the weighted mean of both is classified.
A region-biased loss asks that some crop weighs more than the whole face by a margin.

- Attention is the released code's: a softmax over the regions of their sigmoids (the paper: the sigmoids
  divided by their sum).
- `regions`: the first of the seven crops that the released AffectNet code lists. The crops of its FER+ code
  are files whose generator is not released; here both sets are cropped alike.
- The crops are taken from the view, after normalisation and erasing; the code crops unnormalised images.
- All regions of a batch are one forward pass, so they share the statistics of batch normalisation; in the
  release each region has its own. A fresh network's features in training mode differ by 48 % (rms).
- The released code draws AffectNet's validation images with replacement; here every image counts once.
- The released code augments nothing, so under `published` there is no flip.
- `published` is the released FER+ schedule, and AffectNet's cells of the profile `paper` run it too. For
  AffectNet the release has schedules of its own (rate 0.015, 20 epochs, batch 256, balanced, margin 0.02; or
  0.01, 40, 256, not balanced, 0.03): the sum of the rates over the steps is 40 times theirs here.
"""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from asm.basics.yaml import Section, Share
from asm.methods.base import Batch, Method
from asm.methods.config import CellConfig
from asm.parts.batches import Samples

# x0, x1, y0, y1 as shares of the image
REGIONS = (
    (0.125, 0.875, 0.25, 1.0),
    (0.0, 0.75, 0.0, 0.75),
    (0.25, 1.0, 0.0, 0.75),
    (0.05, 0.95, 0.05, 0.95),
    (0.1, 0.9, 0.1, 0.9),
    (0.125, 0.875, 0.125, 0.875),
    (0.125, 0.875, 0.0, 0.75),
)


def crop(images: Tensor, count: int) -> Tensor:
    """The first `count` regions, each resized to the image's size, then the images themselves.

    Args:
        images: [B, 3, S, S].

    Returns:
        [(count + 1) * B, 3, S, S], region by region.
    """
    size = images.shape[-1]
    parts = []
    for region in REGIONS[:count]:
        x0, x1, y0, y1 = (round(edge * size) for edge in region)
        parts.append(F.interpolate(images[:, :, y0:y1, x0:x1], size=(size, size), mode="bilinear"))
    return torch.cat([*parts, images])


def region_biased_loss(weights: Tensor, margin: float) -> Tensor:
    """L_RB: hinge of the best crop's self-attention over the whole face's, mean over the batch. Scalar.

    `weights` are [R, B], the whole face last.
    """
    best = weights[:-1].amax(dim=0)
    return F.relu(margin - (best - weights[-1])).mean()


class Options(Section):
    """The section `ran` of params.yaml."""

    regions: Annotated[int, Field(ge=1, le=7)]  # beside the whole face; 7 for AffectNet
    margin: Share  # of the region-biased loss; 0.1 for FER+


class RAN(Method):
    title = "RAN"
    needs_pixels = "crops regions of the image"
    sections = {"ran": Options}

    def __init__(
        self, config: CellConfig, networks: list[nn.Module], num_classes: int, samples: Samples
    ) -> None:
        super().__init__(config, networks, num_classes, samples)
        (network,) = networks
        width = network.head.in_features
        self.self_attention = nn.Linear(width, 1)
        self.relation_attention = nn.Linear(2 * width, 1)
        network.head = nn.Linear(2 * width, num_classes)  # of a region's features beside their mean

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy + L_RB."""
        z, mu = self.classify(self.weak(batch))
        ce = F.cross_entropy(z, batch.labels)
        region = region_biased_loss(mu, self.config.ran.margin)
        return {"total": ce + region, "ce": ce, "region": region}

    def logits(self, images: Tensor) -> list[Tensor]:
        return [self.classify(images)[0]]

    def classify(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, K] and the regions' self-attention [R, B] of images [B, 3, S, S], float32."""
        count = self.config.ran.regions
        features = self.networks[0].features(crop(images, count)).float()
        attended, mu = self.attend(features.view(count + 1, len(images), -1))
        return self.networks[0].head(attended).float(), mu

    def attend(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted mean of the regions' features.

        Args:
            features: F, float32 [R, B, D].

        Returns:
            sum_i mu_i nu_i [F_i : F_m] / sum_i mu_i nu_i as [B, 2 D], and mu [R, B].
        """
        mu = _weights(self.self_attention(features))
        common = (mu * features).sum(0) / mu.sum(0)  # F_m
        pairs = torch.cat([features, common.expand_as(features)], dim=2)
        both = mu * _weights(self.relation_attention(pairs))
        return (both * pairs).sum(0) / both.sum(0), mu.squeeze(2)


def _weights(scores: Tensor) -> Tensor:
    """The regions' weights [R, B, 1], which sum to one."""
    return scores.float().sigmoid().softmax(dim=0)
