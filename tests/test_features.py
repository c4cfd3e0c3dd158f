"""The bank in the making: what each view holds, the projection; interrupted, it ends in the same bytes."""

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import strong_options, weak_options
from torch import Generator, Tensor, nn

from asm.basics.errors import InputError
from asm.faces.store import AlignedFaces
from asm.parts import backbones, bank, views
from asm.training import features
from asm.training.epoch import epoch_seed
from asm.training.features import Features

COUNT, BLOCK = 40, 16  # faces, in three blocks
OPTIONS = {"cells": {1: 2, 2: 1}, "components": 5, "views": 4, "seed": 3}
NO_ERASING = {"erasing": 0.0}


def make_faces(channels: int = 3) -> AlignedFaces:
    """Blocks of noise; four of five are for training, a whole block is not."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (COUNT, 8, 8, channels), dtype=np.uint8)
    split = np.array(["train", "train", "valid", "train", "train"] * 8, dtype=object)
    split[BLOCK : 2 * BLOCK] = "test"
    manifest = pd.DataFrame(
        {
            "id": [f"f{i}" for i in range(COUNT)],
            "path": [f"{i}.png" for i in range(COUNT)],
            "split": split,
            "true": np.arange(COUNT) % 2,
            "face": "as_is",
        }
    )
    pixels = coarse.repeat(4, axis=1).repeat(4, axis=2)
    return AlignedFaces("tiny", ("a", "b"), pixels, manifest, np.zeros((COUNT, 5, 2), np.float32))


@dataclass
class Job:
    """The arguments of `write_bank`, and a network whose statistics are not those of the start."""

    folder: Path
    faces: AlignedFaces = field(default_factory=make_faces)
    network: nn.Module = None
    options: dict = field(default_factory=dict)
    weak: dict = field(default_factory=dict)
    stamp: str = "code"

    def __post_init__(self) -> None:
        if self.network is None:
            self.network = backbones.build("resnet18", 1, 4, None, head_seed=0).train()
            with torch.no_grad():
                self.network(views.evaluation_view(torch.from_numpy(self.faces.faces)))

    def write(self) -> dict:
        self.network.train()  # the bank's making has to see to the mode
        return features.write_bank(
            self.faces,
            self.network,
            Features.model_validate(OPTIONS | self.options),
            weak_options(**self.weak),
            strong_options(),
            self.folder / "bank",
            self.folder / "work",
            torch.device("cpu"),
            self.stamp,
        )

    @property
    def views(self) -> np.ndarray:
        return np.load(self.folder / "bank" / bank.VIEWS)

    @property
    def bytes(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.folder / "bank").iterdir()}

    def train(self) -> np.ndarray:
        return (self.faces.manifest["split"] == "train").to_numpy()

    @torch.inference_mode()
    def pooled(self, images: Tensor) -> Tensor:
        """By hand: the mean over quarters of the first map, and over the whole second."""
        first = self.network.eval().stages[0](self.network.stem(images))
        half = first.shape[2] // 2
        rows = [first[:, :, :half], first[:, :, half:]]
        quarters = [part.mean((2, 3)) for row in rows for part in (row[..., :half], row[..., half:])]
        second = self.network.stages[1](first).mean((2, 3))
        return torch.cat([torch.stack(quarters, dim=2).flatten(1), second], dim=1)

    def projection(self) -> features.Projection:
        faces = torch.from_numpy(self.faces.faces[self.train()])
        return features.fit_projection(self.pooled(views.evaluation_view(faces)).numpy(), 5)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(features, "BLOCK", BLOCK)


@pytest.fixture
def job(tmp_path) -> Job:
    return Job(tmp_path)


def close(found: np.ndarray, expected: np.ndarray) -> None:
    """As two float16 may differ, whose values were computed in other batches."""
    np.testing.assert_allclose(found.astype(np.float32), expected.astype(np.float32), rtol=2e-3, atol=2e-3)


# --- the projection -----------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(20, 80), st.integers(3, 12), st.data())
def test_the_projection_standardises_and_orders(seed, count, width, data):
    """Mean 0, mean variance 1, no correlations, the largest variance first; whatever the features' scales."""
    components = data.draw(st.integers(1, width))
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((count, width)) @ rng.standard_normal((width, width))
    values = (values * 10.0 ** rng.integers(-2, 3, width) + 5).astype(np.float32)
    found = features.fit_projection(values, components)(torch.from_numpy(values)).astype(np.float64)
    assert found.shape == (count, components)
    covariance = np.atleast_2d(np.cov(found, rowvar=False))
    variances = covariance.diagonal()
    np.testing.assert_allclose(found.mean(0), 0, atol=0.02)
    assert variances.mean() == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(covariance - np.diag(variances), 0, atol=0.05)
    assert (np.diff(variances) <= 0.01).all()


