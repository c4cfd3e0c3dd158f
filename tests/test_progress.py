"""`make repro` tells how far its cells are, and how long those to come will take by others like them."""

import io
import sys
from pathlib import Path

import pytest
import yaml
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "driver"))
import progress

STAGES = [
    "configs",
    *(f"{group}@{cell}" for group in ("train", "evaluate") for cell in ("a1", "a2", "b1", "b2")),
]


@pytest.fixture
def home(tmp_path) -> Path:
    """Cells of two methods are configured."""
    for cell in ("a1", "a2", "b1", "b2"):
        path = tmp_path / "configs" / "train" / f"{cell}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"method: {cell[0]}\ndataset: faces\n")
    return tmp_path


@pytest.fixture
def view(home) -> progress.ProgressView:
    console = Console(file=io.StringIO(), width=200)
    return progress.ProgressView(STAGES, progress.Seconds(home), console)


def lines(view: progress.ProgressView) -> list[str]:
    return view.console.file.getvalue().splitlines()


def epochs(view: progress.ProgressView, stage: str, cell: str) -> None:
    view.begun(stage)
    for epoch in (1, 2, 3):
        text = f"{cell}: epoch {epoch}/3  loss 1.0  test 8{epoch}.50%  100 samples/s"
        view.told({"stage": stage, "line": text})


def test_a_log_has_a_line_a_cell_with_its_accuracy_and_the_time_left(view):
    view.begun("configs")
    view.done("configs", 2, [])
    epochs(view, "train@a1", "a1")
    view.done("train@a1", 60, [])
    view.begun("evaluate@a1")
    view.done("evaluate@a1", 1, [])
    view.begun("train@b1")
    view.done("train@b1", 240, [])
    expected = ["configs: 2 s", "1/4  a1: 83.50 %, 3 min left", "2/4  b1: 5 min left"]
    assert lines(view) == expected  # a2 as a1, b2 as b1


def test_more_workers_leave_less_time_but_no_less_than_the_longest_cell(view):
    for cell, seconds in (("a1", 600), ("b1", 1200)):
        view.seconds.add(f"train@{cell}", seconds)
    assert view.left() == "60 min left"
    view.slots = 2
    assert view.left() == "30 min left"
    view.slots = 100
    assert view.left() == "20 min left"
    view.failed("train@b1", "no")
    view.failed("train@b2", "no")
    assert view.left() == "10 min left"


def test_the_groups_are_stages_of_the_pipeline():
    pipeline = yaml.safe_load((Path(__file__).resolve().parents[1] / "dvc.yaml").read_text())
    assert {*progress.CELLS, *progress.SCORES} < set(pipeline["stages"])


def test_before_any_cell_has_ended_nothing_is_promised(view):
    assert view.left() == "time left not known yet"


def test_cells_of_an_earlier_run_tell_how_long_others_take(home, view):
    (home / "timing").mkdir()
    (home / "timing" / "a1.csv").write_text("epoch,seconds,busy_seconds\n1,20.5,1\n2,19.5,1\n")
    view.kept("train@a1")
    assert view.seconds.expected("train@a2") == 40
    assert view.seconds.expected("train@b1") == 40  # nothing better is known
    assert view.seconds.expected("evaluate@a2") is None


@pytest.mark.parametrize("line", ["38 of 140 labels changed", "[not markup] 3 %", "Traceback (most recent)"])
def test_what_is_no_progress_is_passed_on(view, line):
    view.begun("train@a1")
    view.told({"stage": "train@a1", "line": line})
    view.done("train@a1", 60, ["", f"warning: {line}"])
    assert lines(view)[:2] == [line, f"warning: {line}"]


def test_bars_are_shown_in_a_terminal_only(view):
    view.begun("train@a1")
    view.told({"stage": "train@a1", "line": "features:  45%|####     | 9/20 [00:03<00:04]"})
    assert lines(view) == []


def test_what_a_stage_that_is_over_said_late_changes_nothing(view):
    epochs(view, "train@a1", "a1")
    view.done("train@a1", 60, [])
    before = lines(view)
    view.told({"stage": "train@a1", "line": "a1: epoch 3/3  loss 1.0  test 11.50%  100 samples/s"})
    assert lines(view) == before
    assert view.tasks == {}


def test_failures_are_told_and_counted(view):
    view.begun("train@a1")
    view.again("train@a1", "its worker died")
    view.begun("train@a1")
    view.failed("train@a1", "3 times; the last time: error: no")
    view.begun("train@a2")
    view.done("train@a2", 60, [])
    assert lines(view)[:2] == [
        "train@a1: its worker died; it will be run again",
        "train@a1 failed: 3 times; the last time: error: no",
    ]
    assert lines(view)[2].startswith("1/4  a2: ")
    assert view.failures == 1
