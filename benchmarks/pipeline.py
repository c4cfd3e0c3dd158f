"""Benchmark 7: what DVC and the driver cost by the number of cells: our dvc.yaml, its stages do nothing.

`python benchmarks/pipeline.py --sleep 2.5 --cells 384 --workers 64`: a grid whose cells only sleep, 2.5 times
as long as each method trains in the profile `ferplus`.
"""

import argparse
import contextlib
import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import yaml
from common import ROOT

# Processor seconds of a cell of `ferplus`, by method.
LENGTHS = {
    "baseline": 10,
    "scn": 11,
    "coteaching": 18,
    "eac": 20,
    "asm": 26,
    "rul": 27,
    "man": 33,
    "dividemix": 51,
}
# In place of every stage's script but configs.py: write what the stage declares.
STUB = """\
import os, sys, time
from pathlib import Path
stage, words, slept = Path(sys.argv[0]).stem, sys.argv[1:], 0
if stage == "train":
    slept = float(os.environ.get("SLEEP", "0")) * LENGTHS[words[0].split("_")[2]]
    time.sleep(slept)
    outs = [f"runs/{words[0]}", f"timing/{words[0]}.csv"]
elif stage == "evaluate":
    outs = [f"reports/metrics/{words[0]}.json", f"reports/scores/{words[0]}.json"]
else:
    out = words[words.index("--out") + 1]
    written = ("tables", "figures", "plots", "README.md", "details.md", "index.html")
    outs = [f"{out}/{name}" for name in written] if stage == "report" else [out]
for path in map(Path, outs):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix:
        path.write_text(f"{stage} {slept}" if slept else stage)
    else:
        path.mkdir(exist_ok=True)
        (path / "content").write_text(stage)
"""


STUB = f"LENGTHS = {LENGTHS}\n{STUB}"
PATTERN = 4  # cells after which noise and method repeat
MEASURED = 3  # cells


def overhead(cells: int) -> dict[str, float]:
    """Seconds that DVC takes for one more cell, its training and evaluation, in a grid of so many that have
    been run; and for finding that there is nothing to do."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        names = _project(path, cells)
        _dvc(path, "repro", "configs")
        _dvc(path, "repro", *(f"evaluate@{name}" for name in names[:PATTERN]), "tsne")
        _pretend(path, names)
        output, _ = _dvc(path, "repro")
        ran = re.findall(r"Running stage '([^']+)'", output)
        if not set(ran) <= {"report"}:
            raise RuntimeError(f"the cells filled in do not count as run: {ran}")
        _, nothing = _dvc(path, "repro")
        stub = [sys.executable, "-B", "stages/train.py", "unused"]
        started = time.perf_counter()
        subprocess.run(stub, cwd=path, check=True)
        stage = time.perf_counter() - started
        forced = [
            _dvc(path, "repro", "--force", "--single-item", f"train@{name}", f"evaluate@{name}")[1]
            for name in names[-MEASURED:]
        ]
        lines = len((path / "dvc.lock").read_text().splitlines())
    return {
        "cells": cells,
        "lines_of_dvc_lock": lines,
        "seconds_per_cell": round(sorted(forced)[MEASURED // 2] - 2 * stage, 2),
        "repro_with_nothing_to_do_seconds": round(nothing, 2),
    }


def driven(cells: int, workers: int = 2, sleep: float = 0) -> dict[str, float]:
    """What `make repro` takes for a whole grid whose cells, a training and an evaluation each, sleep for
    `sleep` times what their method takes: seconds by the clock and of the processor (all processes; the
    driver), the driver's memory, and the workers' utilisation, from the first cell's start to the last one's
    end."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        _project(path, cells, list(LENGTHS))
        _dvc(path, "repro", "configs", "init", "corrupt")
        environment = _environment() | {"SLEEP": str(sleep)}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        words = [sys.executable, "-B", "stages/repro.py", "--jobs", str(workers)]
        started = time.perf_counter()
        with open(path / "log", "w") as log:
            process = psutil.Popen(words, cwd=path, env=environment, stdout=log, stderr=log)
            busy, most = 0.0, 0
            while process.poll() is None:
                with contextlib.suppress(psutil.Error):
                    busy, most = sum(process.cpu_times()[:2]), max(most, process.memory_info().rss)
                time.sleep(0.2)
        seconds = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        total = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if process.returncode:
            raise RuntimeError((path / "log").read_text()[-2000:])
        ended = sorted(file.stat().st_mtime for file in (path / "timing").iterdir())
        lengths = [float(file.read_text().partition(" ")[2] or 0) for file in (path / "timing").iterdir()]
        first = ended[0] - min(lengths) if sleep else ended[0]
        _, nothing = _dvc(path, "repro")
    return {
        "cells": cells,
        "workers": workers,
        "seconds": round(seconds, 1),
        "seconds_per_cell": round(seconds / cells, 2),
        "utilisation": round(sum(lengths) / workers / (ended[-1] - first), 3) if sleep else None,
        "busy_seconds": round(total, 1),
        "driver_busy_seconds": round(busy, 1),
        "driver_megabytes": round(most / 1e6),
        "plain_repro_afterwards_seconds": round(nothing, 1),
    }


