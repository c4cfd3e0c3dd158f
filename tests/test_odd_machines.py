"""A made-up nvidia-smi and sbatch that fail in every way: no wrong number, no silence."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "driver"))
import dask
import project
import psutil
import pytest
import workers
from hypothesis import given
from hypothesis import strategies as st
from odd import TOKENS
from pretend_project import Project, until

from asm.basics.errors import InputError


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text if text.startswith("#!") else f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A folder whose programs come first."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(workers, "ASKED", 1)
    return tmp_path


NO_DRIVER = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
    "NVIDIA driver is installed and running."
)


@pytest.mark.parametrize(
    ("smi", "told"),
    [
        (f'echo "{NO_DRIVER}"; exit 9', "couldn't communicate"),
        (f'echo "{NO_DRIVER}"', "0 of 1 (torch: it finds no more)"),
        ("exec sleep 9", "nvidia-smi: TimeoutError: no answer within 1 seconds"),
        ("kill -9 $$", "nvidia-smi: "),
        ("#!/no/such/program", "nvidia-smi: FileNotFoundError: "),
        (r"printf '\377\376'; exit 1", "nvidia-smi: "),
        ("echo; echo ' '", ""),
    ],
)
def test_an_nvidia_smi_that_fails_gives_no_gpu(machine, monkeypatch, smi, told):
    program(machine, "nvidia-smi", smi)
    monkeypatch.setattr(workers, "PROBE", "print('a warning of 5 words')")
    said: list[str] = []
    assert workers.gpus(said.append) == []
    assert told in " ".join(said)
    assert bool(told) == bool(said)


def test_a_torch_that_hangs_uses_no_gpu(machine, monkeypatch):
    program(machine, "nvidia-smi", "echo GPU-a")
    monkeypatch.setattr(workers, "PROBE", "import time; print('computes: 0', flush=True); time.sleep(9)")
    said: list[str] = []
    assert workers.gpus(said.append) == []
    assert "0 of 1 (torch: no answer within 1 seconds)" in said[0]


@given(
    lines=st.lists(st.sampled_from([token for token in TOKENS if "\0" not in token and len(token) < 9999])),
    status=st.integers(0, 255),
    computing=st.integers(0, 3),
)
def test_whatever_nvidia_smi_prints_no_more_gpus_are_used_than_compute(lines, status, computing):
    """What stands on its lines is of no interest, only how many torch can use."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        patch.setattr(workers.shutil, "which", lambda name: name)
        computes = "".join(f"computes: {number}\n" for number in range(computing))
        answers = [(status, "\n".join(lines), ""), (0, computes, "")]
        patch.setattr(workers, "asked", lambda words: answers.pop(0))
        found = workers.gpus(lambda text: None)
    assert len(found) <= (0 if status else computing)
    assert all(name.strip() for name in found)


CLUSTER = """\
type: slurm
jobs: 1
cores: 1
memory: 500MB
interface: lo
scheduler_options: {dashboard_address: "127.0.0.1:0"}
"""


@pytest.mark.parametrize(
    ("sbatch", "told"),
    [
        ("echo 'sbatch: error: Invalid account' >&2; exit 1", "Invalid account"),
        ("echo 'Submitted'", "Submitted"),
        ("", "Could not parse job id"),
        ("kill -9 $$", "exited"),
        ("#!/no/such/program", "sbatch"),
        (r"printf '\377' >&2; exit 1", ""),
    ],
)
def test_a_scheduler_that_fails_is_quoted(machine, tmp_path, sbatch, told):
    program(machine, "sbatch", sbatch)
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    there = workers.Jobs()
    with dask.config.set(workers.SETTINGS):
        cluster = workers.described(tmp_path / "cluster.yaml", there)
        until(lambda: there.refused, 60)
    with contextlib.suppress(AssertionError):  # of Dask, as in WorkerPool
        cluster.close()
    assert told in there.refused
    assert not there.alive


@pytest.fixture
def queue(tmp_path) -> Callable[[str], subprocess.Popen]:
    """A driver at work with this sbatch, and little patience."""

    def start(sbatch: str) -> subprocess.Popen:
        pretended = Project(tmp_path / "p", {"a": {}})
        pretended.write("cluster.yaml", CLUSTER)
        program(pretended.path, "sbatch", sbatch)
        program(pretended.path, "scancel", "")
        pretended.env["PATH"] = f"{pretended.path}:{pretended.env['PATH']}"
        return impatient(pretended, "--cluster", "cluster.yaml")

    return start


