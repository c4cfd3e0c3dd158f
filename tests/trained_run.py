"""A finished run in its profile's folder, trained in seconds: all layers, or heads on a frozen backbone."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from safetensors.torch import save_file
from tiny import HEAD, PARAMS, make_config, make_data

from asm.faces import store
from asm.parts import backbones, bank
from asm.parts.batches import cell_data
from asm.training.cell import train
from asm.training.features import write_bank

CLASSES = ("red", "green", "blue")
CPU = torch.device("cpu")


def write(folder: Path, method: str = "asm", features: bool = False) -> Path:
    """`folder`/runs/tiny, and what it was trained from below `folder`/data: 30 faces of 32 pixels."""
    data = make_data()
    samples = [data.train, data.valid, data.test]
    faces = torch.cat([part.faces for part in samples]).numpy()
    manifest = pd.DataFrame(
        {
            "id": [name for part in samples for name in part.ids],
            "path": "x",
            "split": np.repeat(["train", "valid", "test"], [len(part.ids) for part in samples]),
            "true": np.concatenate([data.true, data.valid.labels.numpy(), data.test.labels.numpy()]),
            "face": "mtcnn",
        }
    )
    aligned, init = folder / "data" / "aligned" / "tiny", folder / "data" / "init" / "scratch"
    aligned.mkdir(parents=True)
    init.mkdir(parents=True)
    manifest.to_csv(aligned / "manifest.csv", index=False)
    np.save(aligned / "faces.npy", faces)
    np.save(aligned / "landmarks.npy", np.zeros((len(faces), 5, 2), np.float32))
    (aligned / "summary.json").write_text(
        json.dumps({"dataset": "tiny", "classes": list(CLASSES), "sha256": store.digests(aligned)})
    )
    (init / "summary.json").write_text(json.dumps({"weights": "none"}))
    config = make_config(method)
    if features:
        # maps of 6 and 3 pixels: averages over cells of unequal sides, too
        options = PARAMS.features.model_copy(update={"cells": {1: 4, 2: 2}, "components": 6})
        path = folder / "configs" / "features" / "tiny.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(yaml.safe_dump({"features": options.model_dump()}))
        network = backbones.build("dlib29", 1, 4, None, head_seed=3)
        save_file(network.backbone_state(), init / "weights.safetensors")
        sections = (options, PARAMS.augment, PARAMS.strong_augment)
        places = {"out": folder / "data" / "features" / "tiny", "work": folder / "work"}
        write_bank(store.load(aligned), network, *sections, **places, device=CPU, stamp="tests")
        given = pd.DataFrame({"id": data.train.ids, "given": data.train.labels.numpy(), "true": data.true})
        data = cell_data(bank.load(folder / "data" / "features" / "tiny"), given)
        config = make_config(method, training=HEAD | {"backbone": "dlib29"})
    run = folder / "runs" / "tiny"
    train(config, data, None, run, folder / "checkpoints", folder / "timing" / "tiny.csv", CPU)
    return run
