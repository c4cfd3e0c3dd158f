"""Says whether this machine reproduces the committed demo to the byte, by one cell and all that it needs.

In a clone without changes: its stages are run, and compared with the committed dvc.lock and scores. Another
kind of processor may differ (docs/machines.md), so this says so and is no test.
"""

import json
import platform
import subprocess
import sys

import torch
from ruamel.yaml import YAML

CELL = "synthetic_n30_baseline_s0"
SCORES = f"reports/scores/{CELL}.json"
STAGES = ["render@synthetic", "align@synthetic", "corrupt@synthetic-n30", "init@au"]


def committed(path: str) -> str:
    return subprocess.run(["git", "show", f"HEAD:{path}"], check=True, capture_output=True, text=True).stdout


def hashes(lock: str, stage: str) -> list[str]:
    return [out["md5"] for out in YAML(typ="safe").load(lock)["stages"][stage]["outs"]]


def scores(text: str) -> dict:
    """Without the versions, which a run only names."""
    return {key: value for key, value in json.loads(text).items() if key != "versions"}


def main() -> None:
    ran = subprocess.run([sys.executable, "-m", "dvc", "repro", "--quiet", f"evaluate@{CELL}"])
    if ran.returncode:
        sys.exit(ran.returncode)
    before = committed("dvc.lock")
    with open("dvc.lock", encoding="utf-8") as now, open(SCORES, encoding="utf-8") as found:
        after = now.read()
        same = {stage: hashes(before, stage) == hashes(after, stage) for stage in STAGES}
        same[f"the scores of {CELL}"] = scores(committed(SCORES)) == scores(found.read())
    for name, equal in same.items():
        print(f"{name}: {'the same as' if equal else 'other than'} committed")
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    machine = f"{versions}, {torch.backends.cpu.get_cpu_capability()}"
    verdict = "reproduces" if all(same.values()) else "does not reproduce"
    print(f"This machine ({machine}) {verdict} the committed demo to the byte.")


if __name__ == "__main__":
    main()
