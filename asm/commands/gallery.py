"""Example faces of a run's subsets, as sheets of png.

Images of licensed data sets may not be passed on: keep the sheets to yourself.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="a run's folder: runs/<cell>")
    parser.add_argument("faces", type=Path, help="its data set: data/aligned/<dataset>")
    parser.add_argument("out", type=Path, help="folder for the sheets")


def run(args: argparse.Namespace) -> None:
    from asm.report.gallery import write_sheets

    for path in write_sheets(args.run, args.faces, args.out):
        print(path)
