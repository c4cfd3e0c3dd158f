"""One module from an aligned face's pixels to class probabilities, with all that belongs to it inside."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from asm import mining
from asm.basics.errors import InputError
from asm.basics.yaml import parse, read_yaml
from asm.faces import store
from asm.methods import method_class
from asm.methods.base import Method
from asm.methods.config import Training
from asm.parts import backbones, bank, perceptron
from asm.parts.backbones import Backbone
from asm.parts.views import MEAN, STD, evaluation_view
from asm.parts.weights import read_safetensors, read_weights
from asm.scores.label_quality import INITIAL_THRESHOLD
from asm.scores.run import TRAIN, project, read_arrays, read_history, read_info
from asm.training.features import BLOCK, fit_projection, pooled

LICENCES = {
    "dlib": "dlib's face-recognition network: CC0 1.0",
    "msceleb": "MS-Celeb-1M weights, a file of the user's: no licence known, the data set was withdrawn",
    "imagenet": "torchvision's ImageNet weights: BSD-3-Clause; ImageNet itself is for research only",
    "synthetic": "pre-trained on rendered faces: the licence of this project",
    "none": "random initial weights",
}
GREY = (0.299, 0.587, 0.114)  # as Pillow makes grey of colour
SAME_FEATURES = 0.01  # of the bank's, which are rounded; their mean variance is 1


@dataclass(frozen=True)
class Description:
    """What a classifier is, and what its files say of themselves.

    `thresholds`: T_c of each class (Eq. 1), below which a prediction is ambiguous. `size`: side of the faces
    in pixels. `channels`: 1 if those that it was trained on were grey. `initial_weights`: with their licence.
    `training`: that section of the cell. `cells`, `components`: of the features that heads on a frozen
    backbone see; {} and 0 where there is none.
    """

    cell: str
    method: str
    dataset: str
    noise: str
    initial_weights: str
    classes: list[str]
    thresholds: list[float]
    size: int
    channels: int
    networks: int
    training: dict[str, Any]
    cells: dict[str, int]
    components: int

    def to_metadata(self) -> dict[str, str]:
        """JSON texts by name."""
        return {name: json.dumps(value) for name, value in asdict(self).items()}

    @classmethod
    def from_metadata(cls, texts: dict[str, str], path: Path) -> Description:
        """Raises InputError naming `path` for texts that `to_metadata` did not write."""
        try:
            return cls(**{field.name: json.loads(texts[field.name]) for field in fields(cls)})
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"{path}: not a file of `python -m asm export` ({error!r})") from error


class Classifier(nn.Module):
    """From aligned faces, uint8 [B, S, S, 3] RGB, to the networks' mean class probabilities, float32 [B, K].

    Features of a frozen backbone are not rounded to half precision, as those of a bank are.
    """

    def __init__(self, description: Description) -> None:
        super().__init__()
        size = parse(Training, description.training, description.cell)
        classes = len(description.classes)
        self.cells = {int(stage): side for stage, side in description.cells.items()}
        self.grey = description.channels == 1
        self.register_buffer("mean", 255 * torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(STD).view(1, 3, 1, 1))
        self.register_buffer("grey_weights", torch.tensor(GREY))
        self.frozen: Backbone | None = None
        if self.cells:
            self.frozen = _trunk(size, self.cells, None)
            inputs = self._measure(description.size)
            self.register_buffer("feature_mean", torch.zeros(inputs))
            self.register_buffer("feature_scale", torch.ones(inputs))
            self.register_buffer("feature_components", torch.zeros(inputs, description.components))

        def network() -> Backbone:
            if self.cells:
                return perceptron.build(classes, description.components, size.hidden, size.dropout, 0)
            return backbones.build(size.backbone, classes, size.width, None, head_seed=0)

        self.networks = nn.ModuleList(network() for _ in range(description.networks))
        self.eval()

    def forward(self, faces: Tensor) -> Tensor:
        x = faces.permute(0, 3, 1, 2).float()
        if self.grey:
            x = (
                (x * self.grey_weights.view(1, 3, 1, 1))
                .sum(dim=1, keepdim=True)
                .round()
                .expand(-1, 3, -1, -1)
            )
        x = (x - self.mean) / self.std
        if self.frozen is not None:
            x = self._pooled(x)
            x = ((x - self.feature_mean) / self.feature_scale) @ self.feature_components
        return torch.stack([network(x).softmax(dim=1) for network in self.networks]).mean(dim=0)

    @torch.no_grad()
    def _measure(self, size: int) -> int:
        """Of faces of `size` pixels: how many features they have; the matrices that average their maps."""
        x, features = self.frozen.stem(torch.zeros(1, 3, size, size)), 0
        for number, stage in enumerate(self.frozen.stages, start=1):
            x = stage(x)
            if cells := self.cells.get(number):
                share = F.adaptive_avg_pool1d(torch.eye(x.shape[2])[None], cells)[0]
                self.register_buffer(f"share_{number}", share, persistent=False)  # [side, cells]
                features += x.shape[1] * cells**2
        return features

    def _pooled(self, x: Tensor) -> Tensor:
        """`asm.training.features.pooled` by matrix products: ONNX has no pooling of 13 pixels to 4 cells."""
        x, found = self.frozen.stem(x), []
        for number, stage in enumerate(self.frozen.stages, start=1):
            x = stage(x)
            if number in self.cells:
                share = self.get_buffer(f"share_{number}")
                found.append((share.T @ x @ share).flatten(1))
        return torch.cat(found, dim=1)


def from_run(run: Path) -> tuple[Classifier, Description]:
    """The classifier that a finished run trained.

    Heads on a frozen backbone see features whose projection the run does not hold: it is fitted again to the
    aligned training faces, as the features stage did, and compared with the bank.

    Raises:
        InputError: the run is incomplete, its method predicts with more than its networks, or what it was
            trained from is not there any more.
    """
    info = read_info(run)
    config, classes = info["config"], info["classes"]
    kind = method_class(config["method"])
    if kind.predict is not Method.predict or kind.logits is not Method.logits:
        raise InputError(
            f"{run}: {kind.title} predicts with more than its networks; it cannot be taken out of here"
        )
    data = project(run) / "data"
    aligned = store.load(data / "aligned" / config["dataset"])
    init = data / "init" / config["init"]
    training = parse(Training, config["training"], str(run / "run.json"))
    options = _feature_options(project(run), config["dataset"]) if training.input == "features" else {}
    weights = _read(run / "weights.safetensors")
    stored = read_arrays(run / TRAIN)
    description = Description(
        cell=config["cell"],
        method=kind.title,
        dataset=config["dataset"],
        noise=config["noise"],
        initial_weights=_licence(init),
        classes=classes,
        thresholds=_thresholds(run, stored, len(classes)),
        size=training.image_size,
        channels=aligned.faces.shape[3],
        networks=kind.num_networks,
        training=training.model_dump(),
        cells=options.get("cells", {}),
        components=options.get("components", 0),
    )
    classifier = Classifier(description)
    state = {name: value for name, value in weights.items() if name.startswith("networks.")}
    expected = {f"networks.{name}" for name in classifier.networks.state_dict()}
    if set(state) != expected:
        strange = sorted(set(state) ^ expected)[:3]
        raise InputError(
            f"{run}: {kind.title}'s networks are not plain ones ({', '.join(strange)}); not supported"
        )
    if classifier.frozen is not None:
        state |= _frozen_state(aligned, training, options, init, data / "features" / config["dataset"])
    missing, _ = classifier.load_state_dict(state, strict=False)
    assert not [name for name in missing if name not in ("mean", "std", "grey_weights")]
    return classifier, description


def _thresholds(run: Path, stored: dict[str, np.ndarray], classes: int) -> list[float]:
    """T_c of each class by Eq. 1 on the training samples after the last epoch; where none is predicted
    correctly, the last epoch's, or §3.2's initial one."""
    last = read_history(run).iloc[-1]
    previous = [float(last.get(f"threshold_clean_{k}", INITIAL_THRESHOLD)) for k in range(classes)]
    probs, given = torch.from_numpy(stored["probabilities"]), torch.from_numpy(stored["given"])
    return mining.clean_thresholds(probs, given, torch.tensor(previous)).tolist()


def _feature_options(folder: Path, dataset: str) -> dict[str, Any]:
    """The section `features` that the data set's bank was made with."""
    options = read_yaml(folder / "configs" / "features" / f"{dataset}.yaml")["features"]
    return {"components": options["components"], "cells": {str(k): n for k, n in options["cells"].items()}}


