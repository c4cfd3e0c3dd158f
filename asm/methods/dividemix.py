"""Li, Socher, Hoi: DivideMix: Learning with Noisy Labels as Semi-supervised Learning, ICLR 2020.

Before each epoch a mixture of two Gaussians, fitted to each network's losses, divides the training set for
the other network into samples with a label and samples without. Labels are refined and missing ones guessed
from the networks' predictions; both kinds are then mixed with each other (MixMatch).

`unlabelled_weight`: lambda_u, 0 in the paper for CIFAR-10 at 20 % noise, 25 at 50 %. `clean_probability`:
tau, 0.5; 0.6 at 90 % noise. Departures:
- a batch holds labelled and unlabelled samples as they come and both networks learn from it in one step, each
  from its own division of it. The released code trains one network for an epoch, then the other, and draws as
  many unlabelled as labelled samples in each step; an epoch ends with the labelled ones. The losses are means
  over either kind here too, so that their weights are the published ones
- the released code has 64 labelled and 64 unlabelled samples a step, 128 in the warm-up; `published` has 128
  in all: as many in the warm-up and in a step, but an epoch is N / 128 steps where the release has one for 64
  labelled samples (about N / 80 at 20 % noise)
- under `published` the views are flips alone, where the release also crops 32-px images padded by 4
- both networks get the same two augmented views, and guess in training mode; in the released code the one
  that is not trained is in evaluation mode
- both networks start from the same backbone, with different heads (the release: two independent ones), so
  that their divisions are more alike at first
- one forward pass for both views, so that BatchNorm sees them together
- lambda_u rises once an epoch instead of once a step; L_U is the mean over the classes too, as released,
  where Eq. 10 has their sum
- the class at test comes from the networks' mean probability, not from their summed logits, so that each
  network's own accuracy is known too
- for asymmetric noise the warm-up has no entropy penalty, and at 90 % noise the losses are not averaged over
  epochs
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits
from torch import Generator, Tensor

from asm import losses
from asm.basics.yaml import Positive, Scale, Section, Share, Weight
from asm.methods.base import Batch, Method
from asm.methods.config import CellConfig
from asm.parts.batches import Samples


class Options(Section):
    """The section `dividemix` of params.yaml."""

    clean_probability: Share  # a sample is labelled above it
    temperature: Scale
    mix_alpha: Scale
    unlabelled_weight: Weight  # lambda_u: 0 for CIFAR-10 at 20 % noise, 25 at 50 %
    ramp_epochs: Positive  # of lambda_u after the warm-up


class DivideMix(Method):
    title = "DivideMix"
    sections = {"dividemix": Options}

    num_networks = 2

    def __init__(
        self, config: CellConfig, networks: list[torch.nn.Module], num_classes: int, samples: Samples
    ) -> None:
        super().__init__(config, networks, num_classes, samples)
        # [2, N]: that a label is right, judged by each network's losses; None during warm-up
        self.w: Tensor | None = None

    def start_epoch(self, epoch: int) -> dict[str, float]:
        """Co-divide (§3.1); logged by the network whose losses are divided, used by the other one."""
        if epoch <= self.config.training.warmup_epochs:
            return {}
        z = self.predict_all(self.samples.faces, forward=lambda images: torch.stack(self.logits(images)))
        ce = [F.cross_entropy(one.float(), self.samples.labels, reduction="none") for one in z]
        self.w = torch.stack([clean_probability(one, self.config.seed) for one in ce])
        labelled = self._labelled(self.w).float()
        return {
            **{f"w_net{i}": mean for i, mean in enumerate(self.w.mean(dim=1).tolist(), start=1)},
            **{f"labelled_net{i}": share for i, share in enumerate(labelled.mean(dim=1).tolist(), start=1)},
            "lambda_u": self._lambda_u(epoch),
        }

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Eq. 9-12: L_X + lambda_u L_U + L_reg, summed over the networks; cross-entropy during warm-up."""
        if self.w is None:
            z1, z2 = self.logits(self.weak(batch))
            return {"total": losses.supervised(z1.float(), z2.float(), batch.labels)}
        views = torch.cat([self.weak(batch), self.weak(batch)])
        w = self.w.flip(0)[:, batch.rows]  # each network's comes from the other
        targets, labelled = self.targets(views, batch.labels, w), self._labelled(w).repeat(1, 2)
        sums = dict.fromkeys(("labelled", "unlabelled", "uniform"), 0.0)
        for network, target, has_label in zip(self.networks, targets, labelled, strict=True):
            images, target = mix(views, target, self.config.dividemix.mix_alpha, batch.generator)
            log_p = network(images).float().log_softmax(dim=1)
            sums["labelled"] += _mean(-(target * log_p).sum(dim=1), has_label)
            sums["unlabelled"] += _mean((log_p.exp() - target).square().mean(dim=1), ~has_label)
            # Eq. 11: D_KL(uniform || mean prediction)
            log_mean = log_p.logsumexp(dim=0) - math.log(len(log_p))
            sums["uniform"] += -log_mean.mean() - math.log(self.num_classes)
        total = sums["labelled"] + self._lambda_u(batch.epoch) * sums["unlabelled"] + sums["uniform"]
        return {"total": total, **sums}

    @torch.no_grad()
    def targets(self, views: Tensor, labels: Tensor, w: Tensor) -> Tensor:
        """Co-refinement (Eq. 3-4) of the labelled samples, co-guessing of the others; both sharpened.

        Args:
            views: [2B, 3, S, S], two views of each sample.
            labels: [B].
            w: [2, B], the weight of the given label for each network.

        Returns:
            [2, 2B, K], each network's targets for both views; without gradient.
        """
        probs = torch.stack([z.float().softmax(dim=1) for z in self.logits(views)])
        own = probs.unflatten(1, (2, -1)).mean(dim=1)  # [2, B, K], over the views
        given = F.one_hot(labels, self.num_classes)
        refined = w[..., None] * given + (1 - w[..., None]) * own
        target = torch.where(self._labelled(w)[..., None], refined, own.mean(dim=0))
        return sharpen(target, self.config.dividemix.temperature).repeat(1, 2, 1)

    def _labelled(self, w: Tensor) -> Tensor:
        return w > self.config.dividemix.clean_probability

    def _lambda_u(self, epoch: int) -> float:
        """Rises from 0 in the first epoch after warm-up over `ramp_epochs`."""
        options = self.config.dividemix
        passed = epoch - self.config.training.warmup_epochs - 1
        return options.unlabelled_weight * min(passed / options.ramp_epochs, 1.0)


