"""She, Hu, Shi, Wang, Shen, Mei: Dive into Ambiguity: Latent Distribution Mining and Pairwise Uncertainty
Estimation for Facial Expression Recognition, CVPR 2021.

K auxiliary branches (the last stage, K times) each learn to tell all classes but one apart; the branch that
does not know a sample's class gives its latent distribution over the others, a soft label for the target
branch, which alone predicts. A sample's similarity to the classes in its batch scales its logits.

- `train_uncertainty`: the module behind that scale learns, and so does the neck; as released neither is in
  the optimiser, so that the scale is a random function.
- `self_similarity`: as released a sample counts in its own class's mean. At a fresh network its own class is
  then the largest of the row for all samples, without it for 10 to 16 %: the module sees another input.
- `auxiliary_similarity`: with `features` L_sp compares the target's pooled features with the auxiliary
  branches', before dropout and neck: 1000 L_sp is 0.000 at a fresh network, later 0.02-0.1 beside a
  cross-entropy of 1-1.8, so the term is practically absent. With `logits`, as released and under
  `published`, it compares what enters the target's classifier, after dropout and neck, with the auxiliary
  logits, and dominates: at a fresh network it is 42, 32 and 23 for batches of 32, 48 and 72. On rendered
  faces at 30 % noise `features` reached 81.9 % in the common schedule and `logits` 21.5 %; at the released
  rates 86.1 and 46.2 % (before `published` had the released tables of rates).

Departures, under `published` too:
- Each branch sees the whole batch once and its losses are masked, so BatchNorm's statistics are the
  batch's, and the running ones of the shared neck the target branch's, which it needs at test. In the
  release the class that a branch leaves out is a pass of its own with statistics of its own (a single
  sample would fail), so that a class's mean latent logit is exactly zero and its soft labels carry nothing
  of a class's likeness to others on average; here it is up to 0.83. Probably the largest difference.
- A class that is missing from a batch has similarity 0, a branch without samples adds 0 to its loss
  (released: batches with fewer than two samples of a class are skipped).
- The ramps count epochs from 1 (released: from 0), which is up to 0.21 of weight in the same epoch. They meet
  in the 9th epoch for every data set (released: RAF-DB 9 or 10, FER+ 10 to 14, AffectNet 4 or 6), so that the
  target branch takes over earlier on FER+ and later on AffectNet.
- Noise takes the place of a flip; the release draws both by themselves, and one view in eight has both.
- The stem keeps ReLU and the 3x3 max-pool (released: none, 2x2), which the common initial weights expect.
- Input statistics and crops are the common ones.
"""

import copy
import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asm.basics.yaml import Scale, Section, Share, Weight
from asm.methods.base import Batch, Method
from asm.methods.config import CellConfig
from asm.parts.batches import Samples


class Options(Section):
    """The section `dmue` of params.yaml."""

    temperature: Scale
    soft_weight: Weight
    similarity_weight: Weight
    dropout: Share
    train_uncertainty: bool  # and the neck; false: as released, where no optimiser holds them
    self_similarity: bool  # true: as released, a sample counts in its own class's mean
    auxiliary_similarity: Literal["features", "logits"]  # paper | released code


