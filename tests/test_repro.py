"""The driver of `make repro`: the same bytes as `dvc repro`, and no harm by failures, kills and signals."""

import os
import re
import shutil
import signal
import subprocess

import psutil
import pytest
import yaml
from pretend_project import Project, kill, until


def lock(project: Project) -> list[str]:
    return list(yaml.safe_load((project.path / "dvc.lock").read_text())["stages"])


def test_the_same_bytes_as_dvc_repro(tmp_path):
    cells = {f"c{i}": {"value": i, "epochs": 1} for i in range(3)}
    one, many = (Project(tmp_path / name, cells) for name in ("one", "many"))
    one.call("dvc", "repro")
    output = many.repro()
    assert many.kept() == one.kept()
    assert ".dvc/cache/runs" in str(many.kept())
    assert len(lock(many)) == 9
    assert "3/3  c0: 80.50 %" in output
    assert "threads None" in output  # none but the user's own
    assert many.call("git", "diff", "--cached", "--name-only").split() == ["dvc.lock"]  # as DVC does

    # another cell, first in the order, a changed one and one that is gone, on a lock that is committed
    for project in (one, many):
        project.commit()
        changed = {"new": {"value": 7, "epochs": 1}, "c2": cells["c2"], "c1": {"value": 5, "epochs": 1}}
        project.write("cells.yaml", yaml.safe_dump({"cells": changed}, sort_keys=False))
    (one.path / "scores" / "c0.json").unlink()
    one.call("dvc", "repro")
    assert "removed, because the profile has no such cells: scores/c0.json\n" in many.repro()
    assert many.kept() == one.kept()
    assert (many.runs("train@c1"), many.runs("train@c2"), many.runs("train@new")) == (2, 1, 1)

    # and back: the run-cache has it; neither DVC nor the driver finds anything to do then
    for project in (one, many):
        project.write("cells.yaml", yaml.safe_dump({"cells": cells}, sort_keys=False))
    (one.path / "scores" / "new.json").unlink()
    one.call("dvc", "repro")
    many.repro()
    assert many.kept() == one.kept()
    assert many.runs("train@c1") == 2
    assert "up to date" in many.call("dvc", "status")
    assert many.repro() == ""


def test_failures(tmp_path):
    cells = {"bad": {"fails": 9}, "good": {}, "late": {"fails": 2}, "odd": {"refuses": "seed found x"}}
    project = Project(tmp_path / "p", cells)
    output = project.repro(expect=1)
    assert "train@bad: exit status 1: bad failed in run 1; it will be run again" in output
    assert "train@bad failed: 3 times; the last time: exit status 1: bad failed in run 3" in output
    assert "train@odd failed: seed found x" in output  # the user's to mend: not tried again
    assert [project.runs(f"train@{cell}") for cell in cells] == [3, 1, 3, 1]
    failed = next(line for line in output.splitlines() if line.startswith("error: these stages failed: "))
    assert set(failed.partition(";")[0].removeprefix("error: these stages failed: ").split(", ")) == {
        "train@bad",
        "train@odd",
    }
    assert failed.endswith("; 3 that need them were not run")
    assert set(lock(project)) == {
        "align",
        "configs",
        *(f"{g}@{c}" for g in ("train", "evaluate") for c in ("good", "late")),
    }
    # mended: only what is lacking is run
    project.write("log/train@bad", "x" * 9)
    project.write("cells.yaml", yaml.safe_dump({"cells": cells | {"odd": {}}}, sort_keys=False))
    project.repro()
    assert (project.runs("train@bad"), project.runs("train@good")) == (10, 1)
    assert not (project.path / "checkpoints").exists()


