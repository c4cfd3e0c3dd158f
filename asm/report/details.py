"""One evaluated cell: the schema of reports/<profile>/details/<cell>.json, as far as the report reads it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Series = list[float | None]
MINING_SERIES = ("noisy_precision", "noisy_recall", "noisy_f1")
SUBSETS = ("clean", "ambiguous", "noisy")


class Accuracy(BaseModel):
    """Test accuracies as fractions; `best` was selected on the test set."""

    last5: Share
    last: Share | None = None
    best: Share | None = None
    best_epoch: int | None = None


class ClassScore(BaseModel):
    """One class on the test set; shares as fractions, support in images."""

    name: str = Field(alias="class")
    recall: Share | None
    precision: Share | None
    f1: Share | None
    support: int


class OnTest(BaseModel):
    """Test-set results of one cell; `confusion` [K, K] counts, rows true, columns predicted."""

    images: int
    averaged_epochs: int
    accuracy: Accuracy
    valid_accuracy: Accuracy | None = None
    networks: list[Accuracy] = []
    balanced_accuracy: Share | None = None
    macro_f1: Share | None = None
    ece: float | None = None
    unambiguous_accuracy: Share | None = None
    per_class: list[ClassScore]
    confusion: list[list[int]]


class Curves(BaseModel):
    """One value per epoch; null where the quantity did not exist yet."""

    epoch: list[int]
    accuracy: Series
    subset_clean: Series | None = None
    subset_ambiguous: Series | None = None
    subset_noisy: Series | None = None
    threshold_clean: dict[str, Series] | None = None

    @model_validator(mode="after")
    def _same_length(self) -> "Curves":
        named = {k: getattr(self, k) for k in ("accuracy", *(f"subset_{s}" for s in SUBSETS))}
        named |= {f"threshold_clean.{k}": v for k, v in (self.threshold_clean or {}).items()}
        return _check_lengths(self, named)


class Ambiguity(BaseModel):
    """The ambiguous subset against the known truth (rendered faces only)."""

    precision: float | None = None
    recall: float | None = None
    auroc: float | None = None


class Mining(BaseModel):
    """Quality of the mined subsets, per epoch from the first mined one."""

    epoch: list[int]
    noisy_precision: Series | None = None
    noisy_recall: Series | None = None
    noisy_f1: Series | None = None
    wrong_share: dict[str, Series | None] | None = None
    auroc_flipped: float | None = None
    ambiguity: Ambiguity | None = None
    vote_entropy_spearman: float | None = None

    @model_validator(mode="after")
    def _same_length(self) -> "Mining":
        named = {k: getattr(self, k) for k in MINING_SERIES}
        named |= {f"wrong_share.{k}": v for k, v in (self.wrong_share or {}).items()}
        return _check_lengths(self, named)


Measured = tuple[float | None, float | None, float | None]  # value, ends of its 95 % bootstrap interval


class Hits(BaseModel):
    """A set of training samples against the known ones."""

    samples: int
    precision: Share | None
    recall: Share


class Score(BaseModel):
    """How well one score ranks the known samples; `spearman` with the entropy of the annotators' votes."""

    auroc: Measured
    spearman: Measured | None = None
    average_precision: Share | None = None
    at_asm_size: Hits | None = None


class Held(BaseModel):
    """What one subset holds; `counts` of its samples have each of `vote_entropy`."""

    samples: int
    ambiguous: Share | None
    vote_entropy: list[float] = []
    counts: list[int] = []


class AmbiguousFaces(BaseModel):
    """Scores against known ambiguity; `share` of the images are."""

    truth: Literal["votes", "blends"]
    share: Share
    scores: dict[str, Score]
    subset: Hits
    by_subset: dict[str, Held]


class WrongLabels(BaseModel):
    """Scores against known wrong labels, a `share` of all; `cleanlab`: the issues that it lists by itself."""

    samples: int
    share: Share
    scores: dict[str, Score]
    subset: Hits
    cleanlab: Hits


class LabelQuality(BaseModel):
    """asm.label_quality's assessment of one run."""

    ambiguous: AmbiguousFaces | None = None
    wrong: WrongLabels | None = None


def _check_lengths(model: Any, named: dict[str, Series | None]) -> Any:
    for name, values in named.items():
        if values is not None and len(values) != len(model.epoch):
            raise ValueError(f"{name} has {len(values)} values for {len(model.epoch)} epochs")
    return model


class Noise(BaseModel):
    """Label noise: a kind and, where it is set, a rate; in details also the realised share."""

    kind: str
    rate: Share | None
    realised: Share | None = None
    train_images: int | None = None
    flipped: int = 0
    excluded: int = 0


class Faces(BaseModel):
    """What became of a data set's images; `fallback`: no face found, the whole frame was taken."""

    images: int
    unreadable: int
    fallback: int
    fallback_share: Share


class Cost(BaseModel):
    """What training took: parameters of all networks and heads together; forward passes of a ResNet-18 per
    training sample in the last epoch, mining included."""

    parameters: int
    forward_passes: float


class Details(BaseModel):
    """One evaluated cell."""

    cell: str
    dataset: str
    method: str
    seed: int
    schedule: str = "fair"
    classes: list[str]
    noise: Noise
    versions: dict[str, str] = {}
    faces: Faces | None = None
    cost: Cost | None = None
    test: OnTest
    curves: Curves
    mining: Mining | None = None
    label_quality: LabelQuality | None = None

    @model_validator(mode="after")
    def _square_confusion(self) -> "Details":
        size = len(self.classes)
        if [len(row) for row in self.test.confusion] != [size] * size:
            raise ValueError(f"test.confusion is not {size} x {size}, one row and column per class")
        return self
