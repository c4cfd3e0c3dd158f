"""What every kind of initial weights is: the options of a profile's `inits` entry, and its tensors.

A kind is a file here, named as an entry's `weights` names it, with one class.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import AfterValidator
from torch import Tensor

from asm.basics import named
from asm.basics.errors import InputError
from asm.basics.yaml import Name, Section, below, parse
from asm.faces.alignment import similarity, warp
from asm.parts.weights import read_weights

WeightsFile = Annotated[str, AfterValidator(below("data/raw/weights"))]


class Network(Section):
    """The backbone that the weights are for, and the side of the faces that it will see, in pixels."""

    backbone: Name
    width: int
    image_size: int


class Weights(Section):
    """Base of all kinds. The fields are what an entry of a profile's `inits` holds."""

    about: ClassVar[str]  # what they are beside the paper's, for the report
    licence: ClassVar[str]  # what an exported model says of them
    needs: ClassVar[dict[str, Any]] = {}  # of the profile's `training`
    sections: ClassVar[dict[str, type[Section]]] = {}  # of params.yaml that it reads

    weights: Name  # the kind: its file's name

    def make(
        self, files: Path, network: Network, options: dict[str, Any]
    ) -> tuple[dict[str, Tensor] | None, dict[str, Any]]:
        """The backbone's tensors (None: random ones, drawn by each network itself), and what is to be said of
        them in the summary.

        Args:
            files: the folder of the weights that users bring.
            options: the `sections`.

        Raises:
            InputError: a file or a package is missing or not what it should be.
        """
        raise NotImplementedError


class FromFile(Weights):
    """Base of the kinds that are a published file of the user's."""

    where_to_get: ClassVar[str]

    path: WeightsFile

    def make(
        self, files: Path, network: Network, options: dict[str, Any]
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        state = read_weights(files / self.path, network.backbone, network.width, self.where_to_get)
        return state, {"path": self.path, "tensors": len(state)}


def weights_names() -> list[str]:
    """All kinds: the files beside this one."""
    return named.names("asm.parts.weights")


def weights_class(name: str) -> type[Weights]:
    """The kind that asm/parts/weights/<name>.py defines. Raises InputError for an unknown name."""
    try:
        return named.named_class("asm.parts.weights", name, Weights)
    except KeyError:
        raise InputError(f"weights: '{name}' is not among {weights_names()}") from None


def configured(content: dict[str, Any], where: str) -> tuple[Weights, Network, dict[str, Section]]:
    """Weights, backbone and sections of an instance of the stage `init`, from its configuration: the entry's
    keys, `network`, the sections and `code`. Raises InputError for what does not fit the kind."""
    kind = weights_class(str(content.get("weights")))
    rest = {key: value for key, value in content.items() if key not in (*kind.sections, "network", "code")}
    options = {key: parse(section, content[key], f"{where}: {key}") for key, section in kind.sections.items()}
    return parse(kind, rest, where), parse(Network, content["network"], f"{where}: network"), options


def align_rendered(images: np.ndarray, landmarks: np.ndarray, size: int, jitter: float, seed: int) -> Tensor:
    """Crop rendered faces [N, H, W, 3] by their true landmarks [N, 5, 2], moved by normal noise of standard
    deviation `jitter` x inter-ocular distance, as a detector would. Returns uint8 [N, size, size, 3]."""
    rng = np.random.default_rng(seed)
    distance = np.linalg.norm(landmarks[:, 0] - landmarks[:, 1], axis=1)[:, None, None]
    moved = landmarks + rng.normal(0, 1, landmarks.shape) * jitter * distance
    crops = [warp(image, similarity(points, size), size) for image, points in zip(images, moved, strict=True)]
    return torch.from_numpy(np.stack(crops))
