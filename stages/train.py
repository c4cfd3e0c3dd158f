"""Train one cell of the grid; with ASM_PROCESSES=n in the environment by n processes, one a GPU.

configs/train/<cell>.yaml, data/aligned/<dataset> or data/features/<dataset>, data/labels/<dataset>_<noise>,
data/init/<init> -> runs/<cell>, timing/<cell>.csv
"""

import bootstrap

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
    args = bootstrap.arguments(__doc__, "cell", "dataset", "noise", "init")
    processes = os.environ.get("ASM_PROCESSES", "1")
    if not processes.isdigit() or int(processes) == 0:
        sys.exit(f"error: ASM_PROCESSES: expected a number from 1, found '{processes}'")
    if processes != "1" and "RANK" not in os.environ:
        sys.exit(torchrun(["--standalone", f"--nproc-per-node={processes}", *sys.argv]))
    with reported():
        path = Path("configs", "train", f"{args.cell}.yaml")
        bootstrap.configuration(path, "train")
        config = load_cell(path)
        if config.training.input == "features":
            bootstrap.release(Path("checkpoints", f"features_{args.dataset}"))
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
