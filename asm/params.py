"""Typed view of params.yaml and of a profile, and the configuration of each cell resolved from both.

params.yaml holds the hyper-parameters, a profile what is run and at which size; no key lives in both, so a
change in either is never silently overridden by the other. A cell's own `set` overrides both.
An unknown or ill-typed key is an `InputError` naming the file and the key.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, create_model, model_validator

from asm.method_params import METHOD_SECTIONS
from asm.schema import Name, Positive, Section, Share, Weight, parse, read_yaml


class Align(Section):
    """Face detection and alignment (paper §4.2); a data set's own `align` in the profile overrides these."""

    detect: bool = True  # false: the images are aligned already, only resize them
    pad: Annotated[float, Field(ge=0, le=2)] = 0.0
    upscale: Annotated[float, Field(ge=1, le=8)] = 1.0
    batch_size: Positive = 16


class Noise(Section):
    seed: int = 0
    mode: Literal["bernoulli", "exact"] = "bernoulli"


class Optimizer(Section):
    """§4.2. `steps` multiplies the rate by `lr_decay` after each epoch of `lr_steps`; `poly` keeps it until
    epoch `lr_steps[0]` (0 where empty), then lets it fall to 0 as (1 - progress) ** `lr_decay`."""

    kind: Literal["adam", "sgd"] = "adam"
    lr: Annotated[float, Field(gt=0)] = 0.001
    head_lr: Annotated[float, Field(gt=0)] | None = None  # of the classifiers (`fc`); none: lr
    momentum: Share = 0.9  # of sgd; adam's beta1
    late_momentum: Share | None = None  # poly: once the rate falls
    weight_decay: Weight = 0.0001
    schedule: Literal["exponential", "steps", "poly"] = "exponential"
    lr_decay: Annotated[float, Field(gt=0, le=1)] = 0.9
    lr_steps: list[Positive] = []


class Sampling(Section):
    """How an epoch's training samples are drawn."""

    balanced: bool = False  # classes equally often, with replacement


class Augment(Section):
    """The weak view (§4.2): flip and random erasing; the other two are some peers' own."""

    flip: Share = 0.5
    gaussian_noise: Share = 0.0  # in place of a flip: never both
    jitter: Share = 0.0
    erasing: Share = 0.5
    erasing_area: Annotated[list[Share], Field(min_length=2, max_length=2)] = [0.02, 0.15]


class Pretrain(Section):
    """Action-unit regression on rendered faces of other identities; used by `weights: synthetic`."""

    batch_size: Annotated[int, Field(ge=2)] = 32
    lr: Annotated[float, Field(gt=0)] = 0.001
    jitter: Share = 0.045
    seed: int = 0


COMMON_SECTIONS = ("optimizer", "sampling", "augment")  # what every method reads beside its own sections
_SECTIONS = {name: kind for sections in METHOD_SECTIONS.values() for name, kind in sections.items()}


class Params(create_model("MethodParams", __base__=Section, **{k: (v, v()) for k, v in _SECTIONS.items()})):
    """params.yaml: these sections, and those of every method."""

    align: Align = Align()
    noise: Noise = Noise()
    pretrain: Pretrain = Pretrain()
    optimizer: Optimizer = Optimizer()
    sampling: Sampling = Sampling()
    augment: Augment = Augment()
    # method -> section -> keys, like a cell's `set`; for cells whose schedule is "published"
    published: dict[str, dict[str, dict[str, Any]]] = {}

    @model_validator(mode="after")
    def _published_methods_exist(self) -> "Params":
        for method in self.published:
            if method not in METHOD_SECTIONS:
                raise ValueError(f"published.{method}: not among the methods {sorted(METHOD_SECTIONS)}")
        return self


class Training(Section):
    """The size of a profile's runs (paper §4.2: 224 px, width 64, 100 epochs, warm-up 10, batch 128)."""

    image_size: Annotated[int, Field(ge=32)]
    width: Positive
    epochs: Positive
    warmup_epochs: Annotated[int, Field(ge=0)]
    batch_size: Annotated[int, Field(ge=2)]
    precision: Literal["fp32", "bf16"] = "fp32"


class Render(Section):
    """How many synthetic faces to draw."""

    train: Positive
    valid: Positive
    test: Positive
    size: Annotated[int, Field(ge=64)] = 112
    seed: int = 0
    ambiguous_share: Share = 0.1


