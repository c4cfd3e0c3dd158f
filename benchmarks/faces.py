"""Alignment against MTCNN image by image; the bank of views against the backbone alone."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from common import ROOT, paired, random_samples, ratio
from facenet_pytorch import MTCNN
from PIL import Image

from asm.basics.yaml import parse, read_yaml
from asm.faces.detection import FaceDetector
from asm.faces.store import AlignedFaces
from asm.parts import backbones
from asm.parts.views import Augment, StrongAugment
from asm.rendered.dataset import render_action_units
from asm.training.features import BLOCK, Features, pooled, write_bank

CPU = torch.device("cpu")
SECTIONS = {"features": Features, "augment": Augment, "strong_augment": StrongAugment}


def alignment(*, count: int, image_size: int, repeats: int) -> dict[str, object]:
    """Seconds of MTCNN's own program on rendered faces over ours, which finds the same ones in batches."""
    pixels = list(render_action_units(count, size=image_size, seed=7, workers=1)[0])
    mtcnn, detector = MTCNN(), FaceDetector()
    images = [Image.fromarray(one) for one in pixels]
    slow, fast = paired(
        lambda: [mtcnn.detect(image, landmarks=True) for image in images],
        lambda: detector.detect(pixels),
        repeats,
        CPU,
    )
    return {
        "image_size": image_size,
        "images": count,
        "images_per_second_singly": round(count / min(slow), 1),
        "images_per_second": round(count / min(fast), 1),
        **ratio(slow, fast),
    }


def bank(*, count: int, repeats: int) -> dict[str, object]:
    """Seconds of dlib's network (random weights) for as many views on resident random tensors, over the whole
    `features` stage: views, network, principal components, hashes, files."""
    params = read_yaml(ROOT / "params.yaml")
    options = [parse(kind, params[name], f"params.yaml: {name}") for name, kind in SECTIONS.items()]
    network, cells = backbones.build("dlib29", 1, 32, None, head_seed=0), options[0].cells
    network = network.eval().to(memory_format=torch.channels_last)
    table = pd.DataFrame({"id": map(str, range(count)), "split": "train", "label": 0})
    pixels = random_samples(count, 112, CPU).faces.numpy()
    faces = AlignedFaces("random", ("one",), pixels, table, np.zeros((count, 5, 2), np.float32))
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
            write_bank(faces, network, *options, out=out, work=work, device=CPU, stamp="")

    seconds = paired(alone, stage, repeats, CPU)
    speed = round(count / min(seconds[1]), 1)
    return {"faces": count, "views": views - 1, **ratio(*seconds), "faces_per_second": speed}
