from collections.abc import Callable
from pathlib import Path

import pytest
from pictures import write_picture


@pytest.fixture
def picture() -> Callable[..., Path]:
    return write_picture
