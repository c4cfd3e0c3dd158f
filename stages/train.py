"""Train one cell of the grid; with ASM_PROCESSES=n in the environment by n processes, one a GPU."""

import argparse
import os
import sys
from pathlib import Path

import pandas as pd
from torch.distributed.run import main as torchrun

from asm.data import select
from asm.errors import reported
from asm.faces import store
from asm.params import load_cell
from asm.training import pick_device, train
from asm.weights import read_weights

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--faces", type=Path, required=True, help="aligned faces")
    parser.add_argument("--labels", type=Path, required=True, help="given labels of the training samples")
    parser.add_argument("--init", type=Path, required=True, help="initial weights")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--checkpoints", type=Path, required=True)
    parser.add_argument("--timing", type=Path, required=True)
    args = parser.parse_args()
    processes = os.environ.get("ASM_PROCESSES", "1")
    if not processes.isdigit() or int(processes) == 0:
        sys.exit(f"error: ASM_PROCESSES: expected a number from 1, found '{processes}'")
    if processes != "1" and "RANK" not in os.environ:
        sys.exit(torchrun(["--standalone", f"--nproc-per-node={processes}", *sys.argv]))
    with reported():
        config = load_cell(args.config)
        weights = args.init / "weights.safetensors"
        train(
            config,
            select(
                store.load(args.faces),
                pd.read_csv(args.labels / "labels.csv", dtype={"id": str}, keep_default_na=False),
            ),
            read_weights(weights, config.training.width) if weights.is_file() else None,
            args.out,
            args.checkpoints,
            args.timing,
            pick_device(),
        )
