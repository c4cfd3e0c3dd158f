"""params.yaml + a profile -> one small yaml per stage instance, and grid.json for the reports."""

import argparse
from pathlib import Path

from asm.errors import reported
from asm.grid import write_configs
from asm.params import load_params, load_profile

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--profile", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with reported():
        write_configs(load_params(args.params), load_profile(args.profile), args.out)
