"""The scores of one finished run, typed: what `evaluate` writes and the report reads.

Accuracies, shares, precision and recall are fractions in [0, 1]; None is a score that is not defined there.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from asm.basics.errors import InputError
from asm.basics.yaml import Schedule, Share

Count = Annotated[int, Field(ge=0)]
Correlation = Annotated[float, Field(ge=-1, le=1)]
Series = list[float | None]  # one value an epoch; None where the quantity did not exist yet
Measured = tuple[float | None, float | None, float | None]  # value, ends of its 95 % bootstrap interval


class Model(BaseModel):
    """Every key is written and expected, and no other; the same scores are the same bytes."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Accuracy(Model):
    """On the test set; `last5` is the headline, the mean of the last epochs; `best` was selected there."""

    last5: Share
    last: Share
    best: Share
    best_epoch: int


class ClassScore(Model):
    """One class on the test set; `support` in images."""

    name: str
    recall: Share | None
    precision: Share | None
    f1: Share | None
    support: Count


class NetworkAccuracy(Model):
    """Of one network alone, on the test set."""

    last5: Share


class OnTest(Model):
    """Test-set results; `valid_accuracy` is a mean of the last epochs as the headline is.

    `confusion` [K, K]: counts, rows true, columns predicted; `unambiguous_accuracy` leaves out known blends.
    """

    images: Count
    averaged_epochs: int
    accuracy: Accuracy
    networks: list[NetworkAccuracy]
    balanced_accuracy: Share
    macro_f1: Share
    ece: Share
    per_class: list[ClassScore]
    confusion: list[list[Count]]
    valid_accuracy: Share | None
    unambiguous_accuracy: Share | None


class Fit(Model):
    """What the networks have learned of their training labels: the share of the samples whose most probable
    class after the last epoch is the given label, among those whose given label is `right` and `wrong` (how
    much of the noise is memorised). None where there are none."""

    right: Share | None
    wrong: Share | None


class Curves(Model):
    """The run's course; `subset_*`: each one's share of the training samples; `threshold_clean` by class."""

    epoch: list[int]
    accuracy: Series
    subset_clean: Series | None
    subset_ambiguous: Series | None
    subset_noisy: Series | None
    threshold_clean: dict[str, Series] | None

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        names = ("accuracy", "subset_clean", "subset_ambiguous", "subset_noisy")
        named = {name: getattr(self, name) for name in names}
        return _check_lengths(self, named | _dotted("threshold_clean", self.threshold_clean))


class Ambiguity(Model):
    """The last epoch's ambiguous subset as a detector of the known blends, and how well the entropy of the
    mean prediction tells them."""

    precision: Share | None
    recall: Share | None
    auroc: Share | None


class Mining(Model):
    """The mined subsets by epoch, from the first mined one.

    `noisy_*`: the noisy subset as a detector of wrong labels; `wrong_share`: the share of wrong labels in
    each subset; `right_noisy`: the share of the samples with a right label that are called noisy,
    `right_noisy_by_class` the same in the last epoch by given class; `clean_threshold_start`: mean T_c over
    the classes in the first mined epoch, None for a method without thresholds; `auroc_wrong`: how well a low
    confidence tells wrong labels; `vote_entropy_spearman`: rank correlation of the prediction's entropy with
    that of the annotators' votes.
    """

    epoch: list[int]
    noisy_precision: Series
    noisy_recall: Series
    noisy_f1: Series
    wrong_share: dict[str, Series]
    right_noisy: Series
    right_noisy_by_class: dict[str, Share | None]
    clean_threshold_start: Share | None
    auroc_wrong: Share | None
    ambiguity: Ambiguity | None
    vote_entropy_spearman: Correlation | None

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        names = ("noisy_precision", "noisy_recall", "noisy_f1", "right_noisy")
        named = {name: getattr(self, name) for name in names}
        return _check_lengths(self, named | _dotted("wrong_share", self.wrong_share))


