"""A profile, typed: what is run and at which size. Its name is that of its folder.

A user writes the data sets, noises, initial weights and the cells: as blocks of axes (`grid`), as single rows
(`cells`), or both. What is empty, or follows from the rest, need not be written.
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from asm import datasets
from asm.basics.errors import InputError
from asm.basics.yaml import Name, Positive, Schedule, Section, Seed, Share, below, parse, read_yaml
from asm.grid.params import METHODS, WEIGHTS
from asm.methods.config import Training
from asm.parts.weights.base import Weights


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


Names = Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]  # one, or a list of them
Seeds = Annotated[list[Seed], BeforeValidator(_listed), Field(min_length=1)]
Parts = Annotated[list[str], BeforeValidator(_listed)]


class Render(Section):
    """How many synthetic faces to draw."""

    train: Positive
    valid: Positive
    test: Positive
    size: Annotated[int, Field(ge=64)] = 112
    seed: Seed = 0
    ambiguous_share: Share = 0.1
    keep: dict[Name, Share] = {}  # class -> share of its training images that are drawn


class DatasetEntry(Section):
    """A data set: its loader (asm/datasets) and folder, as seen from the profile's dvc.yaml."""

    source: str
    root: Annotated[str, Field(min_length=1)]
    options: dict[str, Any] = {}
    align: dict[str, Any] = {}
    # as a cell's, for every cell on it whose method reads the section; `features` for its frozen backbone
    set: dict[str, dict[str, Any]] = {}


class NoiseEntry(Section):
    """A kind of label noise."""

    kind: Literal["symmetric", "asymmetric", "list", "original"]
    rate: Annotated[float, Field(ge=0, lt=1)] | None = None
    path: Annotated[str, AfterValidator(below("data/raw/noise"))] | None = None  # of a list
    base: Literal[0, 1] | None = None
    pairs: dict[str, str] | None = None

    @model_validator(mode="after")
    def _needs(self) -> "NoiseEntry":
        if self.kind in ("symmetric", "asymmetric") and self.rate is None:
            raise ValueError(f"noise of kind '{self.kind}' needs a `rate`")
        if self.kind == "list" and self.path is None:
            raise ValueError("noise of kind 'list' needs the `path` of the list")
        return self


class CellRow(Section):
    """One row of a profile's `cells`: one training run."""

    dataset: str
    noise: str
    method: str
    init: str = ""  # none: the profile's only one, or that of the data set's frozen backbone
    seed: Seed = 0
    schedule: Schedule | None = None  # none: the profile's
    set: dict[str, Any] = {}


class Block(Section):
    """A block of a profile's `grid`: each data set with each noise, method, init, setting and seed.

    A cell is named `<dataset>_<noise>_<method>_<setting>_s<seed>`. A setting is a name among the profile's
    `settings`, or a list of such names, which are joined by `_` and applied one after another; a section that
    has a method's name is for the cells of that method. `sweep` adds a setting for each value of a dotted
    key, such as `beta02` for losses.beta 0.2.
    """

    datasets: Names
    noises: Names
    methods: Names
    inits: Names = [""]
    settings: list[Parts] = []
    sweep: dict[Annotated[str, Field(pattern=r"^\w+\.\w+$")], list[float]] = {}
    seeds: Seeds | None = None  # none: the profile's
    schedule: Schedule | None = None


class Headline(Section):
    """The two cells that `dvc plots` shows."""

    title: str
    baseline: str
    asm: str


class Profile(Section):
    """One profile.yaml. `load_profile` gives it complete: its cells expanded, what was left out derived."""

    schedule: Schedule = "fair"
    training: Training
    render: dict[Name, Render] = {}
    frozen: dict[Name, Name] = {}  # data set -> weights of its frozen backbone, for input 'features'
    datasets: dict[Name, DatasetEntry]
    noises: dict[Name, NoiseEntry]
    inits: dict[Name, dict[str, Any]]  # complete: the kind's own class
    seeds: Seeds = [0]  # of the grid's blocks
    settings: dict[Name, dict[str, dict[str, Any]]] = {}
    grid: list[Block] = []
    cells: dict[Name, CellRow] = {}
    out_of_sample: list[str] = []  # cells that are trained again, by folds
    tsne: list[str] = []
    headline: Headline | None = None


def load_profile(path: Path) -> Profile:
    """Read a profile. Raises InputError naming every bad key, or the first dangling reference."""
    return parse_profile(read_yaml(path), str(path))


def parse_profile(content: dict[str, Any], where: str) -> Profile:
    """The complete profile that `content` describes; `where` it stands is named in errors."""
    written = parse(Profile, content, where)
    try:
        profile = written.model_copy(update={"inits": dict(_inits(written))})
        profile = profile.model_copy(update={"frozen": _frozen(profile)})
        profile = profile.model_copy(update={"cells": dict(_cells(profile)), "grid": []})
        profile = profile.model_copy(update={"headline": profile.headline or _headline(profile)})
        _check_names(profile)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    drawn = profile.tsne or list(dict.fromkeys((profile.headline.baseline, profile.headline.asm)))
    return profile.model_copy(update={"tsne": drawn})


def _inits(profile: Profile) -> Iterator[tuple[str, Weights]]:
    for key, entry in profile.inits.items():
        if (kind := WEIGHTS.get(str(entry.get("weights")))) is None:
            raise ValueError(f"inits.{key}: weights: {entry.get('weights')!r} is not among {sorted(WEIGHTS)}")
        if any(getattr(profile.training, name) != value for name, value in kind.needs.items()):
            needed = " and ".join(f"training.{name} {value}" for name, value in kind.needs.items())
            raise ValueError(f"inits.{key}: weights '{entry['weights']}' need {needed}")
        yield key, parse(kind, entry, f"inits.{key}")


