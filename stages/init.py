"""The backbone's initial weights, made as their kind says (asm/parts/weights)."""

import bootstrap

import argparse
import json
from pathlib import Path

from asm.basics.errors import reported
from asm.basics.files import whole
from asm.parts.weights import write_weights
from asm.parts.weights.base import configured

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--files", type=Path, required=True, help="folder of the weights that users bring")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with reported():
        weights, network, options = configured(bootstrap.configuration(args.config, "init"), str(args.config))
        state, found = weights.make(args.files, network, options)
        summary = {"weights": weights.weights, "backbone": network.backbone, "width": network.width, **found}
        if state is not None:
            write_weights(state, args.out / "weights.safetensors")
        with whole(args.out / "summary.json") as path:
            path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        print(summary)