def test_cells_of_a_second_clone_come_back_by_dvc_and_raw_data_need_not_be_there(tmp_path):
    home = Project(tmp_path / "home", {"a": {}, "b": {}})
    home.call("dvc", "remote", "add", "--default", "exchange", str(tmp_path / "exchange"))
    home.call("dvc", "repro", "configs", "align")
    home.commit()
    home.call("dvc", "push")
    away = home.cloned(tmp_path / "away")
    away.call("dvc", "repro", "--pull", "train@a")
    away.call("dvc", "push", "--run-cache")
    home.call("dvc", "repro", "--pull", "--single-item", "train@a")
    home.repro()
    assert [away.runs(stage) for stage in ("align", "configs", "train@a", "train@b")] == [0, 0, 1, 0]
    assert [home.runs(stage) for stage in ("train@a", "train@b")] == [0, 1]

    # the other way round everything is up to date there, although nobody could align the faces again
    home.commit()
    home.call("dvc", "push")
    away.call("git", "reset", "-q", "--hard")
    away.call("git", "pull", "-q")
    away.call("dvc", "pull")
    assert away.repro() == ""
    assert away.path.joinpath("README.md").read_bytes() == home.path.joinpath("README.md").read_bytes()
    away.write("dvc.yaml", away.path.joinpath("dvc.yaml").read_text().replace("py align", "py align anew"))
    assert "error: these stages failed: align; 5 that need them were not run" in away.repro(expect=1)
    assert away.path.joinpath("aligned", "faces").read_text() == "faces"


REFUSES = "#!/bin/sh\necho 'sbatch: error: invalid partition\nno job' >&2\nexit 1\n"
CLUSTER = """\
type: slurm
jobs: 2
cores: 1
memory: 500MB
interface: lo
scheduler_options: {dashboard_address: "127.0.0.1:0"}
"""


@pytest.mark.parametrize(
    ("sbatch", "message"), [(None, "'sbatch'"), (REFUSES, "sbatch: error: invalid partition no job")]
)
def test_a_scheduler_that_takes_no_job_is_the_end(tmp_path, sbatch, message):
    project = Project(tmp_path / "p", {"a": {}})
    project.write("cluster.yaml", CLUSTER)
    if sbatch:
        project.write("sbatch", sbatch)
        project.path.joinpath("sbatch").chmod(0o755)
        project.env["PATH"] = f"{project.path}{os.pathsep}{project.env['PATH']}"
    output = project.repro("--cluster", "cluster.yaml", expect=1)
    told = f"error: {project.path}/cluster.yaml: no job could be submitted: "
    assert output.splitlines()[-1].startswith(told)
    assert output.endswith(f"{message}\n")
    assert "Traceback" not in output


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Project:
    project = Project(tmp_path_factory.mktemp("undisturbed") / "p", HELD)
    project.repro()
    return project


HELD = {"a": {"epochs": 4, "holds": 2}, "b": {"epochs": 4, "holds": 2}}


@pytest.fixture
def held(tmp_path) -> tuple[Project, subprocess.Popen]:
    """A project whose driver is at work, both cells after their second epoch; it goes on without `hold`.
    The user's shell waits for its command; others become their last one."""
    project = Project(tmp_path / "p", HELD)
    shell = tmp_path / "shell"
    shell.write_text('#!/bin/sh\n/bin/sh "$@"\nexit $?\n')
    shell.chmod(0o755)
    project.env["SHELL"] = str(shell)
    project.write("hold", "")
    driver = project.start()
    until(lambda: epochs(project) == {"a": 2, "b": 2})
    yield project, driver
    if driver.poll() is None:
        driver.kill()
        driver.communicate()


def epochs(project: Project) -> dict[str, int]:
    paths = [project.path / "checkpoints" / cell for cell in HELD]
    return {path.name: int(path.read_text()) for path in paths if path.exists()}


def goes_on(project: Project, undisturbed: Project) -> None:
    """The next run leaves what an undisturbed one does, from the checkpoints of before."""
    assert epochs(project) == {"a": 2, "b": 2}
    (project.path / "hold").unlink()
    output = project.repro()
    assert project.kept() == undisturbed.kept()
    assert "2/2" in output
    assert (project.runs("train@a"), project.runs("configs")) == (2, 1)


def below(driver: subprocess.Popen) -> dict[str, psutil.Process]:
    """All that the driver has started, by its command."""
    found = psutil.Process(driver.pid).children(recursive=True)
    return {" ".join(each.cmdline()) or str(each.pid): each for each in found}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_that_was_started_and_the_next_run_goes_on(held, undisturbed, number):
    project, driver = held
    children = below(driver).values()
    # a terminal sends Ctrl-C to all that it started
    os.killpg(driver.pid, number) if number == signal.SIGINT else driver.send_signal(number)
    output, _ = driver.communicate(timeout=60)
    assert driver.returncode == 128 + number
    assert not psutil.wait_procs(children, timeout=10)[1]
    assert output.endswith("stopped; what was finished is kept, and the same command resumes\n")
    assert "Traceback" not in output
    assert "died" not in output
    goes_on(project, undisturbed)