def test_a_feature_that_never_changes_counts_for_nothing():
    values = np.random.default_rng(0).standard_normal((30, 4)).astype(np.float32)
    values[:, 2] = 7.0
    projection = features.fit_projection(values, 3)
    found = projection(torch.from_numpy(values))
    assert np.isfinite(found).all()
    values[:, 2] = 8.0
    assert np.isfinite(projection(torch.from_numpy(values))).all()


@pytest.mark.parametrize(("faces", "width"), [(4, 10), (10, 4)])
def test_more_components_than_can_be_had_are_refused(faces, width):
    values = np.random.default_rng(0).standard_normal((faces, width)).astype(np.float32)
    message = rf"features\.components: 5 cannot be had from {faces} training faces with {width} features"
    with pytest.raises(InputError, match=message):
        features.fit_projection(values, 5)
    features.fit_projection(values, 4)


def test_a_map_is_averaged_over_the_cells_and_later_stages_are_not_run(job):
    images = torch.randn(3, 3, 32, 32, generator=Generator().manual_seed(0))
    expected = job.pooled(images)
    job.network.stages[2] = None  # to call it would fail
    with torch.no_grad():
        found = features.pooled(job.network, images, OPTIONS["cells"])
    assert found.shape == (3, 4 * 4 + 8)
    torch.testing.assert_close(found, expected)


# --- the bank -----------------------------------------------------------------------------------------------


def test_the_first_view_is_the_face_as_it_is(job):
    job.write()
    found = job.views
    assert (found.dtype, found.shape) == (np.float16, (COUNT, 9, 5))
    close(found[:, 0], job.projection()(job.pooled(views.evaluation_view(torch.from_numpy(job.faces.faces)))))
    training = found[job.train(), 0].astype(np.float64)
    np.testing.assert_allclose(training.mean(0), 0, atol=0.01)
    assert training.var(0, ddof=1).mean() == pytest.approx(1, abs=0.01)


def test_faces_that_are_not_for_training_have_the_first_view_alone(job):
    job.write()
    train = job.train()
    assert (job.views[~train, 1:] == 0).all()
    assert (job.views[:, 0] != 0).any(axis=1).all()
    assert (job.views[train] != 0).any(axis=2).all()


def test_without_erasing_the_weak_views_are_the_face_and_its_mirror_image(tmp_path):
    job = Job(tmp_path, weak=NO_ERASING)
    job.write()
    found, train = job.views, job.train()
    mirrored = torch.from_numpy(job.faces.faces[:, :, ::-1].copy())
    for upright, flipped in ((1, 2), (3, 4)):
        close(found[train, upright], found[train, 0])
        expected = job.projection()(job.pooled(views.evaluation_view(mirrored)))
        close(found[train, flipped], expected[train])
    assert abs(found[train, 2] - found[train, 0]).max() > 0.1


def test_the_views_of_a_block_are_drawn_from_a_seed_of_its_own(job):
    """Weak pairs first, then strong ones; the last block, which is shorter, by itself."""
    job.write()
    rows = slice(2 * BLOCK, COUNT)
    chosen = job.train()[rows]
    images = torch.from_numpy(job.faces.faces[rows][chosen])
    generator = Generator().manual_seed(epoch_seed(OPTIONS["seed"], rows.start))
    expected = []
    for _ in range(2):
        view = views.weak_view(images, weak_options(flip=0.0), generator)
        expected += [view, view.flip(3)]
    expected += [views.strong_view(images, strong_options(), generator) for _ in range(4)]
    for number, view in enumerate(expected, start=1):
        close(job.views[rows][chosen, number], job.projection()(job.pooled(view)))
    assert len({part.tobytes() for part in job.views[rows][chosen].swapaxes(0, 1)}) == 9


def test_grey_faces_have_features_too(tmp_path):
    job = Job(tmp_path, make_faces(channels=1))
    assert job.write()["faces"] == COUNT
    assert np.isfinite(job.views).all()


