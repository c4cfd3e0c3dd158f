"""Farzaneh, Qi: Facial Expression Recognition in the Wild via Deep Attentive Center Loss (DACL), WACV 2021.

A centre loss pulls the pooled features of a class together, each dimension of each sample at its own weight.
An attention network on the last feature map gives these weights; a classifier on the pooled features predicts
alone, so that neither attention nor centres have a part in inference.

- As released: a centre moves by the weighted mean distance of its class's samples over 1 + their number,
  whatever the weight `center_weight` of the loss, at the constant rate `center_lr`.
- Centres start, as released, from Kaiming's rule on their transpose [D, K]: normal with variance 2 / K. So do
  the attention network's weights, with biases of 0: at the start A is spread twice as wide (0.24) as by
  PyTorch's default.
- `published` trains the 60 epochs of the released configuration; its README says 10.
- The view is the common one; the code crops one of five windows (the centre one for tests) and has its own
  mean and standard deviation.
- The released class order and its choice of the best epoch on the test set are not taken over.
"""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from asm.basics.yaml import Section, Share, Size, Weight
from asm.methods.base import Batch, Method
from asm.methods.config import CellConfig
from asm.parts.batches import Samples


def sparse_center_loss(features: Tensor, attention: Tensor, centers: Tensor) -> Tensor:
    """L_SC = 1 / (2 B) sum_i sum_d A_id (f_id - c_id)^2, gradient through features and attention. Scalar.

    All are [B, D]; `centers` holds the centre of each sample's class.
    """
    return (attention * (features - centers).square()).sum() / (2 * len(features))


class Options(Section):
    """The section `dacl` of params.yaml."""

    center_weight: Weight  # lambda
    center_lr: Share  # alpha
    hidden: Annotated[list[Size], Field(min_length=3, max_length=3)]


class DACL(Method):
    title = "DACL"
    sections = {"dacl": Options}

    def __init__(
        self, config: CellConfig, networks: list[nn.Module], num_classes: int, samples: Samples
    ) -> None:
        super().__init__(config, networks, num_classes, samples)
        (network,) = networks
        width, side = network.feature_size(config.training.image_size)
        first, second, third = config.dacl.hidden
        self.attention = nn.Sequential(
            nn.Flatten(),
            *(nn.Linear(width * side**2, first), nn.BatchNorm1d(first), nn.ReLU()),
            *(nn.Linear(first, second), nn.BatchNorm1d(second), nn.ReLU()),
            *(nn.Linear(second, third), nn.BatchNorm1d(third), nn.Tanh()),
            nn.Linear(third, 2 * width),
        )
        for layer in self.attention:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
                nn.init.zeros_(layer.bias)
        self.register_buffer("centers", torch.empty(num_classes, width))
        nn.init.kaiming_normal_(self.centers.T)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy + lambda L_SC; then moves the centres, which the next step's loss is taken from."""
        network, y = self.networks[0], batch.labels
        feature_map = network.feature_map(self.weak(batch))
        features = feature_map.mean(dim=(2, 3)).float()
        ce = F.cross_entropy(network.head(features).float(), y)
        attention = self.attend(feature_map)
        center = sparse_center_loss(features, attention, self.centers[y])
        self.move_centers(features, attention, y)
        return {"total": ce + self.config.dacl.center_weight * center, "ce": ce, "center": center}

    def attend(self, feature_map: Tensor) -> Tensor:
        """A in (0, 1), float32 [B, D], of maps [B, D, s, s]: the second of each dimension's softmax pair."""
        pairs = self.attention(feature_map).float().unflatten(1, (-1, 2))
        return pairs.softmax(dim=2)[:, :, 1]

    @torch.no_grad()
    def move_centers(self, features: Tensor, attention: Tensor, labels: Tensor) -> None:
        """c_k += alpha sum_{i: y_i = k} A_i (f_i - c_k) / (1 + n_k), n_k the size of the class."""
        pull = attention * (features - self.centers[labels])
        member = F.one_hot(labels, self.num_classes).float()  # [B, K]
        # a plain sum: it is the same every time on a GPU too, and stays float32 under autocast
        step = (member[:, :, None] * pull[:, None, :]).sum(0) / (1 + member.sum(0)[:, None])
        self.centers += self.config.dacl.center_lr * step
