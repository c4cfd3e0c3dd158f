"""Wang, Peng, Yang, Lu, Qiao: Suppressing Uncertainties for Large-Scale Facial Expression Recognition (SCN),
CVPR 2020.

A learnt importance in (0, 1) scales each sample's logits. In each batch the mean importance of the high
group has to exceed that of the low group by a margin. After warm-up a sample that is predicted as another
class with a clearly higher probability than its label's takes that class as its label.

- `ce_weight`, `ranking_weight`: both 1 as released; the paper weighs them to a sum of 1.
- As released any sample may be relabelled (the paper: those of the low-importance group), and new labels are
  learnt from the next epoch on.
- Evaluation never uses a new label. As released.
- The importance scales the classifier's bias too, as released.
- Noise (`augment.gaussian_noise`) is white, of standard deviation 5.5 of 255; the released code adds it to
  100-px images, cuts it to whole numbers and enlarges: 3.7, neighbours correlated by .75.
- The paper's own schedule is SGD with batches of 1024; `published` is the released code's, but for the
  initial weights: the release starts from ImageNet's, the profile `paper` from MS-Celeb-1M's, which know
  faces.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from asm.basics.yaml import Section, Share, Weight
from asm.methods.base import Batch, Method
from asm.methods.config import CellConfig
from asm.parts.batches import Samples
from asm.parts.selection import Relabels


class Options(Section):
    """The section `scn` of params.yaml."""

    high_share: Share  # beta: share of a batch in the high-importance group
    margin: Weight  # delta_1: wanted distance of the groups' mean importance
    ce_weight: Weight  # 0.5 in the paper
    ranking_weight: Weight  # 0.5 in the paper
    relabel: bool
    relabel_margin: Share  # delta_2


class SCN(Relabels, Method):
    title = "SCN"
    sections = {"scn": Options}

    def __init__(
        self, config: CellConfig, networks: list[nn.Module], num_classes: int, samples: Samples
    ) -> None:
        super().__init__(config, networks, num_classes, samples)
        self.importance = nn.Sequential(nn.Linear(networks[0].head.in_features, 1), nn.Sigmoid())
        self.keep_labels(samples)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the weighted logits and the ranking of their weights; relabels the batch."""
        options = self.config.scn
        importance, z = self.weighted_logits(self.weak(batch))
        high, low = importance_groups(importance, options.high_share)
        y = self.labels[batch.rows]
        if options.relabel and batch.epoch > self.config.training.warmup_epochs:
            self.propose(batch.rows, y, z.detach().softmax(dim=1), options.relabel_margin)
        ce = F.cross_entropy(z, y)
        ranking = rank_regularisation(importance, high, low, options.margin)
        total = options.ce_weight * ce + options.ranking_weight * ranking
        return {"total": total, "ce": ce, "ranking": ranking}

    def weighted_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Importance [B] and logits [B, K] scaled by it."""
        (network,) = self.networks
        features = network.features(images)
        importance = self.importance(features).float()
        return importance.squeeze(1), importance * network.head(features).float()

    def logits(self, images: Tensor) -> list[Tensor]:
        """The weighted logits; their largest is the plain logits' largest, as the importance is positive."""
        return [self.weighted_logits(images)[1]]


def importance_groups(importance: Tensor, high_share: float) -> tuple[Tensor, Tensor]:
    """Rows of the floor(high_share * B) samples of highest importance [B], and of the others."""
    order = importance.detach().argsort(descending=True, stable=True)
    count = int(high_share * len(order))
    return order[:count], order[count:]


def rank_regularisation(importance: Tensor, high: Tensor, low: Tensor, margin: float) -> Tensor:
    """How far the mean importance of the rows `high` falls short of that of `low` plus `margin`, gradient
    through both; 0 where either is empty. Scalar."""
    if not (len(high) and len(low)):
        return importance.new_zeros(())
    return (margin - (importance[high].mean() - importance[low].mean())).clamp(min=0)