def test_what_is_written_can_be_loaded_and_says_what_it_is(job):
    summary = job.write()
    found = bank.load(job.folder / "bank")
    assert (found.name, found.classes) == ("tiny", ("a", "b"))
    pd.testing.assert_frame_equal(found.manifest, job.faces.manifest)
    assert summary == json.loads((job.folder / "bank" / bank.SUMMARY).read_text())
    assert {key: summary[key] for key in ("faces", "views", "components")} == {
        "faces": COUNT,
        "views": 9,
        "components": 5,
    }
    assert summary["sha256"] == hashlib.sha256(np.ascontiguousarray(found.faces).tobytes()).hexdigest()


def test_a_stage_that_the_backbone_does_not_have_is_refused(tmp_path):
    job = Job(tmp_path, options={"cells": {5: 1}})
    with pytest.raises(InputError, match=r"features\.cells: the backbone has 4 stages, found 5"):
        job.write()
    assert not (tmp_path / "bank").exists()
    with pytest.raises(InputError, match=r"features\.components: 20 cannot be had from 19 training faces"):
        Job(tmp_path, options={"components": 20}).write()


# --- interrupted runs ---------------------------------------------------------------------------------------


class Calls:
    """Counts the images that go through the network; stops the run at a call."""

    def __init__(self, monkeypatch) -> None:
        self.real, self.count, self.stop = features.pooled, 0, None
        monkeypatch.setattr(features, "pooled", self)

    def __call__(self, *words):
        if self.count == self.stop:
            raise KeyboardInterrupt
        self.count += 1
        return self.real(*words)

    def of(self, job: Job, stop: int | None = None) -> int:
        """How many there were, up to `stop`."""
        self.count, self.stop = 0, stop
        if stop is None:
            job.write()
        else:
            with pytest.raises(KeyboardInterrupt):
                job.write()
        return self.count


def test_stopped_anywhere_it_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    calls, whole = Calls(monkeypatch), Job(tmp_path / "whole")
    total = calls.of(whole)
    assert total == 2 + (1 + 8) + 1 + (1 + 8)  # projection, blocks; one has no training faces
    left = {1: total, 2: total - 2, 7: total - 2, 11: total - 11, 12: total - 12, 20: total - 12}
    for stop, expected in left.items():
        job = Job(tmp_path / str(stop), network=whole.network)
        calls.of(job, stop)
        assert not (job.folder / "bank").exists()
        assert calls.of(job) == expected  # what was finished is not computed again
        assert job.bytes == whole.bytes


def test_a_block_that_was_half_written_is_written_again(tmp_path, monkeypatch):
    calls, whole = Calls(monkeypatch), Job(tmp_path / "whole")
    calls.of(whole)
    job = Job(tmp_path / "cut", network=whole.network)
    calls.of(job, 11)
    with open(job.folder / "work" / "rows", "ab") as file:
        file.write(b"\1" * 777)
    calls.of(job)
    assert job.bytes == whole.bytes


def changed_pixel(job: Job) -> Job:
    pixels = job.faces.faces.copy()
    pixels[-1, 31, 31, 2] ^= 1
    return replace(job, faces=replace(job.faces, faces=pixels))


def changed_split(job: Job) -> Job:
    manifest = job.faces.manifest.copy()
    manifest.loc[0, "split"] = "valid"
    return replace(job, faces=replace(job.faces, manifest=manifest))


def changed_weights(job: Job) -> Job:
    network = backbones.build("resnet18", 1, 4, job.network.backbone_state(), head_seed=0)
    network.stages[-1][-1].bn2.running_var[-1] += 0.01
    return replace(job, network=network)


@pytest.mark.parametrize("part", ["faces", "split"])
def test_the_stamp_sees_the_last_of_many_faces(job, part):
    faces, split = np.zeros((2500, 2, 2, 3), np.uint8), ["train"] * 2500
    digests = []
    for _ in range(2):
        many = replace(job.faces, faces=faces.copy(), manifest=pd.DataFrame({"split": split}))
        digests.append(features._digest(many, job.network, "code"))
        if part == "faces":
            faces[-1, -1, -1, -1] = 1
        else:
            split[-1] = "valid"
    assert digests[0] != digests[1]


@pytest.mark.parametrize(
    "change",
    [
        lambda job: replace(job, stamp="other code"),
        lambda job: replace(job, options={"seed": 4}),
        lambda job: replace(job, weak={"erasing": 0.4}),
        changed_pixel,
        changed_split,
        changed_weights,
    ],
)
def test_it_goes_on_only_from_a_run_of_the_same(job, monkeypatch, change):
    calls = Calls(monkeypatch)
    calls.of(job, 12)
    other = change(job)
    fresh = change(Job(job.folder / "fresh", network=job.network))
    assert calls.of(other) == calls.of(fresh)
    assert other.bytes == fresh.bytes