def _pretend(path: Path, names: list[str]) -> None:
    """Enter into dvc.lock, as run, the cells after the first ones, which were run: the same but for their
    name. To run hundreds would take the better part of an hour. The next `dvc repro` finds them unchanged, or
    runs them."""
    lock = yaml.load((path / "dvc.lock").read_text(), Loader=yaml.CSafeLoader)
    for number, name in enumerate(names[PATTERN:], start=PATTERN):
        model = names[number % PATTERN]
        for group in ("train", "evaluate"):
            text = json.dumps(lock["stages"][f"{group}@{model}"]).replace(model, name)
            stage = json.loads(text)
            subprocess.run(stage["cmd"], shell=True, cwd=path, check=True)
            for dependency in stage["deps"]:
                if dependency["path"].endswith(f"train/{name}.yaml"):
                    content = (path / dependency["path"]).read_bytes()
                    dependency |= {"md5": hashlib.md5(content).hexdigest(), "size": len(content)}
            lock["stages"][f"{group}@{name}"] = stage
    (path / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))


def _project(path: Path, cells: int, methods: Sequence[str] = ("baseline", "asm")) -> list[str]:
    """A repository with our dvc.yaml and a profile of so many cells, their methods in turn; their names."""
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
    for stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]:
        if stage != "configs":
            (path / "stages" / f"{stage}.py").write_text(STUB)
    rows = [
        {
            "dataset": "faces",
            "noise": f"n{10 * (i % 4):02d}",
            "method": methods[i % len(methods)],
            "init": "none",
            "seed": i,
        }
        for i in range(cells)
    ]
    profile = {
        "training": {
            "input": "aligned",
            "image_size": 48,
            "width": 16,
            "epochs": 1,
            "warmup_epochs": 0,
            "batch_size": 32,
        },
        "render": {"faces": {"train": 7, "valid": 7, "test": 7}},
        "frozen": {},
        "datasets": {"faces": {"source": "synthetic", "root": "data/rendered/faces"}},
        "noises": {f"n{r:02d}": {"kind": "symmetric", "rate": r / 100} for r in (0, 10, 20, 30)},
        "inits": {"none": {"weights": "none"}},
        "cells": {f"c{i}_{row['noise']}_{row['method']}_s{i}": row for i, row in enumerate(rows)},
    }
    names = list(profile["cells"])
    profile |= {
        "out_of_sample": {},
        "tsne": names[:2],
        "headline": {"title": "t", "baseline": names[0], "asm": names[1]},
    }
    (path / "profiles" / "bench").mkdir(parents=True)
    (path / "profiles" / "bench" / "profile.yaml").write_text(yaml.safe_dump(profile, sort_keys=False))
    for folder in ("weights", "noise"):
        (path / "data" / "raw" / folder).mkdir(parents=True)
    text = (ROOT / "dvc.yaml").read_text().replace("profiles/demo/", "profiles/bench/")
    (path / "dvc.yaml").write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=path, check=True)
    return names


def _dvc(path: Path, *words: str) -> tuple[str, float]:
    """What the command prints, and its seconds."""
    started = time.perf_counter()
    done = subprocess.run(
        ["dvc", *words], cwd=path, env=_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"dvc {' '.join(words)}: {done.stderr[-2000:]}")
    return done.stdout, time.perf_counter() - started


def _environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=384)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--sleep", type=float, default=2.5, help="times a method's seconds")
    args = parser.parse_args()
    print(json.dumps(driven(args.cells, args.workers, args.sleep), indent=1))
