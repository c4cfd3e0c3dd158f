"""Fixtures of the report's tests: made-up grids, and what writes and reads their runs."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
from made_up import make_grid, make_many, make_scores, read, write_run, write_timing

from asm import report
from asm.report.results import Results


@pytest.fixture
def grid() -> dict:
    """The full made-up grid; a fresh copy for each test."""
    return make_grid()


@pytest.fixture(scope="session")
def full_run() -> Callable[[Path], Path]:
    """Writes the full made-up run into a directory."""
    return lambda root: write_run(root, make_grid())


@pytest.fixture
def small() -> dict:
    """One seed, no ablations."""
    return make_grid(small=True)


@pytest.fixture
def many() -> dict:
    """Eight methods, two data sets, three noises, two seeds."""
    return make_many()


@pytest.fixture
def scores_of() -> Callable[[dict, dict], dict]:
    """Makes one cell's scores."""
    return lambda cell, grid: copy.deepcopy(make_scores(cell, grid))


@pytest.fixture
def time_cells() -> Callable[..., Path]:
    """Writes timing files."""
    return write_timing


@pytest.fixture
def write() -> Callable[..., Path]:
    """Writes a run to disk."""
    return write_run


@pytest.fixture
def loaded(grid, write, tmp_path) -> Results:
    """The results of the full made-up grid."""
    return read(write(tmp_path, grid), grid)


@pytest.fixture
def no_figures(monkeypatch):
    """A report without figures, which take most of the time."""
    monkeypatch.setattr(report.figures, "write", lambda *paths: ({}, {}))