# fair: every method in the common schedule; published: in the one of its own paper (params.yaml, `published`)
Schedule = Literal["fair", "published"]


class DatasetEntry(Section):
    source: str
    root: str
    options: dict[str, Any] = {}
    align: dict[str, Any] = {}
    set: dict[str, dict[str, Any]] = {}  # as a cell's, for every cell on it whose method reads the section


class NoiseEntry(Section):
    kind: Literal["symmetric", "asymmetric", "list", "original"]
    rate: Annotated[float, Field(ge=0, lt=1)] | None = None
    path: str | None = None
    base: Literal[0, 1] | None = None
    pairs: dict[str, str] | None = None

    @model_validator(mode="after")
    def _needs(self) -> "NoiseEntry":
        if self.kind in ("symmetric", "asymmetric") and self.rate is None:
            raise ValueError(f"noise of kind '{self.kind}' needs a `rate`")
        if self.kind == "list" and self.path is None:
            raise ValueError("noise of kind 'list' needs the `path` of the list")
        return self


class InitEntry(Section):
    """The weights a network starts from: a file, pre-training on `faces` rendered faces, or none."""

    weights: Literal["msceleb", "imagenet", "synthetic", "none"]
    path: str | None = None
    faces: Positive | None = None
    epochs: Positive | None = None

    @model_validator(mode="after")
    def _needs(self) -> "InitEntry":
        if self.weights in ("msceleb", "imagenet") and self.path is None:
            raise ValueError(f"weights '{self.weights}' need the `path` of the file")
        if self.weights == "synthetic" and (self.faces is None or self.epochs is None):
            raise ValueError("weights 'synthetic' need the number of `faces` to render and of `epochs`")
        return self


class CellRow(Section):
    """One row of a profile's `cells`: one training run."""

    dataset: str
    noise: str
    method: str
    init: str
    seed: int
    schedule: Schedule | None = None  # none: the profile's
    set: dict[str, Any] = {}


class Headline(Section):
    """The two cells that `dvc plots` shows."""

    title: str
    baseline: str
    asm: str


class Profile(Section):
    profile: Name
    schedule: Schedule = "fair"
    training: Training
    render: dict[Name, Render]  # {} where no faces are drawn; dvc.yaml needs the key
    datasets: dict[Name, DatasetEntry]
    noises: dict[Name, NoiseEntry]
    inits: dict[Name, InitEntry]
    cells: dict[Name, CellRow]
    tsne: Annotated[list[str], Field(min_length=1)]
    headline: Headline

    @model_validator(mode="after")
    def _references_exist(self) -> "Profile":
        for key, row in self.cells.items():
            for field, known in (
                ("dataset", self.datasets),
                ("noise", self.noises),
                ("init", self.inits),
                ("method", METHOD_SECTIONS),
            ):
                value = getattr(row, field)
                if value not in known:
                    raise ValueError(f"cells.{key}.{field}: '{value}' is not among {sorted(known)}")
        for where, cell in [
            *(("tsne", cell) for cell in self.tsne),
            ("headline.baseline", self.headline.baseline),
            ("headline.asm", self.headline.asm),
        ]:
            if cell not in self.cells:
                raise ValueError(f"{where}: there is no cell '{cell}'")
        return self


class CellConfig(
    create_model("MethodConfig", __base__=Section, **{k: (v | None, None) for k, v in _SECTIONS.items()})
):
    """Everything that decides the outcome of one cell, beside its data. A method's section that the cell's
    method does not read is None, so that changing it leaves the cell's file, and so its training, alone."""

    cell: str
    dataset: str
    noise: str
    method: str
    init: str
    seed: int
    schedule: Schedule
    training: Training
    optimizer: Optimizer
    sampling: Sampling
    augment: Augment


def load_params(path: Path) -> Params:
    """Read params.yaml. Raises InputError naming every unknown or ill-typed key."""
    return parse(Params, read_yaml(path), str(path))


def load_profile(path: Path) -> Profile:
    """Read a profile. Raises InputError naming every bad key and every dangling reference."""
    return parse(Profile, read_yaml(path), str(path))


def load_cell(path: Path) -> CellConfig:
    """Read the resolved configuration of one cell."""
    return parse(CellConfig, read_yaml(path), str(path))
