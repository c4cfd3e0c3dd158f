"""t-SNE coordinates of one cell's test and training features, for Fig. 1 and supplement Fig. 2."""

import argparse
from pathlib import Path

from asm.embedding import embed_run
from asm.errors import reported

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with reported():
        embed_run(args.run, args.out)
