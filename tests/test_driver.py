"""What runs when, with workers that are made up; and whom a worker is compared with."""

import contextlib
import os
import sys
import types
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "driver"))
import distributed
import job
import pytest
import repro
import workers
from distributed.scheduler import KilledWorker

from asm.basics.errors import InputError
from driver import Driver


class Ledger:
    """Stages by name with what they need; `fresh` are up to date, `broken` cannot be brought back."""

    def __init__(
        self, upstream: dict[str, set[str]], fresh: tuple[str, ...] = (), broken: tuple[str, ...] = ()
    ) -> None:
        self.stages, self.upstream, self.fresh, self.broken = upstream, upstream, fresh, broken
        self.finished: list[str] = []

    def locked(self):
        return contextlib.nullcontext()

    def settle(self, name: str) -> bool:
        if name in self.broken:
            raise InputError(f"{name}: output 'x' does not exist")
        return name in self.fresh

    def job(self, name: str) -> dict[str, str]:
        return {"name": name}

    def begin(self, name: str) -> None: ...

    def drop(self, name: str) -> None: ...

    def write(self) -> None: ...

    def finish(self, name: str) -> None:
        self.finished.append(name)


class Future:
    def __init__(self, outcome: object) -> None:
        self.outcome = outcome

    def result(self) -> object:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def add_done_callback(self, call) -> None:
        call(self)


class WorkerPool:
    """`outcomes`: stage -> what becomes of it, one after the other; then it goes well."""

    def __init__(self, slots: int = 1, **outcomes: list) -> None:
        self.count, self.outcomes, self.submitted = slots, outcomes, []

    def slots(self) -> int:
        return self.count

    def submit(self, stage: dict[str, str]) -> Future:
        self.submitted.append(stage["name"])
        others = self.outcomes.get(stage["name"].replace("@", "_"), [])
        return Future(others.pop(0) if others else {"seconds": 1.0, "errors": []})

    def retire(self, address: str) -> int:
        self.count -= 1
        return self.count


class View:
    """`seconds.expected`: what a stage may take."""

    def __init__(self, **expected: float) -> None:
        self.seconds, self._expected, self.said, self.slots = self, expected, [], 0

    def expected(self, stage: str) -> float | None:
        return self._expected.get(stage.replace("@", "_"))

    def kept(self, stage: str) -> None: ...

    def begun(self, stage: str) -> None: ...

    def done(self, stage: str, seconds: float, errors: list[str]) -> None: ...

    def again(self, stage: str, reason: str) -> None:
        self.said.append(f"{stage}: {reason}")

    def failed(self, stage: str, message: str) -> None:
        self.said.append(f"{stage} failed: {message}")


CELLS = {
    "configs": set(),
    "train@a": {"configs"},
    "train@b": {"configs"},
    "train@c": {"configs"},
    "evaluate@a": {"train@a"},
    "report": {"evaluate@a", "train@b", "train@c"},
}


def run(ledger: Ledger, pool: WorkerPool, view: View) -> Driver:
    driver = Driver(ledger, pool, view, lambda: False)
    driver.run()
    return driver


def test_longest_cells_first_and_what_is_not_known_before_them():
    pool = WorkerPool()
    run(Ledger(CELLS), pool, View(train_a=10, train_b=20))
    assert pool.submitted == ["configs", "train@c", "train@b", "train@a", "evaluate@a", "report"]


def test_quick_stages_come_before_cells():
    pool = WorkerPool()
    run(Ledger(CELLS), pool, View(train_a=30, train_b=20, train_c=10))
    assert pool.submitted == ["configs", "train@a", "evaluate@a", "train@b", "train@c", "report"]


def test_only_what_is_stale_runs():
    ledger = Ledger(CELLS, fresh=("configs", "train@a", "train@b", "evaluate@a"))
    pool = WorkerPool()
    run(ledger, pool, View())
    assert pool.submitted == ["train@c", "report"]
    assert ledger.finished == ["train@c", "report"]


def test_what_cannot_be_brought_back_stops_no_other_stage():
    pool, view = WorkerPool(), View()
    driver = run(Ledger(CELLS, fresh=("configs",), broken=("train@a",)), pool, view)
    assert pool.submitted == ["train@c", "train@b"]
    assert driver.failed == {"train@a": "train@a: output 'x' does not exist"}
    assert driver.lost == {"train@a", "evaluate@a", "report"}


UNFIT = {"unfit": "the worker on node1 has numpy 1.0 instead of 2.0", "worker": "tcp://node1:1"}


def test_a_stage_of_an_unfit_worker_goes_to_another_and_is_no_worse_for_it():
    ledger, view = Ledger(CELLS), View()
    pool = WorkerPool(4, train_a=[UNFIT, UNFIT, UNFIT])
    driver = run(ledger, pool, view)
    assert (pool.submitted.count("train@a"), pool.count) == (4, 1)
    assert sorted(ledger.finished) == sorted(CELLS)
    assert (driver.failed, driver.attempts.total()) == ({}, 0)
    assert view.said == [f"train@a: {UNFIT['unfit']}"] * 3


def test_without_a_fit_worker_nothing_is_run():
    ledger, pool = Ledger(CELLS), WorkerPool(2, configs=[UNFIT, UNFIT, UNFIT])
    with pytest.raises(InputError, match=r"node1 has numpy 1\.0 instead of 2\.0"):
        run(ledger, pool, View())
    assert (pool.submitted, ledger.finished) == (["configs", "configs"], [])


