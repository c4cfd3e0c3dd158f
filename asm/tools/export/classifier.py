"""One module from an aligned face's pixels to class probabilities, with all that belongs to it inside."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from tqdm import tqdm

from asm import mining
from asm.basics.errors import InputError
from asm.basics.files import read_json
from asm.basics.yaml import Section, parse, read_yaml
from asm.faces import store
from asm.methods import method_class
from asm.methods.base import Method
from asm.methods.config import Training
from asm.parts import backbones, bank, perceptron
from asm.parts.backbones import Backbone
from asm.parts.views import MEAN, STD, evaluation_view
from asm.parts.weights import dlib, read_safetensors, read_weights
from asm.parts.weights.base import weights_class
from asm.scores.label_quality import INITIAL_THRESHOLD
from asm.scores.run import TRAIN, project, read_arrays, read_info
from asm.training.features import BLOCK, PROJECTION, Projection, fit_projection, pooled

GREY = (0.299, 0.587, 0.114)  # as Pillow makes grey of colour
SAME_FEATURES = 0.01  # of the bank's, which are rounded; their mean variance is 1


class Description(Section):
    """What a classifier is, and what its files say of themselves.

    `thresholds`: T_c of each class (Eq. 1), below which a prediction is ambiguous. `size`: side of the faces
    in pixels. `channels`: 1 if those that it was trained on were grey. `initial_weights`: with their licence.
    `training`: that section of the cell. `cells` (stage -> side of its grid), `components`: of the features
    that heads on a frozen backbone see; {} and 0 where there is none. `temperature`: by which the logarithms
    of the mean probabilities are divided; T_c are of what comes out. `run`: all that its run.json says.
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
    temperature: Annotated[float, Field(gt=0)] = 1.0
    run: dict[str, Any] = Field({})

    def to_metadata(self) -> dict[str, str]:
        """JSON texts by name."""
        return {name: json.dumps(value) for name, value in self.model_dump().items()}

    @classmethod
    def from_metadata(cls, texts: dict[str, str], path: Path) -> Description:
        """Raises InputError naming `path` for texts that `to_metadata` did not write."""
        try:
            content = {name: json.loads(texts[name]) for name in cls.model_fields if name in texts}
        except ValueError as error:
            raise InputError(f"{path}: not a file of `python -m asm export` ({error})") from error
        return parse(cls, content, f"{path}: not a file of `python -m asm export`")


