"""Ask of out-of-sample predictions what tells wrong labels and ambiguous faces.

data/out_of_sample/<cell>.npz, data/aligned/<dataset> -> reports/scores/out_of_sample/<cell>.json
"""

import bootstrap

from pathlib import Path

from asm.basics.errors import reported
from asm.basics.files import atomic_write
from asm.scores.evaluation import assess_out_of_sample

if __name__ == "__main__":
    args = bootstrap.arguments(__doc__, "cell", "dataset")
    with reported():
        config = bootstrap.configuration(Path("configs", "assess", f"{args.cell}.yaml"), "assess")
        bootstrap.release(Path("checkpoints", f"out_of_sample_{args.cell}"))
        predictions = Path("data", "out_of_sample", f"{args.cell}.npz")
        found = assess_out_of_sample(config, predictions, Path("data", "aligned", args.dataset))
        path = Path("reports", "scores", "out_of_sample", f"{args.cell}.json")
        with atomic_write(path) as partial:
            partial.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
