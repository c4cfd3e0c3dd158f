"""A cell's data: labels joined to faces, and faces that are held in memory or streamed from the file."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import psutil
import pytest
import torch

from asm.basics.errors import InputError
from asm.faces.store import AlignedFaces
from asm.parts.batches import StreamedFaces, cell_data, memory_for_faces

CPU = torch.device("cpu")


@pytest.fixture
def aligned():
    n = 8
    manifest = pd.DataFrame(
        {
            "id": [f"i{k}" for k in range(n)],
            "split": ["test", "train", "train", "valid", "train", "test", "train", "train"],
            "true": [0, 1, 2, 0, 1, 2, 0, 1],
        }
    )
    faces = np.arange(n, dtype=np.uint8)[:, None, None, None].repeat(32, 1).repeat(32, 2)
    return AlignedFaces("tiny", ("a", "b", "c"), faces, manifest, np.zeros((n, 5, 2), np.float32))


SMALL_LABELS = pd.DataFrame(
    {"id": ["i7", "i1", "i2", "i4", "i6"], "given": [2, 0, 2, -1, 1], "true": [1, 1, 2, 1, 0]}
)


def test_cell_data_joins_labels_by_id_and_leaves_test_alone(aligned):
    data = cell_data(aligned, SMALL_LABELS)
    assert data.train.ids == ["i1", "i2", "i6", "i7"]  # i4 has no label
    assert data.train.labels.tolist() == [0, 2, 1, 2]
    assert data.true.tolist() == [1, 2, 0, 1]
    assert data.train.faces[:][:, 0, 0, 0].tolist() == [1, 2, 6, 7]
    assert data.test.ids == ["i0", "i5"]
    assert data.test.labels.tolist() == [0, 2]
    assert data.valid.ids == ["i3"]


def test_cell_data_refuses_labels_of_another_data_set(aligned):
    labels = pd.DataFrame({"id": ["x1", "x2", "x3", "x4", "x5"], "given": [0] * 5, "true": [0] * 5})
    with pytest.raises(InputError, match="5 given labels for 5 training samples, 5 of them without one"):
        cell_data(aligned, labels)


def test_half_of_the_free_memory_is_for_faces_unless_the_environment_says_otherwise(monkeypatch):
    monkeypatch.delenv("ASM_MEMORY_GB", raising=False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=3_000, total=64_000))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5_000, 80_000))  # free, total
    assert memory_for_faces(CPU) == 1_500
    assert memory_for_faces(torch.device("cuda")) == 2_500

    monkeypatch.setenv("ASM_MEMORY_GB", "1.5")
    assert memory_for_faces(CPU) == 1_500_000_000
    monkeypatch.setenv("ASM_MEMORY_GB", "a lot")
    with pytest.raises(InputError, match="ASM_MEMORY_GB: expected a number of gigabytes, found 'a lot'"):
        memory_for_faces(CPU)


@pytest.mark.parametrize(("free", "kind"), [(2, torch.Tensor), (2 - 1e-9, StreamedFaces)])
def test_faces_are_resident_where_they_fit(monkeypatch, data, free, kind):
    """All splits together, to the byte."""
    size = sum(split.faces.numel() for split in (data.train, data.valid, data.test))
    monkeypatch.delenv("ASM_MEMORY_GB", raising=False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=int(free * size)))
    placed = data.to(CPU)
    assert {type(split.faces) for split in (placed.train, placed.valid, placed.test)} == {kind}


def test_streamed_batches_come_in_order_however_many_are_read_ahead(aligned):
    faces = cell_data(aligned, SMALL_LABELS).train.faces
    parts = [torch.tensor(rows) for rows in ([0, 3], [1], [2, 2, 0], [3], [0], [1], [2], [3, 1])]
    found = [batch[:, 0, 0, 0].tolist() for batch in faces.batches(iter(parts))]
    assert found == [[(1, 2, 6, 7)[row] for row in part.tolist()] for part in parts]
    assert faces.shape == (4, 32, 32, 1)
    assert faces[1:3][:, 0, 0, 0].tolist() == [2, 6]
