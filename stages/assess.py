"""What tells wrong labels and ambiguous faces, asked of out-of-sample predictions."""

import checkout

import argparse
from pathlib import Path

from asm.basics.errors import reported
from asm.basics.files import whole
from asm.scores.evaluation import assess_out_of_sample

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cell", help="data/out_of_sample/<cell>.npz -> reports/scores/out_of_sample")
    parser.add_argument("dataset", help="data/aligned/<dataset>: aligned faces")
    args = parser.parse_args()
    with reported():
        config = checkout.configuration(Path("configs", "assess", f"{args.cell}.yaml"), "assess")
        checkout.release(Path("checkpoints", f"out_of_sample_{args.cell}"))
        predictions = Path("data", "out_of_sample", f"{args.cell}.npz")
        found = assess_out_of_sample(config, predictions, Path("data", "aligned", args.dataset))
        path = Path("reports", "scores", "out_of_sample", f"{args.cell}.json")
        with whole(path) as partial:
            partial.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
