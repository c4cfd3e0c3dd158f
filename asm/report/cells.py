"""What the report reads: the grid of cells and, per evaluated cell, its scores and timing, all checked. The
grid decides which cells exist: a left-over file of another run cannot slip into a table."""

import json
import math
from functools import cache, cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, Self

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from asm.basics.errors import InputError
from asm.basics.yaml import Schedule, read_yaml
from asm.scores.schema import LabelQuality, NoiseKind, Scores, load_scores

# These two have one schedule, the common one being that of their own paper: a cell in either stands for both.
ONE_SCHEDULE = ("baseline", "asm")
CONTROL = "two_networks"  # what two networks gain by themselves; no published method


class Cell(BaseModel):
    """One row of the grid; `scores` is None while the cell has not been evaluated, `seconds` (training and
    mining, mean over the epochs) while it has not been timed."""

    cell: str
    dataset: str
    noise: str
    method: str
    seed: int
    init: str
    schedule: Schedule
    changed: dict[str, Any]
    scores: Scores | None = None
    out_of_sample: LabelQuality | None = None  # asked of networks that were not trained on the images
    seconds: float | None = None


class DatasetInfo(BaseModel):
    """`paper`: the data set's column in paper.yaml, None where the paper does not have it."""

    title: str
    paper: str | None


class MethodInfo(BaseModel):
    """What a method's own file says of it; `ours` is one that no paper has."""

    title: str
    told_noise_rate: bool
    ours: bool


class Grid(BaseModel):
    """configs/report.yaml, its axes in the order of the cells. `defaults` gives the dotted keys' values in a
    cell that changes nothing; a key that it lacks has the paper's value."""

    model_config = ConfigDict(extra="forbid")

    profile: str
    datasets: dict[str, DatasetInfo]
    noises: dict[str, NoiseKind]
    inits: dict[str, dict[str, Any]]  # `about`: what the weights are beside the paper's
    methods: dict[str, MethodInfo]
    input: Literal["aligned", "features"]
    hidden: int | None
    dropout: float
    backbone: str
    image_size: int
    width: int
    epochs: int
    warmup_epochs: int
    batch_size: int
    precision: str
    defaults: dict[str, Any]
    cells: list[Cell]
    code: str  # hash of the code that writes the report

    @model_validator(mode="after")
    def _in_order_of_cells(self) -> Self:
        """The axes as the cells come, for the file has its keys sorted."""
        for axis, field in (("datasets", "dataset"), ("noises", "noise"), ("inits", "init")):
            known, used = getattr(self, axis), dict.fromkeys(getattr(cell, field) for cell in self.cells)
            if unknown := set(used) - set(known):
                raise ValueError(f"a cell's {field} {unknown.pop()!r} is not among {list(known)}")
            setattr(self, axis, {key: known[key] for key in dict.fromkeys([*used, *known])})
        return self

    def title(self, method: str) -> str:
        """How a method is printed: as its own file says, the control and what is ours marked as such; one of
        the paper's that the grid lacks as the paper names it."""
        info = self.methods.get(method)
        mark = " (control)" if method == CONTROL else " (ours)" if info and info.ours else ""
        return (info.title if info else paper()["methods"][method]) + mark

    @cached_property
    def schedules(self) -> list[str]:
        """The schedules of the cells, the common one first."""
        return sorted({cell.schedule for cell in self.cells})

    @cached_property
    def used_inits(self) -> list[str]:
        """The initial weights of the cells, in the order of the grid's cells."""
        return list(dict.fromkeys(cell.init for cell in self.cells))

    @cached_property
    def ordered_noises(self) -> list[str]:
        """Symmetric noise by rate, then the other kinds in the order of the grid."""
        rates = {n: kind.rate for n, kind in self.noises.items() if kind.kind == "symmetric"}
        return sorted(self.noises, key=lambda name: math.inf if rates.get(name) is None else rates[name])


def canonical(changed: dict[str, Any]) -> str:
    """What a cell changes as text, the same for the same content: `{}` for nothing."""
    ordered = {k: sorted(v) if isinstance(v, list) else v for k, v in changed.items()}
    return json.dumps(ordered, sort_keys=True)


def load_grid(path: Path, scores_dir: Path, timing_dir: Path) -> Grid:
    """The grid (configs/report.yaml) with the scores and timings of every evaluated cell.

    A cell without a file of its own stays blank. Raises InputError for a missing grid file or directory, and
    for a file whose content does not fit, naming file and key.
    """
    try:
        loaded = Grid.model_validate(read_yaml(path))
    except ValidationError as error:
        raise InputError(f"{path}: {_first(error)}; write the file again with its stage") from error
    for directory, kind in ((scores_dir, "scores"), (timing_dir, "timing")):
        if not directory.is_dir():
            raise InputError(f"{directory}: expected the directory of {kind} files; evaluate the cells first")
    for cell in loaded.cells:
        if (path := scores_dir / f"{cell.cell}.json").exists():
            cell.scores = load_scores(path)
            _check_belongs(cell, loaded.noises[cell.noise], cell.scores, path)
        if (path := scores_dir / "out_of_sample" / f"{cell.cell}.json").exists():
            try:
                cell.out_of_sample = LabelQuality.model_validate_json(path.read_bytes())
            except ValidationError as error:
                raise InputError(f"{path}: cannot be read ({_first(error)}); assess it again") from error
        if (path := timing_dir / f"{cell.cell}.csv").exists():
            cell.seconds = _mean_seconds(path)
    return loaded


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the whole file'}: {first['msg']}"


def _check_belongs(cell: Cell, noise: NoiseKind, scores: Scores, path: Path) -> None:
    wanted = {field: getattr(cell, field) for field in ("cell", "dataset", "method", "seed", "schedule")}
    wanted |= {"noise.kind": noise.kind, "noise.rate": noise.rate}
    for field, value in wanted.items():
        if (found := attrgetter(field)(scores)) != value:
            raise InputError(f"{path}: {field} is {found!r}, the grid says {value!r}; evaluate it again")


def _mean_seconds(path: Path) -> float | None:
    """Of the column `busy_seconds`: the processor's on a CPU, the clock's on a GPU; None without it."""
    try:
        timed = pd.read_csv(path)
        if "busy_seconds" not in timed:
            return None
        mean = float(timed["busy_seconds"].astype(float).mean())
    except ValueError as error:
        raise InputError(f"{path}: cannot be read ({error}); train the cell again") from error
    if not mean > 0:
        raise InputError(f"{path}: expected positive seconds, their mean is {mean}; train the cell again")
    return round(mean, 3)  # as cells.csv has it, so that the committed scores give the committed tables


@cache
def paper() -> dict[str, Any]:
    """The published numbers of paper.yaml, accuracies in percent."""
    return read_yaml(Path(__file__).parent / "paper.yaml")
