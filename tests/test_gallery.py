"""The sheets of example faces, on a small run and made-up faces."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from asm.errors import InputError
from asm.gallery import write_sheets

CLASSES = ["happiness", "sadness"]


def write(root, classes=CLASSES):
    """Twelve faces, two of them for the test set; every fourth training label is replaced."""
    faces, run = root / "faces", root / "run"
    faces.mkdir(parents=True)
    run.mkdir()
    n = 12
    table = pd.DataFrame(
        {"id": [f"00{i}" for i in range(n)], "path": "x", "split": ["test"] * 2 + ["train"] * 10}
    )
    table["label"], table["face"] = np.arange(n) % 2, "mtcnn"
    table["votes_happiness"], table["votes_sadness"] = 10 - table["label"] * 7, table["label"] * 7
    table.to_csv(faces / "manifest.csv", index=False)
    np.save(faces / "faces.npy", np.full((n, 8, 8, 1), 128, np.uint8))
    np.save(faces / "landmarks.npy", np.zeros((n, 5, 2), np.float32))
    (faces / "summary.json").write_text(json.dumps({"dataset": "made_up", "classes": classes}))
    right = table["label"].to_numpy()[2:]
    labels = np.where(np.arange(10) % 4 == 0, 1 - right, right)
    probs = np.where(np.arange(2) == right[:, None], 0.9, 0.1) + np.linspace(0, 0.05, 10)[:, None] * [1, -1]
    np.savez(
        run / "mining.npz",
        **{"train_ids": table["id"].to_numpy(str)[2:], "given_labels": labels, "clean_labels": right},
        **{"probabilities": probs, "epochs": np.array([1]), "subsets": np.zeros((1, 10), np.int8)},
    )
    info = {"config": {"method": "baseline", "cell": "a_cell"}, "classes": CLASSES}
    (run / "run.json").write_text(json.dumps(info))
    return run, faces


def test_a_sheet_for_each_subset_and_for_what_the_mining_got_wrong(tmp_path):
    run, faces = write(tmp_path)
    written = write_sheets(run, faces, tmp_path / "out")
    assert {path.name for path in written} >= {"clean.png", "noisy.png"}
    for path in written:
        with Image.open(path) as image:
            assert image.width > 500
    assert written == write_sheets(run, faces, tmp_path / "out")


def test_faces_of_another_data_set_are_an_error(tmp_path):
    run, faces = write(tmp_path, classes=["anger", "sadness"])
    with pytest.raises(InputError, match="classes are not those"):
        write_sheets(run, faces, tmp_path / "out")
