"""What every method is: networks, an optional step before each epoch, losses, and a prediction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Generator, Tensor, nn

from asm.basics.yaml import Section
from asm.parts import bank, distributed, views
from asm.parts.batches import Faces, Samples, fetch

if TYPE_CHECKING:
    from asm.methods.config import CellConfig

EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Batch:
    """One training step's samples, on the device. A method draws its own views from the faces."""

    rows: Tensor  # [B] of the training set
    rows_cpu: Tensor  # [B] the same on the CPU: what is chosen by them there makes no GPU wait
    faces: Tensor  # uint8 [B, S, S, C], or their features (parts/bank.py)
    labels: Tensor  # [B] given labels
    epoch: int  # counted from 1
    generator: Generator  # of the views; on the CPU


@dataclass(frozen=True)
class Mined:
    """What a method that mines makes of N samples of K classes."""

    subset: Tensor  # int8 [N], codes of asm.mining
    confidence: Tensor | None = None  # [N], where the method compares one with thresholds
    clean_threshold: Tensor | None = None  # T_c [K]
    noisy_threshold: Tensor | None = None  # T_n [K]


class Method(nn.Module):
    """Base of all methods; one file each, to be read beside its paper.

    Buffers registered in the constructor travel with the checkpoint, so a method keeps there what the next
    epoch needs from the last.
    """

    title: ClassVar[str]  # how reports print it
    sections: ClassVar[dict[str, type[Section]]] = {}  # of params.yaml that it reads, beside the common ones
    ours: ClassVar[bool] = False  # of this project, not published; the report says so
    noise_rate_key: ClassVar[str | None] = None  # key of its section that the cell's noise rate fills
    num_networks: ClassVar[int] = 1
    trains_in_phases: ClassVar[bool] = False  # there are steps in which some parameters have no part
    needs_pixels: ClassVar[str] = ""  # why it cannot learn from features of a frozen backbone

    subset: Tensor | None = None  # of a method that mines, after warm-up: int8 [N] codes of asm.mining

    def __init__(
        self, config: CellConfig, networks: list[nn.Module], num_classes: int, samples: Samples
    ) -> None:
        """`networks` are backbones with a `head`; `samples` is the training set with its given labels."""
        super().__init__()
        self.config = config
        self.networks = nn.ModuleList(networks)
        self.num_classes = num_classes
        self.samples = samples

    def start_epoch(self, epoch: int) -> dict[str, float]:
        """Whatever precedes an epoch (counted from 1), such as mining; returns numbers for the history."""
        return {}

    def mine(self, probs: Tensor, labels: Tensor, adapt: bool = True) -> Mined | None:
        """How the method's own rule divides samples; None for a method that does not mine.

        Args:
            probs: the networks' probabilities [networks, N, K].
            labels: [N].
            adapt: set thresholds from these samples, as before an epoch those of the training set are; false:
                take the thresholds that the last epoch had, as for test images, which have no say in them.
        """
        return None

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Scalars by name; the loop minimises `total` and logs the others."""
        raise TypeError(f"{type(self).__name__} defines no losses")

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`losses`, as a module's call."""
        return self.losses(batch)

    def logits(self, images: Tensor) -> list[Tensor]:
        """Logits [B, K] of each network."""
        return [network(images) for network in self.networks]

    def predict(self, images: Tensor) -> Tensor:
        """Class probabilities of each network, float32 [networks, B, K]; their mean decides the class."""
        return torch.stack([z.float().softmax(dim=1) for z in self.logits(images)])

    def predict_all(
        self,
        faces: Faces,
        view: Callable[[Tensor], Tensor] | None = None,
        forward: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """`predict` (or another `forward`) over many faces in evaluation mode, in batches; several processes
        share the batches, and all get the whole.

        Args:
            faces: uint8 [N, S, S, C], or their features.
            view: from faces [B, S, S, C] to images [B, 3, S, S]; none: `plain`.
            forward: from images to a tensor [networks, B, ...].

        Returns:
            [networks, N, ...], on the faces' device, without gradient.
        """
        self.eval()
        view, forward = view or self.plain, forward or self.predict
        parts = torch.arange(len(faces)).split(EVALUATION_BATCH)
        mine = distributed.my_part(parts) or parts[:1]
        with torch.inference_mode(), self.autocast():
            done = [forward(view(part)) for part in fetch(faces, mine)]
        return distributed.gather(done, parts)

    def plain(self, faces: Tensor) -> Tensor:
        """The deterministic view, [B, 3, S, S]; of features [B, D], as all views."""
        return bank.plain(faces) if self.sees_features else views.evaluation_view(faces)

    def weak(self, batch: Batch) -> Tensor:
        """A weak view of the batch."""
        return self.weak_view(batch.faces, batch.generator)

    def weak_view(self, faces: Tensor, generator: Generator) -> Tensor:
        """A weak view of faces."""
        if self.sees_features:
            return bank.weak(faces, generator)
        return views.weak_view(faces, self.config.augment, generator)

    def strong_view(self, faces: Tensor, generator: Generator) -> Tensor:
        """A strong view of faces, for methods that have the section `strong_augment`."""
        if self.sees_features:
            return bank.strong(faces, generator)
        return views.strong_view(faces, self.config.strong_augment, generator)

    @property
    def sees_features(self) -> bool:
        """Whether faces are features of a frozen backbone."""
        return self.config.training.input == "features"

    def autocast(self) -> torch.autocast:
        """The precision of forward passes and losses."""
        enabled = self.config.training.precision == "bf16"
        return torch.autocast(self.samples.labels.device.type, dtype=torch.bfloat16, enabled=enabled)
