"""Draw the embedded data set: synthetic faces with known expressions, identities and blends."""

import checkout

import argparse
from pathlib import Path

from asm.basics.errors import reported
from asm.rendered.dataset import render_dataset

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with reported():
        options = checkout.configuration(args.config, "render")
        del options["code"]
        render_dataset(args.out, **options)
