"""Tables, figures and the page that shows them together, from the scored cells."""

import checkout

import argparse
from pathlib import Path

from asm import report
from asm.errors import reported

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grid", type=Path, required=True)
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument("--timing", type=Path, required=True, help="folder of the cells' timing files")
    parser.add_argument("--tsne", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with reported():
        checkout.configuration(args.grid, "report")
        report.write(args.grid, args.scores, args.timing, args.tsne, args.out)
