"""t-SNE coordinates of one cell's test and training features, for Fig. 1 and supplement Fig. 2."""

import bootstrap

from asm.basics.errors import reported
from asm.scores.embedding import embed_run

if __name__ == "__main__":
    args = bootstrap.arguments(__doc__, "--config", "--run", "--out")
    with reported():
        bootstrap.configuration(args.config, "tsne")
        embed_run(args.run, args.out)
