"""The model that `predict` uses: the one in the package, compact and scaled, or a profile's best run."""

import importlib.util
import shutil

import made_dlib
import numpy as np
import pandas as pd
import pytest
import rendered_clip
import torch
import trained_run
from PIL import Image
from safetensors.torch import load_file

from asm.__main__ import main
from asm.basics.errors import InputError
from asm.faces import store
from asm.parts import backbones
from asm.parts.views import evaluation_view
from asm.parts.weights import dlib
from asm.rendered.dataset import render_action_units
from asm.scores.run import TRAIN, read_arrays
from asm.tools.export import classifier, formats
from asm.tools.predict import model
from asm.tools.predict.faces import Reader


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained_run.write(tmp_path_factory.mktemp("profile"), features=True)


@pytest.fixture(scope="module")
def faces(run):
    return np.array(store.load(run.parents[1] / "data" / "aligned" / "tiny").faces[:30])


def test_a_compact_file_is_small_and_says_the_same(run, faces, tmp_path, monkeypatch):
    whole = classifier.from_run(run)
    monkeypatch.setattr(formats, "installed_trunk", lambda: whole.frozen.state_dict())
    path = tmp_path / "model.safetensors"
    main(["export", str(run), "--format", "compact", "--out", str(path)])
    stored = load_file(path)
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert not [name for name in stored if name.startswith("frozen.")]
    predict, description = formats.read(path)
    assert description == whole.description
    assert description.run["provenance"]["inputs"]
    np.testing.assert_allclose(predict(faces), formats.predictor(whole)(faces), atol=0.01)


def test_only_a_frozen_network_can_be_left_out(tmp_path):
    pixels = trained_run.write(tmp_path, features=False)
    with pytest.raises(SystemExit, match=r"^error: --format compact: expected a run on a frozen network"):
        main(["export", str(pixels), "--format", "compact", "--out", str(tmp_path / "a.safetensors")])


def test_a_temperature_scales_probabilities_and_thresholds(run, faces, tmp_path):
    plain = classifier.from_run(run)
    path = tmp_path / "model.safetensors"
    main(["export", str(run), "--format", "safetensors", "--temperature", "2.5", "--out", str(path)])
    predict, description = formats.read(path)
    expected = formats.predictor(plain)(faces) ** (1 / 2.5)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(predict(faces), expected, atol=1e-5)
    stored = read_arrays(run / TRAIN)
    scaled = stored["probabilities"] ** (1 / 2.5)
    scaled /= scaled.sum(axis=1, keepdims=True)
    for label, threshold in enumerate(description.thresholds):  # Eq. 1
        right = (stored["given"] == label) & (scaled.argmax(axis=1) == label)
        assert threshold == pytest.approx(scaled[right, label].mean() if right.any() else 0.8, abs=1e-5)
    with pytest.raises(SystemExit, match="--temperature 0"):
        main(["export", str(run), "--temperature", "0"])


def test_the_projection_that_the_features_stage_left_is_used(run, tmp_path, monkeypatch):
    folder = tmp_path / "copy"
    shutil.copytree(run.parents[1], folder)
    fitted = classifier.from_run(folder / "runs" / "tiny").state_dict()
    left = folder / "checkpoints" / "features_tiny" / "projection.npz"
    left.parent.mkdir(parents=True)
    shutil.copy(folder / "work" / "projection.npz", left)
    monkeypatch.setattr(classifier, "fit_projection", None)
    again = classifier.from_run(folder / "runs" / "tiny").state_dict()
    assert all(torch.equal(fitted[name], again[name]) for name in fitted)
    with np.load(left) as parts:
        np.savez(left, **{**parts, "mean": parts["mean"] + 1})
    with pytest.raises(InputError, match="made of other faces or weights"):
        classifier.from_run(folder / "runs" / "tiny")


