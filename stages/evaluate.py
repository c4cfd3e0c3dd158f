"""Score one finished cell: two headline metrics for DVC, everything else beside them."""

import checkout

import argparse
import json
from pathlib import Path

from asm.basics.errors import reported
from asm.basics.files import whole
from asm.scores.evaluation import score_run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cell", help="runs/<cell> -> reports/scores/<cell>.json, reports/metrics/<cell>.json")
    parser.add_argument("dataset", help="data/aligned/<dataset>: aligned faces")
    parser.add_argument("noise", help="data/labels/<dataset>_<noise>: what was done to the labels")
    args = parser.parse_args()
    with reported():
        checkout.configuration(Path("configs", "evaluate.yaml"), "evaluate")
        scores = score_run(
            Path("runs", args.cell),
            Path("data", "aligned", args.dataset),
            Path("data", "labels", f"{args.dataset}_{args.noise}", "noise.json"),
        )
        metrics = {
            "accuracy": scores.test.accuracy.last5,
            "balanced_accuracy": scores.test.balanced_accuracy,
        }
        written = {"metrics": json.dumps(metrics, indent=1), "scores": scores.model_dump_json(indent=1)}
        for kind, text in written.items():
            with whole(Path("reports", kind, f"{args.cell}.json")) as path:
                path.write_text(text + "\n", encoding="utf-8")
        checkout.release(Path("checkpoints", args.cell))
