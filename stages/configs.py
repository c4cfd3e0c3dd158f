"""params.yaml + profile -> one small yaml per stage instance, with a hash of the code that reads it."""

import checkout  # noqa: F401

import argparse
from pathlib import Path

from asm.basics.errors import reported
from asm.grid.cells import check_cells
from asm.grid.params import load_params
from asm.grid.profile import load_profile
from asm.grid.resolve import write_configs

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--profile", type=Path, required=True)
    parser.add_argument("--name", required=True, help="the profile's, as reports print it")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with reported():
        check_cells(args.profile)
        write_configs(load_params(args.params), load_profile(args.profile), args.name, args.out)
