"""params.yaml, typed: the hyper-parameters by section of the paper, then one section a peer.

The one place of their values: no default stands in the code. An unknown, missing or ill-typed key is an
`InputError` naming the file and the key.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, create_model, model_validator

from asm.basics.yaml import Positive, Section, Seed, parse, read_yaml
from asm.methods import method_class, method_names
from asm.methods.config import Optimizer, Sampling
from asm.parts.views import Augment
from asm.parts.weights.base import weights_class, weights_names
from asm.training.features import Features

METHODS = {name: method_class(name) for name in method_names()}
WEIGHTS = {name: weights_class(name) for name in weights_names()}


class Align(Section):
    """Face detection and alignment (paper §4.2); a data set's own `align` in the profile overrides these."""

    detect: bool  # false: the images are aligned already, only resize them
    pad: Annotated[float, Field(ge=0, le=2)]
    upscale: Annotated[float, Field(ge=1, le=8)]
    batch_size: Positive


class Noise(Section):
    """How labels are corrupted (§4.3)."""

    seed: Seed


_DECLARED = {
    name: (section, ...)
    for kind in (*METHODS.values(), *WEIGHTS.values())
    for name, section in kind.sections.items()
}


class Params(create_model("DeclaredParams", __base__=Section, **_DECLARED)):
    """params.yaml: these sections, and those that a method or a kind of weights declares in its own file."""

    align: Align
    noise: Noise
    optimizer: Optimizer
    sampling: Sampling
    augment: Augment
    features: Features
    # method -> section -> keys, like a cell's `set`; for cells whose schedule is "published". `with_noise`
    # holds such sections for cells with wrong labels
    published: dict[str, dict[str, dict[str, Any]]]

    @model_validator(mode="after")
    def _published_methods_exist(self) -> "Params":
        for method in self.published:
            if method not in METHODS:
                raise ValueError(f"published.{method}: not among the methods {sorted(METHODS)}")
        if missing := sorted(METHODS.keys() - self.published.keys()):
            raise ValueError(
                f"published: {', '.join(missing)} missing; was the file cut off? A method without a schedule "
                "of its own has {}"
            )
        return self


def load_params(path: Path) -> Params:
    """Read params.yaml. Raises InputError naming every unknown, missing or ill-typed key."""
    return parse(Params, read_yaml(path), str(path))
