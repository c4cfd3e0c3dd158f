"""Tables, figures and the page that shows them together, from the scored cells."""

import bootstrap

import argparse
from pathlib import Path

from asm import report
from asm.basics.errors import reported

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grid", type=Path, default="configs/report.yaml")
    parser.add_argument("--scores", type=Path, default="reports/scores")
    parser.add_argument("--timing", type=Path, default="timing", help="folder of the cells' timing files")
    parser.add_argument("--tsne", type=Path, default="data/tsne")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with reported():
        bootstrap.configuration(args.grid, "report")
        report.write(args.grid, args.scores, args.timing, args.tsne, args.out)