def test_a_stage_is_given_up_after_three_failures_and_the_others_go_on():
    died = KilledWorker("train@a", None, 0)
    ledger, view = Ledger(CELLS), View()
    pool = WorkerPool(2, train_a=[died, RuntimeError("exit status 1: boom"), died], train_b=[died, died])
    driver = run(ledger, pool, view)
    assert driver.failed == {"train@a": "3 times; the last time: its worker died"}
    assert driver.lost == {"train@a", "evaluate@a", "report"}
    assert ledger.finished == ["configs", "train@c", "train@b"]
    assert pool.submitted.count("train@b") == 3


def test_what_goes_wrong_on_a_machine_is_one_stages_matter():
    ledger, full = Ledger(CELLS), OSError(28, "No space left on device")
    driver = run(ledger, WorkerPool(2, train_a=[full, full, full], train_b=[full]), View())
    assert driver.failed == {"train@a": "3 times; the last time: OSError: [Errno 28] No space left on device"}
    assert ledger.finished == ["configs", "train@c", "train@b"]


def test_a_worker_is_compared_with_the_driver(tmp_path):
    root = tmp_path / "checkout"
    for name in ("asm/a.py", "stages/b.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    token = str(tmp_path)
    expected = job.facts(str(root), token)
    assert job.unfit(expected, str(root), token) is None
    assert f"numpy {expected['numpy']} instead of 0.1" in job.unfit(
        expected | {"numpy": "0.1"}, str(root), token
    )
    (root / "asm" / "a.py").write_text("y")
    assert "has the code " in job.unfit(expected, str(root), token)
    assert "does not see" in job.unfit(expected, str(root), str(tmp_path / "elsewhere"))


def test_a_warning_is_told_while_its_stage_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(job, "PATIENCE", 1)
    said: list[str] = []
    script = "echo slow bf16 >&2; sleep 4; echo last >&2"
    command = job.Command(script, str(tmp_path), dict(os.environ))
    seen_at_work = []
    errors, untold = command.follow(said.append, lambda: seen_at_work.append(list(said)) or True)
    command.end()
    assert ["slow bf16"] in seen_at_work
    assert (errors, untold) == (["slow bf16", "last"], ["last"])


def test_a_stage_runs_once_although_dask_calls_again_for_a_lost_result(tmp_path, monkeypatch):
    """When a worker dies, Dask makes anew what it held, also of stages whose results DVC has by then."""
    here = types.SimpleNamespace(
        **{"address": "tcp://here:1", "name": "0", "log_event": lambda *_: None},
        get_current_task=lambda: "evaluate@a-0123",
        state=types.SimpleNamespace(tasks={"evaluate@a-0123": types.SimpleNamespace(state="executing")}),
    )
    monkeypatch.setattr(distributed, "get_worker", lambda: here)
    (tmp_path / "root").mkdir()
    (tmp_path / "token").mkdir()
    out, root, token = tmp_path / "out", str(tmp_path / "root"), str(tmp_path / "token")
    stage = {"name": "evaluate@a", "cmd": [f"echo x > {out}"], "folder": str(tmp_path), "home": str(tmp_path)}
    arguments = (stage | {"threads": {}, "outs": [str(out)]}, job.facts(root, token), root, token, [])
    assert job.run(*arguments)["errors"] == []
    with pytest.raises(RuntimeError, match="its worker died"):
        job.run(*arguments)
    assert out.read_text() == "x\n"


def test_an_environment_that_was_moved_is_told(tmp_path, capsys):
    (tmp_path / "made" / "bin").mkdir(parents=True)
    (tmp_path / "made" / "bin" / "activate").write_text(f"VIRTUAL_ENV='{tmp_path / 'made'}'\n")
    (tmp_path / "link").symlink_to(tmp_path / "made")
    for folder in ("made", "link", "none"):
        repro.warn_if_moved(tmp_path / folder)
    assert capsys.readouterr().err == ""
    (tmp_path / "made").rename(tmp_path / "moved")
    repro.warn_if_moved(tmp_path / "moved")
    assert f"{tmp_path / 'moved'}: was moved here; `dvc`" in capsys.readouterr().err


TORCH = """\
import os, types
names = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
cuda = types.SimpleNamespace(device_count=lambda: len(names))
def ones(count, device):
    if names[int(device.removeprefix("cuda:"))] not in COMPUTING:
        raise RuntimeError("too old a driver")
    return types.SimpleNamespace(add=lambda other: types.SimpleNamespace(item=lambda: 2))
"""


@pytest.mark.parametrize(
    ("chosen", "smi", "found", "said"),
    [
        (None, None, [], ""),
        (None, "echo GPU-a; echo GPU-b", ["GPU-a", "GPU-b"], ""),
        ("0,2", "exit 1", ["0", "2"], ""),
        ("", "echo GPU-a", [], ""),
        (None, "echo it failed; echo no driver >&2; exit 9", [], "nvidia-smi: it failed no driver"),
        (None, "echo GPU-a; echo GPU-b", ["GPU-a"], "can be used: 1 of 2 (torch: too old a driver)"),
        (None, "echo GPU-a; echo GPU-b", ["GPU-b"], "can be used: 1 of 2 (torch: too old a driver)"),
        ("7", None, [], "can be used: 0 of 1 (torch: too old a driver)"),
    ],
)
def test_gpus_are_those_that_torch_can_compute_on(tmp_path, monkeypatch, chosen, smi, found, said):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen or "")
    if chosen is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    if smi:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{smi}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    (tmp_path / "torch.py").write_text(TORCH.replace("COMPUTING", str(found)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    told: list[str] = []
    assert workers.gpus(told.append) == found
    assert said in " ".join(told)
    assert bool(told) == bool(said)
    if told:  # the stages look for none of the others
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ",".join(found)
