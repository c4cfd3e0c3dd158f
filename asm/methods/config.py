"""What one cell is trained with: the sections that every method reads, and its own method's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from asm.basics.yaml import Name, Positive, Schedule, Section, Size, Weight
from asm.parts.views import Augment


class Training(Section):
    """The size of a profile's runs (paper §4.2: 224 px, width 64, 100 epochs, warm-up 10, batch 128)."""

    # aligned: the networks see aligned faces, and all their layers are trained; features: they see what a
    # frozen backbone makes of the faces (asm/parts/bank.py), and are small heads
    input: Literal["aligned", "features"]
    image_size: Annotated[int, Field(ge=32, le=4096)]
    backbone: Name = "resnet18"  # a file of asm/parts/backbones
    width: Annotated[int, Field(ge=1, le=1024)]  # channels of its first stage
    hidden: Size | None = None  # units of a head on features
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of these units
    epochs: Size
    warmup_epochs: Annotated[int, Field(ge=0)]
    batch_size: Annotated[Size, Field(ge=2)]
    precision: Literal["fp32", "bf16"] = "fp32"

    @model_validator(mode="after")
    def _head(self) -> Training:
        if self.input == "features" and self.hidden is None:
            raise ValueError("input 'features' needs the number of `hidden` units of the heads")
        if self.input == "aligned" and (self.hidden is not None or self.dropout):
            raise ValueError("`hidden` and `dropout` are those of heads on features; input is 'aligned'")
        return self


Rate = Annotated[float, Field(gt=0)]


class Optimizer(Section):
    """§4.2. `steps` multiplies the rate by `lr_decay` after each epoch of `lr_steps`; `poly` keeps it until
    epoch `lr_steps[0]` (0 where empty), then lets it fall to 0 as (1 - progress) ** `lr_decay`; `table` takes
    both rates from the first row of `lr_table` whose epoch has not passed, the last row after all."""

    kind: Literal["adam", "sgd"]
    lr: Rate
    head_lr: Rate | None  # of the classifiers (`head`); none: lr
    momentum: Annotated[float, Field(ge=0, lt=1)]  # of sgd; adam's beta1
    late_momentum: Annotated[float, Field(ge=0, lt=1)] | None  # poly: from lr_steps[0] on
    weight_decay: Weight
    schedule: Literal["exponential", "steps", "poly", "table"]
    lr_decay: Annotated[float, Field(gt=0, le=1)]
    lr_steps: list[Positive]
    # rows of last epoch, rate, the classifiers' rate
    lr_table: list[Annotated[list[Rate], Field(min_length=3, max_length=3)]]

    @model_validator(mode="after")
    def _rows(self) -> Optimizer:
        if (self.schedule == "table") != bool(self.lr_table):
            raise ValueError("`lr_table` has rows where `schedule` is table, and [] otherwise")
        return self


class Sampling(Section):
    """How an epoch's training samples are drawn."""

    balanced: bool  # classes equally often, with replacement


class CellConfig(Section):
    """Everything that decides the outcome of one cell, beside its data: these, and the sections that its
    method names in `Method.sections`, under their names in params.yaml.

    `code` is the hash of the code that trains it (asm.basics.code).
    """

    cell: str
    dataset: str
    noise: str
    method: str
    init: str
    seed: int
    schedule: Schedule
    code: str
    training: Training
    optimizer: Optimizer
    sampling: Sampling
    augment: Augment


COMMON_SECTIONS = ("optimizer", "sampling", "augment")  # of params.yaml; every method reads them
