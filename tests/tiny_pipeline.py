"""A copy of the repository with a tiny profile, for the tests that run the pipeline through real DVC."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from asm.basics.code import imported
from asm.grid.cells import write_cells

ROOT = Path(__file__).resolve().parents[1]

TINY = """\
training: {input: aligned, image_size: 32, width: 4, epochs: 3, warmup_epochs: 1, batch_size: 8}
render:
  synthetic: {train: 28, valid: 7, test: 14}
datasets:
  synthetic: {source: synthetic, root: data/rendered/synthetic}
noises:
  n30: {kind: symmetric, rate: 0.3}
inits:
  none: {weights: none}
cells:
  base: {dataset: synthetic, noise: n30, method: baseline}
  asm: {dataset: synthetic, noise: n30, method: asm, set: {thresholds: {adaptive: false}}}
  pinned: {dataset: synthetic, noise: n30, method: asm, set: {thresholds: {init_clean: 0.9}}}
out_of_sample: [asm]
tsne: [asm]
"""


class Workspace:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def run(self, *command: str, expect: int = 0) -> str:
        done = subprocess.run(command, cwd=self.path, env=self.env, capture_output=True, text=True)
        assert done.returncode == expect, f"{command}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout + done.stderr

    def run_audited(self, log: Path, *command: str) -> str:
        """The same; afterwards `opened` holds, for each stage's command, the files that it opened."""
        before, self.opened = self.env, {}
        self.env = before | {"ASM_AUDIT": str(log), "PYTHONPATH": str(ROOT / "tests" / "audit")}
        output = self.run(*command)
        self.env = before
        for file in log.iterdir():
            stage, *paths = file.read_text().splitlines()
            self.opened.setdefault(stage, set()).update(paths)
        return output

    def check_opened(self) -> None:
        """Every stage was run, and each opened nothing here but its dependencies and its code."""
        lock = yaml.safe_load((self.path / "dvc.lock").read_text())["stages"]
        names = {stage["cmd"].replace("./", ""): name for name, stage in lock.items()}
        opened = {command.replace("./", ""): paths for command, paths in self.opened.items()}
        assert set(names) == {command.replace(f"{self.path}/", "") for command in opened}
        for command, name in names.items():
            group, _, _ = name.partition("@")
            deps, outs = ([each["path"] for each in lock[name].get(key, [])] for key in ("deps", "outs"))
            allowed = [self.path / path for path in deps + outs]
            allowed += [self.path / "checkpoints"]  # its own, stamped with all that it started from
            if group != "configs":
                (configuration,) = [self.path / dep for dep in deps if dep.startswith("configs/")]
                content = yaml.safe_load(configuration.read_text())
                allowed += imported(group, content, self.path).values()
            strangers = {
                path
                for path in map(Path, opened[command])
                if path.is_relative_to(self.path) and not any(path.is_relative_to(a) for a in allowed)
            }
            # bytecode of the sources, which are checked; what gets its final name when it is complete; what
            # pip puts into sys.path for an editable installation, no file
            others = {
                path
                for path in strangers
                if path.suffix == ".pyc" or ".partial" in str(path) or path.name.startswith("__editable__")
            }
            assert strangers == others, f"{name}: {sorted(strangers - others)}"

    def metrics(self, cell: str) -> dict:
        return json.loads((self.path / "reports" / "metrics.json").read_text())[cell]

    def commit(self) -> None:
        self.run("git", "add", "-A")
        self.run(
            "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "state", "--allow-empty"
        )


def make_workspace(path: Path, profile: str = TINY) -> Workspace:
    """Code and parameters of this repository in `path`, under git and DVC; nothing has been run."""
    for name in (
        "asm",
        "stages",
        "driver",
        ".dvc/config",
        ".dvc/.gitignore",
        ".dvcignore",
        ".gitignore",
        "Makefile",
    ):
        source, target = ROOT / name, path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    shutil.copy(ROOT / "params.yaml", path)
    pipeline = (ROOT / "dvc.yaml").read_text()
    (path / "dvc.yaml").write_text(pipeline.replace("profiles/demo/", "profiles/tiny/"))
    (path / "profiles" / "tiny").mkdir(parents=True)
    (path / "profiles" / "tiny" / "profile.yaml").write_text(profile)
    write_cells(path / "profiles" / "tiny" / "profile.yaml")
    for folder in ("weights", "noise"):
        (path / "data" / "raw" / folder).mkdir(parents=True)
        shutil.copy(ROOT / "data" / "raw" / folder / "README.md", path / "data" / "raw" / folder)
    workspace = Workspace(path)
    workspace.run("git", "init", "-q")
    workspace.commit()
    return workspace
