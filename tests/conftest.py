"""Fixtures of all tests. One thread: so is every cell trained, and two runs write the same bytes."""

import pytest
import torch
from tiny import make_data

from asm.data import Data

torch.set_num_threads(1)


@pytest.fixture
def data() -> Data:
    return make_data()