class DMUE(Method):
    title = "DMUE"
    sections = {"dmue": Options}

    def __init__(
        self, config: CellConfig, networks: list[nn.Module], num_classes: int, samples: Samples
    ) -> None:
        super().__init__(config, networks, num_classes, samples)
        (network,) = networks
        width = network.head.in_features
        self.branches = nn.ModuleList(copy.deepcopy(network.stages[-1]) for _ in range(num_classes))
        self.neck = nn.BatchNorm1d(width)
        network.head = _classifier(width, num_classes)
        self.head = nn.ModuleList(_classifier(width, num_classes - 1) for _ in range(num_classes))
        self.uncertainty = nn.Sequential(
            nn.Linear(2 * num_classes, num_classes), nn.PReLU(), nn.Linear(num_classes, 1), nn.Sigmoid()
        )
        for module in (self.uncertainty, self.neck):
            module.requires_grad_(config.dmue.train_uncertainty)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """up(e) (L_CE + w_soft L_soft + w_sp L_sp) + down(e) L_aux; only soft labels stop the gradient."""
        options, y = self.config.dmue, batch.labels
        features = self.branch_features(self.weak(batch)).float()
        with torch.autocast(features.device.type, enabled=False):  # small differences of similarities
            auxiliary, necked = self.branch_logits(features, y)
            z = self.networks[0].head(necked)
            ce = F.cross_entropy(self.scores(features[-1], y) * z, y)
            soft = soft_loss(z, soft_labels(auxiliary, y, options.temperature), y)
            if options.auxiliary_similarity == "logits":
                sp = similarity_loss(auxiliary, necked, y)
            else:
                sp = similarity_loss(features[:-1], features[-1], y)
            aux = auxiliary_loss(auxiliary, y)
        up, down = ramps(batch.epoch, self.config.training.warmup_epochs)
        mined = ce + options.soft_weight * soft + options.similarity_weight * sp
        return {"total": up * mined + down * aux, "ce": ce, "soft": soft, "sp": sp, "aux": aux}

    def branch_features(self, images: Tensor) -> Tensor:
        """Pooled features [K + 1, B, D] of the auxiliary branches and, last, the target branch."""
        network = self.networks[0]
        x = network.stem(images)
        for stage in network.stages[:-1]:
            x = stage(x)
        return torch.stack([branch(x).mean(dim=(2, 3)) for branch in (*self.branches, network.stages[-1])])

    def branch_logits(self, features: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Auxiliary logits [K, B, K - 1], and what the target's classifier takes [B, D]. Features pass
        dropout, except a sample's in the branch that leaves its class out, and the neck."""
        learns = torch.cat([others(y, self.num_classes), torch.ones_like(y, dtype=torch.bool)[None]])
        dropped = F.dropout(features, self.config.dmue.dropout, self.training)
        x = torch.where(learns[:, :, None], dropped, features)
        # the auxiliary branches with the neck's weights, and the statistics of the batch alone
        necked = [F.batch_norm(one, None, None, self.neck.weight, self.neck.bias, True) for one in x[:-1]]
        auxiliary = torch.stack([head(one) for head, one in zip(self.head, necked, strict=True)])
        return auxiliary, self.neck(x[-1])

    def scores(self, features: Tensor, y: Tensor) -> Tensor:
        """The confidence in each sample [B, 1] that scales its logits, in (0, 1)."""
        one_hot = F.one_hot(y, self.num_classes).float()
        similarity = class_similarity(features, one_hot, self.config.dmue.self_similarity)
        return self.uncertainty(torch.cat([similarity, one_hot], dim=1))

    def logits(self, images: Tensor) -> list[Tensor]:
        """The target branch alone, without the score."""
        (network,) = self.networks
        return [network.head(self.neck(network.features(images)))]


def others(y: Tensor, num_classes: int) -> Tensor:
    """bool [K, B]: the samples of another class than c, on which auxiliary branch c is trained."""
    return y != torch.arange(num_classes, device=y.device)[:, None]


def soft_labels(auxiliary: Tensor, y: Tensor, temperature: float) -> Tensor:
    """Latent distributions [B, K] without gradient, 0 at the label: softmax(z / T), that is p^(1/T) over its
    sum, of the branch that leaves the label out. `auxiliary` are logits [K, B, K - 1]."""
    own = auxiliary.detach()[y, torch.arange(len(y), device=y.device)]
    position = torch.arange(own.shape[1], device=y.device)
    classes = position + (position >= y[:, None])  # [B, K - 1]: the classes without the label
    return own.new_zeros(len(y), len(auxiliary)).scatter(1, classes, (own / temperature).softmax(dim=1))


def soft_loss(z: Tensor, soft: Tensor, y: Tensor) -> Tensor:
    """L_soft: mean squared difference, over samples and classes, of softmax(z) [B, K] from the soft labels;
    softmax(z) is set to 0 at the label."""
    return (z.softmax(dim=1).scatter(1, y[:, None], 0.0) - soft).square().mean()


def auxiliary_loss(auxiliary: Tensor, y: Tensor) -> Tensor:
    """L_aux: mean over the branches of their cross-entropy; classes above the missing one move down."""
    learns, c = others(y, len(auxiliary)), torch.arange(len(auxiliary), device=y.device)[:, None]
    shifted = torch.where(learns, y - (y > c).long(), -100)  # -100: no loss
    per_sample = F.cross_entropy(auxiliary.transpose(1, 2), shifted, reduction="none")
    return (per_sample.sum(dim=1) / learns.sum(dim=1).clamp(min=1)).mean()


def similarity_loss(auxiliary: Tensor, target: Tensor, y: Tensor) -> Tensor:
    """L_sp: mean over the branches of the mean squared difference between their Gram matrix and the target's,
    both of the samples that the branch learns from, rows scaled to length one.

    Args:
        auxiliary: [K, B, d].
        target: [B, D].
    """
    learns = others(y, len(auxiliary))
    pairs = learns[:, :, None] & learns[:, None, :]
    grams = auxiliary @ auxiliary.transpose(1, 2), target @ target.T
    own, wanted = (F.normalize(gram * pairs, dim=2) for gram in grams)
    return ((own - wanted).square().sum(dim=(1, 2)) / pairs.sum(dim=(1, 2)).clamp(min=1)).mean()


def class_similarity(features: Tensor, one_hot: Tensor, with_itself: bool = False) -> Tensor:
    """[B, K]: mean cosine similarity of each sample to the batch's samples of each class, with or without
    itself, scaled to [0, 1] by the row's smallest and largest; 0 for a class without such samples."""
    unit = F.normalize(features, dim=1)
    cosine, count = unit @ unit.T, one_hot.sum(dim=0)
    if not with_itself:
        cosine, count = cosine * (1 - torch.eye(len(unit), device=unit.device)), count - one_hot
    mean, absent = cosine @ one_hot / count.clamp(min=1), (count == 0).expand_as(one_hot)
    low = mean.masked_fill(absent, math.inf).amin(dim=1, keepdim=True)
    high = mean.masked_fill(absent, -math.inf).amax(dim=1, keepdim=True)
    return ((mean - low) / (high - low).clamp(min=1e-6)).masked_fill(absent, 0.0)


def ramps(epoch: int, warmup: int) -> tuple[float, float]:
    """(up, down), the weights of the target's and the auxiliary branches' losses; both 1 at `warmup`."""
    up = math.exp(-5 * (1 - epoch / warmup) ** 2) if epoch <= warmup else 1.0
    down = 1.0 if epoch < warmup else math.exp(-((1 - warmup / epoch) ** 2))
    return up, down


def _classifier(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(layer.weight, std=0.001)
    return layer
