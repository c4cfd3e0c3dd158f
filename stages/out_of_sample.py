"""Predict the training samples of one cell by networks that were not trained on them.

It reads configs/out_of_sample/<cell>.yaml and what training reads (train.py), and writes
data/out_of_sample/<cell>.npz.
"""

import bootstrap

from pathlib import Path

import numpy as np

from asm.basics.errors import reported
from asm.basics.files import atomic_write
from asm.methods import load_cell
from asm.parts.device import pick_device
from asm.training import inputs
from asm.training.folds import out_of_sample

if __name__ == "__main__":
    args = bootstrap.arguments(__doc__, "cell", "dataset", "noise", "init")
    with reported():
        path = Path("configs", "out_of_sample", f"{args.cell}.yaml")
        bootstrap.configuration(path, "out_of_sample")
        config = load_cell(path)
        data, initial = inputs.read(config, args.dataset, args.noise, args.init)
        work = Path("checkpoints", f"out_of_sample_{args.cell}")
        found = out_of_sample(config, data, initial, work, pick_device())
        out = Path("data", "out_of_sample", f"{args.cell}.npz")
        with atomic_write(out) as path:
            np.savez_compressed(path, **found)
