"""What the report reads: the grid of cells and one details file per evaluated cell, both checked.

The grid decides which cells exist; a directory is never searched, so a left-over file of another run
cannot slip into a table.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator
from scipy import stats

from asm.errors import InputError

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


class Faces(BaseModel):
    """What became of a data set's images; `fallback`: no face found, the whole frame was taken."""

    images: int
    unreadable: int
    fallback: int
    fallback_share: Share


class Details(BaseModel):
    """One evaluated cell: reports/<profile>/details/<cell>.json."""

    cell: str
    dataset: str
    method: str
    seed: int
    classes: list[str]
    noise: Noise
    versions: dict[str, str] = {}
    faces: Faces | None = None
    test: OnTest
    curves: Curves
    mining: Mining | None = None

    @model_validator(mode="after")
    def _square_confusion(self) -> "Details":
        size = len(self.classes)
        if [len(row) for row in self.test.confusion] != [size] * size:
            raise ValueError(f"test.confusion is not {size} x {size}, one row and column per class")
        return self


class Cell(BaseModel):
    """One row of the grid; `details` is None while the cell has not been evaluated."""

    cell: str
    dataset: str
    noise: str
    method: str
    seed: int
    init: str
    changed: dict[str, Any] = {}
    details: Details | None = None


class DatasetInfo(BaseModel):
    """A data set of the grid."""

    source: str
    classes: int | None = None  # unknown for a folder of the user's own


class Init(BaseModel):
    """Initial weights of the backbone."""

    weights: str


class Grid(BaseModel):
    """configs/<profile>/grid.json. `defaults` gives the dotted keys' values in a cell that changes
    nothing; a key it lacks has the paper's value."""

    profile: str
    datasets: dict[str, DatasetInfo]
    noises: dict[str, Noise]
    inits: dict[str, Init]
    image_size: int
    width: int
    epochs: int
    warmup_epochs: int
    batch_size: int
    defaults: dict[str, Any] = {}
    cells: list[Cell]

    @model_validator(mode="after")
    def _known_names(self) -> "Grid":
        names, settings = set(), set()
        for cell in self.cells:
            for field, known in (("dataset", self.datasets), ("noise", self.noises), ("init", self.inits)):
                if getattr(cell, field) not in known:
                    raise ValueError(
                        f"cell {cell.cell!r}: {field} {getattr(cell, field)!r} is not among {list(known)}"
                    )
            setting = (*_key(cell), cell.seed)
            if cell.cell in names or setting in settings:
                raise ValueError(f"cell {cell.cell!r}: its name or its setting and seed occur twice")
            names.add(cell.cell)
            settings.add(setting)
        return self

    def groups(self) -> list["Group"]:
        """Cells that differ only in the seed, in the order of the grid."""
        found: dict[tuple, list[Cell]] = {}
        for cell in self.cells:
            found.setdefault(_key(cell), []).append(cell)
        return [
            Group(c[0].dataset, c[0].noise, c[0].method, c[0].init, c[0].changed, c) for c in found.values()
        ]

    def group(self, dataset: str, noise: str | None, method: str, init: str) -> "Group | None":
        """The default group (nothing changed) of these four, None when the grid has none."""
        wanted = (dataset, noise, method, init, {})
        return next((g for g in self.groups() if g.key == wanted), None)

    def ordered_noises(self) -> list[str]:
        """Symmetric noise by rate, then the other kinds in the order of the grid."""
        order = list(self.noises)
        return sorted(order, key=lambda n: (_rank(self.noises[n]), order.index(n)))


def _rank(noise: Noise) -> float:
    return noise.rate if noise.kind == "symmetric" and noise.rate is not None else math.inf


def _key(cell: Cell) -> tuple:
    changed = {k: sorted(v) if isinstance(v, list) else v for k, v in cell.changed.items()}
    return cell.dataset, cell.noise, cell.method, cell.init, json.dumps(changed, sort_keys=True)


@dataclass(frozen=True)
class Estimate:
    """Mean over seeds; `half` is the half-width of the 95 % Student t interval, None for one seed."""

    mean: float
    half: float | None
    n: int

    def __str__(self) -> str:
        if self.half is None:
            return f"{self.mean:.2f}"
        return f"{self.mean:.2f} ± {self.half:.2f} ({self.n} seeds)"


