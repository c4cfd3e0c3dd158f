"""Zeng, Shan, Chen: Facial Expression Recognition with Inconsistently Annotated Datasets (IPA2LT), ECCV 2018.

The base network predicts the latent truth q. Each annotator c sees it through a transition matrix T_c: its
label y has the likelihood (q T_c)[y]. Annotators are, per data set of a union, its human labels and a network
trained on it alone, which labels the other data sets. Network and matrices are trained together; the class is
the argmax of q.

Choices and departures:
- Data sets: the parts of a `union`. The paper needs two; where there is one, random halves of its training
  samples stand for them, so that there too a network labels only samples that it has not been trained on.
- Schedule: the warm-up epochs stand for the paper's preparatory trainings. In them the base network learns
  from all labels and each data set's network from its own, by cross-entropy; after them these networks label
  the other data sets once, in evaluation mode, and are frozen.
- The loss is the paper's, -log (q T_c)[y]; the release takes a second softmax, over q T_c.
- As released, negative entries of a matrix become `smallest_transition` and its rows are divided by their
  sums, in place, before every forward pass. The released gradient knows nothing of it, so that all entries
  push upwards: SGD brings T_c to the row-normalised square root of the true rates, Adam to near uniform rows
  even without noise. Here the gradient passes through the division too, and T_c becomes the true rates.
- `human_weight`, `model_weight`: as released, but one weight for all networks (released: 0.5 and 0.1).
- A step of `published` has one batch of the profile's size (128); released: four of 64, their gradients
  averaged (256 images, so half the gradient's variance at the same rate).
- Each annotator's loss is the mean over the samples of the batch that it labelled.
- ResNet-18 for the paper's ResNet-80, and its first convolution is trained too. The release crops 248 px at
  random and normalises the input by a BatchNorm; here views and normalisation are the common ones.
- `published` (params.yaml): the released rate of 1e-5 holds after the warm-up, without its decay to 0; it
  presumes trained networks, so the warm-up has a rate of its own, our choice.
"""

import copy
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from asm.basics.yaml import Section, Weight
from asm.methods.base import Batch, Method
from asm.methods.config import CellConfig
from asm.parts.batches import Samples

UNLABELLED = -1


class Options(Section):
    """The section `ipa2lt` of params.yaml."""

    human_weight: Weight
    model_weight: Weight
    smallest_transition: Annotated[float, Field(gt=0, lt=0.1)]  # in place of a negative one


