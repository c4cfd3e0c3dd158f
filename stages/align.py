"""Find, align and pack the faces of one data set."""

import checkout

import argparse
from pathlib import Path

from asm import datasets
from asm.basics.errors import reported
from asm.faces.process import align_dataset
from asm.parts.device import pick_device

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="where an interrupted run keeps its place")
    args = parser.parse_args()
    with reported():
        config = checkout.configuration(args.config, "align")
        dataset = datasets.load(config["source"], Path(config["root"]), **config["options"])
        places = {"out": args.out, "work": args.work, "device": str(pick_device())}
        print(align_dataset(dataset, **config["align"], **places, code=config["code"]))
