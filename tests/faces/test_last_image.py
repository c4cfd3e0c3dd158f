"""What an interrupted alignment keeps, and whether a store is whole, hang on the last of many images, too."""

from pathlib import Path

import numpy as np
import pytest

from asm.basics.errors import InputError
from asm.faces import process, store

OPTIONS = {"size": 8, "detect": False, "pad": 0.0, "upscale": 1.0, "batch_size": 4, "workers": 1}
COUNT = process.BLOCK + 9


def aligned(dataset, folder: Path, name: str) -> store.AlignedFaces:
    process.align_dataset(dataset, out=folder / name, work=folder / "work", **OPTIONS)
    return store.load(folder / name)


@pytest.fixture
def images():
    return list(np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8, 3), dtype=np.uint8))


def test_another_last_image_or_label_is_noticed(images, make_dataset, tmp_path):
    labels = [k % 2 for k in range(COUNT)]
    first = aligned(make_dataset(images, label=labels), tmp_path, "first")
    blocks = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "work").glob("0*.npz")}
    labels[-1] = 1 - labels[-1]
    images[-1] = 255 - images[-1]
    other = aligned(make_dataset(images, label=labels), tmp_path, "other")
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "work").glob("0*.npz")}
    assert [name for name in sorted(blocks) if kept[name] == blocks[name]] == ["000000000.npz"]
    assert (np.asarray(other.faces[-1]) == images[-1]).all()
    assert (first.manifest.true.iloc[-1], other.manifest.true.iloc[-1]) == (1 - labels[-1], labels[-1])
    digests = [store.digests(tmp_path / name) for name in ("first", "other")]
    changed = {part for part in digests[0] if digests[0][part] != digests[1][part]}
    assert changed == {"faces.npy", "manifest.csv"}


@pytest.mark.parametrize("part", ["faces.npy", "manifest.csv", "landmarks.npy"])
def test_a_store_whose_last_byte_changed_is_refused(images, make_dataset, tmp_path, part):
    aligned(make_dataset(images), tmp_path, "out")
    path = tmp_path / "out" / part
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=part):
        store.load(tmp_path / "out")
