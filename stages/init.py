"""The backbone's initial weights: read and checked from a file, pre-trained on rendered faces, or none."""

import bootstrap

import argparse
import json
from pathlib import Path

import torch

from asm.basics.errors import reported
from asm.basics.files import whole
from asm.basics.yaml import parse
from asm.parts import dlib
from asm.parts.device import pick_device
from asm.parts.views import Augment
from asm.parts.weights import read_weights, write_weights
from asm.rendered.dataset import render_action_units
from asm.training.pretraining import Pretrain, align_rendered, regress_action_units

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--files", type=Path, required=True, help="folder of the weights that users bring")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with reported():
        config = bootstrap.configuration(args.config, "init")
        summary = {"weights": config["weights"], "backbone": config["backbone"], "width": config["width"]}
        state = None
        if config["weights"] == "synthetic":
            pretrain = parse(Pretrain, config["pretrain"], str(args.config))
            images, units, landmarks = render_action_units(config["faces"], size=112, seed=pretrain.seed)
            faces = align_rendered(images, landmarks, config["size"], pretrain.jitter, pretrain.seed)
            state, errors = regress_action_units(
                faces,
                torch.from_numpy(units),
                config["backbone"],
                config["width"],
                config["epochs"],
                pretrain,
                parse(Augment, config["augment"], str(args.config)),
                pick_device(),
            )
            summary |= {"faces": config["faces"], "squared_error_by_epoch": [round(e, 5) for e in errors]}
        elif config["weights"] == "dlib":
            path = args.files / config["path"] if config.get("path") else dlib.installed_file()
            layers, _ = dlib.read(path)
            images, _, landmarks = render_action_units(dlib.CALIBRATION_FACES, size=112, seed=0)
            state = dlib.as_backbone(layers, align_rendered(images, landmarks, config["size"], 0.0, 0))
            summary |= {"file": path.name, "layers": len(layers), "tensors": len(state)}
        elif config["weights"] != "none":
            path = args.files / config["path"]
            state = read_weights(path, config["backbone"], config["width"], config["weights"])
            summary |= {"path": config["path"], "tensors": len(state)}
        if state is not None:
            write_weights(state, args.out / "weights.safetensors")
        with whole(args.out / "summary.json") as path:
            path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        print(summary)