def clean_probability(per_sample: Tensor, seed: int) -> Tensor:
    """Posterior of the component with the smaller mean, float32 [N], from the losses [N] scaled to [0, 1]."""
    spread = (per_sample - per_sample.min()) / (per_sample.max() - per_sample.min()).clamp(min=1e-12)
    values = spread.double().cpu().numpy()[:, None]
    mixture = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=seed)
    with threadpool_limits(1):  # the same sums whatever the number of cores
        posterior = mixture.fit(values).predict_proba(values)[:, mixture.means_.argmin()]
    return torch.from_numpy(posterior).to(per_sample)


def sharpen(probs: Tensor, temperature: float) -> Tensor:
    """Eq. 4: p^(1/T), scaled to sum to one. [..., K]."""
    return (probs.log() / temperature).softmax(dim=-1)


def mix(images: Tensor, targets: Tensor, alpha: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """MixMatch's mixup: l x + (1 - l) x' of images and targets with a random other row each, l >= 1/2.

    One l for the batch, the larger of l and 1 - l for l ~ Beta(alpha, alpha), as released.
    """
    seed = int(torch.randint(2**62, (1,), generator=generator))  # torch's Beta takes no generator
    draw = np.random.default_rng(seed).beta(alpha, alpha)
    share = max(draw, 1 - draw)
    other = torch.randperm(len(images), generator=generator).to(images.device)
    return tuple(share * x + (1 - share) * x[other] for x in (images, targets))


def _mean(per_sample: Tensor, chosen: Tensor) -> Tensor:
    """Mean over the chosen rows; exactly 0 where there is none."""
    return (per_sample * chosen).sum() / chosen.sum().clamp(min=1)
