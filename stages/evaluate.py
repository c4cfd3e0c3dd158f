"""Score one finished cell by its stored predictions; no network is run.

runs/<cell>, data/aligned/<dataset>, data/labels/<dataset>_<noise> -> reports/scores/<cell>.json
"""

import bootstrap

from pathlib import Path

from asm.basics.errors import reported
from asm.basics.files import atomic_write
from asm.scores.evaluation import score_run

if __name__ == "__main__":
    args = bootstrap.arguments(__doc__, "cell", "dataset", "noise")
    with reported():
        bootstrap.configuration(Path("configs", "evaluate.yaml"), "evaluate")
        scores = score_run(
            Path("runs", args.cell),
            Path("data", "aligned", args.dataset),
            Path("data", "labels", f"{args.dataset}_{args.noise}", "noise.json"),
        )
        with atomic_write(Path("reports", "scores", f"{args.cell}.json")) as path:
            path.write_text(scores.model_dump_json(indent=1) + "\n", encoding="utf-8")
        bootstrap.release(Path("checkpoints", args.cell))
