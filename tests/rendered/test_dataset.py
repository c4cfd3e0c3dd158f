from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from facenet_pytorch import MTCNN

from asm.basics.errors import InputError
from asm.rendered import CLASSES, dataset
from asm.rendered.anatomy import ACTION_UNITS
from asm.rendered.sampling import sample_expression, sample_identity

COUNTS = {"train": 70, "valid": 21, "test": 35}
OF = {name: i for i, name in enumerate(CLASSES)}
UNIT = {name: i for i, name in enumerate(ACTION_UNITS)}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("synthetic")
    dataset.render_dataset(path, **COUNTS, seed=1, workers=1)
    return path


@pytest.fixture(scope="module")
def table(root) -> pd.DataFrame:
    return pd.read_csv(root / "manifest.csv")


def test_every_picture_is_another(root, table):
    images = np.load(root / "images.npy")
    assert images.shape == (126, 112, 112, 3)
    assert images.dtype == np.uint8
    assert np.load(root / "landmarks.npy").shape == (126, 5, 2)
    assert table.path[9] == "images.npy[9]"
    assert len(np.unique(images.reshape(126, -1), axis=0)) == 126


def test_classes_are_balanced_and_identities_belong_to_one_split(table):
    for split, count in COUNTS.items():
        assert table[table.split == split].true.value_counts().tolist() == [count // 7] * 7
    assert (table.groupby("identity").split.nunique() == 1).all()
    assert (table.groupby("identity").true.nunique() == 7).all()


def test_one_picture_in_ten_is_a_known_blend(table):
    for _, rows in table.groupby("split"):
        blends = rows[rows.ambiguous]
        assert len(blends) == round(0.1 * len(rows))
        assert blends.mixture.between(0.5, 0.62).all()
        assert (blends.second_label != blends.true).all()
        assert blends.second_label.between(0, 6).all()
        rest = rows[~rows.ambiguous]
        assert (rest.mixture == 1).all()
        assert (rest.second_label == -1).all()


def test_the_share_of_blends_is_the_asked_one(tmp_path):
    dataset.render_dataset(
        tmp_path, train=20, valid=0, test=10, seed=0, size=32, ambiguous_share=0.5, workers=1
    )
    table = pd.read_csv(tmp_path / "manifest.csv")
    assert table.groupby("split").ambiguous.sum().to_dict() == {"train": 10, "test": 5}


def test_workers_do_not_change_the_result(root, tmp_path):
    dataset.render_dataset(tmp_path, **COUNTS, seed=1, workers=2)
    for name in ("images.npy", "landmarks.npy", "manifest.csv"):
        assert (tmp_path / name).read_bytes() == (root / name).read_bytes()


def test_another_seed_is_another_data_set(root, tmp_path):
    dataset.render_dataset(tmp_path, train=7, valid=0, test=0, seed=2, workers=1)
    one, other = np.load(root / "images.npy")[:7].astype(int), np.load(tmp_path / "images.npy")
    assert (np.abs(one - other).mean((1, 2, 3)) > 5).all()


def test_a_rare_class_is_the_same_data_set_with_fewer_training_images_of_it(tmp_path):
    counts = {"train": 70, "valid": 0, "test": 14}
    dataset.render_dataset(tmp_path / "all", **counts, size=32, seed=3, workers=1)
    dataset.render_dataset(tmp_path / "rare", **counts, size=32, seed=3, workers=1, keep={"disgust": 0.25})
    every, rare = (pd.read_csv(tmp_path / name / "manifest.csv") for name in ("all", "rare"))
    disgust = CLASSES.index("disgust")
    kept = every["id"].isin(rare["id"]).to_numpy()
    assert set(every[~kept]["split"]) == {"train"}
    assert set(every[~kept]["true"]) == {disgust}
    train = rare[rare["split"] == "train"]
    assert np.bincount(train["true"]).tolist() == [10 if k != disgust else 2 for k in range(len(CLASSES))]
    pictures = np.load(tmp_path / "all" / "images.npy")[kept]
    assert np.array_equal(np.load(tmp_path / "rare" / "images.npy"), pictures)
    assert rare["path"].tolist() == [f"images.npy[{row}]" for row in range(len(rare))]


def test_an_identity_keeps_its_looks_and_is_nobody_else():
    def person(*seed: int):
        return sample_identity(np.random.default_rng(seed))

    assert person(1, 2) == person(1, 2)
    people = [
        person(dataset._DATASET, 0, dataset._IDENTITY, split, i) for split in range(3) for i in range(40)
    ]
    people += [person(dataset._PRETRAINING, 0, dataset._IDENTITY, i) for i in range(40)]
    assert len({who.texture for who in people}) == 160


def test_pretraining_faces_come_with_the_units_they_were_drawn_with():
    images, units, landmarks = dataset.render_action_units(40, size=48, seed=0, workers=1)
    assert images.shape == (40, 48, 48, 3)
    assert units.shape == (40, len(ACTION_UNITS))
    assert units.dtype == np.float32
    again = dataset.render_action_units(40, size=48, seed=0, workers=2)
    for one, other in zip((images, units, landmarks), again, strict=True):
        assert np.array_equal(one, other)
    # every unit occurs, and shows: smiling mouths have raised corners
    assert (units.max(0) > 0.3).all()
    iod = np.linalg.norm(landmarks[:, 1] - landmarks[:, 0], axis=1)
    width = np.linalg.norm(landmarks[:, 4] - landmarks[:, 3], axis=1) / iod
    stretch = units[:, UNIT["AU12"]] + units[:, UNIT["AU20"]]
    assert np.corrcoef(width, stretch)[0, 1] > 0.8


def test_expressions_are_made_of_their_action_units():
    rng = np.random.default_rng(0)
    mean = {
        name: np.mean([sample_expression(rng, k, -1, 1.0) for _ in range(60)], 0) for name, k in OF.items()
    }
    assert mean["happiness"][UNIT["AU12"]] > 0.6
    assert mean["sadness"][UNIT["AU15"]] > 0.6
    assert mean["anger"][UNIT["AU4"]] > 0.6
    assert mean["disgust"][UNIT["AU9"]] > 0.6
    assert mean["surprise"][UNIT["AU26"]] > mean["fear"][UNIT["AU26"]] + 0.2
    assert mean["fear"][UNIT["AU20"]] > 0.6
    assert np.abs(mean["neutral"]).max() < 0.1


def test_a_blend_lies_between_its_two_expressions():
    rng = np.random.default_rng(0)
    happy, angry = OF["happiness"], OF["anger"]
    blend = np.mean([sample_expression(rng, happy, angry, 0.6) for _ in range(100)], 0)
    alone = np.mean([sample_expression(rng, happy, -1, 1.0) for _ in range(100)], 0)
    other = np.mean([sample_expression(rng, angry, -1, 1.0) for _ in range(100)], 0)
    np.testing.assert_allclose(blend, 0.6 * alone + 0.4 * other, atol=0.08)


def test_mtcnn_finds_the_faces_where_they_are(root):
    images, truth = np.load(root / "images.npy")[::5], np.load(root / "landmarks.npy")[::5]
    torch.set_num_threads(1)
    detector = MTCNN(device="cpu", min_face_size=39.8)
    boxes, _, points = detector.detect(list(images), landmarks=True)
    assert all(box is not None for box in boxes)
    found = np.stack([np.asarray(p[0], np.float32) for p in points])
    iod = np.linalg.norm(truth[:, 1] - truth[:, 0], axis=1)
    error = np.linalg.norm(found - truth, axis=2) / iod[:, None]
    assert error.mean() < 0.12


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"train": -1}, "train images must be at least 0"),
        ({"train": 0, "test": 0}, "at least one image"),
        ({"size": 8}, "size must be at least 32"),
        ({"seed": -3}, "seed must be at least 0"),
        ({"ambiguous_share": 1.5}, "ambiguous_share must be within 0..1, found 1.5"),
        ({"keep": {"disgust": 0}}, "keep: disgust: 0: expected one of neutral, .* a share above 0"),
        ({"keep": {"rage": 0.5}}, "keep: rage: 0.5: expected one of neutral"),
    ],
)
def test_impossible_requests_are_refused(tmp_path, wrong, message):
    with pytest.raises(InputError, match=message):
        dataset.render_dataset(tmp_path / "x", **{"train": 7, "valid": 0, "test": 7, "seed": 0, **wrong})
    assert not (tmp_path / "x").exists()


def test_no_pretraining_images_is_refused():
    with pytest.raises(InputError, match="pre-training images must be at least 1, found 0"):
        dataset.render_action_units(0, size=48, seed=0)
