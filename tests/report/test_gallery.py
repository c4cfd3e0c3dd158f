"""The sheets of example faces, on a small run and made-up faces."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from asm.__main__ import main
from asm.errors import InputError
from asm.faces.store import digests
from asm.report.gallery import write_sheets

CLASSES = ["happiness", "sadness"]


def write(root, classes=CLASSES):
    """Twelve faces, two of them for the test set; every fourth training label is wrong."""
    faces, run = root / "faces", root / "run"
    faces.mkdir(parents=True)
    run.mkdir()
    n = 12
    table = pd.DataFrame(
        {"id": [f"00{i}" for i in range(n)], "path": "x", "split": ["test"] * 2 + ["train"] * 10}
    )
    table["true"], table["face"] = np.arange(n) % 2, "mtcnn"
    table["votes_happiness"], table["votes_sadness"] = 10 - table["true"] * 7, table["true"] * 7
    table.to_csv(faces / "manifest.csv", index=False)
    np.save(faces / "faces.npy", np.full((n, 8, 8, 1), 128, np.uint8))
    np.save(faces / "landmarks.npy", np.zeros((n, 5, 2), np.float32))
    (faces / "summary.json").write_text(
        json.dumps({"dataset": "made_up", "classes": classes, "sha256": digests(faces)})
    )
    true = table["true"].to_numpy()[2:]
    given = np.where(np.arange(10) % 4 == 0, 1 - true, true)
    probs = np.where(np.arange(2) == true[:, None], 0.9, 0.1) + np.linspace(0, 0.05, 10)[:, None] * [1, -1]
    np.savez(
        run / "train_predictions.npz",
        **{"ids": table["id"].to_numpy(str)[2:], "given": given, "true": true},
        **{"probabilities": probs, "epochs": np.array([1]), "subsets": np.zeros((1, 10), np.int8)},
    )
    pd.DataFrame({"epoch": [1], "test_accuracy": [0.5], "forward_passes": [1.0]}).to_csv(
        run / "history.csv", index=False
    )
    info = {"config": {"method": "baseline", "cell": "a_cell"}, "classes": CLASSES}
    info |= {"train_images": 1, "parameters": 1, "versions": {}}
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


def test_the_command_prints_the_sheets_and_ends_in_one_line_on_bad_input(tmp_path, capsys):
    run, faces = write(tmp_path)
    main(["gallery", str(run), str(faces), str(tmp_path / "out")])
    printed = capsys.readouterr().out.split()
    assert printed
    assert all(Path(path).is_file() for path in printed)
    with pytest.raises(SystemExit, match=r"^error: .*no such directory of aligned faces"):
        main(["gallery", str(run), str(tmp_path / "nowhere"), str(tmp_path / "out")])