class Classifier(nn.Module):
    """From aligned faces, uint8 [B, S, S, 3] RGB, to the networks' mean class probabilities, float32 [B, K].

    Features of a frozen backbone are not rounded to half precision, as those of a bank are.
    """

    def __init__(self, description: Description) -> None:
        super().__init__()
        self.description = description
        size = parse(Training, description.training, description.cell)
        classes = len(description.classes)
        self.cells = {int(stage): side for stage, side in description.cells.items()}
        self.register_buffer("mean", 255 * torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(STD).view(1, 3, 1, 1))
        self.register_buffer("grey_weights", torch.tensor(GREY))
        self.frozen: Backbone | None = None
        if self.cells:
            self.frozen = _trunk(size, self.cells, None)
            inputs = self._pooled(torch.zeros(1, 3, description.size, description.size)).shape[1]
            self.register_buffer("feature_mean", torch.zeros(inputs))
            self.register_buffer("feature_scale", torch.ones(inputs))
            self.register_buffer("feature_components", torch.zeros(inputs, description.components))

        def network() -> nn.Module:
            if self.cells:
                return perceptron.build(classes, description.components, size.hidden, size.dropout, 0)
            return backbones.build(size.backbone, classes, size.width, None, head_seed=0)

        self.networks = nn.ModuleList(network() for _ in range(description.networks))
        self.eval()

    def forward(self, faces: Tensor) -> Tensor:
        x = faces.permute(0, 3, 1, 2).float()
        if self.description.channels == 1:
            grey = (x * self.grey_weights.view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
            x = grey.round().expand(-1, 3, -1, -1)
        x = (x - self.mean) / self.std
        if self.frozen is not None:
            x = ((self._pooled(x) - self.feature_mean) / self.feature_scale) @ self.feature_components
        probs = torch.stack([network(x).softmax(dim=1) for network in self.networks]).mean(dim=0)
        return tempered(probs, self.description.temperature)

    def _pooled(self, x: Tensor) -> Tensor:
        """`asm.training.features.pooled` by matrix products: ONNX has no pooling of 13 pixels to 4 cells."""
        x, found = self.frozen.stem(x), []
        for number, stage in enumerate(self.frozen.stages, start=1):
            x = stage(x)
            if number in self.cells:
                share = _shares(int(x.shape[2]), self.cells[number])
                found.append((share.T @ x @ share).flatten(1))
        return torch.cat(found, dim=1)


def tempered(probs: Tensor, temperature: float) -> Tensor:
    """Probabilities [N, K] whose logarithms are divided by `temperature`: of one network what temperature
    scaling makes of its logits (Guo et al., "On Calibration of Modern Neural Networks", 2017)."""
    if temperature == 1:
        return probs
    powers = probs ** (1 / temperature)
    return powers / powers.sum(dim=1, keepdim=True)


def _shares(side: int, cells: int) -> Tensor:
    """[side, cells]: the weight of each pixel of a line in the mean of each of the cells that it is averaged
    to, as of adaptive pooling."""
    cell, pixel = np.arange(cells), np.arange(side)[:, None]
    start, stop = cell * side // cells, -(-(cell + 1) * side // cells)
    inside = (start <= pixel) & (pixel < stop)
    return torch.from_numpy((inside / (stop - start)).astype(np.float32))


def exportable(run: Path) -> bool:
    """Whether a run's method predicts with nothing but the mean of its networks."""
    kind = method_class(read_info(run)["config"]["method"])
    return kind.predict is Method.predict and kind.logits is Method.logits


def from_run(run: Path, temperature: float = 1.0) -> Classifier:
    """The classifier that a finished run trained, its probabilities scaled by a `temperature`.

    Heads on a frozen backbone see features whose projection the run does not hold: it is the one that the
    features stage left, or fitted again to the aligned training faces, and compared with the bank.

    Raises:
        InputError: the run is incomplete, its method predicts with more than its networks, or what it was
            trained from is not there any more.
    """
    info = read_info(run)
    config, classes = info["config"], info["classes"]
    kind = method_class(config["method"])
    if not exportable(run):
        raise InputError(
            f"{run}: {kind.title} predicts with more than its networks; it cannot be taken out of here"
        )
    folder = project(run)
    aligned = store.load(folder / "data" / "aligned" / config["dataset"])
    init = folder / "data" / "init" / config["init"]
    training = parse(Training, config["training"], str(run / "run.json"))
    options = {"cells": {}, "components": 0}
    if training.input == "features":
        options = read_yaml(folder / "configs" / "features" / f"{config['dataset']}.yaml")["features"]
    remedy = "the run's initial weights are not there; make them again (dvc repro)"
    weights = read_json(init / "summary.json", remedy)["weights"]
    classifier = Classifier(
        Description(
            cell=config["cell"],
            method=kind.title,
            dataset=config["dataset"],
            noise=config["noise"],
            initial_weights=f"{weights}: {weights_class(weights).licence}",
            classes=classes,
            thresholds=_thresholds(read_arrays(run / TRAIN), temperature),
            temperature=temperature,
            size=training.image_size,
            channels=aligned.faces.shape[3],
            networks=kind.num_networks,
            training=training.model_dump(),
            cells={str(stage): side for stage, side in options["cells"].items()},
            components=options["components"],
            run={name: value for name, value in info.items() if name != "classes"},
        )
    )
    stored = read_safetensors(run / "weights.safetensors")
    state = {name: value for name, value in stored.items() if name.startswith("networks.")}
    expected = {f"networks.{name}" for name in classifier.networks.state_dict()}
    if strange := sorted(state.keys() ^ expected):
        raise InputError(
            f"{run}: {kind.title}'s networks are not plain ones ({', '.join(strange[:3])}); not supported"
        )
    if classifier.frozen is not None:
        state |= _frozen_state(aligned, training, options, init, folder)
    classifier.load_state_dict(classifier.state_dict() | state)
    return classifier


def _thresholds(stored: dict[str, np.ndarray], temperature: float) -> list[float]:
    """T_c of each class after the last epoch: the run's own, or Eq. 1 on the training samples of a method
    that does not mine, and of other probabilities than the run's."""
    if len(stored["clean_threshold"]) and temperature == 1:
        return stored["clean_threshold"].tolist()
    probs, given = torch.from_numpy(stored["probabilities"]), torch.from_numpy(stored["given"])
    probs = tempered(probs, temperature)
    return mining.clean_thresholds(probs, given, torch.full((probs.shape[1],), INITIAL_THRESHOLD)).tolist()


def installed_trunk() -> dict[str, Tensor]:
    """Tensors of the frozen dlib network out of the installed package: as those of `weights: dlib` but for
    the statistics of its BatchNorms, which change nothing that it computes."""
    layers, _ = dlib.read(dlib.installed_file())
    faces = torch.randint(
        0, 256, (8, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    return dlib.as_backbone(layers, faces)


def _trunk(size: Training, cells: dict[int, int], initial: dict[str, Tensor] | None) -> Backbone:
    """The part of a backbone that features are made by."""
    network = backbones.build(size.backbone, 1, size.width, initial, head_seed=0)
    network.stages = network.stages[: max(cells)]
    network.head = nn.Identity()
    return network.eval()


@torch.inference_mode()
def _frozen_state(
    aligned: store.AlignedFaces, training: Training, options: dict[str, Any], init: Path, folder: Path
) -> dict[str, Tensor]:
    """Tensors of the frozen backbone and of the projection that follows it, in the profile's `folder`."""
    cells, features = options["cells"], folder / "data" / "features" / aligned.name
    left = folder / "checkpoints" / f"features_{aligned.name}" / PROJECTION
    initial = read_weights(init / "weights.safetensors", training.backbone, training.width)
    network = _trunk(training, cells, initial).to(memory_format=torch.channels_last)
    rows = np.flatnonzero(aligned.manifest["split"] == "train")

    def seen(block: np.ndarray) -> Tensor:
        return pooled(network, evaluation_view(torch.from_numpy(np.array(aligned.faces[block]))), cells)

    if left.is_file() and features.is_dir():
        with np.load(left) as parts:
            projection = Projection(parts["mean"], parts["scale"], parts["components"])
    else:
        blocks = tqdm(np.array_split(rows, -(-len(rows) // BLOCK)), "projection", file=sys.stderr)
        parts = torch.cat([seen(block) for block in blocks]).numpy()
        projection = fit_projection(parts, options["components"])
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
