"""Corrupt the training labels of one data set; validation and test stay as they are."""

import checkout

import argparse
import json
from pathlib import Path

import pandas as pd

from asm.basics.errors import reported
from asm.basics.files import whole
from asm.datasets import noise
from asm.faces import store

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--lists", type=Path, required=True, help="folder of the lists of noisy labels")
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with reported():
        config = checkout.configuration(args.config, "corrupt")
        aligned = store.load(args.faces)
        classes, manifest = list(aligned.classes), aligned.manifest
        train = manifest[manifest["split"] == "train"]
        given = noise.given_labels(train, classes, config, args.lists)
        description = noise.describe(train["true"].to_numpy(), given, len(classes))
        table = pd.DataFrame({"id": train["id"], "given": given, "true": train["true"]})
        with whole(args.out / "labels.csv") as path:
            table.to_csv(path, index=False)
        summary = {"kind": config["kind"], "rate": config.get("rate"), "classes": classes, **description}
        with whole(args.out / "noise.json") as path:
            path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        checkout.release(Path("checkpoints", f"align_{args.faces.name}"))
        print(f"{description['wrong']} of {description['samples']} labels changed")
