"""Draw the embedded data set: synthetic faces with known expressions, identities and blends."""

import bootstrap

from asm.basics.errors import reported
from asm.rendered.dataset import render_dataset

if __name__ == "__main__":
    args = bootstrap.arguments(__doc__, "--config", "--out")
    with reported():
        options = bootstrap.configuration(args.config, "render")
        del options["code"]
        render_dataset(args.out, **options)