def _frozen(profile: Profile) -> dict[str, str]:
    if profile.frozen and profile.training.input != "features":
        raise ValueError("`frozen` (data set: init) belongs to training.input 'features', and only there")
    if profile.training.input == "features" and not profile.frozen:
        return dict.fromkeys(profile.datasets, _only(profile.inits, "frozen"))
    for dataset, init in profile.frozen.items():
        if dataset not in profile.datasets or init not in profile.inits:
            raise ValueError(f"frozen.{dataset}: no such data set, or no init '{init}'")
    return profile.frozen


def _only(inits: dict[str, Any], key: str) -> str:
    if len(inits) != 1:
        raise ValueError(f"{key}: missing; name one of the inits {sorted(inits)}")
    return next(iter(inits))


def _cells(profile: Profile) -> Iterator[tuple[str, CellRow]]:
    """The rows of `grid`, then those of `cells`, with their initial weights."""
    seen: set[str] = set()
    for name, row in (*_rows(profile), *profile.cells.items()):
        if name in seen:
            raise ValueError(f"cells.{name}: there are two of this name, in `grid` or in `grid` and `cells`")
        seen.add(name)
        axes = {"dataset": profile.datasets, "noise": profile.noises, "method": METHODS}
        for axis, known in axes.items():
            if (value := getattr(row, axis)) not in known:
                raise ValueError(f"cells.{name}.{axis}: '{value}' is not among {sorted(known)}")
        init = row.init or profile.frozen.get(row.dataset) or _only(profile.inits, f"cells.{name}.init")
        if init not in profile.inits:
            raise ValueError(f"cells.{name}.init: '{init}' is not among {sorted(profile.inits)}")
        if profile.frozen and init != profile.frozen.get(row.dataset):
            raise ValueError(
                f"cells.{name}: there are no features of '{row.dataset}' by '{init}' in `frozen`"
            )
        yield name, row.model_copy(update={"init": init})
    if not seen:
        raise ValueError("cells: there are none, neither as `grid` nor as `cells`")


def _rows(profile: Profile) -> Iterator[tuple[str, CellRow]]:
    for block in profile.grid:
        seeds = profile.seeds if block.seeds is None else block.seeds
        settings = list(_settings(profile, block))
        axes = (block.datasets, block.noises, block.methods, block.inits, settings, seeds)
        for dataset, noise, method, init, (tag, changes), seed in product(*axes):
            shown = [init] if len(block.inits) > 1 else []
            yield (
                "_".join([dataset, noise, method, *shown, *tag, f"s{seed}"]),
                CellRow(
                    dataset=dataset,
                    noise=noise,
                    method=method,
                    init=init,
                    seed=seed,
                    schedule=block.schedule,
                    set={key: v for key, v in changes.items() if key not in METHODS or key == method},
                ),
            )


def _settings(profile: Profile, block: Block) -> Iterator[tuple[list[str], dict[str, dict[str, Any]]]]:
    """The parts of each setting's name, and what it changes."""
    if not block.settings and not block.sweep:
        yield [], {}
    for parts in block.settings:
        changes: dict[str, dict[str, Any]] = {}
        for part in parts:
            if part not in profile.settings:
                raise ValueError(f"grid: settings: '{part}' is not among {sorted(profile.settings)}")
            for section, values in profile.settings[part].items():
                changes[section] = changes.get(section, {}) | values
        yield parts, changes
    for key, values in block.sweep.items():
        section, _, name = key.partition(".")
        for value in values:
            yield [f"{name}{value:g}".replace(".", "")], {section: {name: value}}


def _headline(profile: Profile) -> Headline:
    """ASM and the baseline at the highest symmetric noise where there are both; else what is there."""

    def rank(row: CellRow) -> tuple[bool, float]:
        noise = profile.noises[row.noise]
        methods = {other.method for other in profile.cells.values() if _place(other) == _place(row)}
        symmetric = noise.kind == "symmetric"
        return {"asm", "baseline"} <= methods, (noise.rate or -1) if symmetric else 0

    place = _place(max(profile.cells.values(), key=rank))
    here = {name: row for name, row in profile.cells.items() if _place(row) == place}
    plain = sorted(here, key=lambda name: (bool(here[name].set), here[name].seed))  # the first among equals
    asm, baseline = (
        next((name for name in plain if here[name].method == method), plain[0])
        for method in ("asm", "baseline")
    )
    dataset, noise = profile.datasets[place[0]], profile.noises[place[1]]
    rate = "" if noise.rate is None else f"{100 * noise.rate:.4g} % "
    known = datasets.describe(place[0], dataset.source, dataset.options)
    title = f"{known['title']}, {rate}{noise.kind} noise"
    return Headline(title=title, baseline=baseline, asm=asm)


def _place(row: CellRow) -> tuple[str, str, str]:
    return row.dataset, row.noise, row.init


def _check_names(profile: Profile) -> None:
    headline = profile.headline
    for where, cell in [
        *(("tsne", cell) for cell in profile.tsne),
        *(("out_of_sample", cell) for cell in profile.out_of_sample),
        ("headline.baseline", headline.baseline),
        ("headline.asm", headline.asm),
    ]:
        if cell not in profile.cells:
            raise ValueError(f"{where}: there is no cell '{cell}'")
    for cell in profile.out_of_sample:
        if (method := profile.cells[cell].method) not in ("baseline", "asm"):
            raise ValueError(
                f"out_of_sample.{cell}: only baseline and asm are trained by folds, not {method}"
            )
