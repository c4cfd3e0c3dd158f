"""Write one small yaml per stage instance from params.yaml and a profile, with a hash of its code.

`--name` is the profile's, as reports print it.
"""

import bootstrap

import shutil

from asm.basics.errors import reported
from asm.grid.cells import check_cells
from asm.grid.params import load_params
from asm.grid.profile import load_profile
from asm.grid.resolve import write_configs

if __name__ == "__main__":
    args = bootstrap.arguments(__doc__, "--params", "--profile", "--name", "--out")
    with reported():
        check_cells(args.profile)
        write_configs(load_params(args.params), load_profile(args.profile), str(args.name), args.out)
        shutil.copyfile(args.params, args.out / "params.yaml")  # for `dvc params diff` in a profile's folder
