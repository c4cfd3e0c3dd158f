"""`make repro` tells how far its cells are: a line a cell in a log, errors untouched."""

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "stages"))
import progress

# what `dvc repro train@a evaluate@a` prints, as shell
CELL = """\
echo "Running stage 'train@$2':"
echo "> python -B ./stages/train.py $2"
for e in 1 2 3; do echo "$2: epoch $e/3  loss 1.0  test 8$e.50%  100 samples/s"; done
echo "Running stage 'evaluate@$2':"
echo "Updating lock file 'dvc.lock'"
"""
BROKEN = 'case $2 in bad) echo "error: data/labels: gone"; exit 1;; esac; '


def told(calls: list[str], script: str, jobs: int = 1) -> tuple[list[str], int]:
    console = Console(file=io.StringIO(), width=200)
    status = progress.run(calls, jobs, ["sh", "-c", script, "sh"], console)
    return console.file.getvalue().splitlines(), status


def test_a_log_has_a_line_a_cell_with_its_accuracy_and_the_time_left():
    lines, status = told(["train@x a", "train@x b"], CELL)
    assert status == 0
    assert [line.split(", ")[0] for line in lines] == ["1/2  a: 83.50 %", "2/2  b: 83.50 %"]
    assert lines[1].endswith("0 min left")


def test_cells_side_by_side_are_each_told_once():
    lines, _ = told([f"train@x c{i}" for i in range(6)], CELL, jobs=3)
    assert sorted(line.split()[1] for line in lines) == [f"c{i}:" for i in range(6)]


def test_what_is_no_progress_is_passed_on_and_the_others_go_on():
    lines, status = told(["train@x bad", "train@x good"], BROKEN + CELL)
    assert status != 0
    assert lines[0] == "error: data/labels: gone"
    assert lines[1].startswith("1/2  good: 83.50 %")


@pytest.mark.parametrize(
    "line", ["ERROR: failed to reproduce 'train@a'", "[not markup] 3 %", "Traceback (most recent)"]
)
def test_no_error_is_swallowed(line):
    lines, _ = told(["train@x a"], f'echo "{line}"')
    assert lines == [line]


def test_a_cell_that_dvc_takes_from_its_cache_counts():
    script = """echo "Stage 'train@$2' is cached - skipping run"; echo "Running stage 'evaluate@$2':\""""
    assert told(["train@x a"], script)[0] == ["1/1  a: kept from before, 0 min left"]


def test_nothing_to_do_is_nothing_told():
    assert told([], CELL) == ([], 0)
