"""Benchmark 9: the bank of views of a frozen backbone against the backbone alone; needs the whole project."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from common import ROOT, paired, random_faces, ratio

from asm.basics.yaml import parse, read_yaml
from asm.faces.store import AlignedFaces
from asm.parts import backbones
from asm.parts.views import Augment, StrongAugment
from asm.training.features import BLOCK, Features, pooled, write_bank

SECTIONS = {"features": Features, "augment": Augment, "strong_augment": StrongAugment}


def bank(*, count: int, repeats: int) -> dict[str, object]:
    """Seconds of dlib's network (random weights) for as many views on resident random tensors, over the whole
    `features` stage: views, network, principal components, hashes, files. Faces/s of the latter."""
    params, device = read_yaml(ROOT / "params.yaml"), torch.device("cpu")
    options = [parse(kind, params[name], f"params.yaml: {name}") for name, kind in SECTIONS.items()]
    network, cells = backbones.build("dlib29", 1, 32, None, head_seed=0), options[0].cells
    network = network.eval().to(memory_format=torch.channels_last)
    table = pd.DataFrame({"id": map(str, range(count)), "split": "train", "label": 0})
    faces = AlignedFaces(
        "random", ("one",), random_faces(count, 112).numpy(), table, np.zeros((count, 5, 2), np.float32)
    )
    views = 2 + 2 * options[0].views  # the faces as they are twice: for the components, and into the bank
    images = torch.randn(BLOCK, 3, 112, 112).contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def alone() -> None:
        for _ in range(views * count // BLOCK):
            pooled(network, images, cells)

    def stage() -> None:
        with tempfile.TemporaryDirectory() as folder:
            out, work = Path(folder, "out"), Path(folder, "work")
            work.mkdir()
            write_bank(faces, network, *options, out=out, work=work, device=device, stamp="")

    seconds = paired(alone, stage, repeats, device)
    return {
        "faces": count,
        "views": views - 1,
        **ratio(*seconds),
        "faces_per_second": round(count / min(seconds[1]), 1),
    }
