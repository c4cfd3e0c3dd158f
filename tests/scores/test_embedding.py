"""t-SNE keeps neighbours together, repeats itself, and its file joins features, labels and subsets by row."""

import numpy as np
import pytest
from made_run import GIVEN, SUBSETS, TEST_TRUE, TRUE, write_run

from asm.basics.errors import InputError
from asm.scores.embedding import embed, embed_run

CHOSEN = np.array([1, 2, 5])  # the training samples whose features are stored


@pytest.fixture(params=[2, 1], ids=["mines", "does not mine"])
def run(tmp_path, request):
    """The made-up run with features; with one network it is of a method that does not mine."""
    write_run(tmp_path / "run", networks=request.param)
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "run" / "features.npz",
        test=rng.normal(size=(5, 8)).astype(np.float32),
        test_subset=np.array([0, 1, 2, 0, 1] if request.param == 2 else [], np.int8),
        train=rng.normal(size=(3, 8)).astype(np.float32),
        train_rows=CHOSEN,
    )
    return tmp_path / "run"


def clusters(size: int = 25) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    label = np.arange(3 * size) % 3
    return (8 * np.eye(3, 16)[label] + rng.normal(size=(3 * size, 16))).astype(np.float32), label


def test_neighbours_stay_neighbours():
    features, label = clusters()
    xy = embed(features)
    assert xy.shape == (75, 2)
    assert xy.dtype == np.float32
    distance = np.linalg.norm(xy[:, None] - xy[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (label[distance.argmin(1)] == label).all()


def test_it_repeats_itself_to_the_bit():
    features, _ = clusters(8)
    assert embed(features).tobytes() == embed(features).tobytes()


@pytest.mark.parametrize("n", [2, 3, 5])
def test_few_samples_still_have_places_of_their_own(n):
    xy = embed(np.random.default_rng(n).normal(size=(n, 8)).astype(np.float32))
    assert np.isfinite(xy).all()
    assert len(np.unique(xy, axis=0)) == n


@pytest.mark.parametrize("features", [np.ones((20, 8)), np.zeros((20, 8)), np.arange(8.0)[None]])
def test_features_without_spread_lie_in_one_place(features):
    assert embed(features.astype(np.float32)).tolist() == [[0, 0]] * len(features)


def test_the_file_joins_every_part_by_row(run, tmp_path):
    embed_run(run, tmp_path / "new" / "folder" / "tiny.npz")
    found = np.load(tmp_path / "new" / "folder" / "tiny.npz")
    stored = np.load(run / "features.npz")
    mines = len(stored["test_subset"]) > 0
    assert found["test_xy"].tobytes() == embed(stored["test"]).tobytes()
    assert found["train_xy"].tobytes() == embed(stored["train"]).tobytes()
    assert found["test_true"].tolist() == TEST_TRUE.tolist()
    assert found["test_predicted"].tolist() == [0, 2, 1, 1, 0]  # of the last epoch
    assert found["test_subset"].tolist() == ([0, 1, 2, 0, 1] if mines else [-1] * 5)
    assert found["train_given"].tolist() == GIVEN[CHOSEN].tolist()
    assert found["train_true"].tolist() == TRUE[CHOSEN].tolist()
    assert found["train_subset"].tolist() == (SUBSETS[-1][CHOSEN].tolist() if mines else [-1] * 3)
    assert found["train_subset"].dtype == found["test_subset"].dtype == np.int8
    assert found["classes"].tolist() == ["a", "b", "c"]
    assert found["subsets"].tolist() == ["clean", "ambiguous", "noisy"]


@pytest.mark.parametrize(
    "name", ["features.npz", "test_predictions.npz", "train_predictions.npz", "run.json"]
)
def test_an_incomplete_run_is_named_and_leaves_no_file(run, tmp_path, name):
    (run / name).unlink()
    with pytest.raises(InputError, match=f"{name}: not found; the run is incomplete"):
        embed_run(run, tmp_path / "tiny.npz")
    assert not (tmp_path / "tiny.npz").exists()
