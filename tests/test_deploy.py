"""A run as one module, as files that others load, and photos read by it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import trained_run
from PIL import Image

from asm.__main__ import main
from asm.basics.errors import InputError
from asm.faces import store
from asm.rendered.dataset import render_action_units
from asm.scores.run import TRAIN, read_arrays
from asm.tools.deploy import classifier, formats, photos

DOCS = Path(__file__).resolve().parents[1] / "docs" / "commands.md"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return {
        name: trained_run.write(tmp_path_factory.mktemp(name), features=name == "features")
        for name in ("pixels", "features")
    }


def training_faces(run: Path) -> np.ndarray:
    return np.array(store.load(run.parents[1] / "data" / "aligned" / "tiny").faces[:30])


@pytest.mark.parametrize(("name", "close"), [("pixels", 1e-5), ("features", 5e-3)])
def test_the_module_says_what_the_run_stored(runs, name, close):
    """Features in a bank are rounded to half precision."""
    module, description = classifier.from_run(runs[name])
    stored = read_arrays(runs[name] / TRAIN)
    found = formats.predictor(module)(training_faces(runs[name]))
    np.testing.assert_allclose(found, stored["probabilities"], atol=close)
    assert description.classes == ["red", "green", "blue"]
    assert description.networks == 2
    assert all(0 < threshold <= 1 for threshold in description.thresholds)
    assert description.initial_weights.startswith("none")


@pytest.mark.parametrize("kind", list(formats.SUFFIXES))
@pytest.mark.parametrize("name", ["pixels", "features"])
def test_a_file_says_the_same_and_describes_itself(runs, tmp_path, name, kind):
    if kind == "onnx":
        pytest.importorskip("onnx", reason="the extra onnx is not installed")
        pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    path = tmp_path / ("model" + formats.SUFFIXES[kind])
    main(["export", str(runs[name]), "--format", kind, "--out", str(path)])
    predict, description = formats.read(path)
    module, expected = classifier.from_run(runs[name])
    assert description == expected
    faces = training_faces(runs[name])
    np.testing.assert_allclose(predict(faces), formats.predictor(module)(faces), atol=1e-5)
    assert predict(faces[:1]).shape == (1, 3)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_file_that_disagrees_with_pytorch_is_not_written(runs, tmp_path, monkeypatch):
    module, description = classifier.from_run(runs["pixels"])
    read = formats.read

    def off(path):
        predict, description = read(path)
        return (lambda faces: predict(faces) + np.float32(1e-4)), description

    monkeypatch.setattr(formats, "read", off)
    with pytest.raises(InputError, match=r"differs from PyTorch by 1\.0e-04"):
        formats.write(module, description, "safetensors", tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_the_example_of_the_docs_loads_the_file_without_this_package(runs, tmp_path):
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    main(["export", str(runs["pixels"]), "--out", str(tmp_path / "model.onnx")])
    example = DOCS.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    assert "asm" not in example.replace("asm-fer", "")
    Image.fromarray(training_faces(runs["pixels"])[0]).save(tmp_path / "face.png")
    command = [sys.executable, "-I", "-c", example]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] in ("red", "green", "blue")


def test_grey_faces_are_seen_as_grey(runs):
    _, description = classifier.from_run(runs["pixels"])
    module = classifier.Classifier(replace(description, channels=1))
    faces = training_faces(runs["pixels"])[:4]
    grey = np.stack([np.asarray(Image.fromarray(face).convert("L").convert("RGB")) for face in faces])
    with torch.inference_mode():
        np.testing.assert_allclose(module(torch.from_numpy(faces)), module(torch.from_numpy(grey)), atol=0.02)


def test_what_cannot_be_exported_or_read_is_an_error(runs, tmp_path):
    with pytest.raises(SystemExit, match=r"^error: .*expected a name that ends in \.onnx"):
        main(["export", str(runs["pixels"]), "--out", str(tmp_path / "model.pt")])
    with pytest.raises(SystemExit, match=r"^error: .*run\.json: not found"):
        main(["export", str(tmp_path)])
    for name in ("a.onnx", "a.pt", "a.safetensors"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        if name != "a.onnx" or "onnxruntime" in sys.modules:
            with pytest.raises(InputError, match="cannot be read as"):
                formats.read(tmp_path / name)
    with pytest.raises(InputError, match="expected a file that ends in"):
        formats.read(Path(__file__))
    with pytest.raises(InputError, match="no such file of weights"):
        formats.read(tmp_path / "b.onnx")


# --- photos -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """Three faces in one photo, the second turned by 20 degrees; a photo without a face; one that is none."""
    folder = tmp_path_factory.mktemp("album")
    images, _, _ = render_action_units(3, size=128, seed=5, workers=1)
    picture = Image.new("RGB", (520, 200), (128, 128, 128))
    for number, image in enumerate(images):
        face = Image.fromarray(image)
        if number == 1:
            face = face.rotate(20, Image.Resampling.BICUBIC, fillcolor=(128, 128, 128))
        picture.paste(face, (20 + 165 * number, 30))
    picture.save(folder / "three.png")
    (folder / "more").mkdir()
    Image.new("L", (90, 60), 100).save(folder / "more" / "none.jpg")
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


def test_every_face_of_a_folder_is_read(runs, album, tmp_path, capsys):
    main(["predict", str(album), "--weights", str(runs["pixels"]), "--out", str(tmp_path)])
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert table["image"].tolist() == ["more/none.jpg", "three.png", "three.png", "three.png"]
    faces = table[table["image"] == "three.png"]
    centres = (faces["x1"] + faces["x2"]) / 2
    np.testing.assert_allclose(centres, [84, 249, 414], atol=20)
    probabilities = faces[["p_red", "p_green", "p_blue"]].to_numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-3)
    assert faces["expression"].tolist() == [["red", "green", "blue"][k] for k in probabilities.argmax(axis=1)]
    assert table["expression"].isna().tolist() == [True, False, False, False]
    printed = capsys.readouterr().out
    assert "3 faces in 2 images" in printed
    assert "1 images without a face" in printed
    assert "1 images that cannot be read" in printed
    with (
        Image.open(album / "three.png") as before,
        Image.open(tmp_path / "images" / "three.png.jpg") as after,
    ):
        assert before.size == after.size
        difference = np.abs(np.asarray(before, int) - np.asarray(after, int)).max(axis=2)
    left, top = round(faces["x1"].iloc[0]), round(faces["y1"].iloc[0])
    assert difference[top : top + 40, left].mean() > 40  # the box

    main(["predict", str(album / "three.png"), "--weights", str(runs["pixels"]), "--smallest", "150",
          "--out", str(tmp_path / "large")])  # fmt: skip
    assert "3 faces below 150 pixels skipped" in capsys.readouterr().out


def test_below_the_threshold_a_face_is_between_two_expressions(runs):
    _, description = classifier.from_run(runs["pixels"])
    description = replace(description, thresholds=[0.5, 0.7, 0.9])
    assert photos.reading(np.array([0.5, 0.3, 0.2]), description) == ("red", True)
    assert photos.reading(np.array([0.25, 0.6, 0.15]), description) == ("between green and red", False)
    assert photos.reading(np.array([0.1, 0.2, 0.7]), description) == ("between blue and green", False)


def test_missing_photos_and_weights_end_in_one_line(runs, tmp_path):
    weights = ["--weights", str(runs["pixels"])]
    with pytest.raises(SystemExit, match=r"^error: .*no such image or folder"):
        main(["predict", str(tmp_path / "none"), *weights])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match=r"^error: .*no image in this folder"):
        main(["predict", str(tmp_path / "empty"), *weights])
    with pytest.raises(SystemExit, match=r"^error: .*no such file of weights"):
        main(["predict", __file__, "--weights", str(tmp_path / "w.onnx")])
