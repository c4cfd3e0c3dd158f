"""The scores of one finished run, typed: what `evaluate` writes and the report reads.

Accuracies, shares, precision and recall are fractions in [0, 1]. None is a score that is not defined there,
or that the file lacks because an earlier version wrote it: a score that is added gets the default None, so
that files written before still load.
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
    """Every key is written, and no other is read; the same scores are the same bytes."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class PerEpoch(Model):
    """Every list in it, and every list in a dictionary in it, has one value for each `epoch`."""

    epoch: list[int]

    @model_validator(mode="after")
    def _one_value_an_epoch(self) -> Self:
        for name, value in self:
            named = value if isinstance(value, dict) else {"": value}
            for key, series in named.items():
                if isinstance(series, list) and len(series) != len(self.epoch):
                    full = f"{name}.{key}" if key else name
                    raise ValueError(f"{full} has {len(series)} values for {len(self.epoch)} epochs")
        return self


class Accuracy(Model):
    """Accuracy on the test set. `last5`, the mean of the last five epochs, is the headline; the epoch of
    `best` was selected on the test set itself."""

    last5: Share
    last: Share
    best: Share
    best_epoch: int


class MeanClassAccuracy(Model):
    """The mean recall of the classes that the test set holds, as FER papers report it beside accuracy:
    `last5` is the mean of the last five epochs, `last` the last epoch's."""

    last5: Share | None = None
    last: Share

    @property
    def headline(self) -> float:
        """The mean of the last five epochs; the last epoch's where the file has no other."""
        return self.last if self.last5 is None else self.last5


class ClassScore(Model):
    """One class on the test set after the last epoch; `support` is its number of images."""

    name: str
    recall: Share | None
    precision: Share | None
    f1: Share | None
    support: Count


class NetworkAccuracy(Model):
    """Accuracy of one network alone on the test set."""

    last5: Share


class OnTest(Model):
    """Results on the test set.

    `accuracy`, `mean_class_accuracy`, `networks`, `valid_*` and `unambiguous_accuracy` (without known blends)
    have means of the last five epochs; the others are of the last epoch. `valid_*` are on the validation
    split. `confusion` [K, K] holds counts, one row for each true and one column for each predicted class.
    """

    images: Count
    averaged_epochs: int
    accuracy: Accuracy
    networks: list[NetworkAccuracy]
    mean_class_accuracy: MeanClassAccuracy
    macro_f1: Share
    ece: Share
    per_class: list[ClassScore]
    confusion: list[list[Count]]
    valid_accuracy: Share | None
    valid_mean_class_accuracy: Share | None = None
    unambiguous_accuracy: Share | None

    @model_validator(mode="before")
    @classmethod
    def _earlier_name(cls, found: Any) -> Any:
        """Files of an earlier version have the last epoch's mean class accuracy alone, under another name."""
        if isinstance(found, dict) and "balanced_accuracy" in found:
            found = dict(found)
            found["mean_class_accuracy"] = {"last": found.pop("balanced_accuracy")}
        return found


class Fit(Model):
    """What the networks have learned of their training labels: the share of the samples whose most probable
    class after the last epoch is the given label, among those whose given label is `right` and `wrong` (how
    much of the noise is memorised). None where there are none."""

    right: Share | None
    wrong: Share | None


class Curves(PerEpoch):
    """The run's course over all epochs. `accuracy` and `mean_class_accuracy` are on the test set; `subset_*`
    is each subset's share of the training samples; `threshold_clean` is T_c by class."""

    accuracy: Series
    mean_class_accuracy: Series | None = None
    subset_clean: Series | None
    subset_ambiguous: Series | None
    subset_noisy: Series | None
    threshold_clean: dict[str, Series] | None


class Ambiguity(Model):
    """The last epoch's ambiguous subset as a detector of the known blends, and how well the entropy of the
    mean prediction tells them."""

    precision: Share | None
    recall: Share | None
    auroc: Share | None


class Mining(PerEpoch):
    """The mined subsets by epoch, from the first mined one.

    `noisy_*`: the noisy subset as a detector of wrong labels; `wrong_share`: the share of wrong labels in
    each subset; `right_noisy`: the share of the samples with a right label that are called noisy,
    `right_noisy_by_class_epoch` the same for each given class, and `right_noisy_by_class` that in the last
    epoch; `clean_threshold_start`: mean T_c over the classes in the first mined epoch, None for a method
    without thresholds; `auroc_wrong`: how well a low confidence tells wrong labels; `vote_entropy_spearman`:
    rank correlation of the prediction's entropy with that of the annotators' votes.
    """

    noisy_precision: Series
    noisy_recall: Series
    noisy_f1: Series
    wrong_share: dict[str, Series]
    right_noisy: Series
    right_noisy_by_class: dict[str, Share | None]
    right_noisy_by_class_epoch: dict[str, Series] | None = None
    clean_threshold_start: Share | None
    auroc_wrong: Share | None
    ambiguity: Ambiguity | None
    vote_entropy_spearman: Correlation | None


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


class SubsetContents(Model):
    """What one subset holds. `ambiguous` is the share of ambiguous samples in it; `counts` says how many
    samples have each value of `vote_entropy` (both are empty without votes)."""

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
    by_subset: dict[str, SubsetContents]


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
    """What became of a data set's images. `fallback`: no face was found and the whole frame was taken;
    `corrected`: labels that a review changed (a file without the key has none)."""

    images: Count
    unreadable: Count
    fallback: Count
    fallback_share: Share
    corrected: Count = 0


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


def load_scores(path: Path) -> Scores:
    """Read the scores of one run. Raises InputError naming the file and the key that does not fit."""
    try:
        return Scores.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); evaluate the cell again") from error
    except ValidationError as error:
        raise InputError(f"{path}: {first_fault(error)}; evaluate the cell again") from error


def first_fault(error: ValidationError) -> str:
    """The first key that does not fit, and why."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "the whole file"
    if first["type"] == "extra_forbidden":
        return f"the key '{key}' is of another version of this code"
    return f"{key}: {first['msg']}"
