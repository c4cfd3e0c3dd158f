"""The package as users install it: a wheel, made from an sdist, elsewhere than the checkout."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import time
import venv
from pathlib import Path

import audit_set
import pandas as pd
import pytest
import trained_run
from PIL import Image
from safetensors.torch import load_file

from asm.__main__ import main
from asm.basics.code import ROOT, code_hash
from asm.basics.errors import InputError
from asm.parts.weights import dlib

pytest.importorskip("setuptools", minversion="77", reason="pyproject.toml needs setuptools 77 or later")
BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"


def build(kind: str, tree: Path, out: Path) -> Path:
    command = [sys.executable, "-c", BUILD, f"build_{kind}", str(out)]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder of an environment's programs; packages that this one depends on are those of the tests."""
    folder = tmp_path_factory.mktemp("installed")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    for name in tracked.stdout.split("\0"):
        if name.startswith(("asm/", "pyproject", "README", "LICENSE", "params")) and (ROOT / name).exists():
            copy = folder / "tree" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_symlink():
                copy.symlink_to(os.readlink(ROOT / name))
            else:
                copy.write_bytes((ROOT / name).read_bytes())
    sdist = build("sdist", folder / "tree", folder)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    wheel = build("wheel", folder / sdist.name.removesuffix(".tar.gz"), folder)
    venv.create(folder / "env", with_pip=True)
    programs = folder / "env" / "bin"
    command = [programs / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(command, check=True)
    (packages,) = (folder / "env").glob("lib/python*/site-packages")
    # below its own packages: what is installed here wins
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    assert (packages / "asm" / "tools" / "audit" / "params.yaml").read_bytes() == (
        ROOT / "params.yaml"
    ).read_bytes()
    return programs


def call(programs: Path, folder: Path, *words: str) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    command = [programs / "asm-fer", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_help_is_there_at_once_and_imports_nothing_heavy(installed, tmp_path):
    started = time.monotonic()
    printed = call(installed, tmp_path, "--help")
    assert printed.startswith("usage: asm-fer ")  # what was typed
    assert [word for word in ("audit", "export", "predict") if word in printed] == [
        "audit",
        "export",
        "predict",
    ]
    assert time.monotonic() - started < 5  # torch alone takes longer on a busy machine
    loaded = (
        "import sys, asm.__main__, asm.tools.audit, asm.tools.export, asm.tools.predict; print(*sys.modules)"
    )
    command = [installed / "python", "-c", loaded]
    modules = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "pandas", "yaml", "PIL"} & set(modules)


def test_labels_are_audited(installed, tmp_path):
    try:
        dlib.installed_file()
    except InputError:
        pytest.skip("dlib's weights are not installed (the extra faces)")
    misplaced = audit_set.write(tmp_path / "mine", count=24, wrong=2)
    call(installed, tmp_path, "audit", "mine", "--folds", "2", "--align", "detect=false")
    table = pd.read_csv(tmp_path / "audit" / "audit.csv")
    assert len(table) == 26
    assert set(misplaced) & set(table["id"][:6])


def test_photos_are_read(installed, tmp_path):
    run = trained_run.write(tmp_path / "profile")
    main(["export", str(run), "--format", "safetensors", "--out", str(tmp_path / "model.safetensors")])
    assert load_file(tmp_path / "model.safetensors")
    Image.new("RGB", (80, 80), (90, 60, 30)).save(tmp_path / "photo.jpg")
    printed = call(installed, tmp_path, "predict", "photo.jpg", "--weights", "model.safetensors")
    assert "0 faces in 1 images" in printed


def test_code_that_is_not_there_has_no_hash():
    with pytest.raises(InputError, match="no code of 'align' here"):
        code_hash("align", {}, Path(os.devnull).parent)
