"""Training on another machine and back: with fake stages in a small repository, then once with real DVC."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml
from tiny_pipeline import ROOT, Workspace, make_workspace

sys.path.insert(0, str(ROOT / "stages"))
import elsewhere

# A stage that reads and writes as the real ones do. It fails where its configuration says so.
FAKE_STAGE = """\
import sys
from pathlib import Path
config, read, *outs = map(Path, sys.argv[1:])
assert "fail" not in config.read_text()
with open("count", "a") as count:
    count.write("x")
for out in outs:
    out.mkdir(parents=True)
    (out / "text").write_text(config.read_text() + (read / "text").read_text())
"""
FAKE_PIPELINE = """\
vars:
  - profiles/fake/profile.yaml
stages:
  init:
    foreach: ${inits}
    do:
      cmd: python -B stages/init.py configs/${key} data/raw data/init/${key}
      deps: ["configs/${key}", data/raw]
      outs: ["data/init/${key}"]
  train:
    foreach: ${cells}
    do:
      cmd: python -B stages/train.py configs/${key} data/init/${item.init} runs/${key} timing/${key}
      deps: ["configs/${key}", "data/init/${item.init}"]
      outs: ["runs/${key}", "timing/${key}"]
"""
FAKE_TORCH = "class cuda:\n    is_available = staticmethod(lambda: False)\n__version__ = 'fake'\n"


class Clone:
    """A folder with the script under test, called as a user calls it."""

    def __init__(self, path: Path, **env: str) -> None:
        self.path = path
        self.env = {**os.environ, "OMP_NUM_THREADS": "1", **env}

    def call(self, *words: str | Path, expect: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-B", "stages/elsewhere.py", *map(str, words)],
            cwd=self.path,
            env=self.env,
            capture_output=True,
            text=True,
        )
        assert done.returncode == expect, f"{words}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert expect == 0 or done.stderr.splitlines()[-1].startswith(("error: ", "  "))
        return done.stdout + done.stderr


@pytest.fixture
def home(tmp_path) -> Clone:
    """A repository of fake stages: cells one and two start from a, three from b, which is not there yet."""
    path = tmp_path / "home"
    modules = ("", "config.", "config.code", "config.schema", "errors", "files")
    files = [f"asm/{name.replace('.', '/')}" for name in modules]
    scripts = (f"stages/{name}.py" for name in ("elsewhere", "checkout", "project"))
    for name in (*scripts, *(f"{file}__init__.py" if file.endswith("/") else f"{file}.py" for file in files)):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, path / name)
    cells = {cell: {"init": init} for cell, init in (("one", "a"), ("two", "a"), ("three", "b"))}
    write(path / "dvc.yaml", FAKE_PIPELINE)
    write(path / ".dvc" / "config", "[core]\n    analytics = false\n")
    subprocess.run(["git", "init", "-q"], cwd=path, check=True)
    profile = {"inits": {"a": {"weights": "none"}, "b": {"weights": "none"}}, "cells": cells}
    write(path / "profiles" / "fake" / "profile.yaml", yaml.safe_dump(profile, sort_keys=False))
    for name in ("init", "train"):
        write(path / "stages" / f"{name}.py", FAKE_STAGE)
    for name in ("a", "b", *cells):
        write(path / "configs" / name, f"config of {name}\n")
    write(path / "data" / "raw" / "text", "raw\n")
    write(path / "data" / "init" / "a" / "text", "weights of a\n")
    write(tmp_path / "fake" / "torch.py", FAKE_TORCH)
    return Clone(path, PYTHONPATH=str(tmp_path / "fake"))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def copy_of(home: Clone, path: Path) -> Clone:
    """What git brings to the other machine."""
    for name in ("asm", "stages"):
        shutil.copytree(home.path / name, path / name, ignore=shutil.ignore_patterns("__pycache__"))
    clone = Clone(path)
    clone.env = home.env
    return clone


def packed_digest(folder: Path, path: str) -> str:
    """Of a folder of one file, as records have it."""
    (file,) = (folder / path).iterdir()
    content = hashlib.sha256(file.read_bytes()).hexdigest()
    return hashlib.sha256(f"{file.name}\0{content}\n".encode()).hexdigest()


def tree(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_every_profile_resolves():
    code = "import sys, json, elsewhere; print(json.dumps([elsewhere.resolve(n) for n in sys.argv[1:]]))"
    names = sorted(path.parent.name for path in (ROOT / "profiles").glob("*/profile.yaml"))
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, *names],
        cwd=ROOT / "stages",
        capture_output=True,
        text=True,
        check=True,
    )
    for name, (profile, stages) in zip(names, json.loads(done.stdout), strict=True):
        assert profile == name
        cells = yaml.safe_load((ROOT / "profiles" / name / "profile.yaml").read_text())["cells"]
        assert [key for key in stages if key.startswith("train@")] == [f"train@{cell}" for cell in cells]
        outs = [out for stage in stages.values() for out in stage["outs"]]
        assert len(outs) == len(set(outs))
        folder = "" if name == "demo" else f"profiles/{name}/"
        assert all(
            out.startswith((f"{folder}runs/", f"{folder}data/init/", f"{folder}timing/")) for out in outs
        )


def test_the_same_inputs_make_the_same_pack(home, tmp_path):
    home.call("pack", tmp_path / "1.tar", "--cells", "t*")
    for file in home.path.rglob("*"):
        os.utime(file, (0, 0))
    home.call("pack", tmp_path / "2.tar", "--cells", "two", "three")
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()
    with tarfile.open(tmp_path / "1.tar") as tar:
        assert tar.getnames() == [
            "pack.json",
            *("configs/b", "configs/three", "configs/two"),
            *("data/init/a/text", "data/raw/text"),  # b is to be made there, from raw
        ]


def test_pack_says_what_is_missing(home, tmp_path):
    (home.path / "configs" / "two").unlink()
    message = home.call("pack", tmp_path / "fake.tar", expect=1)
    assert "configs/two: not found, and train@two reads it; make it with `dvc repro configs`" in message
    assert not list(tmp_path.glob("*.tar*"))
    assert "has only the cells one, two, three" in home.call("pack", "x.tar", "--cells", "four", expect=1)
    assert "There are fake" in home.call("pack", "x.tar", "--profile", "other", expect=1)


def test_there_and_back(home, tmp_path):
    (home.path / "configs" / "one").write_text("fail")
    home.call("pack", tmp_path / "fake.tar")
    away, results = copy_of(home, tmp_path / "away"), tmp_path / "results"
    count = tmp_path / "results.work" / "count"

    # one cell fails: the others are trained nevertheless
    output = away.call("run", tmp_path / "fake.tar", "--out", results, expect=1)
    assert "error: these stages failed:\n  train@one: exit status 1" in output
    assert count.read_text() == "xxx"
    assert sorted(os.listdir(results / "records")) == ["init@b.json", "train@three.json", "train@two.json"]
    assert (results / "runs" / "three" / "text").read_text() == "config of three\nconfig of b\nraw\n"
    record = json.loads((results / "records" / "train@two.json").read_text())
    assert record["deps"]["data/init/a"] == packed_digest(home.path, "data/init/a")
    assert (record["device"], record["torch"], record["processes"]) == ("cpu", "fake", "1")

    # again: what has a record that fits is not run; a result that was spoilt is
    before = tree(results)
    assert away.call("run", tmp_path / "fake.tar", "--out", results, expect=1).count("finished before") == 3
    assert tree(results) == before
    (results / "runs" / "two" / "text").write_text("spoilt")
    away.call("run", tmp_path / "fake.tar", "--out", results, expect=1)
    assert count.read_text() == "xxxx"
    assert (results / "runs" / "two" / "text").read_text() == "config of two\nweights of a\n"

    # back: the weights made there come first, then the cell that starts from them
    accepted = home.call("accept", results).split()
    assert accepted == ["init@b", "train@three", "train@two"]
    for folder in ("runs", "timing"):
        assert tree(home.path / folder) == tree(results / folder)
    assert home.call("accept", results).split() == accepted  # the same once more changes nothing

    # another result is not replaced, unless asked for
    (home.path / "runs" / "two" / "text").write_text("mine")
    message = home.call("accept", results, expect=1)
    assert "runs/two: another one is here already; --force" in message
    assert "error: 1 of 3 results were refused" in message
    assert (home.path / "runs" / "two" / "text").read_text() == "mine"
    home.call("accept", results, "--force")
    assert (home.path / "runs" / "two" / "text").read_text() == "config of two\nweights of a\n"

    # what has changed at home since is named
    write(home.path / "data" / "init" / "b" / "text", "other weights")
    write(home.path / "configs" / "two", "config of two, of other code\n")
    message = home.call("accept", results, expect=1)
    assert "data/init/b: another one is here already" in message
    assert "data/init/b differs: the data has changed since; pack and run again" in message
    assert "configs/two differs: the configuration or code has changed since" in message
    assert "error: 3 of 3 results were refused" in message
    shutil.copytree(home.path / "profiles" / "fake", home.path / "profiles" / "other")
    message = home.call("accept", results, "--profile", "other", expect=1)
    assert "it is of profile fake; other was named" in message
    assert "no records/*.json in it" in home.call("accept", tmp_path / "nothing", expect=1)


def test_run_refuses_other_code_and_damaged_packs(home, tmp_path):
    home.call("pack", tmp_path / "fake.tar")
    away = copy_of(home, tmp_path / "away")
    content = (tmp_path / "fake.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(content[:5000])
    (tmp_path / "flipped.tar").write_bytes(content.replace(b"weights of a", b"weights of b"))
    assert "cannot be unpacked" in away.call("run", tmp_path / "cut.tar", "--out", "results", expect=1)
    message = away.call("run", tmp_path / "flipped.tar", "--out", "results", expect=1)
    assert "data/init/a in it is damaged; copy the pack again" in message
    write(away.path / "asm" / "errors.py", (ROOT / "asm" / "errors.py").read_text() + "\n")
    message = away.call("run", tmp_path / "fake.tar", "--out", "results", expect=1)
    assert "asm/errors.py: differs; check out the commit that the pack was made from" in message
    assert not (away.path / "results").exists()


def forge(pack: Path, **changes: object) -> None:
    """Change the first stage of a pack; its digests are made to fit."""
    with tarfile.open(pack) as tar:
        members = [(m, tar.extractfile(m).read()) for m in tar if m.isreg()]
    content = json.loads(members[0][1])
    content["stages"][0] |= changes
    text = json.dumps(content).encode()
    members[0][0].size = len(text)
    with tarfile.open(pack, "w") as tar:
        for member, data in [(members[0][0], text), *members[1:]]:
            tar.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize(
    "changes",
    [
        {"cmd": "python -B stages/alone.py x touch evil"},
        {"cmd": "python -B /tmp/init.py x"},
        {"cmd": "python -c stages/init.py x"},
        {"cmd": "python -B stages/init.py ../../x"},
        {"cmd": "python -B stages/init.py /x"},
        {"cmd": "python -B stages/init.py --out=/x"},
        {"cmd": ""},
        {"cmd": 1},
        {"name": "evaluate@one"},
        {"name": "train@../../x"},
        {"name": "train@"},
        {"folder": "../x"},
        {"folder": "/x"},
        {"outs": ["../victim"]},
        {"outs": ["runs/../../victim"]},
        {"outs": ["asm"]},
        {"outs": 3},
        {"deps": {"/etc": None}},
        {"deps": {"../victim": None}},
        {"deps": {"asm": None}},
    ],
)
def test_a_stage_that_is_none_of_ours_is_refused(changes):
    stage = {
        "name": "init@a",
        "folder": ".",
        "cmd": "python -B stages/init.py configs/a data/raw data/init/a",
    }
    stage |= {"deps": {"configs/a": "0", "data/raw": "1"}, "outs": ["data/init/a"]}
    elsewhere._check_stage(stage)
    with pytest.raises((ValueError, TypeError, AttributeError, LookupError)):
        elsewhere._check_stage(stage | changes)


def test_every_stage_of_ours_may_run():
    for name in ("demo", "ferplus", "smoke"):
        for stage in elsewhere.resolve(name)[1].values():
            elsewhere._check_stage(stage)


def test_a_forged_pack_runs_and_deletes_nothing(home, tmp_path):
    home.call("pack", tmp_path / "fake.tar")
    away = copy_of(home, tmp_path / "away")
    write(tmp_path / "victim" / "text", "still here")
    forge(tmp_path / "fake.tar", outs=["../victim"])
    before = tree(tmp_path)
    message = away.call("run", tmp_path / "fake.tar", "--out", tmp_path / "results", expect=1)
    assert "fake.tar: cannot be unpacked (init@b: the path ../victim leads elsewhere)" in message
    assert tree(tmp_path).keys() - before.keys() == {"results.work/lock"}
    assert not before.keys() - tree(tmp_path).keys()


def test_other_code_is_noticed_even_where_the_pack_does_not_name_it(home, tmp_path):
    home.call("pack", tmp_path / "fake.tar")
    away = copy_of(home, tmp_path / "away")
    write(away.path / "asm" / "extra.py", "")
    message = away.call("run", tmp_path / "fake.tar", "--out", "results", expect=1)
    assert "asm/extra.py: differs; check out the commit" in message


def test_a_result_with_more_than_its_digest_covers_is_refused(home, tmp_path):
    home.call("pack", tmp_path / "fake.tar", "--cells", "one")
    away, results = copy_of(home, tmp_path / "away"), tmp_path / "results"
    away.call("run", tmp_path / "fake.tar", "--out", results)
    write(tmp_path / "secret", "secret")
    out = results / "runs" / "one"
    for name in ("__pycache__/x", "link"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).symlink_to(tmp_path / "secret")
        message = home.call("accept", results, expect=1)
        assert (
            f"refused train@one:\n  {out / name.partition('/')[0]}: a link, a cache or no plain file"
            in message
        )
        assert not (home.path / "runs").exists()
        (out / name).unlink()
        shutil.rmtree(out / "__pycache__", ignore_errors=True)
    os.mkfifo(out / "pipe")
    assert "no plain file" in home.call("accept", results, expect=1)
    (out / "pipe").unlink()
    shutil.move(out, tmp_path / "moved")
    out.symlink_to(tmp_path / "moved")
    assert "a link, a cache or no plain file" in home.call("accept", results, expect=1)
    out.unlink()
    shutil.move(tmp_path / "moved", out)
    record = results / "records" / "train@one.json"
    content = record.read_text()
    for damaged in ("[]", "{", '{"stage": []}', content.replace('"cmd"', '"cdm"'), "\x00"):
        record.write_text(damaged)
        assert "its record is damaged; copy it again" in home.call("accept", results, expect=1)
    record.write_text(content)
    assert home.call("accept", results).split() == ["train@one"]


# --- the real stages, through DVC -------------------------------------------------------------------------

# Packages that need not be there: all but those that docs/elsewhere.md names.
# `sitecustomize` is read at Python's start.
NOT_THERE = {"dvc", "torchvision", "facenet_pytorch", "matplotlib", "sklearn", "tabulate", "threadpoolctl"}
WITHOUT = f"""\
from importlib.machinery import PathFinder
find = PathFinder.find_spec
def find_spec(name, path=None, target=None):
    return None if name.split(".")[0] in {NOT_THERE} else find(name, path, target)
