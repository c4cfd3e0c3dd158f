"""The bank of views (asm/parts/bank.py): what a frozen backbone makes of weak and strong views of each face.

A stage's map is averaged over the cells of a grid; the numbers of all stages are standardised and reduced to
their principal components, both learnt from the training faces as they are, without labels.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits
from torch import Generator, Tensor
from tqdm import tqdm

from asm.basics.errors import InputError
from asm.basics.files import atomic_write, writing
from asm.basics.yaml import Positive, Section, Seed, Size
from asm.faces.store import AlignedFaces
from asm.parts import bank, views
from asm.parts.backbones import Backbone
from asm.parts.batches import epoch_seed
from asm.parts.views import Augment, StrongAugment

BLOCK = 128  # faces; a block is drawn from a seed of its own
STAMP, PROJECTION, ROWS = "stamp", "projection.npz", "rows"


class Features(Section):
    """The section `features` of params.yaml."""

    # stage, counted from 1 -> side of the grid that its map is averaged on
    cells: Annotated[dict[Positive, Positive], Field(min_length=1)]
    components: Size  # principal components kept
    views: Annotated[int, Field(ge=2, multiple_of=2)]  # weak ones and, as many, strong ones of a face
    seed: Seed


@dataclass(frozen=True)
class Projection:
    """(x - mean) / scale, then the principal components [D', D], whose mean variance is 1."""

    mean: np.ndarray
    scale: np.ndarray
    components: np.ndarray

    def __call__(self, features: Tensor) -> np.ndarray:
        """float16 [B, D] of pooled features [B, D']."""
        standard = (features.cpu().numpy() - self.mean) / self.scale
        return (standard @ self.components).astype(np.float16)


def fit_projection(features: np.ndarray, components: int) -> Projection:
    """Of the training faces' pooled features, float32 [N, D'].

    Raises:
        InputError: fewer faces or features than components.
    """
    if components > min(features.shape):
        raise InputError(
            f"features.components: {components} cannot be had from {features.shape[0]} training faces with "
            f"{features.shape[1]} features each; lower it in params.yaml"
        )
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale < 1e-6] = 1.0  # a feature that is always the same
    with threadpool_limits(1):  # the same sums whatever the number of cores
        fitted = PCA(components, svd_solver="covariance_eigh").fit((features - mean) / scale)
    spread = np.sqrt(fitted.explained_variance_.mean())
    return Projection(mean, scale, np.ascontiguousarray(fitted.components_.T / spread))


def pooled(network: Backbone, images: Tensor, cells: dict[int, int]) -> Tensor:
    """The means over `cells` (stage, from 1 -> side of its grid) of a backbone's maps, float32 [B, D'],
    of images [B, 3, S, S]. Later stages are not run."""
    x, found = network.stem(images), []
    for number, stage in enumerate(network.stages[: max(cells)], start=1):
        x = stage(x)
        if number in cells:
            found.append(F.adaptive_avg_pool2d(x, cells[number]).flatten(1))
    return torch.cat(found, dim=1).float()


