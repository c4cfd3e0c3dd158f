"""Score one finished cell: two headline metrics for DVC, everything else beside them."""

import argparse
import json
from pathlib import Path

import pandas as pd

from asm.errors import reported
from asm.evaluation import evaluate
from asm.label_quality import assess

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--noise", type=Path, required=True)
    parser.add_argument("--init", type=Path, required=True)
    parser.add_argument("--metrics", type=Path, required=True)
    parser.add_argument("--details", type=Path, required=True)
    args = parser.parse_args()
    with reported():
        # names such as "007" or "NA" are names
        manifest = pd.read_csv(args.faces / "manifest.csv", dtype={"id": str}, keep_default_na=False)
        details = evaluate(args.run, manifest, json.loads(args.noise.read_text(encoding="utf-8")))
        details["label_quality"] = assess(args.run, manifest)
        init = json.loads((args.init / "summary.json").read_text(encoding="utf-8"))
        faces = json.loads((args.faces / "summary.json").read_text(encoding="utf-8"))
        details["faces"] = {key: faces[key] for key in ("images", "unreadable", "fallback", "fallback_share")}
        details["backbone"] = {"weights": init["weights"], "width": init["width"]}
        metrics = {
            "accuracy": details["test"]["accuracy"]["last5"],
            "balanced_accuracy": details["test"]["balanced_accuracy"],
        }
        for path, content in ((args.metrics, metrics), (args.details, details)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
