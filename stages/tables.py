"""Tables 1-3, supplement Table 1, related work, networks and mining, from the evaluated cells."""

import argparse
from pathlib import Path

from asm.errors import reported
from asm.report import tables

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grid", type=Path, required=True)
    parser.add_argument("--details", type=Path, required=True)
    parser.add_argument("--timing", type=Path, required=True, help="folder of the cells' timing files")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with reported():
        tables.write_all(args.grid, args.details, args.out, args.timing)
