"""dlib's weights: read as they were written, refused where they are not, and the same function afterwards."""

import importlib.util
import re
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path

import made_dlib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from asm.basics.errors import InputError
from asm.parts.backbones.dlib29 import Dlib29
from asm.parts.views import evaluation_view
from asm.parts.weights import dlib
from asm.parts.weights.base import align_rendered
from asm.rendered.dataset import render_action_units

INSTALLED = importlib.util.find_spec(dlib.PACKAGE) is not None
needs_package = pytest.mark.skipif(not INSTALLED, reason=f"no dlib weights here: {dlib.INSTALL}")
Weights = tuple[list[dlib.Layer], np.ndarray]


@pytest.fixture(scope="module")
def made() -> Weights:
    return made_dlib.random_layers()


@pytest.fixture(scope="module")
def whole(made) -> bytes:
    return made_dlib.content(*made)


def is_refused(path: Path, content: bytes, message: str = "") -> None:
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{re.escape(str(path))}: .*{message}"):
        dlib.read(path)


# --- reading ------------------------------------------------------------------------------------------------


def test_what_was_written_is_read_to_the_bit(tmp_path, made):
    layers, embedding = dlib.read(made_dlib.write(tmp_path / "made.dat", *made))
    assert len(layers) == 29
    for found, written in zip(layers, made[0], strict=True):
        for name, value in vars(written).items():
            assert np.array_equal(getattr(found, name), value), name
    assert np.array_equal(embedding, made[1])


def test_a_file_that_is_cut_anywhere_is_refused(tmp_path, whole):
    ends = np.random.default_rng(0).integers(0, len(whole), 12).tolist()
    second = whole.index(b"con_4", whole.index(b"con_4") + 1)
    last = whole.rindex(b"fc_2")
    for end in (0, 1, second - 1, second + 5, second + 6, second + 9, last, last + 4, last + 7, *ends):
        is_refused(tmp_path / "cut.dat", whole[:end], "not dlib's face-recognition network, or damaged")
    is_refused(tmp_path / "cut.dat", whole[:-1], "the embedding is missing")


@pytest.mark.parametrize("number", [1, 8, 29])
def test_a_convolution_of_another_shape_is_named(tmp_path, made, number):
    layers, embedding = list(made[0]), made[1]
    wrong = layers[number - 1]
    layers[number - 1] = replace(wrong, weight=wrong.weight[:-1])
    content = made_dlib.content(layers, embedding)
    is_refused(tmp_path / "x.dat", content, f"convolution {number} of 29 is missing or of another shape")


def test_layers_and_embeddings_of_another_network_are_named(tmp_path, made):
    layers, embedding = made
    path = tmp_path / "x.dat"
    short = [*layers[:3], replace(layers[3], beta=layers[3].beta[:-1]), *layers[4:]]
    is_refused(path, made_dlib.content(short, embedding), "affine layer 4 of 29")
    is_refused(path, made_dlib.content(layers[:28], embedding), "convolution 29 of 29 is missing")
    is_refused(path, made_dlib.content([*layers, layers[-1]], embedding), "more than 29 convolutions")
    is_refused(path, made_dlib.content(layers, embedding[:, :64]), "the embedding")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("part", ["weight", "bias", "gamma", "beta"])
def test_numbers_that_are_none_are_refused(tmp_path, made, part, value):
    layers, embedding = list(made[0]), made[1]
    numbers = getattr(layers[4], part).copy()
    numbers.flat[-1] = value
    layers[4] = replace(layers[4], **{part: numbers})
    is_refused(tmp_path / "x.dat", made_dlib.content(layers, embedding), r"layer 5 of 29|convolution 5 of 29")


def test_another_file_and_none_are_refused(tmp_path, made, whole):
    for content in (b"", b"PK\x03\x04" + bytes(500), b"con_4", b"con_4\x0f", bytes(range(256)) * 50):
        is_refused(tmp_path / "other.dat", content, "convolution 1 of 29 is missing")
    first = made[0][0]
    other = whole.replace(
        made_dlib.tensor(first.weight, first.bias), made_dlib.tensor(first.weight, first.bias, version=1)
    )
    is_refused(tmp_path / "other.dat", other, "convolution 1 of 29")
    for absent in (tmp_path / "absent.dat", tmp_path):
        with pytest.raises(InputError, match=r"no such weights file; pip install '\.\[faces\]'"):
            dlib.read(absent)


