"""A run as one module, as files that others load (`export`), and photos read by it (`predict`)."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import trained_run
from hypothesis import given
from odd import odd_files
from PIL import Image

from asm.__main__ import main
from asm.basics.errors import InputError
from asm.faces import store
from asm.rendered.dataset import render_action_units
from asm.scores.run import TRAIN, read_arrays
from asm.tools.export import classifier, formats
from asm.tools.predict import photos
from asm.tools.predict.faces import Reader

DOCS = Path(__file__).resolve().parents[1] / "docs" / "commands.md"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return {
        name: trained_run.write(tmp_path_factory.mktemp(name), features=name == "features")
        for name in ("pixels", "features")
    }


def need_onnx() -> None:
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason="the extra onnx is not installed")


def training_faces(run: Path) -> np.ndarray:
    return np.array(store.load(run.parents[1] / "data" / "aligned" / "tiny").faces[:30])


@pytest.mark.parametrize(("name", "close"), [("pixels", 1e-5), ("features", 5e-3)])
def test_the_module_says_what_the_run_stored(runs, name, close):
    """Features in a bank are rounded to half precision."""
    module = classifier.from_run(runs[name])
    stored, description = read_arrays(runs[name] / TRAIN), module.description
    found = formats.predictor(module)(training_faces(runs[name]))
    np.testing.assert_allclose(found, stored["probabilities"], atol=close)
    assert description.classes == ["red", "green", "blue"]
    assert description.networks == 2
    assert all(0 < threshold <= 1 for threshold in description.thresholds)
    assert description.initial_weights.startswith("none")


@pytest.mark.parametrize("kind", [kind for kind in formats.FORMATS if kind != "compact"])
@pytest.mark.parametrize("name", ["pixels", "features"])
def test_a_file_says_the_same_describes_itself_and_is_readable_by_others(runs, tmp_path, name, kind):
    if kind == "onnx":
        need_onnx()
    path = tmp_path / ("model" + formats.FORMATS[kind][0])
    main(["export", str(runs[name]), "--format", kind, "--out", str(path)])
    predict, description = formats.read(path)
    module = classifier.from_run(runs[name])
    assert description == module.description
    umask = os.umask(0)
    os.umask(umask)
    assert {path.stat().st_mode & 0o777, (runs[name] / "weights.safetensors").stat().st_mode & 0o777} == {
        0o666 & ~umask
    }
    faces = training_faces(runs[name])
    np.testing.assert_allclose(predict(faces), formats.predictor(module)(faces), atol=1e-5)
    assert predict(faces[:1]).shape == (1, 3)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_file_that_disagrees_with_pytorch_is_not_written(runs, tmp_path, monkeypatch):
    module = classifier.from_run(runs["pixels"])
    read = formats.read

    def off(path):
        predict, description = read(path)
        return (lambda faces: predict(faces) + np.float32(1e-4)), description

    monkeypatch.setattr(formats, "read", off)
    with pytest.raises(InputError, match=r"differs from PyTorch by 1\.0e-04"):
        formats.write(module, "safetensors", tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_the_example_of_the_docs_loads_the_file_without_this_package(runs, tmp_path):
    need_onnx()
    main(["export", str(runs["pixels"]), "--out", str(tmp_path / "model.onnx")])
    example = DOCS.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    assert "asm" not in example.replace("asm-fer", "")
    Image.fromarray(training_faces(runs["pixels"])[0]).save(tmp_path / "face.png")
    command = [sys.executable, "-I", "-c", example]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] in ("red", "green", "blue")


def test_grey_faces_are_seen_as_grey(runs):
    description = classifier.from_run(runs["pixels"]).description
    module = classifier.Classifier(description.model_copy(update={"channels": 1}))
    faces = training_faces(runs["pixels"])[:4]
    grey = np.stack([np.asarray(Image.fromarray(face).convert("L").convert("RGB")) for face in faces])
    with torch.inference_mode():
        np.testing.assert_allclose(module(torch.from_numpy(faces)), module(torch.from_numpy(grey)), atol=0.02)


def test_what_cannot_be_exported_or_read_is_an_error(runs, tmp_path):
    with pytest.raises(SystemExit, match=r"^error: .*expected a name that ends in \.onnx"):
        main(["export", str(runs["pixels"]), "--out", str(tmp_path / "model.safetensors")])
    with pytest.raises(SystemExit, match=r"^error: .*run\.json: not found"):
        main(["export", str(tmp_path)])
    weights = runs["pixels"] / "weights.safetensors"
    with pytest.raises(SystemExit, match=r"^error: --out .*: lies in the run's own folder"):
        main(["export", str(runs["pixels"]), "--format", "safetensors", "--out", str(weights)])
    for name in ("a.onnx", "a.safetensors"):
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
    description = classifier.from_run(runs["pixels"]).description
    description = description.model_copy(update={"thresholds": [0.5, 0.7, 0.9]})
    reading = Reader(None, description, 40, "cpu").reading
    assert reading(np.array([0.5, 0.3, 0.2])) == ("red", True)
    assert reading(np.array([0.25, 0.6, 0.15])) == ("between green and red", False)
    assert reading(np.array([0.1, 0.2, 0.7])) == ("between blue and green", False)


def predict(run: Path, images: Path, out: Path) -> pd.DataFrame:
    main(["predict", str(images), "--weights", str(run), "--out", str(out)])
    return pd.read_csv(out / "predictions.csv")


def test_what_predict_wrote_is_not_read_again(runs, tmp_path):
    Image.new("L", (60, 60)).save(tmp_path / "a.png")
    first = predict(runs["pixels"], tmp_path, tmp_path / "predictions")
    for out in ("predictions", "again"):
        assert predict(runs["pixels"], tmp_path, tmp_path / out).equals(first)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "predictions.csv").write_text("a competition's\n")
    (tmp_path / "mine" / "images").mkdir()
    Image.new("L", (60, 60)).save(tmp_path / "mine" / "images" / "b.png")
    assert len(predict(runs["pixels"], tmp_path, tmp_path / "predictions")) == 2
    # also where it is written beside the user's own images/, or where that folder is named
    for images in (tmp_path / "mine", tmp_path / "mine" / "images"):
        for _ in range(2):
            assert len(predict(runs["pixels"], images, tmp_path / "mine")) == 1


def test_photos_of_a_phone_are_read_and_an_older_table_stays_where_none_can_be(runs, tmp_path, monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
    pillow_heif.from_pillow(Image.new("RGB", (64, 64))).save(tmp_path / "IMG_1.HEIC")
    (tmp_path / "b.png").write_bytes(b"no image")
    table = predict(runs["pixels"], tmp_path, tmp_path / "out")
    assert table["image"].tolist() == ["IMG_1.HEIC"]
    assert (tmp_path / "out" / "images" / "IMG_1.HEIC.jpg").is_file()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(SystemExit, match=r"IMG_1\.HEIC: cannot be read as an image, nor can any other of 2"):
        predict(runs["pixels"], tmp_path, tmp_path / "out")
    assert pd.read_csv(tmp_path / "out" / "predictions.csv").equals(table)


def test_a_photo_with_an_odd_name_is_counted_and_the_others_are_read(runs, tmp_path, capsys):
    photos_folder = tmp_path / "photos"
    photos_folder.mkdir()
    names = ["n" * 249 + ".png", os.fsdecode(b"caf\xe9.png"), "zoo.png"]
    for name in names:
        Image.new("L", (60, 60)).save(photos_folder / name)
    table = predict(runs["pixels"], photos_folder, tmp_path / "out")
    assert sorted(table["image"]) == sorted([names[0], "caf\\udce9.png", "zoo.png"])
    assert "note: 1 annotated images that cannot be written" in capsys.readouterr().out
    assert len(list((tmp_path / "out" / "images").iterdir())) == 2


@given(beside=odd_files())
def test_a_photo_of_any_name_is_counted_and_the_other_is_read(tmp_path_factory, beside):
    root = tmp_path_factory.mktemp("photos")
    Image.new("L", (9, 9)).save(root / "a.png")
    beside(root / "a.png")
    reader = Reader.__new__(Reader)  # one that sees nobody
    reader.description = SimpleNamespace(classes=["red"])
    reader.detector, reader.skipped = SimpleNamespace(detect_all=lambda images: [[] for _ in images]), 0
    found = photos.find_images(root)
    counts = photos.predict(found, root, reader, root / "out")
    assert counts["images"] + counts["images that cannot be read"] == len(found)
    assert "a.png" in pd.read_csv(root / "out" / "predictions.csv")["image"].tolist()
    assert photos.find_images(root) == found


def test_photos_and_weights_that_are_none_end_in_one_line(runs, tmp_path):
    weights = ["--weights", str(runs["pixels"])]
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    Image.new("L", (60, 60)).save(tmp_path / "a.png")
    out = ["--out", str(tmp_path / "out")]
    for arguments, message in (
        (["none", *weights], "no such image, video or folder"),
        (["empty", *weights], "no image in this folder"),
        (["file", *weights, *out], "file: cannot be read as an image"),
        (["a.png", "--weights", str(tmp_path / "w.onnx")], "no such file of weights"),
        (["a.png", *weights, "--out", str(tmp_path / "file" / "out")], "cannot be written"),
    ):
        with pytest.raises(SystemExit, match=rf"^error: .*{message}"):
            main(["predict", str(tmp_path / arguments[0]), *arguments[1:]])
