"""Typed view of params.yaml and of a profile, and the configuration of each cell resolved from both.

params.yaml holds the hyper-parameters, a profile what is run and at which size; no key lives in both, so a
change in either is never silently overridden by the other. A cell's own `set` overrides both.
An unknown or ill-typed key is an `InputError` naming the file and the key.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from asm.errors import InputError

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


T = TypeVar("T", bound=Section)


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
    lr: Annotated[float, Field(gt=0)] = 0.001
    lr_decay: Annotated[float, Field(gt=0, le=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 0.0001


class Augment(Section):
    """The weak view (§4.2): flip and random erasing."""

    flip: Share = 0.5
    erasing: Share = 0.5
    erasing_area: Annotated[list[Share], Field(min_length=2, max_length=2)] = [0.02, 0.15]


class StrongAugment(Section):
    """The strong view of Eq. 11: RandAugment and one grey cutout square."""

    operations: Annotated[int, Field(ge=0, le=14)] = 2
    magnitude: Annotated[float, Field(ge=0, le=30)] = 10
    probability: Share = 0.5
    cutout: Share = 0.07


class Thresholds(Section):
    """§3.2-3.3, Eq. 1-6."""

    adaptive: bool = True
    init_clean: Share = 0.8
    init_noisy: Share = 0.2
    confidence: Literal["label", "max"] = "label"


class Losses(Section):
    """§3.4, Eq. 7-12."""

    omega: Annotated[float, Field(ge=0)] = 0.6
    gamma: Annotated[float, Field(ge=0)] = 1.0
    beta: Annotated[float, Field(ge=0)] = 0.65
    lambda_max: Share = 0.9
    ramp_end: Annotated[float, Field(gt=0)] = 0.9
    divide_by: Literal["batch", "subset"] = "batch"
    replace_with_ce: list[Literal["mutual", "consistency"]] = []
    drop_noisy: bool = False


class Pretrain(Section):
    """Action-unit regression on rendered faces of other identities; used by `weights: synthetic`."""

    batch_size: Annotated[int, Field(ge=2)] = 32
    lr: Annotated[float, Field(gt=0)] = 0.001
    jitter: Share = 0.045
    seed: int = 0


# The sections of params.yaml that each method reads beside `optimizer` and `augment`, which all share.
METHOD_SECTIONS: dict[str, tuple[str, ...]] = {
    "baseline": (),
    "asm": ("thresholds", "losses", "strong_augment"),
}


class Params(Section):
    align: Align = Align()
    noise: Noise = Noise()
    pretrain: Pretrain = Pretrain()
    optimizer: Optimizer = Optimizer()
    augment: Augment = Augment()
    strong_augment: StrongAugment = StrongAugment()
    thresholds: Thresholds = Thresholds()
    losses: Losses = Losses()


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


class DatasetEntry(Section):
    source: str
    root: str
    options: dict[str, Any] = {}
    align: dict[str, Any] = {}


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
    set: dict[str, Any] = {}


class Headline(Section):
    """The two cells that `dvc plots` shows."""

    title: str
    baseline: str
    asm: str


class Profile(Section):
    profile: Name
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


class CellConfig(Section):
    """Everything that decides the outcome of one cell, beside its data. A section that the cell's method does
    not read is None, so that changing it leaves the cell's file, and so its training, alone."""

    cell: str
    dataset: str
    noise: str
    method: str
    init: str
    seed: int
    training: Training
    optimizer: Optimizer
    augment: Augment
    strong_augment: StrongAugment | None = None
    thresholds: Thresholds | None = None
    losses: Losses | None = None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one yaml mapping; raise InputError for a missing or malformed file."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a mapping of keys to values, found {type(content).__name__}")
    return content


def parse(model: type[T], content: dict[str, Any], where: str) -> T:
    """Validate `content`; every fault is named with its dotted key and `where` it stands."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults = []
        for fault in error.errors():
            key = ".".join(map(str, fault["loc"])) or "(top level)"
            found = "" if fault["type"] in ("extra_forbidden", "missing") else f" (found {fault['input']!r})"
            if fault["type"] == "extra_forbidden":
                known = ", ".join(_known_keys(model, fault["loc"][:-1]))
                faults.append(f"{key}: unknown key; known here: {known}")
            elif fault["type"] == "value_error":
                faults.append(f"{key}: {fault['ctx']['error']}")
            else:
                faults.append(f"{key}: {fault['msg']}{found}")
        raise InputError(f"{where}: " + "\n  ".join(faults)) from None


def _known_keys(model: type[BaseModel], location: tuple) -> list[str]:
    for part in location:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        nested = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if nested:
            model = nested[0]
    return sorted(model.model_fields)


def load_params(path: Path) -> Params:
    """Read params.yaml. Raises InputError naming every unknown or ill-typed key."""
    return parse(Params, read_yaml(path), str(path))


def load_profile(path: Path) -> Profile:
    """Read a profile. Raises InputError naming every bad key and every dangling reference."""
    return parse(Profile, read_yaml(path), str(path))


def load_cell(path: Path) -> CellConfig:
    """Read the resolved configuration of one cell."""
    return parse(CellConfig, read_yaml(path), str(path))