def estimate(values: Sequence[float | None]) -> Estimate | None:
    """Mean and 95 % interval of the values that exist; None when there are none."""
    known = np.array([v for v in values if v is not None], dtype=float)
    if known.size == 0:
        return None
    half = None
    if known.size > 1:
        half = float(stats.t.ppf(0.975, known.size - 1) * known.std(ddof=1) / math.sqrt(known.size))
    return Estimate(float(known.mean()), half, int(known.size))


@dataclass(frozen=True)
class Group:
    """The cells of one setting over its seeds."""

    dataset: str
    noise: str
    method: str
    init: str
    changed: dict[str, Any]
    cells: list[Cell]

    @property
    def key(self) -> tuple:
        return self.dataset, self.noise, self.method, self.init, self.changed

    @property
    def done(self) -> list[Details]:
        """Details of the evaluated cells."""
        return [c.details for c in self.cells if c.details is not None]

    def mean(self, of: Callable[[Details], float | None], scale: float = 100.0) -> Estimate | None:
        """`of` each evaluated cell, times `scale` (100: in percent), over the seeds."""
        values = [of(d) for d in self.done]
        return estimate([None if v is None else scale * v for v in values])

    def accuracy(self) -> Estimate | None:
        """Mean accuracy of the last epochs, percent."""
        return self.mean(lambda d: d.test.accuracy.last5)

    def best(self) -> Estimate | None:
        """Accuracy of the best epoch, percent; selected on the test set."""
        return self.mean(lambda d: d.test.accuracy.best)

    def network(self, i: int) -> Estimate | None:
        """Accuracy of network `i` (0 or 1) of a two-network method alone, percent."""
        return self.mean(lambda d: d.test.networks[i].last5 if len(d.test.networks) > 1 else None)


def load(grid: Path | dict, details_dir: Path) -> Grid:
    """The grid with the details of every evaluated cell.

    A cell without a details file stays blank. Raises InputError for a missing grid file or details
    directory, and for a file whose content does not fit, naming file and key.
    """
    where = "the grid"
    if not isinstance(grid, dict):
        where, grid = str(grid), _read_json(Path(grid), "run the stage that writes the configurations")
    loaded = _validate(Grid, grid, where)
    if not Path(details_dir).is_dir():
        raise InputError(f"{details_dir}: expected the directory of details files; evaluate the cells first")
    for cell in loaded.cells:
        path = Path(details_dir) / f"{cell.cell}.json"
        if not path.exists():
            continue
        details = _validate(Details, _read_json(path, "evaluate the cell again"), str(path))
        for field in ("cell", "dataset", "method", "seed"):
            expected, found = getattr(cell, field), getattr(details, field)
            if expected != found:
                raise InputError(
                    f"{path}: {field} is {found!r}, the grid says {expected!r}; evaluate the cell again"
                )
        cell.details = details
    return loaded


def _read_json(path: Path, remedy: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
    except ValueError as error:
        raise InputError(f"{path}: not a JSON file ({error}); {remedy}") from error


def _validate(model: type[BaseModel], data: Any, where: str) -> Any:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise InputError(f"{where}: {key}: {first['msg']}; write the file again with its stage") from error


@cache
def paper() -> dict:
    """The published numbers, accuracies in percent."""
    return yaml.safe_load(resources.files("asm.report").joinpath("paper.yaml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Headline:
    """What a data set's figures show: its highest symmetric noise with both ASM and the baseline."""

    dataset: str
    noise: str
    init: str
    asm: Group
    baseline: Group | None


def headlines(grid: Grid) -> list[Headline]:
    """One headline per data set that has evaluated ASM cells with nothing changed, in grid order.

    The highest symmetric rate with evaluated ASM and baseline cells; without a baseline anywhere,
    the highest rate with ASM; other kinds of noise only when there is no symmetric one.
    """
    found = []
    for dataset in grid.datasets:
        options = []
        for noise in grid.ordered_noises():
            for position, init in enumerate(grid.inits):
                asm, base = (grid.group(dataset, noise, m, init) for m in ("asm", "baseline"))
                if asm is None or not asm.done:
                    continue
                base = base if base is not None and base.done else None
                rate = _rank(grid.noises[noise])
                rate = -1.0 if math.isinf(rate) else rate
                options.append(((base is not None, rate, -position), noise, init, asm, base))
        if options:
            _, noise, init, asm, base = max(options, key=lambda option: option[0])
            found.append(Headline(dataset, noise, init, asm, base))
    return found
