"""The bank of views: which view is drawn for which purpose, and what is no bank."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import HEAD, make_bank_samples, make_batch, make_config, make_data, make_method
from torch import Generator, Tensor

from asm.basics.errors import InputError
from asm.parts import bank
from asm.parts.batches import StreamedFaces, cell_data
from asm.training import cell

COUNT = 40


def numbered(count: int, views: int) -> Tensor:
    """A bank [count, 1 + 2 views, 2] in which each view holds its face's number and its own."""
    face, view = torch.arange(count)[:, None], torch.arange(1 + 2 * views)[None, :]
    return torch.stack(torch.broadcast_tensors(face, view), dim=2).half()


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def views_of(picked: Tensor) -> list[int]:
    """The numbers of the views, after a look that each is of its own face."""
    assert picked.dtype == torch.float32
    assert picked[:, 0].tolist() == list(range(len(picked)))
    return picked[:, 1].int().tolist()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 60), st.sampled_from([2, 4, 8]))
def test_a_view_is_drawn_from_those_of_its_kind(seed, count, views):
    faces = numbered(count, views)
    assert set(views_of(bank.plain(faces))) == {0}
    assert set(views_of(bank.weak(faces, generator(seed)))) <= set(range(1, 1 + views))
    assert set(views_of(bank.strong(faces, generator(seed)))) <= set(range(1 + views, 1 + 2 * views))
    first, second = (views_of(v) for v in bank.mirrored_pair(faces, generator(seed)))
    for a, b in zip(first, second, strict=True):  # 1 and 2, 3 and 4, ... are each other's mirror image
        assert {a, b} in [{n, n + 1} for n in range(1, 1 + views, 2)]


@pytest.mark.parametrize("views", [2, 4, 8])
def test_all_of_them_are_drawn_about_equally_often(views):
    faces = numbered(2000, views)  # whole numbers that float16 holds
    for drawn, first in (
        (bank.weak(faces, generator()), 1),
        (bank.strong(faces, generator()), 1 + views),
        (bank.mirrored_pair(faces, generator())[0], 1),
        (bank.mirrored_pair(faces, generator())[1], 1),
    ):
        counts = np.bincount(views_of(drawn))[first : first + views]
        assert len(counts) == views
        assert (abs(counts - 2000 / views) < 110).all()  # five standard deviations


def test_the_draws_are_the_generators():
    faces, one = numbered(50, 4), generator()
    for draw in (bank.weak, bank.strong, lambda *words: bank.mirrored_pair(*words)[0]):
        assert torch.equal(draw(faces, generator()), draw(faces, generator()))
        assert not torch.equal(draw(faces, one), draw(faces, one))


def test_of_no_faces_there_are_no_views():
    """A batch without noisy samples."""
    assert bank.strong(numbered(5, 4)[:0], generator()).shape == (0, 2)


def test_methods_take_their_views_from_the_bank():
    data = make_data(make=make_bank_samples)
    method, batch = make_method("asm", data, training=HEAD), make_batch(data.train, list(range(9)))
    assert torch.equal(method.plain(batch.faces), batch.faces[:, 0].float())
    assert torch.equal(method.weak_view(batch.faces, generator()), bank.weak(batch.faces, generator()))
    assert torch.equal(method.strong_view(batch.faces, generator()), bank.strong(batch.faces, generator()))
    assert torch.equal(method.weak(batch), bank.weak(batch.faces, generator()))
    eac = make_method("eac", data, training=HEAD)
    batch = make_batch(data.train, list(range(9)))
    for found, expected in zip(eac.views(batch), bank.mirrored_pair(batch.faces, generator()), strict=True):
        assert torch.equal(found, expected)


# --- files --------------------------------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path) -> Path:
    """A bank of 40 faces: 30 to train on, then 4 and 6 of the other splits."""
    rows = range(COUNT)
    manifest = pd.DataFrame(
        {
            "id": ["007", "NA", *(f"f{i}" for i in rows[2:])],
            "path": [f"{i}.png" for i in rows],
            "split": ["train"] * 30 + ["valid"] * 4 + ["test"] * 6,
            "true": [i % 3 for i in rows],
            "face": "as_is",
        }
    )
    manifest.to_csv(tmp_path / bank.MANIFEST, index=False)
    faces = make_bank_samples("x", COUNT, 3).faces.numpy()
    summary = {"dataset": "tiny", "classes": ["a", "b", "c"], "sha256": hashlib.sha256(faces).hexdigest()}
    (tmp_path / bank.SUMMARY).write_text(json.dumps(summary))
    np.save(tmp_path / bank.VIEWS, faces)
    return tmp_path


