"""Corrupt the training labels of one data set; validation and test stay as they are."""

import checkout

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from asm.basics.errors import InputError, reported
from asm.basics.files import whole
from asm.datasets import noise
from asm.faces import store


def given_labels(train: pd.DataFrame, classes: list[str], config: dict, lists: Path) -> np.ndarray:
    """The labels that training sees, int64 [N] (-1: left out), by the configured kind of noise."""
    true = train["true"].to_numpy()
    if config["kind"] == "list":
        path = lists / config["path"]
        if not path.is_file():
            raise InputError(f"{path}: no such file; put the list of noisy labels there")
        return noise.from_list(path, train["id"].tolist(), true, len(classes), base=config.get("base"))
    if config["kind"] == "original":
        if "original_label" not in train:
            raise InputError("noise kind 'original': this data set holds no second annotator's labels")
        return noise.original(true, train["original_label"].to_numpy())
    options = {key: config[key] for key in ("kind", "rate", "seed", "mode")}
    return noise.corrupt(true, len(classes), classes=classes, pairs=config.get("pairs"), **options)


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
        given = given_labels(train, classes, config, args.lists)
        description = noise.describe(train["true"].to_numpy(), given, len(classes))
        table = pd.DataFrame({"id": train["id"], "given": given, "true": train["true"]})
        with whole(args.out / "labels.csv") as path:
            table.to_csv(path, index=False)
        summary = {"kind": config["kind"], "rate": config.get("rate"), "classes": classes, **description}
        with whole(args.out / "noise.json") as path:
            path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        checkout.release(Path("checkpoints", f"align_{args.faces.name}"))
        print(f"{description['wrong']} of {description['samples']} labels changed")
