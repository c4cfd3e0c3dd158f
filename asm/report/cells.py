"""What the report reads: the grid of cells and, per evaluated cell, its scores and timing, all checked.

The grid decides which cells exist; a directory is never searched, so a left-over file of another run
cannot slip into a table.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any, Literal

import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from asm.config.cell import Schedule
from asm.config.schema import read_yaml
from asm.errors import InputError
from asm.report.estimates import Estimate, Points, estimate
from asm.scores.schema import NoiseKind, Scores, load_scores

Measure = Callable[[Scores], float | None]
# Their own paper's schedule is the common one, so that a cell in either stands for both.
ONE_SCHEDULE = ("baseline", "asm")
PRINTED = {"thresholds.confidence": "max"}  # what a cell changes that takes Eq. 3 as printed
CONTROL = "two_networks"  # what two networks gain by themselves; no published method
REGIME = ("training.", "optimizer.")  # changed keys that say how well the networks fit their labels


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
            setting = (*_key(cell), cell.seed)
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

    @cached_property
    def _groups(self) -> list["Group"]:
        found: dict[tuple, list[Cell]] = {}
        for cell in self.cells:
            found.setdefault(_key(cell), []).append(cell)
        return [
            Group(c[0].dataset, c[0].noise, c[0].method, c[0].init, c[0].schedule, c[0].changed, c)
            for c in found.values()
        ]

    @cached_property
    def _by_key(self) -> dict[tuple, "Group"]:
        return {_key(g.cells[0]): g for g in self._groups}

    def title(self, method: str) -> str:
        """How a method is printed: as its own file says, the control named as one; one of the paper's that
        the grid lacks as there."""
        info = self.methods.get(method)
        title = paper()["methods"][method] if info is None else info.title
        return f"{title} (control)" if method == CONTROL else title

    def groups(self) -> list["Group"]:
        """Cells that differ only in the seed, in the order of the grid."""
        return list(self._groups)

    def group(
        self,
        dataset: str,
        noise: str | None,
        method: str,
        init: str,
        schedule: str | None = None,
        changed: Mapping[str, Any] = MappingProxyType({}),
    ) -> "Group | None":
        """The group of these with just these keys changed, None when the grid has none; without a schedule
        the one in the common schedule, else the one in its own paper's."""
        options = [schedule] if schedule else self.schedules
        rest = json.dumps(dict(changed), sort_keys=True)
        found = (self._by_key.get((dataset, noise, method, init, option, rest)) for option in options)
        return next((g for g in found if g is not None), None)

    def counterpart(
        self, dataset: str, noise: str | None, method: str, init: str, schedule: str
    ) -> "Group | None":
        """The default group to compare with a group of this schedule: see ONE_SCHEDULE."""
        found = self.group(dataset, noise, method, init, schedule)
        return self.group(dataset, noise, method, init) if found is None and method in ONE_SCHEDULE else found

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

    @cached_property
    def extremes(self) -> list[str]:
        """Of the symmetric noises: none, if the grid has it, and the highest rate."""
        symmetric = [n for n in self.ordered_noises if math.isfinite(_rank(self.noises[n]))]
        ends = [n for n in symmetric if self.noises[n].rate == 0][:1] + symmetric[-1:]
        return list(dict.fromkeys(ends))

    @cached_property
    def regimes(self) -> list[dict[str, Any]]:
        """The regimes of the cells, in their order; none, if no cell changes `REGIME` keys."""
        found = {json.dumps(g.regime, sort_keys=True): g.regime for g in self._groups}
        return list(found.values()) if any(found.values()) else []

    @cached_property
    def has_printed(self) -> bool:
        """Whether Eq. 3 as printed is run at several noises: then it has rows in Tables 1 and 3."""
        return len({(g.dataset, g.noise) for g in self._groups if g.changed == PRINTED}) > 1

    @cached_property
    def real(self) -> list[str]:
        """The noises that are other annotators' labels."""
        return [n for n, noise in self.noises.items() if noise.kind == "original"]