def test_a_killed_driver_takes_all_with_it_and_a_second_one_is_refused(held, undisturbed):
    project, driver = held
    message = project.repro(expect=1)
    assert message.startswith(f"error: {project.path}: `make repro` (process {driver.pid}, since 20")
    remedy = "wait for it, or stop it and start again: what it has finished is kept"
    assert message.endswith(f"is at work here; {remedy}\n")
    assert "is busy" in project.call("dvc", "repro", "train@a", expect=255)  # nor does DVC get in its way
    children = below(driver).values()
    driver.kill()
    driver.communicate()
    assert not psutil.wait_procs(children, timeout=30)[1]
    goes_on(project, undisturbed)


def test_a_killed_worker_or_stage_is_replaced(held, undisturbed):
    project, driver = held
    stages = {name[-1]: each for name, each in below(driver).items() if "stage.py train" in name}
    (project.path / "hold").unlink()
    worker = next(each for each in stages["b"].parents() if "stage.py" not in " ".join(each.cmdline()))
    worker.kill()
    kill(stages["a"])
    output, _ = driver.communicate(timeout=100)
    assert driver.returncode == 0
    assert re.search("train@a: exit status 137: .*; it will be run again", output)
    assert "train@b: its worker died; it will be run again" in output
    assert not psutil.wait_procs(stages.values(), timeout=10)[1]
    assert (project.runs("train@a"), project.runs("train@b")) == (2, 2)
    assert project.kept() == undisturbed.kept()


def test_results_come_back_from_dvcs_cache_unless_it_is_damaged(tmp_path):
    """A file there was changed by no program (its time is the old one), which DVC itself does not notice."""
    project = Project(tmp_path / "p", {"a": {}, "b": {}})
    project.repro()
    before = project.kept()
    stored = next(project.path / name for name, content in before.items() if content == b"weights of a")
    assert ".dvc/cache/files" in str(stored)
    was = stored.stat()
    stored.chmod(0o644)
    stored.write_bytes(b"weights of c")
    os.utime(stored, ns=(was.st_atime_ns, was.st_mtime_ns))
    stored.chmod(was.st_mode)
    for name in ("runs", "plots"):
        shutil.rmtree(project.path / name)
    # of b the run-cache's entry has lost its end, where its outputs are named
    (entry,) = [p for p in project.path.glob(".dvc/cache/runs/*/*/*") if "train b\n" in p.read_text()]
    entry.write_text(entry.read_text().partition("outs:")[0])
    lock = yaml.safe_load((project.path / "dvc.lock").read_text())
    del lock["stages"]["train@b"]
    project.write("dvc.lock", yaml.safe_dump(lock, sort_keys=False))
    project.repro()
    assert [project.runs(stage) for stage in ("train@a", "train@b", "report")] == [2, 2, 1]
    assert project.kept() == before


def test_old_results_stay_until_their_stage_runs(tmp_path):
    project = Project(tmp_path / "p", {name: {"epochs": 1} for name in "abcd"})
    project.repro()
    project.write(
        "cells.yaml", yaml.safe_dump({"cells": {name: {"epochs": 2, "holds": 1} for name in "abcd"}})
    )
    project.write("hold", "")
    driver = project.start()
    until(lambda: len(list(project.path.glob("runs/*"))) == 2)
    driver.terminate()
    driver.communicate(timeout=60)
    assert len(list(project.path.glob("runs/*"))) == 2  # of the cells whose turn had not come


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("type: slum", "type: 'slum'; expected one of slurm, pbs, sge, lsf, htcondor, ssh, address"),
        ("cores: 1", "type: None; expected one of"),
        ("type: address", "type address needs the scheduler's: `address: tcp://host:8786`"),
        ("type: ssh\nhots: [a]", "SSHCluster cannot be started with this ("),
        ("type: slurm\njobs: many", "jobs: expected a number from 1, found 'many'"),
    ],
)
def test_a_cluster_file_that_is_not_right(tmp_path, content, message):
    project = Project(tmp_path / "p", {"a": {}})
    project.write("cluster.yaml", content)
    output = project.repro("--cluster", "cluster.yaml", expect=1)
    assert output.startswith(f"error: {project.path}/cluster.yaml: {message}")
    assert "Traceback" not in output
