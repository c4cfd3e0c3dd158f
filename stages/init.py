"""The backbone's initial weights, made as their kind says (asm/parts/weights).

`--files` is the folder of the weights that users bring.
"""

import bootstrap

import json

from asm.basics.errors import reported
from asm.basics.files import atomic_write
from asm.parts.weights import write_weights
from asm.parts.weights.base import configured

if __name__ == "__main__":
    args = bootstrap.arguments(__doc__, "--config", "--files", "--out")
    with reported():
        weights, network, options = configured(bootstrap.configuration(args.config, "init"), str(args.config))
        state, found = weights.make(args.files, network, options)
        summary = {"weights": weights.weights, "backbone": network.backbone, "width": network.width, **found}
        if state is not None:
            write_weights(state, args.out / "weights.safetensors")
        with atomic_write(args.out / "summary.json") as path:
            path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        print(summary)