def _rank(noise: NoiseKind) -> float:
    return noise.rate if noise.kind == "symmetric" and noise.rate is not None else math.inf


def _key(cell: Cell) -> tuple:
    changed = {k: sorted(v) if isinstance(v, list) else v for k, v in cell.changed.items()}
    return (
        cell.dataset,
        cell.noise,
        cell.method,
        cell.init,
        cell.schedule,
        json.dumps(changed, sort_keys=True),
    )


def last5(scores: Scores) -> float:
    """The headline: mean accuracy of the last epochs, as a fraction."""
    return scores.test.accuracy.last5


def one_network(scores: Scores) -> float | None:
    """The mean of both networks' headline accuracies, each network alone; None for one-network methods."""
    nets = scores.test.networks
    return sum(net.last5 for net in nets) / len(nets) if len(nets) > 1 else None


def right_noisy(scores: Scores) -> float | None:
    """Share of the right labels that are called noisy in the last mined epoch; None without mining."""
    return scores.mining.right_noisy[-1] if scores.mining else None


@dataclass(frozen=True)
class Group:
    """The cells of one setting over its seeds."""

    dataset: str
    noise: str
    method: str
    init: str
    schedule: str
    changed: dict[str, Any]
    cells: list[Cell]

    @property
    def regime(self) -> dict[str, Any]:
        """Of the changed keys those of training and optimiser."""
        return {k: v for k, v in self.changed.items() if k.startswith(REGIME)}

    @property
    def rule(self) -> dict[str, Any]:
        """The other changed keys: a method's own."""
        return {k: v for k, v in self.changed.items() if not k.startswith(REGIME)}

    @property
    def done(self) -> list[Scores]:
        """Scores of the evaluated cells."""
        return [c.scores for c in self.cells if c.scores is not None]

    def by_seed(self, of: Measure = last5, scale: float = 100.0) -> dict[int, float]:
        """`of` each evaluated cell that has it, times `scale` (100: in percent)."""
        values = {d.seed: of(d) for d in self.done}
        return {seed: scale * value for seed, value in values.items() if value is not None}

    def mean(self, of: Measure = last5, scale: float = 100.0) -> Estimate | None:
        """Over the seeds."""
        return estimate(list(self.by_seed(of, scale).values()))

    def minus(self, other: "Group", of: Measure = last5) -> Points | None:
        """`of` this less the other's headline accuracy, in points, over the seeds that both have."""
        ours, theirs = self.by_seed(of), other.by_seed()
        return estimate([ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())], Points)

    def accuracy(self) -> Estimate | None:
        """Mean accuracy of the last epochs, percent."""
        return self.mean()

    def best(self) -> Estimate | None:
        """Accuracy of the best epoch, percent; selected on the test set."""
        return self.mean(lambda d: d.test.accuracy.best)

    def network(self, i: int) -> Estimate | None:
        """Accuracy of network `i` (0 or 1) of a two-network method alone, percent."""
        return self.mean(lambda d: d.test.networks[i].last5 if len(d.test.networks) > 1 else None)

    def seconds(self) -> float | None:
        """Seconds per epoch, the median over the timed cells."""
        timed = [c.seconds for c in self.cells if c.seconds is not None]
        return median(timed) if timed else None


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
        if (path := timing_dir / f"{cell.cell}.csv").exists():
            cell.seconds = _mean_seconds(path)
    return loaded


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
    return mean


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


@dataclass(frozen=True)
class Focus:
    """What a data set's figures show: its highest symmetric noise with both ASM and the baseline."""

    dataset: str
    noise: str
    init: str
    asm: Group
    baseline: Group | None


def focuses(grid: Grid) -> list[Focus]:
    """One focus per data set that has evaluated ASM cells with nothing changed, in grid order.

    The highest symmetric rate with evaluated ASM and baseline cells; without a baseline anywhere,
    the highest rate with ASM; other kinds of noise only when there is no symmetric one.
    """
    found = []
    for dataset in grid.datasets:
        options = []
        for noise in grid.ordered_noises:
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
            found.append(Focus(dataset, noise, init, asm, base))
    return found
