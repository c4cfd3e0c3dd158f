"""The figures, and the page that shows them with the tables."""

import argparse
from pathlib import Path

from asm.errors import reported
from asm.report import figures, page

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grid", type=Path, required=True)
    parser.add_argument("--details", type=Path, required=True)
    parser.add_argument("--tsne", type=Path, required=True)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path, required=True, help="folder of the page (README.md)")
    args = parser.parse_args()
    with reported():
        figures.write_all(args.grid, args.details, args.tsne, args.out)
        page.write(args.grid, args.details, args.tables, args.out, args.page)
