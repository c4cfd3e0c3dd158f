"""Every method's hyper-parameters: its sections of params.yaml, with the published values as defaults.

What belongs to a method's schedule instead (optimiser, epochs, batch size, augmentation) stands under
`published` in params.yaml. Wherever a method starts something after some epochs, it is after
`training.warmup_epochs`.
"""

from typing import Annotated, Literal

from pydantic import Field

from asm.schema import Positive, Section, Share, Weight


class StrongAugment(Section):
    """The strong view of Eq. 11: RandAugment and one grey cutout square."""

    operations: Annotated[int, Field(ge=0, le=14)] = 2
    magnitude: Annotated[float, Field(ge=0, le=30)] = 10
    probability: Share = 0.5
    cutout: Share = 0.07


class Thresholds(Section):
    """§3.2-3.3, Eq. 1-6."""

    adaptive: bool = True
    init_clean: Share = 0.8
    init_noisy: Share = 0.2
    confidence: Literal["label", "max"] = "label"


class Losses(Section):
    """§3.4, Eq. 7-12."""

    omega: Weight = 0.6
    gamma: Weight = 1.0
    beta: Weight = 0.65
    lambda_max: Share = 0.9
    ramp_end: Annotated[float, Field(gt=0)] = 0.9
    divide_by: Literal["batch", "subset"] = "batch"
    replace_with_ce: list[Literal["mutual", "consistency"]] = []
    drop_noisy: bool = False


class SCN(Section):
    """Self-Cure Network."""

    high_share: Share = 0.7  # beta: share of a batch in the high-importance group
    margin: Weight = 0.07  # delta_1: wanted distance of the groups' mean importance
    ce_weight: Weight = 1.0  # 0.5 in the paper
    ranking_weight: Weight = 1.0  # 0.5 in the paper
    relabel: bool = True
    relabel_margin: Share = 0.2  # delta_2
    relabel_group: Literal["all", "low"] = "all"  # code: any sample | paper: of the low-importance group
    relabel_visible: Literal["next_epoch", "at_once"] = "next_epoch"


class RUL(Section):
    """Relative Uncertainty Learning."""

    embedding: Positive = 64
    dropout: Share = 0.4
    relabel: bool = True  # SCN's relabelling, which the noise results rest on; not in the released code
    relabel_margin: Share = 0.2
    relabel_visible: Literal["next_epoch", "at_once"] = "next_epoch"


class EAC(Section):
    """Erasing Attention Consistency."""

    consistency_weight: Weight = 5.0  # lambda
    # of the flipped view: as released for clean labels | for noisy ones
    erasing: Literal["shared", "separate"] = "shared"


class RAN(Section):
    """Region Attention Network."""

    regions: Annotated[int, Field(ge=1, le=7)] = 5  # beside the whole face; 7 for AffectNet
    margin: Share = 0.02  # of the region-biased loss; 0.1 for FER+
    attention: Literal["softmax", "sum"] = "softmax"  # over the regions: as released | as in the paper


class DACL(Section):
    """Deep Attentive Center Loss."""

    center_weight: Weight = 0.01  # lambda
    center_lr: Share = 0.5  # alpha
    hidden: Annotated[list[Positive], Field(min_length=3, max_length=3)] = [3584, 512, 64]


class IPA2LT(Section):
    """Inconsistent Pseudo Annotations to Latent Truth."""

    human_weight: Weight = 3.0
    model_weight: Weight = 0.5
    loss: Literal["nll", "double_softmax"] = "nll"  # paper | released code
    smallest_transition: Annotated[float, Field(gt=0, lt=0.1)] = 0.00001  # in place of a negative one
    # through the rows' normalisation | as released, around it
    transition_gradient: Literal["normalised", "raw"] = "normalised"


class DMUE(Section):
    """Dive into Ambiguity: latent Distribution Mining and pairwise Uncertainty Estimation."""

    temperature: Annotated[float, Field(gt=0)] = 1.2
    soft_weight: Weight = 0.5
    similarity_weight: Weight = 1000.0
    dropout: Share = 0.5
    train_uncertainty: bool = True  # false: as released, where no optimiser holds it
    auxiliary_similarity: Literal["features", "logits"] = "features"  # paper | released code


class MAN(Section):
    """MAN: Mining Ambiguity and Noise (the ASM authors' earlier method)."""

    omega: Weight = 0.6  # weight of the ambiguous samples' loss
    gamma: Weight = 1.0  # weight of the noisy samples' loss
    beta: Weight = 0.65
    lambda_max: Share = 0.9
    ramp_end: Annotated[float, Field(gt=0)] = 0.9  # share of the epochs
    forward: Literal["split", "joint"] = "split"  # a forward pass per subset, or one for all of a batch
    mining_view: Literal["weak", "eval"] = "weak"


class Coteaching(Section):
    """Co-teaching."""

    forget_rate: Share | None = None  # tau; none: the noise rate of the cell
    divide_twice: bool = False  # true: as released, the mean loss divided by the count again


class Decoupling(Section):
    """Decoupling "when to update" from "how to update"."""

    smallest_share: Share = 0.1  # the loss is divided by at least this share of the batch


class JoCoR(Section):
    """Joint training with Co-Regularisation."""

    forget_rate: Share | None = None  # tau; none: the noise rate of the cell
    agreement_weight: Share = 0.9  # lambda: 0.9 in the paper at 20 and 50 % noise, 0.1 the code's default


class DivideMix(Section):
    """DivideMix."""

    clean_probability: Share = 0.5  # a sample is labelled above it
    temperature: Annotated[float, Field(gt=0)] = 0.5
    mix_alpha: Annotated[float, Field(gt=0)] = 4.0
    unlabelled_weight: Weight = 0.0  # lambda_u: 0 for CIFAR-10 at 20 % noise, 25 at 50 %
    ramp_epochs: Positive = 16  # of lambda_u after the warm-up


class NCT(Section):
    """Noisy Concurrent Training."""

    temperature: Annotated[float, Field(gt=0)] = 4.0
    alpha_max: Share = 0.9
    beta: Weight = 5.0  # as released; ASM cites 0.65
    ramp_end: Annotated[float, Field(gt=0)] = 0.1  # share of the epochs: 20 of 200; ASM cites 0.9
    # in the warm-up, at the end
    flip_rate: Annotated[list[Share], Field(min_length=2, max_length=2)] = [0.2, 0.7]


# Each method's sections, by their names in params.yaml. Its file is asm/methods/<method>.py.
METHOD_SECTIONS: dict[str, dict[str, type[Section]]] = {
    "baseline": {},
    "asm": {"thresholds": Thresholds, "losses": Losses, "strong_augment": StrongAugment},
    "scn": {"scn": SCN},
    "rul": {"rul": RUL},
    "eac": {"eac": EAC},
    "ran": {"ran": RAN},
    "dacl": {"dacl": DACL},
    "ipa2lt": {"ipa2lt": IPA2LT},
    "dmue": {"dmue": DMUE},
    "man": {"man": MAN, "strong_augment": StrongAugment},
    "coteaching": {"coteaching": Coteaching},
    "decoupling": {"decoupling": Decoupling},
    "jocor": {"jocor": JoCoR},
    "dividemix": {"dividemix": DivideMix},
    "nct": {"nct": NCT},
}