PathFinder.find_spec = staticmethod(find_spec)
"""


def test_a_cell_trained_elsewhere_is_dvcs_own(tmp_path):
    (tmp_path / "home").mkdir()
    home = make_workspace(tmp_path / "home")
    home.run("dvc", "repro", "corrupt@synthetic-n30")
    home.run(sys.executable, "stages/elsewhere.py", "pack", "tiny.tar", "--cells", "base", "asm")

    write(tmp_path / "without" / "sitecustomize.py", WITHOUT)
    away = copy_of(Clone(home.path), tmp_path / "away")
    away.env |= {"PATH": os.defpath, "PYTHONPATH": str(tmp_path / "without")}
    assert shutil.which("dvc", path=away.env["PATH"]) is None
    blocked = subprocess.run([sys.executable, "-c", "import dvc"], env=away.env, capture_output=True)
    assert b"No module named 'dvc'" in blocked.stderr
    output = away.call("run", home.path / "tiny.tar", "--out", "results")
    assert output.count("epoch 3/3") == 2
    again = away.call("run", home.path / "tiny.tar", "--out", "results")
    assert again.count("finished before") == 3
    assert "epoch" not in again

    # one of two damaged on the way: the other is taken over
    results = home.path / "results"
    shutil.copytree(away.path / "results", results)
    weights = results / "runs" / "asm" / "weights.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    message = make(home, "accept", "RESULTS=results", expect=2)
    assert "refused train@asm:\n  results/runs/asm is not what its record says" in message
    assert os.listdir(home.path / "runs") == ["base"]
    is_locked(home, "init@none", "train@base")
    weights.write_bytes(content)
    (home.path / "dvc.lock").write_bytes(b"")  # as a kill leaves it while DVC writes it
    make(home, "accept", "RESULTS=results")
    is_locked(home, "init@none", "train@base", "train@asm")

    locked = yaml.safe_load((home.path / "dvc.lock").read_text())["stages"]
    for path in (results / "records").iterdir():  # DVC resolves dvc.yaml to the same
        record = json.loads(path.read_text())
        assert record["cmd"] == locked[record["stage"]]["cmd"]
        for part in ("deps", "outs"):
            assert set(record[part]) == {
                os.path.normpath(each["path"]) for each in locked[record["stage"]][part]
            }

    # another configuration: none of it fits, and none of it is touched
    params = home.path / "params.yaml"
    text = params.read_text()
    changed = yaml.safe_load(text)
    changed["optimizer"]["lr"] *= 2
    params.write_text(yaml.safe_dump(changed))
    before = tree(home.path / "runs")
    message = make(home, "accept", "RESULTS=results", "FORCE=1", expect=2)
    assert "configs/train/base.yaml differs: the configuration or code has changed since; pack" in message
    assert "refused train@asm" in message
    assert tree(home.path / "runs") == before


def make(home: Workspace, *words: str, expect: int = 0) -> str:
    """`make` in an environment that is there already."""
    return home.run("make", "--assume-old", ".venv/installed", *words, expect=expect)


def is_locked(home: Workspace, *stages: str) -> None:
    """DVC holds these stages to be its own results, and would not run them."""
    assert "up to date" in home.run("dvc", "status", *stages)
    planned = home.run("dvc", "repro", "--dry", *stages)
    for stage in stages:
        assert f"Stage '{stage}' didn't change, skipping" in planned
    assert "Running stage" not in planned
