"""t-SNE coordinates of one cell's test and training features, for Fig. 1 and supplement Fig. 2."""

import checkout

import argparse
from pathlib import Path

from asm.basics.errors import reported
from asm.scores.embedding import embed_run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with reported():
        checkout.configuration(args.config, "tsne")
        embed_run(args.run, args.out)
