"""Raw data under DVC, for experiments that run in a copy of the commit."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from scripts import ROOT

PIPELINE = """\
stages:
  align: {cmd: ls data/raw/mine > list, deps: [data/raw/mine, params.yaml], outs: [list]}
"""


def test_an_experiment_apart_sees_raw_data_that_dvc_holds(tmp_path):
    """With this repository's .gitignore, which leaves out the data themselves."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    def run(*words: str) -> str:
        found = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert found.returncode == 0, found.stdout + found.stderr
        return found.stdout

    for name in (".gitignore", ".dvc/config", ".dvc/.gitignore"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "data" / "raw" / "mine").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "mine" / "face.jpg").write_bytes(b"face")
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    run("git", "init", "-q")
    run("dvc", "add", "data/raw/mine")
    run("git", "add", "-A")
    assert "face.jpg" not in run("git", "ls-files")
    run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "data")
    run("dvc", "exp", "run", "--temp", "--name", "apart", "-S", "seed=1")
    run("dvc", "exp", "apply", "apart")
    assert (tmp_path / "list").read_text() == "face.jpg\n"
