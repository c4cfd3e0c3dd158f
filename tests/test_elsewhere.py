"""Training on another machine and back: with fake stages in a small repository, then once with real DVC."""

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

# In place of training: it fails where its configuration says so.
FAKE_TRAIN = """\
import sys
from pathlib import Path
key, init = sys.argv[1:]
config = Path("configs", "train", key).read_text()
with open("count", "a") as count:
    count.write("x")
if "fail" in config:
    sys.exit("error: as told")
for out in (Path("runs", key), Path("timing", key)):
    out.mkdir(parents=True)
    (out / "text").write_text(config + Path("data", "init", init, "text").read_text())
"""
FAKE_PIPELINE = """\
vars:
  - profiles/fake/profile.yaml
stages:
  init:
    foreach: ${inits}
    do:
      cmd: mkdir -p data/init && cp -r data/raw data/init/${key}
      deps: [data/raw]
      outs: ["data/init/${key}"]
  train:
    foreach: ${cells}
    do:
      cmd: python -B ./stages/train.py ${key} ${item.init}
      deps: ["configs/train/${key}", "data/init/${item.init}"]
      outs: ["runs/${key}", "timing/${key}"]
  report:
    cmd: cp -r runs reports
    deps: [runs]
    outs: [reports]
"""


class Clone:
    """A folder with the script under test, called as a user calls it."""

    def __init__(self, path: Path) -> None:
        self.path, self.env = path, dict(os.environ)

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


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A repository of fake stages, three cells, packed: home/ and fake.tar."""
    folder = tmp_path_factory.mktemp("elsewhere")
    path = folder / "home"
    for name in ("asm", "stages"):
        shutil.copytree(ROOT / name, path / name, ignore=shutil.ignore_patterns("__pycache__"))
    cells = {cell: {"init": "a"} for cell in ("one", "two", "three")}
    write(path / "dvc.yaml", FAKE_PIPELINE)
    write(path / ".dvc" / "config", "[core]\n    analytics = false\n")
    write(path / ".gitignore", "/runs\n/timing\n/data/init\n/reports\n")
    subprocess.run(["git", "init", "-q"], cwd=path, check=True)
    profile = {"inits": {"a": {"weights": "none"}}, "cells": cells}
    write(path / "profiles" / "fake" / "profile.yaml", yaml.safe_dump(profile, sort_keys=False))
    write(path / "stages" / "train.py", FAKE_TRAIN)
    for name in cells:
        write(path / "configs" / "train" / name, f"config of {name}\n")
    write(path / "data" / "raw" / "text", "raw\n")
    Clone(path).call("pack", folder / "fake.tar")
    return folder


@pytest.fixture
def home(made, tmp_path) -> Clone:
    """A copy of it, with its pack in the same folder."""
    shutil.copytree(made / "home", tmp_path / "home", symlinks=True)
    shutil.copy(made / "fake.tar", tmp_path)
    return Clone(tmp_path / "home")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def copy_of(home: Clone, path: Path) -> Clone:
    """What git brings to the other machine."""
    for name in ("asm", "stages"):
        shutil.copytree(home.path / name, path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return Clone(path)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_what_is_packed(home, tmp_path):
    with tarfile.open(tmp_path / "fake.tar") as tar:
        names = [member.name for member in tar if member.isreg()]
        jobs = json.load(tar.extractfile("jobs.json"))["jobs"]
    assert names == [
        "jobs.json",
        *(f"configs/train/{name}" for name in ("one", "three", "two")),
        "data/init/a/text",  # made at home first, as `make repro` would
    ]
    assert [job["name"] for job in jobs] == ["train@one", "train@two", "train@three"]
    assert jobs[0]["deps"]["data/init/a"] == elsewhere.digest(home.path / "data" / "init" / "a")
    assert jobs[0]["deps"]["data/init/a"].endswith(".dir")
    assert not (home.path / "reports").exists()
    message = home.call("pack", "x.tar", "--cells", "four", expect=1)
    assert "four is none of the cells one, two, three" in message
    assert "There are fake" in home.call("pack", "x.tar", "--profile", "other", expect=1)


def test_there_and_back(home, tmp_path):
    away, results = copy_of(home, tmp_path / "away"), tmp_path / "results"
    count = tmp_path / "results.work" / "count"
    forge(tmp_path / "fake.tar", "configs/train/one", b"fail")

    # one cell fails: the others are trained nevertheless
    output = away.call("run", tmp_path / "fake.tar", "--out", results, expect=1)
    assert "error: these cells failed:\n  train@one: exit status 1: error: as told" in output
    assert count.read_text() == "xxx"
    assert sorted(os.listdir(results / "records")) == ["train@three.json", "train@two.json"]
    record = json.loads((results / "records" / "train@two.json").read_text())
    assert record["deps"]["data/init/a"] == elsewhere.digest(home.path / "data" / "init" / "a")
    assert record["written"]["runs/two"] == elsewhere.digest(results / "runs" / "two")

    # again: what has a record that fits is not run; a result that was spoilt is
    before = tree(results)
    assert away.call("run", tmp_path / "fake.tar", "--out", results, expect=1).count("finished before") == 2
    assert tree(results) == before
    (results / "runs" / "two" / "text").write_text("spoilt")
    away.call("run", tmp_path / "fake.tar", "--out", results, expect=1)
    assert count.read_text() == "xxxxxx"
    assert (results / "runs" / "two" / "text").read_text() == "config of two\nraw\n"

    # back
    accepted = home.call("accept", results)
    assert accepted.count("accepted") == 2
    for folder in ("runs", "timing"):
        assert tree(home.path / folder) == tree(results / folder)
    assert "accepted" not in home.call("accept", results)  # the same once more changes nothing

    # another result is not replaced, unless asked for
    write(results / "runs" / "two" / "text", "another")
    path = results / "records" / "train@two.json"
    record = json.loads(path.read_text())
    record["written"]["runs/two"] = elsewhere.digest(results / "runs" / "two")
    path.write_text(json.dumps(record))
    message = home.call("accept", results, expect=1)
    assert "runs/two: another one is here already; FORCE=1 replaces it" in message
    assert "error: 1 of 2 results were refused" in message
    assert (home.path / "runs" / "two" / "text").read_text() == "config of two\nraw\n"
    home.call("accept", results, "--force")
    assert (home.path / "runs" / "two" / "text").read_text() == "another"

    # what has changed at home since is named
    write(home.path / "data" / "raw" / "text", "other weights")
    write(home.path / "configs" / "train" / "two", "config of two, of other code\n")
    message = home.call("accept", results, expect=1)
    assert "data/init/a differs: the data has changed since; pack and run again" in message
    assert "configs/train/two differs: the configuration or code has changed since" in message
    assert "error: 2 of 2 results were refused" in message
    assert "no records/*.json in it" in home.call("accept", tmp_path / "nothing", expect=1)


def test_run_refuses_other_code_and_damaged_packs(home, tmp_path):
    away = copy_of(home, tmp_path / "away")
    content = (tmp_path / "fake.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(content[:5000])
    (tmp_path / "flipped.tar").write_bytes(content.replace(b"raw\n", b"rob\n"))
    assert "cannot be unpacked" in away.call("run", tmp_path / "cut.tar", "--out", "results", expect=1)
    message = away.call("run", tmp_path / "flipped.tar", "--out", "results", expect=1)
    assert "data/init/a in it is damaged; copy the pack again" in message
    for name, text in (("errors.py", (ROOT / "asm" / "errors.py").read_text() + "\n"), ("extra.py", "")):
        before = (away.path / "asm" / name).read_text() if (away.path / "asm" / name).exists() else None
        write(away.path / "asm" / name, text)
        message = away.call("run", tmp_path / "fake.tar", "--out", "results", expect=1)
        assert "its code is not the one of" in message
        assert "check out that commit" in message
        (away.path / "asm" / name).unlink() if before is None else write(away.path / "asm" / name, before)
    assert not (away.path / "results").exists()


def forge(pack: Path, name: str, content: bytes) -> None:
    """Change a file of a pack; the digests of the jobs are made to fit."""
    with tarfile.open(pack) as tar:
        members = {m.name: tar.extractfile(m).read() for m in tar if m.isreg()}
    old = elsewhere.hashlib.md5(members[name]).hexdigest().encode()
    members[name] = content
    members["jobs.json"] = members["jobs.json"].replace(
        old, elsewhere.hashlib.md5(content).hexdigest().encode()
    )
    with tarfile.open(pack, "w") as tar:
        for each, data in members.items():
            info = tarfile.TarInfo(each)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def forge_job(pack: Path, **changes: object) -> None:
    with tarfile.open(pack) as tar:
        content = json.load(tar.extractfile("jobs.json"))
    content["jobs"][0] |= changes
    forge(pack, "jobs.json", json.dumps(content).encode())


@pytest.mark.parametrize(
    "changes",
    [
        {"cmd": ["python -B stages/alone.py x touch evil"]},
        {"cmd": ["python -B /tmp/train.py x"]},
        {"cmd": ["python -c stages/train.py x"]},
        {"cmd": ["python -B stages/train.py ../../x"]},
        {"cmd": ["python -B stages/train.py /x"]},
        {"cmd": ["python -B stages/train.py --out=/x"]},
        {"cmd": ["python -B stages/train.py x; touch evil"]},
        {"cmd": ["python -B stages/train.py '$(touch evil)'"]},
        {"cmd": ["python -B stages/train.py x", "touch evil"]},
        {"cmd": [""]},
        {"cmd": []},
        {"cmd": 1},
        {"name": "init@one"},
        {"name": "train@../../x"},
        {"name": "train@"},
        {"folder": "../x"},
        {"folder": "/x"},
        {"outs": ["../victim"]},
        {"outs": ["runs/../../victim"]},
        {"outs": ["asm"]},
        {"outs": ["runs"]},
        {"outs": 3},
        {"deps": {"/etc": None}},
        {"deps": {"../victim": None}},
        {"deps": {"asm": None}},
    ],
)
def test_a_job_that_is_none_of_ours_is_refused(changes):
    job = {"name": "train@a", "folder": ".", "cmd": ["python -B ./stages/train.py a n30 x"]}
    job |= {"deps": {"configs/train/a.yaml": "0", "data/raw": "1"}, "outs": ["runs/a", "timing/a.csv"]}
    elsewhere.check(job)
    with pytest.raises((ValueError, TypeError, AttributeError, LookupError)):
        elsewhere.check(job | changes)


def test_a_forged_pack_runs_and_deletes_nothing(home, tmp_path):
    away = copy_of(home, tmp_path / "away")
    write(tmp_path / "victim" / "text", "still here")
    forge_job(tmp_path / "fake.tar", outs=["../victim"])
    before = tree(tmp_path)
    message = away.call("run", tmp_path / "fake.tar", "--out", tmp_path / "results", expect=1)
    assert "fake.tar: cannot be unpacked (train@one: the path ../victim leads elsewhere)" in message
    assert tree(tmp_path).keys() - before.keys() == {"results.work/lock"}
    assert not before.keys() - tree(tmp_path).keys()


def test_a_result_that_is_not_as_recorded_is_refused(home, tmp_path):
    away, results = copy_of(home, tmp_path / "away"), tmp_path / "results"
    away.call("run", tmp_path / "fake.tar", "--out", results)
    write(tmp_path / "secret", "secret")
    (results / "runs" / "one" / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(results / "timing" / "two" / "pipe")
    shutil.move(results / "runs" / "three", tmp_path / "moved")
    (results / "runs" / "three").symlink_to(tmp_path / "moved")
    message = home.call("accept", results, expect=1)
    for cell, path in (("one", "runs/one/link"), ("two", "timing/two/pipe"), ("three", "runs/three")):
        assert f"refused train@{cell}:\n  {results / path}: a link or no plain file" in message
    assert not (home.path / "runs").exists()
    (results / "runs" / "one" / "link").unlink()
    (results / "timing" / "two" / "pipe").unlink()
    (results / "runs" / "three").unlink()
    shutil.move(tmp_path / "moved", results / "runs" / "three")
    records = [results / "records" / f"train@{cell}.json" for cell in ("one", "two", "three")]
    contents = [record.read_text() for record in records]
    damaged = ("[]", "{", contents[2].replace('"cmd"', '"cdm"'))
    for record, text in zip(records, damaged, strict=True):
        record.write_text(text)
    assert home.call("accept", results, expect=1).count("its record is damaged; copy it again") == 3
    for record, text in zip(records, contents, strict=True):
        record.write_text(text)
    assert home.call("accept", results).count("accepted") == 3


# --- the real stages, through DVC -------------------------------------------------------------------------

# Packages that need not be there: all but those that docs/elsewhere.md names.
# `sitecustomize` is read at Python's start.
NOT_THERE = {
    "dvc",
    "dask",
    "distributed",
    "torchvision",
    "facenet_pytorch",
    "matplotlib",
    "sklearn",
    "tabulate",
    "threadpoolctl",
}
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
    assert again.count("finished before") == 2
    assert "epoch" not in again

    # one of two damaged on the way: the other is taken over
    results = home.path / "results"
    shutil.copytree(away.path / "results", results)
    weights = results / "runs" / "asm" / "weights.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    message = make(home, "accept", "RESULTS=results", expect=2)
    assert f"refused train@asm:\n  {results}/runs/asm is not what its record says" in message
    assert os.listdir(home.path / "runs") == ["base"]
    is_locked(home, "init@none", "train@base")
    weights.write_bytes(content)
    (home.path / "dvc.lock").write_bytes(b"")  # as a kill leaves it while DVC writes it
    make(home, "accept", "RESULTS=results")
    is_locked(home, "init@none", "train@base", "train@asm")

    locked = yaml.safe_load((home.path / "dvc.lock").read_text())["stages"]
    for path in (results / "records").iterdir():  # a record says what DVC does
        record = json.loads(path.read_text())
        stage = locked[record["name"]]
        assert record["cmd"] == [stage["cmd"]]
        for part, found in (("deps", record["deps"]), ("outs", record["written"])):
            assert found == {os.path.normpath(each["path"]): each["md5"] for each in stage[part]}

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