@given(st.integers(-(2**120) + 1, 2**120 - 1), st.binary(max_size=5), st.binary(max_size=5))
def test_integers_are_read_as_dlib_writes_them(value, before, after):
    written = made_dlib.integer(value)
    content = before + written + after
    assert dlib._integer(content, len(before)) == (value, len(before) + len(written))
    with pytest.raises(IndexError):
        dlib._integer(before + written[:-1], len(before))


def test_a_package_that_is_not_there_is_named_with_the_command(tmp_path, monkeypatch):
    spec = ModuleSpec(dlib.PACKAGE, None, is_package=True)
    spec.submodule_search_locations.append(str(tmp_path))
    for found in (None, spec):  # not installed; installed without the file
        monkeypatch.setattr(importlib.util, "find_spec", lambda _, found=found: found)
        with pytest.raises(InputError, match=r"pip install '\.\[faces\]' installs it"):
            dlib.installed_file()
    (tmp_path / dlib.FILE).parent.mkdir()
    (tmp_path / dlib.FILE).write_bytes(b"x")
    assert dlib.installed_file() == tmp_path / dlib.FILE


# --- the network --------------------------------------------------------------------------------------------


def rendered(count: int, size: int) -> Tensor:
    images, _, landmarks = render_action_units(count, size=112, seed=0, workers=1)
    return align_rendered(images, landmarks, size, 0.045, 0)


@pytest.fixture(scope="module")
def faces() -> Tensor:
    """24 rendered faces as dlib's network takes them."""
    return rendered(24, 150)


@pytest.fixture(scope="module")
def published() -> Weights:
    return dlib.read(dlib.installed_file())


def converted(layers: list[dlib.Layer], faces: Tensor) -> Dlib29:
    network = Dlib29(1)
    state = dlib.as_backbone(layers, faces)
    assert set(state) == set(network.backbone_state())
    network.load_state_dict(state, strict=False)
    return network.eval()


@torch.inference_mode()
def same_function(layers: list[dlib.Layer], faces: Tensor) -> None:
    """Up to the last block, and on other faces of another size than the BatchNorms were fitted to."""
    for shown in (faces[:4], faces[:4, :113, :112]):
        expected = made_dlib.plain_map(layers, made_dlib.dlibs_own_input(shown), blocks=13)
        found = converted(layers, faces[8:16]).feature_map(evaluation_view(shown))
        assert found.shape == expected.shape
        assert expected.abs().mean() > 0.01
        assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def test_converted_weights_are_the_same_function(made, faces):
    same_function(made[0], faces)


@needs_package
def test_the_published_weights_are_the_same_function(published, faces):
    same_function(published[0], faces)


def test_a_batch_norm_starts_with_the_statistics_of_its_convolution(made, faces):
    """So that to train it changes little at first: on these faces, training and evaluation mode agree."""
    network = converted(made[0], faces[:8])
    images = evaluation_view(faces[:8])
    with torch.no_grad():
        expected = network.feature_map(images)
        found = network.train().feature_map(images)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    assert not torch.equal(found, expected)


# Of three faces, the first four numbers, computed by dlib itself
EMBEDDINGS = [
    [-0.166910, 0.113938, 0.085223, -0.049441],
    [-0.123128, 0.102103, 0.096840, 0.017377],
    [-0.159076, 0.187860, 0.097862, 0.064843],
]


def embedded(weights: Weights, faces: Tensor) -> Tensor:
    """With the last block and the map to the embedding put back: what dlib describes a face by."""
    layers, embedding = weights
    with torch.inference_mode():
        seen = converted(layers, faces[:2, :112, :112]).feature_map(evaluation_view(faces))
        return made_dlib.plain_block(layers[27:], seen, down=True).mean((2, 3)) @ torch.from_numpy(embedding)


@needs_package
def test_embeddings_are_the_committed_ones(published, faces):
    found = embedded(published, faces[:3])[:, :4]
    torch.testing.assert_close(found, torch.tensor(EMBEDDINGS), rtol=0, atol=1e-4)


@needs_package
def test_embeddings_are_those_of_dlib(published, faces):
    theirs = pytest.importorskip("dlib", reason="dlib itself is not installed: pip install dlib-bin")
    model = theirs.face_recognition_model_v1(str(dlib.installed_file()))
    expected = torch.tensor([list(model.compute_face_descriptor(face.numpy())) for face in faces[:12]])
    torch.testing.assert_close(embedded(published, faces[:12]), expected, rtol=0, atol=1e-6)
