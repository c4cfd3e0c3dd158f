"""Fixtures of all tests. One thread: so is every cell trained, and two runs write the same bytes."""

from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
import torch
from tiny import make_data

from asm.methods.config import CellConfig
from asm.parts.batches import Data
from asm.training import cell

torch.set_num_threads(1)

_ALL = {"deadline": None, "suppress_health_check": list(hypothesis.HealthCheck)}
# The suite tries the same examples each time, so that chance does not decide on a commit.
hypothesis.settings.register_profile("suite", max_examples=60, derandomize=True, **_ALL)
hypothesis.settings.register_profile(
    "long", max_examples=2_000, **_ALL
)  # --hypothesis-profile long: new ones
hypothesis.settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Commands that take all cores are tested in this process, too."""
    torch.set_num_threads(1)


@pytest.fixture
def data() -> Data:
    return make_data()


@pytest.fixture
def train_cell() -> Callable[[CellConfig, Data, Path], dict[str, bytes]]:
    """Trains a cell on the CPU, into out/, ck/ (its checkpoint) and timing.csv of a folder; returns the bytes
    of each file of its results."""

    def train(config: CellConfig, data: Data, folder: Path) -> dict[str, bytes]:
        out = folder / "out"
        cell.train(config, data, None, out, folder / "ck", folder / "timing.csv", torch.device("cpu"))
        return {path.name: path.read_bytes() for path in out.iterdir()}

    return train
