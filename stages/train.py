"""Train one cell of the grid; with ASM_PROCESSES=n in the environment by n processes, one a GPU."""

import checkout

import argparse
import os
import sys
from pathlib import Path

from torch.distributed.run import main as torchrun

from asm.basics.errors import reported
from asm.methods import load_cell
from asm.parts.device import pick_device
from asm.training import inputs
from asm.training.cell import train

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cell", help="configs/train/<cell>.yaml -> runs/<cell>, timing/<cell>.csv")
    parser.add_argument("dataset", help="data/aligned/<dataset>: its faces; data/features/<dataset>")
    parser.add_argument("noise", help="data/labels/<dataset>_<noise>: given labels of the training samples")
    parser.add_argument("init", help="data/init/<init>: initial weights")
    args = parser.parse_args()
    processes = os.environ.get("ASM_PROCESSES", "1")
    if not processes.isdigit() or int(processes) == 0:
        sys.exit(f"error: ASM_PROCESSES: expected a number from 1, found '{processes}'")
    if processes != "1" and "RANK" not in os.environ:
        sys.exit(torchrun(["--standalone", f"--nproc-per-node={processes}", *sys.argv]))
    with reported():
        path = Path("configs", "train", f"{args.cell}.yaml")
        checkout.configuration(path, "train")
        config = load_cell(path)
        if config.training.input == "features":
            checkout.release(Path("checkpoints", f"features_{args.dataset}"))
        data, initial = inputs.read(config, args.dataset, args.noise, args.init)
        train(
            config,
            data,
            initial,
            out=Path("runs", args.cell),
            checkpoints=Path("checkpoints", args.cell),
            timing=Path("timing", f"{args.cell}.csv"),
            device=pick_device(),
        )