@torch.inference_mode()
def write_bank(
    aligned: AlignedFaces,
    network: Backbone,
    options: Features,
    weak: Augment,
    strong: StrongAugment,
    out: Path,
    work: Path,
    device: torch.device,
    stamp: str,
) -> dict[str, Any]:
    """Compute the bank of all faces and write it to `out`; faces that are not for training have the first
    view alone, the others are 0.

    Args:
        network: the backbone with its weights; put into evaluation mode.
        work: where an interrupted run keeps its place; locked while running, kept at the end.
        stamp: of the code and whatever else decides the outcome, beside the arguments.

    Returns:
        The summary that is kept beside the features.

    Raises:
        InputError: see `fit_projection`; a stage that the backbone does not have; a full disk.
    """
    if max(options.cells) > len(network.stages):
        raise InputError(
            f"features.cells: the backbone has {len(network.stages)} stages, found {max(options.cells)}"
        )
    network = network.eval().to(device, memory_format=torch.channels_last)
    faces, training = aligned.faces, (aligned.manifest["split"] == "train").to_numpy(copy=True)
    digest = _digest(aligned, network, stamp, options, weak, strong)
    if not (work / STAMP).is_file() or (work / STAMP).read_text(encoding="utf-8") != digest:
        for name in (PROJECTION, ROWS):
            (work / name).unlink(missing_ok=True)
        with atomic_write(work / STAMP) as path:
            path.write_text(digest, encoding="utf-8")

    def seen(rows: slice | np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(faces[rows])).to(device)  # torch knows no read-only tensors

    if not (work / PROJECTION).is_file():
        rows = np.flatnonzero(training)
        blocks = tqdm(np.array_split(rows, -(-len(rows) // BLOCK)), "projection", file=sys.stderr)
        parts = [pooled(network, views.evaluation_view(seen(block)), options.cells).cpu() for block in blocks]
        projection = fit_projection(torch.cat(parts).numpy(), options.components)
        first = np.concatenate([projection(part) for part in parts])  # the first view of the training faces
        with atomic_write(work / PROJECTION) as path:
            np.savez(path, **vars(projection), first=first)
    with np.load(work / PROJECTION) as parts:
        first = np.zeros((len(faces), options.components), np.float16)
        first[training] = parts["first"]
        projection = Projection(**{name: parts[name] for name in Projection.__annotations__})

    shape = (len(faces), 1 + 2 * options.views, options.components)
    row_bytes = shape[1] * shape[2] * 2
    with open(work / ROWS, "ab") as file:
        done = file.tell() // row_bytes
        if done < len(faces):  # whole blocks alone are kept
            done -= done % BLOCK
            file.truncate(done * row_bytes)
        starts = range(done, len(faces), BLOCK)
        for start in tqdm(starts, "features", file=sys.stderr, unit="block"):
            rows = slice(start, start + BLOCK)
            generator = Generator().manual_seed(epoch_seed(options.seed, start))
            block = np.zeros((len(faces[rows]), *shape[1:]), np.float16)
            block[:, 0], chosen = first[rows], training[rows]
            if not chosen.all():
                others = views.evaluation_view(seen(rows)[torch.from_numpy(~chosen).to(device)])
                block[~chosen, 0] = projection(pooled(network, others, options.cells))
            if chosen.any():
                images = seen(rows)[torch.from_numpy(chosen).to(device)]
                for number, view in enumerate(
                    _views(images, options.views, weak, strong, generator), start=1
                ):
                    block[chosen, number] = projection(pooled(network, view, options.cells))
            with writing(work / ROWS):
                file.write(block.tobytes())
                file.flush()
    return _finish(aligned, work, out, shape)


def _views(
    images: Tensor, count: int, weak: Augment, strong: StrongAugment, generator: Generator
) -> list[Tensor]:
    """In the order of the bank, after the first."""
    upright = weak.model_copy(update={"flip": 0.0})
    found = []
    for _ in range(count // 2):
        view = views.weak_view(images, upright, generator)
        found += [view, view.flip(3).contiguous(memory_format=torch.channels_last)]
    return found + [views.strong_view(images, strong, generator) for _ in range(count)]


def _digest(aligned: AlignedFaces, network: Backbone, stamp: str, *options: Any) -> str:
    """Of all that decides the bank."""
    found = hashlib.sha256(f"{torch.__version__}\0{stamp}\0".encode())
    for part in options:
        found.update(part.model_dump_json().encode())
    found.update("\n".join(aligned.manifest["split"]).encode())
    found.update(np.ascontiguousarray(aligned.faces))  # a store's are, and are not copied
    for name, value in network.backbone_state().items():
        found.update(name.encode() + value.cpu().numpy().tobytes())
    return found.hexdigest()


def _finish(aligned: AlignedFaces, work: Path, out: Path, shape: tuple[int, ...]) -> dict[str, Any]:
    """Rows, manifest and summary to `out`."""
    shutil.rmtree(out, ignore_errors=True)
    with atomic_write(out / bank.VIEWS) as path, open(path, "wb") as file, open(work / ROWS, "rb") as rows:
        header = {"descr": "<f2", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        digest = hashlib.file_digest(rows, "sha256").hexdigest()
        rows.seek(0)
        shutil.copyfileobj(rows, file)
    with atomic_write(out / bank.MANIFEST) as path:
        aligned.manifest.to_csv(path, index=False)
    summary = {
        "dataset": aligned.name,
        "classes": list(aligned.classes),
        "faces": shape[0],
        "views": shape[1],
        "components": shape[2],
        "sha256": digest,
    }
    with atomic_write(out / bank.SUMMARY) as path:
        path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return summary