def impatient(pretended: Project, *options: str) -> subprocess.Popen:
    words = pretended.words(*options)
    patience = "import workers\nworkers.SILENT, workers.ASKED, workers.STOPPED = 2.0, 5, 3\n"
    words[2] = words[2].replace("repro.main()", f"{patience}repro.main()")
    pretended.words = lambda *_: words
    return pretended.start()


def test_of_jobs_that_do_not_begin_the_user_is_told_and_can_stop(queue):
    driver = queue("echo 'Submitted batch job 1'")
    assert any(line.startswith("no worker yet; jobs in the queue") for line in driver.stdout)
    driver.terminate()
    output, _ = driver.communicate(timeout=60)
    assert driver.returncode == 143
    assert "Traceback" not in output


def test_a_scheduler_that_does_not_answer_is_the_end(queue):
    driver = queue("exec sleep 60")
    output, _ = driver.communicate(timeout=100)
    assert driver.returncode == 1
    assert output.endswith("no job could be submitted: the scheduler does not answer within 5 seconds\n")


def test_a_worker_that_does_not_answer_keeps_nobody_from_stopping(tmp_path):
    pretended = Project(tmp_path / "p", {name: {"epochs": 2, "holds": 1} for name in "ab"})
    pretended.write("hold", "")
    driver = impatient(pretended)
    until(lambda: len(list(pretended.path.glob("checkpoints/[ab]"))) == 2)
    pool = psutil.Process(driver.pid).children(recursive=True)
    next(each for each in pool if "spawn_main" in " ".join(each.cmdline())).suspend()
    driver.terminate()
    output, _ = driver.communicate(timeout=100)
    assert driver.returncode == 143
    assert "Traceback" not in output
    assert not psutil.wait_procs(pool, timeout=10)[1]


def test_one_bad_profile_keeps_no_other_from_being_written_anew(tmp_path):
    """And loses nothing of its own."""
    (tmp_path / "dvc.yaml").write_text("vars:\n  - profiles/demo/cells.yaml\nstages:\n  new: {cmd: x}\n")
    good = (project.bootstrap.ROOT / "profiles" / "smoke" / "profile.yaml").read_text()
    for name in ("a", "bad", "c"):
        folder = tmp_path / "profiles" / name
        folder.mkdir(parents=True)
        (folder / "profile.yaml").write_text("cells: 1\n" if name == "bad" else good)
        for file in ("dvc.yaml", "cells.yaml"):
            (folder / file).write_text("old")
    with pytest.raises(InputError, match=r"profiles/bad/profile\.yaml"):
        project.rewrite(tmp_path)
    for name in ("a", "c"):
        assert "new: {cmd: x}" in (tmp_path / "profiles" / name / "dvc.yaml").read_text()
        assert f"name: {name}\n" in (tmp_path / "profiles" / name / "cells.yaml").read_text()
    assert (tmp_path / "profiles" / "bad" / "cells.yaml").read_text() == "old"


def test_a_copied_profile_gets_its_own_name(tmp_path):
    """Although its cells.yaml, copied with it, is newer than its profile.yaml."""
    (tmp_path / "dvc.yaml").write_text("vars:\n  - profiles/demo/cells.yaml\nstages:\n  s: {cmd: x}\n")
    folder = tmp_path / "profiles" / "mine"
    folder.mkdir(parents=True)
    for name in ("profile.yaml", "cells.yaml"):
        (folder / name).write_bytes((project.bootstrap.ROOT / "profiles" / "smoke" / name).read_bytes())
    assert "\nname: smoke\n" in (folder / "cells.yaml").read_text()
    assert project.project("mine", tmp_path) == folder
    assert "\nname: mine\n" in (folder / "cells.yaml").read_text()


def test_another_users_checkout_is_used_as_it_is_or_refused_in_a_line(tmp_path, monkeypatch):
    def denied(path: Path, *arguments, **options) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "dvc.yaml").write_text("vars:\n  - profiles/demo/cells.yaml\nstages:\n  s: {cmd: x}\n")
    folder = tmp_path / "profiles" / "smoke"
    folder.mkdir(parents=True)
    (folder / "profile.yaml").write_bytes(
        (project.bootstrap.ROOT / "profiles" / "smoke" / "profile.yaml").read_bytes()
    )
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", denied)
        with pytest.raises(InputError, match=r"smoke/.*: Permission denied; it belongs to the user"):
            project.project("smoke", tmp_path)
    project.project("smoke", tmp_path)
    monkeypatch.setattr(Path, "touch", denied)
    os.utime(folder / "cells.yaml", (0, 0))
    assert project.project("smoke", tmp_path) == folder
