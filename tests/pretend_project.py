"""A small DVC project of stages that do nothing, built like ours, and the driver run on it."""

import contextlib
import copy
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import yaml

ROOT = Path(__file__).resolve().parents[1]
PIPELINE = """\
vars:
  - cells.yaml
stages:
  configs:
    cmd: python -B stage.py configs
    deps: [cells.yaml]
    outs: [configs]
  align:
    cmd: python -B stage.py align
    deps: [raw]
    outs: [aligned]
  train:
    foreach: ${cells}
    do:
      cmd: python -B stage.py train ${key}
      deps: ["configs/train/${key}.yaml", aligned]
      outs: ["runs/${key}", "timing/${key}.csv"]
  evaluate:
    foreach: ${cells}
    do:
      cmd: python -B stage.py evaluate ${key}
      deps: ["runs/${key}"]
      outs: ["scores/${key}.json": {cache: false}]
  report:
    cmd: python -B stage.py report
    deps: [scores, timing]
    outs: ["README.md": {cache: false}, plots]
"""
# What a stage does is in cells.yaml: seconds, epochs, after which of them it waits while there is a file
# `hold`, for how many runs it fails. How often each ran is in log/.
STAGE = """\
import os, sys, time
from pathlib import Path
group, key = sys.argv[1], sys.argv[-1]
log = Path("log", f"{group}@{key}" if len(sys.argv) > 2 else group)
log.parent.mkdir(exist_ok=True)
with open(log, "a") as handle:
    handle.write("x")
runs = len(log.read_text())
def write(path, text):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
if group == "configs":
    import yaml
    for name, cell in yaml.safe_load(Path("cells.yaml").read_text())["cells"].items():
        write(f"configs/train/{name}.yaml", "".join(f"{k}: {v}\\n" for k, v in sorted(cell.items())))
elif group == "align":
    if not Path("raw").exists():
        sys.exit("error: raw: get the faces")
    write("aligned/faces", Path("raw/faces").read_text())
elif group == "train":
    config = dict(line.split(": ", 1) for line in Path(f"configs/train/{key}.yaml").read_text().splitlines())
    last = Path("checkpoints", key)
    epochs = int(config.get("epochs", "2"))
    print("threads", os.environ.get("OMP_NUM_THREADS"))
    while (epoch := int(last.read_text()) if last.exists() else 0) < epochs:
        time.sleep(float(config.get("seconds", "0")) / epochs)
        write(f"checkpoints/{key}.partial", str(epoch + 1))
        os.replace(f"checkpoints/{key}.partial", last)
        while epoch + 1 == int(config.get("holds", "0")) and Path("hold").exists():
            time.sleep(0.05)
        print(f"{key}: epoch {epoch + 1}/{epochs}  loss 1.0  test 8{epoch}.50%  9 samples/s", flush=True)
    if "refuses" in config:
        sys.exit(f"error: {config['refuses']}")
    if runs <= int(config.get("fails", "0")):
        sys.exit(f"{key} failed in run {runs}")
    write(f"runs/{key}/weights", f"weights of {key}")
    write(f"runs/{key}/more/run.json", config.get("value", ""))
    write(f"timing/{key}.csv", "epoch,seconds\\n1,1.0\\n")
elif group == "evaluate":
    write(f"scores/{key}.json", Path(f"runs/{key}/more/run.json").read_text())
else:
    write("README.md", "".join(sorted(path.read_text() for path in Path("scores").iterdir())))
    write("plots/a", "a")
"""
DRIVER = """\
import sys
sys.path.insert(0, sys.argv[1])
import repro
sys.argv[1:2] = []
from pathlib import Path
import project
project.project = lambda name, root: Path(name)
project._update_cells = lambda folder: None
repro.main()
"""


class Project:
    """In `path`, with these cells: name -> what stage.py reads."""

    def __init__(self, path: Path, cells: dict[str, dict]) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.write("dvc.yaml", PIPELINE)
        self.write("stage.py", STAGE)
        self.write("cells.yaml", yaml.safe_dump({"cells": cells}, sort_keys=False))
        self.write(".dvc/config", "[core]\n    analytics = false\n    autostage = true\n")
        self.write(".dvc/.gitignore", "/config.local\n/tmp\n/cache\n")
        self.write(
            ".gitignore", "/raw\n/aligned\n/configs\n/runs\n/timing\n/plots\n/checkpoints\n/log\n/hold\n"
        )
        self.write("raw/faces", "faces")
        self.env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        self.env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.call("git", "init", "-q")
        self.commit()

    def cloned(self, path: Path) -> "Project":
        """What Git has of it."""
        self.call("git", "clone", "-q", ".", str(path))
        other = copy.copy(self)
        other.path = path
        return other

    def write(self, name: str, text: str) -> None:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(text)

    def commit(self) -> None:
        self.call("git", "add", "-A")
        self.call("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x", "--allow-empty")

    def call(self, *words: str, expect: int = 0) -> str:
        done = subprocess.run(words, cwd=self.path, env=self.env, capture_output=True, text=True)
        assert done.returncode == expect, f"{words}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout + done.stderr

    def words(self, *options: str) -> list[str]:
        return [sys.executable, "-c", DRIVER, str(ROOT / "driver"), str(self.path), "--jobs", "2", *options]

    def repro(self, *options: str, expect: int = 0) -> str:
        return self.call(*self.words(*options), expect=expect)

    def start(self, *options: str) -> subprocess.Popen:
        """The driver, at work; in a session of its own, as in a terminal of its own."""
        return subprocess.Popen(
            self.words(*options), cwd=self.path, env=self.env, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def runs(self, stage: str) -> int:
        """How often it was started."""
        path = self.path / "log" / stage
        return len(path.read_text()) if path.exists() else 0

    def kept(self) -> dict[str, bytes]:
        """All that DVC holds, and the outputs: path -> content."""
        folders = [
            self.path / name for name in (".dvc/cache", "configs", "runs", "timing", "plots", "scores")
        ]
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        files += [self.path / "dvc.lock", self.path / "README.md"]
        return {str(path.relative_to(self.path)): path.read_bytes() for path in files if path.exists()}


def until(condition, seconds: float = 100) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def processes(words: str) -> list[psutil.Process]:
    """Those whose command has these words."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if words in " ".join(process.info["cmdline"] or []):
            found.append(process)
    return found


def kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGKILL)
