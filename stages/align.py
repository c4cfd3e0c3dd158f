"""Find, align and pack the faces of one data set. `--work` is where an interrupted run keeps its place."""

import bootstrap

from pathlib import Path

from asm import datasets
from asm.basics.errors import reported
from asm.faces.process import align_dataset
from asm.parts.device import pick_device

if __name__ == "__main__":
    args = bootstrap.arguments(__doc__, "--config", "--out", "--work")
    with reported():
        config = bootstrap.configuration(args.config, "align")
        dataset = datasets.load(config["source"], Path(config["root"]), **config["options"])
        places = {"out": args.out, "work": args.work, "device": str(pick_device())}
        print(align_dataset(dataset, **config["align"], **places, code=config["code"]))