def _licence(init: Path) -> str:
    summary = init / "summary.json"
    if not summary.is_file():
        raise InputError(f"{summary}: the run's initial weights are not there; make them again (dvc repro)")
    kind = json.loads(summary.read_text(encoding="utf-8"))["weights"]
    return f"{kind}: {LICENCES.get(kind, 'licence unknown')}"


def _trunk(size: Training, cells: dict[int, int], initial: dict[str, Tensor] | None) -> Backbone:
    """The part of a backbone that features are made by."""
    network = backbones.build(size.backbone, 1, size.width, initial, head_seed=0)
    network.stages = network.stages[: max(cells)]
    network.head = nn.Identity()
    return network.eval()


@torch.inference_mode()
def _frozen_state(
    aligned: store.AlignedFaces, training: Training, options: dict[str, Any], init: Path, features: Path
) -> dict[str, Tensor]:
    """Tensors of the frozen backbone and of the projection that follows it."""
    cells = {int(stage): side for stage, side in options["cells"].items()}
    initial = read_weights(init / "weights.safetensors", training.backbone, training.width)
    network = _trunk(training, cells, initial).to(memory_format=torch.channels_last)
    rows = np.flatnonzero(aligned.manifest["split"] == "train")

    def seen(block: np.ndarray) -> Tensor:
        return pooled(network, evaluation_view(torch.from_numpy(np.array(aligned.faces[block]))), cells)

    blocks = tqdm(np.array_split(rows, -(-len(rows) // BLOCK)), "projection", file=sys.stderr)
    projection = fit_projection(torch.cat([seen(block) for block in blocks]).numpy(), options["components"])
    if features.is_dir():
        some = np.arange(min(BLOCK, len(aligned.faces)))
        known, found = bank.load(features).faces[some, 0], projection(seen(some))
        if known.shape != found.shape or np.abs(known - found).max() > SAME_FEATURES * (
            1 + np.abs(known).max()
        ):
            raise InputError(f"{features}: made of other faces or weights than those there now; dvc repro")
    parts = {"mean": projection.mean, "scale": projection.scale, "components": projection.components}
    return {
        **{f"frozen.{name}": value.contiguous() for name, value in network.state_dict().items()},
        **{f"feature_{name}": torch.from_numpy(value) for name, value in parts.items()},
    }


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"{path}: not found; the run is incomplete, train this cell again")
    return read_safetensors(path)
