"""A profile, typed: what is run and at which size. Its name is that of its folder."""

from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from asm.basics.yaml import Name, Positive, Schedule, Section, Seed, Share, parse, read_yaml
from asm.grid.params import METHODS
from asm.methods.config import Training


class Render(Section):
    """How many synthetic faces to draw."""

    train: Positive
    valid: Positive
    test: Positive
    size: Annotated[int, Field(ge=64)] = 112
    seed: Seed = 0
    ambiguous_share: Share = 0.1


class DatasetEntry(Section):
    """A data set: its loader (asm/datasets) and folder, as seen from the profile's dvc.yaml."""

    source: str
    root: str
    options: dict[str, Any] = {}
    align: dict[str, Any] = {}
    set: dict[str, dict[str, Any]] = {}  # as a cell's, for every cell on it whose method reads the section


class NoiseEntry(Section):
    """A kind of label noise."""

    kind: Literal["symmetric", "asymmetric", "list", "original"]
    rate: Annotated[float, Field(ge=0, lt=1)] | None = None
    path: str | None = None  # of a list, below data/raw/noise
    base: Literal[0, 1] | None = None
    pairs: dict[str, str] | None = None

    @model_validator(mode="after")
    def _needs(self) -> "NoiseEntry":
        if self.kind in ("symmetric", "asymmetric") and self.rate is None:
            raise ValueError(f"noise of kind '{self.kind}' needs a `rate`")
        if self.kind == "list" and self.path is None:
            raise ValueError("noise of kind 'list' needs the `path` of the list")
        _watched(self.path, "data/raw/noise")
        return self


class InitEntry(Section):
    """The weights a network starts from: a file, pre-training on `faces` rendered faces, or none."""

    weights: Literal["msceleb", "imagenet", "dlib", "synthetic", "none"]
    path: str | None = None  # of the file, below data/raw/weights; dlib: none is the installed package's
    faces: Annotated[int, Field(ge=2)] | None = None  # one alone cannot be normalised
    epochs: Positive | None = None

    @model_validator(mode="after")
    def _needs(self) -> "InitEntry":
        if self.weights in ("msceleb", "imagenet") and self.path is None:
            raise ValueError(f"weights '{self.weights}' need the `path` of the file")
        if self.weights == "synthetic" and (self.faces is None or self.epochs is None):
            raise ValueError("weights 'synthetic' need the number of `faces` to render and of `epochs`")
        _watched(self.path, "data/raw/weights")
        return self


def _watched(path: str | None, folder: str) -> None:
    """DVC watches `folder`, so another file under the same name is noticed; elsewhere it would not be."""
    if path is None:
        return
    parts = PurePosixPath(path).parts
    if PurePosixPath(path).is_absolute() or ".." in parts or not parts:
        raise ValueError(f"the path '{path}' is not below {folder}; put the file there and give its name")
    if PurePosixPath(path).is_relative_to(folder):
        raise ValueError(f"the path '{path}' is taken from {folder}; leave that part out")


class CellRow(Section):
    """One row of a profile's `cells`: one training run."""

    dataset: str
    noise: str
    method: str
    init: str
    seed: Seed
    schedule: Schedule | None = None  # none: the profile's
    set: dict[str, Any] = {}


class CellData(Section):
    """What a cell learns from, as its row says, for stages of some cells only: dvc.yaml cannot look it up."""

    dataset: str
    noise: str
    init: str


class Headline(Section):
    """The two cells that `dvc plots` shows."""

    title: str
    baseline: str
    asm: str


class Profile(Section):
    """One profile.yaml."""

    schedule: Schedule = "fair"
    training: Training
    render: dict[Name, Render]  # {} where no faces are drawn; dvc.yaml needs the key
    frozen: dict[Name, Name]  # data set -> weights of its frozen backbone; {} with `input: aligned`
    datasets: dict[Name, DatasetEntry]
    noises: dict[Name, NoiseEntry]
    inits: dict[Name, InitEntry]
    cells: dict[Name, CellRow]
    out_of_sample: dict[str, CellData]  # cells that are trained again, by folds; {} is a value, too
    tsne: Annotated[list[str], Field(min_length=1)]
    headline: Headline

    @model_validator(mode="after")
    def _references_exist(self) -> "Profile":
        for key, row in self.cells.items():
            for field, known in (
                ("dataset", self.datasets),
                ("noise", self.noises),
                ("init", self.inits),
                ("method", METHODS),
            ):
                value = getattr(row, field)
                if value not in known:
                    raise ValueError(f"cells.{key}.{field}: '{value}' is not among {sorted(known)}")
        if bool(self.frozen) != (self.training.input == "features"):
            raise ValueError("`frozen` (data set: init) belongs to training.input 'features', and only there")
        for dataset, init in self.frozen.items():
            if dataset not in self.datasets or init not in self.inits:
                raise ValueError(f"frozen.{dataset}: no such data set, or no init '{init}'")
        for key, init in self.inits.items():
            if init.weights == "dlib" and (self.training.backbone, self.training.width) != ("dlib29", 32):
                raise ValueError(f"inits.{key}: weights 'dlib' need training.backbone dlib29 and width 32")
        for key, row in self.cells.items():
            if self.frozen and row.init != self.frozen.get(row.dataset):
                raise ValueError(
                    f"cells.{key}: there are no features of '{row.dataset}' by '{row.init}' in `frozen`"
                )
        for where, cell in [
            *(("tsne", cell) for cell in self.tsne),
            *(("out_of_sample", cell) for cell in self.out_of_sample),
            ("headline.baseline", self.headline.baseline),
            ("headline.asm", self.headline.asm),
        ]:
            if cell not in self.cells:
                raise ValueError(f"{where}: there is no cell '{cell}'")
        for cell, data in self.out_of_sample.items():
            row = self.cells[cell]
            if data != CellData(dataset=row.dataset, noise=row.noise, init=row.init):
                raise ValueError(f"out_of_sample.{cell}: not the dataset, noise and init of the cell's row")
            if row.method not in ("baseline", "asm"):
                raise ValueError(f"out_of_sample.{cell}: asked of baseline and asm only, not of {row.method}")
        return self


def load_profile(path: Path) -> Profile:
    """Read a profile. Raises InputError naming every bad key and every dangling reference."""
    return parse(Profile, read_yaml(path), str(path))
