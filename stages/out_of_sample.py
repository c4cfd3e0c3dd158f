"""Predictions for the training samples of one cell by networks that were not trained on them."""

import checkout

import argparse
from pathlib import Path

import numpy as np

from asm.basics.errors import reported
from asm.basics.files import whole
from asm.methods import load_cell
from asm.parts.device import pick_device
from asm.training import inputs
from asm.training.folds import out_of_sample

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cell", help="configs/out_of_sample/<cell>.yaml -> data/out_of_sample/<cell>.npz")
    parser.add_argument("dataset", help="data/aligned/<dataset>: its faces; data/features/<dataset>")
    parser.add_argument("noise", help="data/labels/<dataset>_<noise>: given labels of the training samples")
    parser.add_argument("init", help="data/init/<init>: initial weights")
    args = parser.parse_args()
    with reported():
        path = Path("configs", "out_of_sample", f"{args.cell}.yaml")
        checkout.configuration(path, "out_of_sample")
        config = load_cell(path)
        data, initial = inputs.read(config, args.dataset, args.noise, args.init)
        work = Path("checkpoints", f"out_of_sample_{args.cell}")
        found = out_of_sample(config, data, initial, work, pick_device())
        out = Path("data", "out_of_sample", f"{args.cell}.npz")
        with whole(out) as path:
            np.savez_compressed(path, **found)
