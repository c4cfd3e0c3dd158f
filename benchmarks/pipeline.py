"""What DVC and the driver cost by the number of cells: our dvc.yaml, with stages that do nothing or sleep."""

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
from common import CODE, DRIVER, ROOT

from asm.grid.cells import write_cells

# In place of every stage's script but configs.py: write what the stage declares. A training sleeps between
# half of SLEEP and one and a half of it, and says so in its output.
STUB = """\
import os, sys, time
from pathlib import Path
outs, words, text = OUTS, sys.argv[1:], Path(sys.argv[0]).stem
if text == "train" and (mean := float(os.environ.get("SLEEP", "0"))):
    seconds = mean * (0.5 + int(words[0].rpartition("_s")[2]) % 8 / 7)
    time.sleep(seconds)
    text = str(seconds)
if any("${" in out.replace("${key}", "") for out in outs) or "--config" in words and "${" in outs[0]:
    outs = [words[words.index("--out") + 1]]
for path in (Path(out.replace("${key}", words[0])) for out in outs):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix:
        path.write_text(text)
    else:
        path.mkdir(exist_ok=True)
        (path / "content").write_text(text)
"""
FORCED = 3  # cells that plain DVC runs again


def driven(cells: int, workers: int = 2, sleep: float = 0) -> dict[str, object]:
    """What a grid of so many cells costs whose trainings do nothing, or sleep for `sleep` seconds on average.

    Seconds of `make repro` by the clock and of the processor, and the workers' utilisation between the first
    cell's start and the last one's end; then seconds of plain `dvc repro` with nothing to do, and for one
    more cell, its training and evaluation.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        names = _project(path, cells)
        _dvc(path, "configs", "init", "corrupt")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = _seconds(path, sys.executable, "-B", DRIVER, "--jobs", str(workers), SLEEP=str(sleep))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        ended = {file.stat().st_mtime: file.read_text() for file in (path / "timing").iterdir()}
        slept = {end: float(text) if sleep else 0.0 for end, text in ended.items()}
        first, last = min(end - slept[end] for end in slept), max(slept)
        nothing = _dvc(path)
        stub = _seconds(path, sys.executable, "-B", "stages/train.py", "unused_s0")
        forced = [
            _dvc(path, "--force", "--single-item", f"train@{name}", f"evaluate@{name}")
            for name in names[-FORCED:]
        ]
    return {
        "cells": cells,
        "workers": workers,
        "seconds": round(seconds, 1),
        "seconds_per_cell": round(seconds / cells, 2),
        "utilisation": round(sum(slept.values()) / workers / (last - first), 3) if sleep else None,
        "busy_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "dvc_repro_with_nothing_to_do": round(nothing, 1),
        "dvc_repro_per_cell": round(sorted(forced)[FORCED // 2] - 2 * stub, 1),
    }


def _project(path: Path, cells: int) -> list[str]:
    """A repository with our dvc.yaml and a profile of so many cells; their names."""
    for name in (*CODE, ".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore", "params.yaml"):
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target)
    text = (ROOT / "dvc.yaml").read_text()
    (path / "dvc.yaml").write_text(re.sub(r"profiles/\w+/", "profiles/bench/", text))
    for stage, declared in yaml.safe_load(text)["stages"].items():
        outs = [
            next(iter(out)) if isinstance(out, dict) else out for out in declared.get("do", declared)["outs"]
        ]
        if stage != "configs":
            (path / "stages" / f"{stage}.py").write_text(STUB.replace("OUTS", repr(outs)))
    row = {"dataset": "faces", "init": "none"}
    rows = [
        {**row, "noise": f"n{10 * (i % 4):02d}", "method": ("baseline", "asm")[i % 2], "seed": i}
        for i in range(cells)
    ]
    names = [f"c_{each['noise']}_{each['method']}_s{i}" for i, each in enumerate(rows)]
    size = {"image_size": 48, "width": 16, "epochs": 1, "warmup_epochs": 0, "batch_size": 32}
    profile = {
        "training": {"input": "aligned", **size},
        "render": {"faces": {"train": 7, "valid": 7, "test": 7}},
        "datasets": {"faces": {"source": "synthetic", "root": "data/rendered/faces"}},
        "noises": {f"n{r:02d}": {"kind": "symmetric", "rate": r / 100} for r in (0, 10, 20, 30)},
        "inits": {"none": {"weights": "none"}},
        "cells": dict(zip(names, rows, strict=True)),
        "tsne": names[:2],
    }
    for folder in ("profiles/bench", "data/raw/weights", "data/raw/noise"):
        (path / folder).mkdir(parents=True)
    written = path / "profiles" / "bench" / "profile.yaml"
    written.write_text(yaml.safe_dump(profile, sort_keys=False))
    write_cells(written)
    subprocess.run(["git", "init", "-q"], cwd=path, check=True)
    return names


def _dvc(path: Path, *words: str) -> float:
    """Seconds of `dvc repro`."""
    return _seconds(path, sys.executable, "-m", "dvc", "repro", *words)


def _seconds(path: Path, *words: str, **variables: str) -> float:
    """How long the command takes; raises RuntimeError with the end of what it says if it fails."""
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": places, "PYTHONDONTWRITEBYTECODE": "1", **variables}
    started = time.perf_counter()
    done = subprocess.run(words, cwd=path, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {(done.stdout + done.stderr)[-2000:]}")
    return time.perf_counter() - started
