"""Zhang, Wang, Deng: Relative Uncertainty Learning for Facial Expression Recognition, NeurIPS 2021.

Beside its feature each sample has an uncertainty. Features of pairs are mixed in proportion to their
uncertainties, the more uncertain one weighing more, and have to be recognised as both labels: the loss falls
where the harder sample of a pair is the more uncertain one.

- `relabel`: SCN's relabelling; the author says that the published results on noisy labels rest on it, but the
  released code is without it. What predicts is not stated: here the classifier, from the features before
  mixing, in training mode, before the step.
- `relabel_margin`: as in SCN, and so is the epoch from which new labels are learnt, the next one.
- Noise (`augment.gaussian_noise`) is white and half as strong again as the released one: see SCN.
- The released heads fit a map of 7 x 7; here they fit the image size of the profile.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asm.basics.yaml import Section, Share, Size
from asm.methods.base import Batch, Method
from asm.methods.config import CellConfig
from asm.parts.batches import Samples
from asm.parts.selection import Relabels


class Options(Section):
    """The section `rul` of params.yaml."""

    embedding: Size
    dropout: Share
    relabel: bool  # SCN's relabelling, which the noise results rest on; not in the released code
    relabel_margin: Share


class RUL(Relabels, Method):
    title = "RUL"
    sections = {"rul": Options}

    def __init__(
        self, config: CellConfig, networks: list[nn.Module], num_classes: int, samples: Samples
    ) -> None:
        super().__init__(config, networks, num_classes, samples)
        (network,) = networks
        channels, side = network.feature_size(config.training.image_size)
        self.mean_head = _head(channels, side, config.rul.embedding, config.rul.dropout)
        self.log_variance_head = _head(channels, side, config.rul.embedding, config.rul.dropout)
        network.head = nn.Linear(config.rul.embedding, num_classes)
        self.keep_labels(samples)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The add-up loss of a random pairing of the batch; relabels the batch."""
        options = self.config.rul
        (network,) = self.networks
        feature_map = network.feature_map(self.weak(batch))
        mu = self.mean_head(feature_map).float()
        uncertainty = self.log_variance_head(feature_map).float().exp().mean(dim=1)
        y = self.labels[batch.rows]
        if options.relabel and batch.epoch > self.config.training.warmup_epochs:
            probs = network.head(mu).detach().float().softmax(dim=1)
            self.propose(batch.rows, y, probs, options.relabel_margin)
        partner = torch.randperm(len(y), generator=batch.generator).to(y.device)
        z = network.head(mix(mu, uncertainty, partner)).float()
        return {"total": 0.5 * F.cross_entropy(z, y) + 0.5 * F.cross_entropy(z, y[partner])}

    def logits(self, images: Tensor) -> list[Tensor]:
        """Of the features alone; the uncertainty serves training only."""
        (network,) = self.networks
        return [network.head(self.mean_head(network.feature_map(images)))]


def mix(mu: Tensor, uncertainty: Tensor, partner: Tensor) -> Tensor:
    """Features [B, D] mixed with their partners' in proportion to the uncertainties [B]; gradient through
    both. `partner` [B] are rows of the batch."""
    own, other = uncertainty[:, None], uncertainty[partner][:, None]
    return (own * mu + other * mu[partner]) / (own + other)


def _head(channels: int, side: int, outputs: int, dropout: float) -> nn.Sequential:
    """From a feature map [B, channels, side, side] to [B, outputs]."""
    return nn.Sequential(
        nn.BatchNorm2d(channels, eps=2e-5, affine=False),
        nn.Dropout(dropout),
        nn.Flatten(),
        nn.Linear(channels * side * side, outputs),
        nn.BatchNorm1d(outputs, eps=2e-5),
    )
