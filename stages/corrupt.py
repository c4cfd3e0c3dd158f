"""Corrupt the training labels of one data set; validation and test stay as they are.

`--lists` is the folder of the lists of noisy labels.
"""

import bootstrap

import json
from pathlib import Path

import pandas as pd

from asm.basics.errors import reported
from asm.basics.files import atomic_write
from asm.datasets import noise
from asm.faces import store

if __name__ == "__main__":
    args = bootstrap.arguments(__doc__, "--config", "--lists", "--faces", "--out")
    with reported():
        config = bootstrap.configuration(args.config, "corrupt")
        aligned = store.load(args.faces)
        classes, manifest = list(aligned.classes), aligned.manifest
        train = manifest[manifest["split"] == "train"]
        given = noise.given_labels(train, classes, config, args.lists)
        description = noise.describe(train["true"].to_numpy(), given, len(classes))
        table = pd.DataFrame({"id": train["id"], "given": given, "true": train["true"]})
        with atomic_write(args.out / "labels.csv") as path:
            table.to_csv(path, index=False)
        summary = {"kind": config["kind"], "rate": config.get("rate"), "classes": classes, **description}
        with atomic_write(args.out / "noise.json") as path:
            path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        bootstrap.release(Path("checkpoints", f"align_{args.faces.name}"))
        print(f"{description['wrong']} of {description['samples']} labels changed")
