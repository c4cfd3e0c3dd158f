"""Draw the embedded data set: synthetic faces with known expressions, identities and blends."""

import argparse
from pathlib import Path

from asm.datasets.synthetic import render_dataset
from asm.errors import reported
from asm.params import Render
from asm.schema import parse, read_yaml

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with reported():
        options = parse(Render, read_yaml(args.config), str(args.config))
        render_dataset(args.out, **options.model_dump())
