import json
import shutil

import numpy as np
import pandas as pd
import pytest

from asm.basics.errors import InputError
from asm.faces.store import digests, load, read_manifest


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / "store"
    path.mkdir()
    np.save(path / "faces.npy", np.arange(3 * 16, dtype=np.uint8).reshape(3, 4, 4, 1))
    np.save(path / "landmarks.npy", np.zeros((3, 5, 2), np.float32))
    manifest = {
        "id": ["007", "NA", "null"],
        "path": ["a", "b", "c"],
        "split": ["train", "train", "test"],
        "true": [0, 1, 1],
        "mixture": [0.1, 1 / 3, 1.0],
        "face": ["mtcnn", "as_is", "fallback"],
    }
    pd.DataFrame(manifest).to_csv(path / "manifest.csv", index=False)
    (path / "summary.json").write_text(
        json.dumps({"dataset": "made", "classes": ["a", "b"], "sha256": digests(path)})
    )
    return path


def test_load_keeps_ids_as_text_and_pixels_on_disk(directory):
    aligned = load(directory)
    assert aligned.name == "made"
    assert aligned.classes == ("a", "b")
    assert aligned.manifest["id"].tolist() == ["007", "NA", "null"]
    assert aligned.manifest["mixture"][1] == 1 / 3
    assert isinstance(aligned.faces, np.memmap)
    assert aligned.faces[2, 3, 3, 0] == 47
    assert not aligned.faces.flags.writeable


def test_the_manifest_alone_needs_no_pixels(directory):
    (directory / "faces.npy").unlink()
    manifest = read_manifest(directory / "manifest.csv")
    assert manifest["id"].tolist() == ["007", "NA", "null"]
    assert manifest["true"].tolist() == [0, 1, 1]
    with pytest.raises(InputError, match=r"elsewhere.csv: not found; build it again"):
        read_manifest(directory / "elsewhere.csv")


def test_missing_directory_and_parts(directory):
    with pytest.raises(InputError, match="no such directory"):
        load(directory / "elsewhere")
    for name in ("faces.npy", "landmarks.npy", "manifest.csv", "summary.json"):
        copy = directory.parent / f"without_{name}"
        shutil.copytree(directory, copy)
        (copy / name).unlink()
        with pytest.raises(InputError, match=f"{name}: (not found|missing part)"):
            load(copy)


@pytest.mark.parametrize("name", ["faces.npy", "landmarks.npy", "manifest.csv", "summary.json"])
def test_damaged_parts(directory, name):
    whole = (directory / name).read_bytes()
    (directory / name).write_bytes(b"" if name == "manifest.csv" else whole[:-9])
    with pytest.raises(InputError, match=f"{name}: cannot be read"):
        load(directory)


def test_parts_that_do_not_fit(directory):
    np.save(directory / "landmarks.npy", np.zeros((2, 5, 2), np.float32))
    with pytest.raises(InputError, match=r"3 faces, 3 manifest rows, landmarks \[2, 5, 2\]"):
        load(directory)
    np.save(directory / "faces.npy", np.zeros((3, 4, 5, 1), np.uint8))
    with pytest.raises(InputError, match="expected uint8"):
        load(directory)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("manifest.csv", "test,1", "test,2", r"row 2 has the label 2, expected 0\.\.1"),
        ("manifest.csv", "face", "visage", "the column 'face' is missing"),
        ("manifest.csv", "true", "label", "the column 'true' is missing"),
        ("summary.json", None, "[]", r"summary\.json: expected a mapping, found list"),
        ("summary.json", None, '{"dataset": "x", "classes": 3}', '"dataset" and "classes"'),
    ],
)
def test_wrong_manifest_and_summary(directory, name, old, new, message):
    text = (directory / name).read_text()
    (directory / name).write_text(new if old is None else text.replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        load(directory)


@pytest.mark.parametrize("name", ["faces.npy", "landmarks.npy", "manifest.csv"])
def test_one_bit_that_has_changed_is_noticed(directory, name):
    content = bytearray((directory / name).read_bytes())
    place = content.index(b"mtcnn") if name == "manifest.csv" else -1
    content[place] ^= 1
    (directory / name).write_bytes(content)
    with pytest.raises(
        InputError, match=rf"{name}: not what was written, the SHA-256 differs; build it again"
    ):
        load(directory)
