"""Zhang, Wang, Ling, Deng: Learn From All: Erasing Attention Consistency for Noisy Label Facial Expression
Recognition, ECCV 2022.

Cross-entropy sees an image alone, not its mirror image; the attention maps of both, which are the feature map
weighted by the classifier, have to agree. With parts of the face erased, the network cannot meet both by
attending to the few pixels that would let it memorise a wrong label.

- `consistency_weight`: lambda.
- `erasing`: which patch the mirror image lacks, see `views`. The released code takes `shared` for clean
  label files and `separate` for noisy ones, and so does `published`; the common schedule has `shared`
  throughout, so that its rows are all of one algorithm.
- `augment.flip` and `augment.gaussian_noise` come before, and the mirror image is that of their result. The
  released code flips no image at random and adds noise to every second one, which is what `published` does;
  there, for noisy label files, only the view has the noise and not its mirror image.
- The release adds noise to 100-px images, cuts it to whole numbers and enlarges; here it is white, and half
  as strong again (see SCN).
- The backbone is ResNet-18 (released: ResNet-50).
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from asm.basics.yaml import Section, Weight
from asm.methods.base import Batch, Method
from asm.parts import bank, views


class Options(Section):
    """The section `eac` of params.yaml."""

    consistency_weight: Weight  # lambda
    # of the flipped view: as released for clean labels | for noisy ones
    erasing: Literal["shared", "separate"]


class EAC(Method):
    title = "EAC"
    sections = {"eac": Options}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the view plus lambda times the attention maps' mean squared difference."""
        (network,) = self.networks
        view, mirrored = self.views(batch)
        # two forward passes, each with its own batch statistics, as released
        seen, seen_mirrored = network.feature_map(view), network.feature_map(mirrored)
        logits = network.head(seen.mean(dim=(2, 3)))
        ce = F.cross_entropy(logits.float(), batch.labels)
        difference = attention(seen, network.head) - attention(seen_mirrored, network.head).flip(3)
        consistency = difference.square().mean()
        total = ce + self.config.eac.consistency_weight * consistency
        return {"total": total, "ce": ce, "consistency": consistency}

    def views(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """A weak view and its mirror image, each [B, 3, S, S]. `shared`: the same patch is erased in both;
        `separate`: each has its own draw of erasing."""
        if self.sees_features:
            return bank.mirrored_pair(batch.faces, batch.generator)
        options, generator = self.config.augment, batch.generator
        if self.config.eac.erasing == "shared":
            view = self.weak(batch)
            return view, view.flip(3)
        whole = views.weak_view(batch.faces, options.model_copy(update={"erasing": 0.0}), generator)
        return views.erase(whole, options, generator), views.erase(whole.flip(3), options, generator)


def attention(feature_map: Tensor, head: nn.Linear) -> Tensor:
    """Attention map of each class, float32 [B, K, s, s]: the feature map's channels [B, C, s, s], weighted by
    the class's row of the classifier and summed. No gradient reaches the classifier; its bias is left out, so
    that the map's mean plus the bias is the class's logit."""
    return F.conv2d(feature_map, head.weight.detach()[:, :, None, None]).float()