class Hits(Model):
    """A set of training samples against the known ones."""

    samples: Count
    precision: Share | None
    recall: Share


class Score(Model):
    """How well one score ranks the known samples: `spearman` with the entropy of the annotators' votes;
    `at_asm_size`: as many samples as ASM's rule calls noisy, those that score highest."""

    auroc: Measured
    spearman: Measured | None
    at_asm_size: Hits | None


class Held(Model):
    """What one subset holds: `ambiguous` is the share of ambiguous samples; `counts` of them have each of
    `vote_entropy` (both empty without votes)."""

    samples: Count
    ambiguous: Share | None
    vote_entropy: list[float]
    counts: list[Count]


class AmbiguousFaces(Model):
    """Scores against known ambiguity; `share` of the images are ambiguous; `subset`: ASM's ambiguous one."""

    truth: Literal["votes", "blends"]
    share: Share
    scores: dict[str, Score]
    subset: Hits
    by_subset: dict[str, Held]


class WrongLabels(Model):
    """Scores against wrong labels, a `share` of all; `subset`: ASM's noisy one; `cleanlab`: the issues that
    it lists by itself, None where it was not installed."""

    samples: Count
    share: Share
    scores: dict[str, Score]
    subset: Hits
    cleanlab: Hits | None


class LabelQuality(Model):
    """ASM's rule and its rivals on one run's probabilities (asm.scores.label_quality)."""

    ambiguous: AmbiguousFaces | None
    wrong: WrongLabels | None


class NoiseKind(Model):
    """How training labels are corrupted; `rate` where it is set."""

    kind: str
    rate: Share | None


class GivenLabels(NoiseKind):
    """The training labels: of `train_images`, `wrong` many and a `realised` share have a given label that is
    not the true one; `excluded` more have none."""

    train_images: Count
    excluded: Count
    wrong: Count
    realised: Share


class FaceCounts(Model):
    """What became of a data set's images; `fallback`: no face found, the whole frame was taken. `corrected`:
    labels that a review changed; left out of the file where there are none, as in the align stage's."""

    images: Count
    unreadable: Count
    fallback: Count
    fallback_share: Share
    corrected: Count = Field(default=0, exclude_if=lambda labels: not labels)


class Cost(Model):
    """What training took: parameters of all networks and heads together; forward passes of the backbone per
    training sample in the last epoch, mining included."""

    parameters: Count
    forward_passes: float


class Scores(Model):
    """All scores of one run; `mining` is None for a method that does not mine, `label_quality` where nothing
    is known of the training images or the method is not assessed."""

    cell: str
    dataset: str
    method: str
    seed: int
    schedule: Schedule
    classes: list[str]
    noise: GivenLabels
    versions: dict[str, str]
    faces: FaceCounts
    cost: Cost
    test: OnTest
    fit: Fit
    curves: Curves
    mining: Mining | None
    label_quality: LabelQuality | None

    @model_validator(mode="after")
    def _one_row_per_class(self) -> Self:
        size = len(self.classes)
        if [len(row) for row in self.test.confusion] != [size] * size:
            raise ValueError(f"test.confusion is not {size} x {size}, one row and column per class")
        if [score.name for score in self.test.per_class] != self.classes:
            raise ValueError("test.per_class does not name the classes in their order")
        return self


def _dotted(name: str, series: dict[str, Series] | None) -> dict[str, Series]:
    return {f"{name}.{key}": values for key, values in (series or {}).items()}


def _check_lengths(model: Any, named: dict[str, Series | None]) -> Any:
    for name, values in named.items():
        if values is not None and len(values) != len(model.epoch):
            raise ValueError(f"{name} has {len(values)} values for {len(model.epoch)} epochs")
    return model


def load_scores(path: Path) -> Scores:
    """Read the scores of one run. Raises InputError naming the file and the key that does not fit."""
    try:
        return Scores.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); evaluate the cell again") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise InputError(f"{path}: {key}: {first['msg']}; evaluate the cell again") from error
