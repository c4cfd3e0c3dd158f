"""Benchmark 7: what DVC itself costs, by the number of cells: our dvc.yaml with stages that do nothing."""

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from common import ROOT

# In place of every stage's script but configs.py: write what the stage declares.
STUB = """\
import sys
from pathlib import Path
for option, value in zip(sys.argv[1::2], sys.argv[2::2]):
    path = Path(value)
    if option in ("--metrics", "--details", "--timing", "--out") and path.suffix:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(option)
    elif option == "--out":
        path.mkdir(parents=True, exist_ok=True)
        for name in ("manifest.csv", "summary.json", "noise.json"):
            (path / name).write_text(name)
    elif option == "--page":
        (path / "README.md").write_text(option)
"""


def overhead(cells: int) -> dict[str, float]:
    """Seconds of the first `dvc repro`, by stage and by cell, and of one that finds nothing to do."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        _project(path, cells)
        first, busy = _dvc(path, "repro", "--quiet")
        nothing, _ = _dvc(path, "repro", "--quiet")
        lock = yaml.load((path / "dvc.lock").read_text(), Loader=yaml.CSafeLoader)
    stages = len(lock["stages"])
    return {
        "cells": cells,
        "stages": stages,
        "first_repro_seconds": round(first, 1),
        "first_repro_processor_seconds": round(busy, 1),
        "seconds_per_stage": round(first / stages, 3),
        "seconds_per_cell": round(first / cells, 3),
        "repro_with_nothing_to_do_seconds": round(nothing, 2),
    }


def _project(path: Path, cells: int) -> None:
    for name in (
        "asm",
        "stages",
        ".dvc/config",
        ".dvc/.gitignore",
        ".dvcignore",
        ".gitignore",
        "params.yaml",
    ):
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target)
    for script in (path / "stages").glob("*.py"):
        if script.name != "configs.py":
            script.write_text(STUB)
    rows = [
        {
            "dataset": "faces",
            "noise": f"n{10 * (i % 4):02d}",
            "method": "asm" if i % 2 else "baseline",
            "init": "none",
            "seed": i,
        }
        for i in range(cells)
    ]
    profile = {
        "profile": "bench",
        "training": {"image_size": 48, "width": 16, "epochs": 1, "warmup_epochs": 0, "batch_size": 32},
        "render": {"faces": {"train": 7, "valid": 7, "test": 7}},
        "datasets": {"faces": {"source": "synthetic", "root": "data/bench/raw/faces"}},
        "noises": {f"n{r:02d}": {"kind": "symmetric", "rate": r / 100} for r in (0, 10, 20, 30)},
        "inits": {"none": {"weights": "none"}},
        "cells": {f"c{i}_{row['noise']}_{row['method']}_s{i}": row for i, row in enumerate(rows)},
    }
    names = list(profile["cells"])
    profile |= {
        "tsne": names[:2],
        "headline": {"title": "t", "baseline": names[0], "asm": names[1]},
    }
    (path / "profiles").mkdir()
    (path / "profiles" / "bench.yaml").write_text(yaml.safe_dump(profile, sort_keys=False))
    (path / "data" / "raw" / "weights").mkdir(parents=True)
    text = re.sub(
        r"^  - profiles/\S+", "  - profiles/bench.yaml", (ROOT / "dvc.yaml").read_text(), flags=re.M
    )
    (path / "dvc.yaml").write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=path, check=True)


def _dvc(path: Path, *words: str) -> tuple[float, float]:
    """Seconds by the clock and by the processor."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(["dvc", *words], cwd=path, env=environment, check=True)
    taken, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return taken, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
