"""An epoch of ASM as public code of this family is written: what ours is compared with.

Images are files that worker processes decode, augment one by one with PIL and torchvision, and collate; the
subsets are Python lists and dictionaries of sample numbers, looked up sample by sample; every subset goes
through every network by itself; fp32, default memory layout, Adam without fusing. The equations, networks,
optimiser, batch size and images are ours.
"""

import os
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from common import CLASSES
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from asm.parts import backbones
from asm.parts.views import MEAN, STD

MAX_WORKERS = 4  # as published; fewer on a machine with fewer cores

to_tensor = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
plain = transforms.Compose(to_tensor)
weak = transforms.Compose(
    [transforms.RandomHorizontalFlip(), *to_tensor, transforms.RandomErasing(p=0.5, scale=(0.02, 0.15))]
)
strong = transforms.Compose(
    [
        transforms.RandomHorizontalFlip(),
        transforms.RandAugment(2, 10),
        *to_tensor,
        transforms.RandomErasing(p=1.0, scale=(0.005, 0.005), ratio=(1.0, 1.0)),
    ]
)


class FaceFiles(Dataset):
    """Items are (a view of the file for each of `views`, label, number)."""

    def __init__(self, files: list[Path], labels: list[int], views: list[Callable]) -> None:
        self.files, self.labels, self.views = files, labels, views

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[list[Tensor], int, int]:
        image = Image.open(self.files[number]).convert("RGB")
        return [view(image) for view in self.views], self.labels[number], number


class UsualWay:
    """Two networks of this `width` and their optimiser, on files and their given labels."""

    def __init__(
        self, files: list[Path], labels: list[int], width: int, batch_size: int, device: torch.device
    ) -> None:
        self.files, self.labels, self.device = files, labels, device
        self.networks = [
            backbones.build("resnet18", CLASSES, width, None, head_seed=i).to(device) for i in range(2)
        ]
        parameters = [p for network in self.networks for p in network.parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=0.001, weight_decay=0.0001)
        self.options = {"batch_size": batch_size, "num_workers": min(MAX_WORKERS, os.cpu_count() or 1)}

    def epoch(self, subset: dict[int, int]) -> None:
        """Mining, then one pass of training; `subset` (0 clean, 1 ambiguous, 2 noisy, by number) is what it
        trains with."""
        self.mine()
        for network in self.networks:
            network.train()
        data = FaceFiles(self.files, self.labels, [weak, strong])
        loader = DataLoader(data, shuffle=True, pin_memory=self.device.type == "cuda", **self.options)
        for (weak_images, strong_images), labels, numbers in loader:
            weak_images, strong_images = weak_images.to(self.device), strong_images.to(self.device)
            labels = labels.to(self.device)
            rows: list[list[int]] = [[], [], []]
            for position, number in enumerate(numbers.tolist()):
                rows[subset[number]].append(position)
            total = torch.zeros((), device=self.device)
            if clean := rows[0]:
                for network in self.networks:
                    total = total + F.cross_entropy(network(weak_images[clean]), labels[clean])
            if ambiguous := rows[1]:
                z1, z2 = (network(weak_images[ambiguous]) for network in self.networks)
                y = labels[ambiguous]
                ce = F.cross_entropy(z1, y) + F.cross_entropy(z2, y)
                log1, log2 = z1.log_softmax(dim=1), z2.log_softmax(dim=1)
                kl1 = F.kl_div(log1, log2, log_target=True, reduction="batchmean")
                kl2 = F.kl_div(log2, log1, log_target=True, reduction="batchmean")
                total = total + 0.6 * (0.5 * ce + 0.5 * (kl1 + kl2))
            if noisy := rows[2]:
                for network in self.networks:
                    w = network(weak_images[noisy]).softmax(dim=1)
                    s = network(strong_images[noisy]).softmax(dim=1)
                    total = total + F.mse_loss(w, s)
            self.optimizer.zero_grad()
            total.backward()
            self.optimizer.step()
            total.item()  # logged

    def mine(self) -> dict[int, int]:
        """Eq. 1-6, sample by sample: each number's subset."""
        for network in self.networks:
            network.eval()
        probs: dict[int, list[float]] = {}
        with torch.no_grad():
            for (images,), _, numbers in DataLoader(
                FaceFiles(self.files, self.labels, [plain]), **self.options
            ):
                p1, p2 = (network(images.to(self.device)).softmax(dim=1) for network in self.networks)
                for row, number in zip(((p1 + p2) / 2).tolist(), numbers.tolist(), strict=True):
                    probs[number] = row
        top: list[list[float]] = [[] for _ in range(CLASSES)]
        for number, row in probs.items():
            if row.index(max(row)) == self.labels[number]:
                top[self.labels[number]].append(max(row))
        clean = [sum(values) / len(values) if values else 0.8 for values in top]
        mined = {}
        for number, row in probs.items():
            label = self.labels[number]
            mined[number] = 0 if row[label] > clean[label] else 2 if row[label] < 1 - clean[label] else 1
        return mined
