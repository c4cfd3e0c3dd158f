"""What the report reads: the grid of cells and, per evaluated cell, its scores and timing, all checked.

The grid decides which cells exist; a directory is never searched, so a left-over file of another run
cannot slip into a table.
"""

import json
import math
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from asm.basics.errors import InputError
from asm.basics.yaml import Schedule, read_yaml
from asm.scores.schema import LabelQuality, NoiseKind, Scores, load_scores

# Their own paper's schedule is the common one, so that a cell in either stands for both.
ONE_SCHEDULE = ("baseline", "asm")
PRINTED = {"thresholds.confidence": "max"}  # what a cell changes that takes Eq. 3 as printed
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
    """A data set of the grid."""

    source: str
    classes: int | None = None  # unknown for a folder of the user's own


class InitInfo(BaseModel):
    """Initial weights of the backbone."""

    weights: str


class MethodInfo(BaseModel):
    """What a method's own file says of it."""

    title: str
    told_noise_rate: bool


class Grid(BaseModel):
    """configs/report.yaml, its axes in the order of the cells. `defaults` gives the dotted keys' values in a
    cell that changes nothing; a key it lacks has the paper's value."""

    model_config = ConfigDict(extra="forbid")

    profile: str
    datasets: dict[str, DatasetInfo]
    noises: dict[str, NoiseKind]
    inits: dict[str, InitInfo]
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
    code: str  # that writes the report

    @model_validator(mode="after")
    def _known_names(self) -> "Grid":
        names, settings = set(), set()
        for cell in self.cells:
            for field, known in (
                ("dataset", self.datasets),
                ("noise", self.noises),
                ("init", self.inits),
                ("method", self.methods),
            ):
                if getattr(cell, field) not in known:
                    raise ValueError(
                        f"cell {cell.cell!r}: {field} {getattr(cell, field)!r} is not among {list(known)}"
                    )
            axes = (cell.dataset, cell.noise, cell.method, cell.init, cell.schedule, cell.seed)
            setting = (*axes, canonical(cell.changed))
            if cell.cell in names or setting in settings:
                raise ValueError(f"cell {cell.cell!r}: its name or its setting and seed occur twice")
            names.add(cell.cell)
            settings.add(setting)
        return self

    @model_validator(mode="after")
    def _in_order_of_cells(self) -> "Grid":
        """The axes as the cells come, for the file has its keys sorted."""
        for axis, field in (("datasets", "dataset"), ("noises", "noise"), ("inits", "init")):
            known = getattr(self, axis)
            order = dict.fromkeys([*(getattr(cell, field) for cell in self.cells), *known])
            setattr(self, axis, {key: known[key] for key in order})
        return self

    def title(self, method: str) -> str:
        """How a method is printed: as its own file says, the control named as one; one of the paper's that
        the grid lacks as there."""
        info = self.methods.get(method)
        title = paper()["methods"][method] if info is None else info.title
        return f"{title} (control)" if method == CONTROL else title

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
        order = list(self.noises)
        return sorted(order, key=lambda n: (_rank(self.noises[n]), order.index(n)))


def _rank(noise: NoiseKind) -> float:
    return noise.rate if noise.kind == "symmetric" and noise.rate is not None else math.inf


def canonical(changed: dict[str, Any]) -> str:
    """What a cell changes as text, the same for the same content: `{}` for nothing."""
    ordered = {k: sorted(v) if isinstance(v, list) else v for k, v in changed.items()}
    return json.dumps(ordered, sort_keys=True)


def load_grid(path: Path, scores_dir: Path, timing_dir: Path) -> Grid:
    """The grid (configs/report.yaml) with the scores and timings of every evaluated cell.

    A cell without a file of its own stays blank. Raises InputError for a missing grid file or directory, and
    for a file whose content does not fit, naming file and key.
    """
    loaded = _parse_grid(path)
    for directory, kind in ((scores_dir, "scores"), (timing_dir, "timing")):
        if not directory.is_dir():
            raise InputError(f"{directory}: expected the directory of {kind} files; evaluate the cells first")
    for cell in loaded.cells:
        path = scores_dir / f"{cell.cell}.json"
        if path.exists():
            cell.scores = load_scores(path)
            _check_belongs(cell, loaded.noises[cell.noise], cell.scores, path)
        if (path := scores_dir / "out_of_sample" / f"{cell.cell}.json").exists():
            cell.out_of_sample = _load_quality(path)
        if (path := timing_dir / f"{cell.cell}.csv").exists():
            cell.seconds = _mean_seconds(path)
    return loaded


def _load_quality(path: Path) -> LabelQuality:
    try:
        return LabelQuality.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise InputError(
            f"{path}: cannot be read ({' '.join(str(error).split())[:200]}); assess it again"
        ) from error


def _check_belongs(cell: Cell, noise: NoiseKind, scores: Scores, path: Path) -> None:
    fields = ("cell", "dataset", "method", "seed", "schedule")
    compared = [(field, getattr(cell, field), getattr(scores, field)) for field in fields]
    compared += [("noise.kind", noise.kind, scores.noise.kind), ("noise.rate", noise.rate, scores.noise.rate)]
    for field, expected, found in compared:
        if expected != found:
            raise InputError(
                f"{path}: {field} is {found!r}, the grid says {expected!r}; evaluate the cell again"
            )


def _mean_seconds(path: Path) -> float | None:
    """Of the column `busy_seconds`: the processor's on a CPU, the clock's on a GPU; None without it."""
    try:
        timed = pd.read_csv(path)
        if "busy_seconds" not in timed:
            return None
        mean = float(timed["busy_seconds"].astype(float).mean())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); train the cell again") from error
    if not mean > 0:
        raise InputError(f"{path}: expected positive seconds, their mean is {mean}; train the cell again")
    return round(mean, 3)  # as cells.csv has it, so that the committed scores give the committed tables


def _parse_grid(path: Path) -> Grid:
    try:
        return Grid.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise InputError(f"{path}: {key}: {first['msg']}; write the file again with its stage") from error


@cache
def paper() -> dict:
    """The published numbers, accuracies in percent."""
    return yaml.safe_load(resources.files("asm.report").joinpath("paper.yaml").read_text(encoding="utf-8"))