def test_what_was_written_is_loaded_and_stays_on_disk(written):
    found = bank.load(written)
    assert (found.name, found.classes) == ("tiny", ("a", "b", "c"))
    assert isinstance(found.faces, np.memmap)
    assert not found.faces.flags.writeable
    assert found.faces.shape == (COUNT, 9, 6)
    assert found.manifest["id"].tolist()[:2] == ["007", "NA"]  # names, not a number and a missing value


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (bank.MANIFEST, None, r"manifest\.csv: not found"),
        (bank.MANIFEST, b"id,path\n", r"manifest\.csv: .*missing"),
        (bank.SUMMARY, None, r"summary\.json: not found"),
        (bank.SUMMARY, b"{", r"summary\.json: cannot be read"),
        (bank.SUMMARY, b"\xff", r"summary\.json: cannot be read"),
        (bank.SUMMARY, b"[]", r"summary\.json: expected a mapping, found list"),
        (bank.SUMMARY, b'{"dataset": "x"}', "no readable bank of features .*'classes'"),
        (bank.VIEWS, None, r"no readable bank of features .*views\.npy"),
        (bank.VIEWS, b"", "no readable bank of features"),
        (bank.VIEWS, b"not an array", "no readable bank of features"),
    ],
)
def test_a_part_that_is_missing_or_unreadable_is_named_with_the_remedy(written, name, content, message):
    path = written / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{message}[\s\S]*build it again with the"):
        bank.load(written)


def test_a_changed_bit_is_noticed(written):
    content = bytearray((written / bank.VIEWS).read_bytes())
    content[-1] ^= 1
    (written / bank.VIEWS).write_bytes(content)
    with pytest.raises(InputError, match=r"views\.npy: not what was written.*; build it again"):
        bank.load(written)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((COUNT, 9, 6), np.float32),
        ((COUNT - 1, 9, 6), np.float16),
        ((COUNT, 9), np.float16),
        ((COUNT, 8, 6), np.float16),
        ((COUNT, 7, 6), np.float16),  # three weak views: one without its mirror image
        ((), np.float16),
    ],
)
def test_an_array_of_another_kind_is_refused(written, shape, kind):
    np.save(written / bank.VIEWS, np.zeros(shape, kind))
    with pytest.raises(InputError, match=r"views\.npy: expected float16 \[40, 1 \+ 2 n, D\], found float"):
        bank.load(written)


def test_a_bank_that_was_cut_short_is_refused(written):
    content = (written / bank.VIEWS).read_bytes()
    (written / bank.VIEWS).write_bytes(content[:-100])
    with pytest.raises(InputError, match="no readable bank of features"):
        bank.load(written)


# --- a cell's data ------------------------------------------------------------------------------------------


def labels_of(found: bank.FeatureBank) -> pd.DataFrame:
    rows = found.manifest.query("split == 'train'")
    return pd.DataFrame({"id": rows["id"], "given": rows["true"], "true": rows["true"]})


def test_the_splits_of_a_bank_are_those_of_its_manifest(written):
    found = bank.load(written)
    data = cell_data(found, labels_of(found))
    assert [len(s.ids) for s in (data.train, data.valid, data.test)] == [30, 4, 6]
    assert isinstance(data.train.faces, StreamedFaces)
    assert data.train.faces.shape == (30, 9, 6)
    assert np.array_equal(data.test.faces[torch.arange(6)].numpy(), found.faces[34:])


@pytest.mark.parametrize("streamed", [True, False])
def test_of_some_rows_everything_is_taken(written, streamed):
    """Features, labels, ids and origin of the same samples, in the order asked for."""
    found = bank.load(written)
    found.manifest["origin"] = ["a", "b", "c", "d"] * 10
    test = cell_data(found, labels_of(found)).test  # rows 34 to 39
    if not streamed:
        test = test.to(torch.device("cpu"))
    rows = np.array([5, 0, 3])
    some = test.take(rows)
    assert isinstance(some.faces, StreamedFaces) == streamed
    assert np.array_equal(some.faces[:].numpy(), found.faces[34 + rows])
    assert some.ids == [f"f{34 + row}" for row in rows]
    assert some.labels.tolist() == [(34 + row) % 3 for row in rows]
    assert some.origin.tolist() == [(34 + row) % 4 for row in rows]


@pytest.mark.parametrize("method", ["asm", "eac"])
def test_streamed_or_resident_the_results_are_the_same(written, tmp_path, monkeypatch, method):
    found, results = bank.load(written), {}
    for gigabytes, kind in (("0", StreamedFaces), ("1", Tensor)):
        monkeypatch.setenv("ASM_MEMORY_GB", gigabytes)
        data, folder = cell_data(found, labels_of(found)), tmp_path / gigabytes
        assert isinstance(data.to(torch.device("cpu")).train.faces, kind)
        config = make_config(method, training=HEAD)
        places = (folder / "out", folder / "ck", folder / "timing.csv", torch.device("cpu"))
        cell.train(config, data, None, *places)
        results[kind] = {path.name: path.read_bytes() for path in (folder / "out").iterdir()}
    assert results[StreamedFaces] == results[Tensor]