class IPA2LT(Method):
    title = "IPA2LT"
    sections = {"ipa2lt": Options}

    trains_in_phases = True

    def __init__(
        self, config: CellConfig, networks: list[nn.Module], num_classes: int, samples: Samples
    ) -> None:
        super().__init__(config, networks, num_classes, samples)
        self.origin = _origins(samples.origin)  # [N], 0..O-1
        self.origin_cpu = self.origin.cpu()  # which samples a network sees is chosen there
        count = int(self.origin.max()) + 1
        self.models = nn.ModuleList(copy.deepcopy(networks[0]) for _ in range(count))
        for model in self.models:
            model.head.reset_parameters()
        # annotators: the origins' humans, then the origins' networks; origins in the order of their names
        smallest = config.ipa2lt.smallest_transition
        self.transitions = nn.Parameter(_near_identity(2 * count, num_classes, smallest))  # [2 O, K, K]
        weights = [config.ipa2lt.human_weight] * count + [config.ipa2lt.model_weight] * count
        self.register_buffer("weights", torch.tensor(weights), persistent=False)
        self.register_buffer("pseudo_labels", torch.full((len(samples.ids), count), UNLABELLED))  # [N, O]

    def start_epoch(self, epoch: int) -> dict[str, float]:
        """The networks label the other origins, once; returns the mean diagonal of each transition matrix."""
        warmup = self.config.training.warmup_epochs
        if epoch <= warmup:
            return {}
        if epoch == warmup + 1:
            self.pseudo_labels = self._label_others()
        self._normalise_transitions()
        diagonals = self.transitions.detach().diagonal(dim1=1, dim2=2).mean(dim=1).tolist()
        kinds = [f"{kind}_{o}" for kind in ("human", "model") for o in range(len(self.models))]
        return {f"transition_{kind}": value for kind, value in zip(kinds, diagonals, strict=True)}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        images = self.weak(batch)
        z = self.networks[0](images).float()
        if batch.epoch <= self.config.training.warmup_epochs:
            base, models = F.cross_entropy(z, batch.labels), self._model_losses(images, batch)
            return {"total": base + models, "base": base, "models": models}

        losses = self._annotator_losses(z.softmax(dim=1), self._annotations(batch))
        human, model = losses.view(2, -1).sum(dim=1)
        return {"total": self.weights @ losses, "human": human, "model": model}

    def _model_losses(self, images: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of each origin's network on its samples of the batch, summed over the networks."""
        total = images.new_zeros(())
        for o, model in enumerate(self.models):
            rows = (self.origin_cpu[batch.rows_cpu] == o).nonzero().squeeze(1)
            rows = rows.to(images.device, non_blocking=True)
            if len(rows) >= 2:  # one sample has no variance for batch normalisation
                total = total + F.cross_entropy(model(images[rows]).float(), batch.labels[rows])
        return total

    def _label_others(self) -> Tensor:
        """Each network's classes for the samples of the other origins, [N, O]; of its own -1."""

        def classes(images: Tensor) -> Tensor:
            return torch.stack([model(images).argmax(dim=1) for model in self.models])

        found = self.predict_all(self.samples.faces, forward=classes).T
        return torch.where(self._is_own(self.origin), UNLABELLED, found)

    def _is_own(self, origin: Tensor) -> Tensor:
        """Which column is a sample's own origin: bool [n, O]."""
        return origin[:, None] == torch.arange(len(self.models), device=origin.device)

    def _annotations(self, batch: Batch) -> Tensor:
        """Every annotator's label, -1 where it gave none: int64 [B, 2 O]."""
        own = self._is_own(self.origin[batch.rows])
        human = torch.where(own, batch.labels[:, None], UNLABELLED)
        return torch.cat([human, self.pseudo_labels[batch.rows]], dim=1)

    def _annotator_losses(self, q: Tensor, annotations: Tensor) -> Tensor:
        """Each annotator's mean loss over the samples that it labelled (0 for none), [2 O].

        Args:
            q: latent truth [B, K], rows sum to one.
            annotations: [B, 2 O], -1 for none.
        """
        self._normalise_transitions()
        # changes no value, but the gradient
        transitions = self.transitions / self.transitions.sum(dim=2, keepdim=True)
        # not @: autocast would round it to bfloat16
        predicted = (q[:, None, :, None] * transitions).sum(dim=2)  # q T_c, [B, 2 O, K]
        log = predicted.clamp(min=torch.finfo(q.dtype).tiny).log()
        per_label = F.nll_loss(log.transpose(1, 2), annotations, ignore_index=UNLABELLED, reduction="none")
        return per_label.sum(dim=0) / (annotations != UNLABELLED).sum(dim=0).clamp(min=1)

    @torch.no_grad()
    def _normalise_transitions(self) -> None:
        t = self.transitions
        t.masked_fill_(t < 0, self.config.ipa2lt.smallest_transition)
        t /= t.sum(dim=2, keepdim=True)


def _origins(origin: Tensor) -> Tensor:
    """0..O-1 without gaps; random halves where all is one. [N]"""
    found, origin = origin.unique(return_inverse=True)
    if len(found) > 1:
        return origin
    return (torch.randperm(len(origin)) % 2).to(origin.device)


def _near_identity(count: int, classes: int, smallest: float) -> Tensor:
    """The released initial matrices [count, K, K]: Xavier noise, a diagonal of 999, then rows sum to one."""
    bound = (3 / classes) ** 0.5
    t = torch.empty(count, classes, classes).uniform_(-bound, bound)
    t = t.where(t >= 0, smallest)
    t.diagonal(dim1=1, dim2=2).fill_(999)
    return t / t.sum(dim=2, keepdim=True)