def test_the_network_of_the_package_computes_what_the_initial_weights_do(tmp_path, monkeypatch):
    made = made_dlib.write(tmp_path / "made.dat", *made_dlib.random_layers())
    monkeypatch.setattr(dlib, "installed_file", lambda: made)
    images, *_ = render_action_units(12, size=112, seed=1, workers=1)
    initial = dlib.as_backbone(dlib.read(made)[0], torch.from_numpy(images[:8]))
    seen = evaluation_view(torch.from_numpy(images[8:]))
    maps = []
    for state in (initial, classifier.installed_trunk()):
        network = backbones.build("dlib29", 1, 32, state, head_seed=0).eval()
        with torch.inference_mode():
            maps.append(network.feature_map(seen))
    assert float(maps[0].abs().mean()) > 0.01
    torch.testing.assert_close(maps[1], maps[0], rtol=1e-3, atol=1e-4 * float(maps[0].abs().max()))


def test_a_profiles_best_run_is_chosen_by_validation(run, tmp_path, monkeypatch, capsys):
    figures = {"a_low": (0.60, 0.50), "b_best": (0.70, 0.65), "c_unfair": (0.72, 0.60)}
    for name, valid in figures.items():
        copy = tmp_path / "profiles" / "mine" / "runs" / name
        shutil.copytree(run, copy)
        history = pd.read_csv(copy / "history.csv")
        history.loc[history.index[:-1], list(model.MEASURES)] = 0.9  # earlier epochs do not count
        history.loc[history.index[-1], list(model.MEASURES)] = valid
        history.to_csv(copy / "history.csv", index=False)
    monkeypatch.chdir(tmp_path)
    chosen = tmp_path / "profiles" / "mine" / "runs" / "b_best"
    for named in ("mine", "profiles/mine"):
        assert (tmp_path / model.best_run(model.Path(named))).samefile(chosen)
    printed = capsys.readouterr().out
    assert "the best of 3 on validation images: accuracy 70.0 %, mean class accuracy 65.0 %" in printed
    for path in (tmp_path / "profiles" / "mine" / "runs").glob("*/history.csv"):
        pd.read_csv(path).drop(columns=list(model.MEASURES)).to_csv(path, index=False)
    with pytest.raises(InputError, match=r"mine/runs: no finished run .* name one with --weights"):
        model.best_run(model.Path("mine"))


# --- the model in the package -------------------------------------------------------------------------------

needs_dlib = pytest.mark.skipif(
    importlib.util.find_spec(dlib.PACKAGE) is None, reason=f"no dlib weights here: {dlib.INSTALL}"
)


def test_the_models_file_is_small_and_says_what_it_is(tmp_path, monkeypatch):
    assert model.SHIPPED.stat().st_size < 5e6
    Image.new("L", (60, 60)).save(tmp_path / "a.png")
    monkeypatch.setattr(dlib, "PACKAGE", "not_installed_anywhere")
    with pytest.raises(SystemExit, match=r"^error: .*face-recognition-models is not installed; pip install"):
        main(["predict", str(tmp_path / "a.png"), "--out", str(tmp_path / "out")])


@needs_dlib
def test_rendered_expressions_are_read_without_naming_a_model(tmp_path, monkeypatch):
    """A weak check, of faces that look like none it was trained on: joy, surprise and no expression."""
    monkeypatch.chdir(tmp_path)
    names = ("neutral", "happiness", "surprise")
    picture = Image.new("RGB", (40 + 170 * len(names), 200), (128, 128, 128))
    for number, name in enumerate(names):
        face = rendered_clip.face(7, {name: 1.0}, photograph=3)
        picture.paste(Image.fromarray(face), (20 + 170 * number, 20))
    picture.save("three.png")
    main(["predict", "three.png"])
    table = pd.read_csv("predictions/predictions.csv")
    assert table["expression"].tolist() == list(names)


@needs_dlib
def test_probabilities_follow_a_clip_whose_expressions_are_known(tmp_path):
    predict, description = model.load(model.SHIPPED)
    reader = Reader(predict, description, 40, "cpu")
    assert description.classes[1] == "happiness"
    order, truth, seen = ("happiness", "surprise"), [], []
    for number in range(16):
        shown = rendered_clip.intensities(number / 4, order)
        truth.append([shown.get(name, 0.0) for name in order])
        ((_, probs),) = reader([rendered_clip.face(7, shown, photograph=3)])
        seen.append(probs[0, [description.classes.index(name) for name in order]])
    for k in range(len(order)):
        assert np.corrcoef(np.array(truth)[:, k], np.array(seen)[:, k])[0, 1] > 0.7
