from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from asm.datasets.base import FaceDataset
from asm.rendered.dataset import render_action_units


@dataclass
class Rendered:
    images: np.ndarray  # uint8 [12, 128, 128, 3]
    landmarks: np.ndarray  # float32 [12, 5, 2], true


@pytest.fixture(scope="session")
def rendered() -> Rendered:
    images, _, landmarks = render_action_units(12, size=128, seed=5, workers=1)
    return Rendered(images, landmarks)


class ListReader:
    """Reads from a list; an entry that is an exception is raised."""

    def __init__(self, entries):
        self.entries = entries

    def __call__(self, row):
        if isinstance(self.entries[row], BaseException):
            raise self.entries[row]
        return self.entries[row]


@pytest.fixture
def make_dataset():
    def make(entries, split=None, label=None) -> FaceDataset:
        count = len(entries)
        table = pd.DataFrame(
            {
                "id": [f"{i:03d}" for i in range(count)],
                "path": [f"images/{i:03d}.png" for i in range(count)],
                "split": split or ["train"] * (count - 1) + ["test"],
                "true": label or [i % 2 for i in range(count)],
                "votes_a": range(count),
            }
        )
        return FaceDataset("made", ("a", "b"), table, ListReader(entries))

    return make
