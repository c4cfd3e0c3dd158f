import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from asm.basics.errors import InputError
from asm.datasets import synthetic
from asm.rendered import CLASSES
from asm.rendered.dataset import render_dataset

COUNTS = {"train": 7, "valid": 2, "test": 5}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("synthetic")
    render_dataset(path, **COUNTS, size=32, seed=1, workers=1)
    return path


def test_reads_what_was_rendered(root):
    faces = synthetic.load(root)
    assert faces.name == "synthetic"
    assert faces.classes == CLASSES
    assert faces.table.equals(pd.read_csv(root / "manifest.csv"))
    assert faces.table.split.value_counts().to_dict() == COUNTS
    images = np.load(root / "images.npy")
    assert np.array_equal(np.stack([faces.read(row) for row in range(14)]), images)
    faces.read(9)[:] = 0  # a copy
    assert np.array_equal(faces.read(9), images[9])


def test_an_empty_name_is_no_traceback(root, tmp_path):
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    header, *rows = (root / "manifest.csv").read_text().splitlines()
    assert header.startswith("id,")
    rows[:2] = ["," + row.partition(",")[2] for row in rows[:2]]
    (tmp_path / "manifest.csv").write_text("\n".join([header, *rows]) + "\n")
    with pytest.raises(InputError, match="every id must be unique"):
        synthetic.load(tmp_path)


@pytest.mark.parametrize("name", ["images.npy", "manifest.csv"])
def test_a_missing_file_names_the_stage_that_makes_it(root, tmp_path, name):
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=rf"{name} not found; .*dvc repro render"):
        synthetic.load(tmp_path)


def test_damaged_files_are_named(root, tmp_path):
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    table = pd.read_csv(root / "manifest.csv")
    table.drop(columns="mixture").to_csv(tmp_path / "manifest.csv", index=False)
    with pytest.raises(InputError, match="lacks the columns mixture"):
        synthetic.load(tmp_path)
    table.iloc[:-1].to_csv(tmp_path / "manifest.csv", index=False)
    with pytest.raises(InputError, match=r"13 rows, images\.npy 14 images"):
        synthetic.load(tmp_path)
    table.assign(true="happy").to_csv(tmp_path / "manifest.csv", index=False)
    with pytest.raises(InputError, match=r"manifest\.csv is no readable table"):
        synthetic.load(tmp_path)
    table.to_csv(tmp_path / "manifest.csv", index=False)
    np.save(tmp_path / "images.npy", np.zeros((14, 4, 4), np.uint8))
    with pytest.raises(InputError, match=r"found uint8 \[14, 4, 4\]"):
        synthetic.load(tmp_path)
    (tmp_path / "images.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match=r"images\.npy is no readable array"):
        synthetic.load(tmp_path)


def test_a_manifest_whose_rows_differ_in_length_is_refused_in_a_line(tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((2, 8, 8, 3), np.uint8))
    (tmp_path / "manifest.csv").write_text("id,path\na,b\na,b,c,d\n")
    with pytest.raises(InputError, match=r"^synthetic faces: [^\n]*no readable table[^\n]*$"):
        synthetic.load(tmp_path)
