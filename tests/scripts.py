"""The stages' scripts, called as DVC calls them, in the folder of a project."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import yaml

from asm.basics.code import code_hash

ROOT = Path(__file__).resolve().parents[1]


def command(
    folder: Path, stage: str, *words: object, processes: int | str = 1
) -> subprocess.CompletedProcess:
    """Run a stage's script as DVC does, in the folder of a project."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ASM_PROCESSES": str(processes)}
    script = str(ROOT / "stages" / f"{stage}.py")
    words = [sys.executable, "-B", script, *map(str, words)]
    return subprocess.run(words, capture_output=True, text=True, cwd=folder, env=environment, check=False)


def refused(folder: Path, stage: str, *words: object) -> str:
    """The message of a stage that must end with exit code 1, one `error: ...` and no traceback."""
    done = command(folder, stage, *words)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1
    return done.stderr


def run_here(monkeypatch, folder: Path, stage: str, *words: object) -> None:
    """Run a stage's script in this process, which has torch loaded already."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [f"{stage}.py", *map(str, words)])
    monkeypatch.syspath_prepend(str(ROOT / "stages"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    runpy.run_path(str(ROOT / "stages" / f"{stage}.py"), run_name="__main__")


def configure(folder: Path, stage: str, key: str | None, content: dict) -> Path:
    """Write the configuration of a stage instance, as the configs stage does."""
    path = folder / "configs" / (f"{stage}.yaml" if key is None else f"{stage}/{key}.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({**content, "code": code_hash(stage, content)}))
    return path
