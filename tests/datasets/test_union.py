import numpy as np
import pandas as pd
import pytest

from asm.basics.errors import InputError
from asm.datasets import load
from asm.faces import store
from asm.faces.process import align_dataset
from asm.parts.batches import cell_data


@pytest.fixture
def parts(tmp_path, picture):
    """Two folders of images, one image of each class in every split, of shades 10, 20, … and 110, 120, …

    A part's rows are sorted by the classes' names, but its ids are in the order of `options`.
    """
    for start, name, classes in ((10, "a", ("fear", "happy", "sad")), (110, "b", ("happy", "sad"))):
        for i, split in enumerate(("train", "valid", "test")):
            for k, kind in enumerate(classes):
                picture(tmp_path / name / split / kind / "x.png", start + 10 * (len(classes) * i + k))
    return {
        "a": {"source": "folder", "root": f"{tmp_path}/a", "options": {"classes": ["happy", "sad", "fear"]}},
        "b": {"source": "folder", "root": f"{tmp_path}/b", "options": {"classes": ["sad", "happy"]}},
    }


def test_training_samples_of_all_parts_and_tests_of_the_named_ones(tmp_path, parts):
    data = load("union", tmp_path, parts=parts, test=["b"])
    assert data.name == "union"
    assert data.table.columns.tolist() == ["id", "path", "split", "true", "origin"]
    assert data.table.split.tolist() == ["train"] * 5 + ["valid"] * 2 + ["test"] * 2
    assert data.table.origin.tolist() == ["a"] * 3 + ["b"] * 6
    assert data.table.index.tolist() == list(range(9))
    # classes are the first part's, the others are joined by name: a's rows are fear, happy, sad; b's happy,
    # sad, which are 1 and 0 in b itself
    assert data.classes == ("happy", "sad", "fear")
    assert data.table.true.tolist() == [2, 0, 1, 0, 1, 0, 1, 0, 1]
    assert data.table.id[0] == "a/train/fear/x.png"
    assert data.table.id[4] == "b/train/sad/x.png"
    assert data.table.path.tolist() == data.table.id.tolist()  # the folders have the parts' names here
    assert [int(data.read(row)[0, 0]) for row in range(9)] == [10, 20, 30, 110, 120, 130, 140, 150, 160]


def test_by_default_every_part_is_tested(tmp_path, parts):
    table = load("union", tmp_path, parts=parts).table
    splits = table.groupby("origin", sort=False).split.apply(list).tolist()
    assert splits == [[name for name in ("train", "valid", "test") for _ in range(n)] for n in (3, 2)]


def test_a_part_whose_classes_the_first_lacks_is_refused_with_the_remedy(tmp_path, parts):
    with pytest.raises(
        InputError, match=r"a has the classes fear, which b, the first part, lacks; it has sad, happy\. Put"
    ):
        load("union", tmp_path, parts={"b": parts["b"], "a": parts["a"]})


def test_affectnet_without_contempt_and_rafdb_share_their_classes(tmp_path, picture):
    affectnet, rafdb = tmp_path / "affectnet", tmp_path / "rafdb"
    rows = [f"d/{k}.jpg,{k}" for k in range(7)]
    for file in ("training.csv", "validation.csv"):
        affectnet.mkdir(exist_ok=True)
        (affectnet / file).write_text("\n".join(["subDirectory_filePath,expression", *rows]))
    for k in range(7):
        picture(affectnet / "Manually_Annotated_Images" / "d" / f"{k}.jpg")
    names = [f"train_{k}.jpg {k}" for k in range(1, 8)] + ["test_1.jpg 4"]
    (rafdb / "EmoLabel").mkdir(parents=True)
    (rafdb / "EmoLabel" / "list_patition_label.txt").write_text("\n".join(names))
    for name in names:
        picture(rafdb / "Image" / "aligned" / f"{name.split('.')[0]}_aligned.jpg")
    data = load(
        "union",
        tmp_path,
        parts={
            "affectnet": {"source": "affectnet", "root": str(affectnet), "options": {"num_classes": 7}},
            "rafdb": {"source": "rafdb", "root": str(rafdb)},
        },
        test=["rafdb"],
    )
    assert data.classes == ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger")
    of_rafdb = data.table[data.table.origin == "rafdb"]
    # RAF-DB's surprise, fear, disgust, happiness, sadness, anger, neutral; then its one test image, happiness
    assert of_rafdb.true.tolist() == [3, 4, 5, 1, 2, 6, 0, 1]
    assert of_rafdb.id.iloc[0] == "rafdb/train_1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parts": {}}, "union: options: parts: .*at least 2"),
        ({"test": ["c"]}, "union: test: c not among the parts; expected a, b"),
        ({"test": []}, "union: options: test: .*at least 1"),
        ({"rooot": "x"}, r"parts\.b\.rooot: unknown key; known here: options, root, source"),
        ({"root": "/elsewhere"}, r"parts\.b\.root: expected .* or a folder under it, found /elsewhere"),
        ({"source": "jaffe"}, r"parts\.b: unknown data set source 'jaffe'"),
        ({"options": {"rule": "any"}}, r"parts\.b: folder: unknown option rule"),
        ({"options": {"classes": ["sad"]}}, r"parts\.b: folder: .*happy is no folder of a class"),
    ],
)
def test_bad_options_of_the_union_or_a_part_are_named(tmp_path, parts, change, message):
    if not set(change) <= {"parts", "test"}:
        change = {"parts": {**parts, "b": {**parts["b"], **change}}}
    with pytest.raises(InputError, match=message):
        load("union", tmp_path, **{"parts": parts, **change})


def test_a_part_that_only_seems_to_lie_under_the_root_is_refused(tmp_path, parts):
    """DVC would not notice a change in it."""
    root = tmp_path / "watched"
    (root / "a").mkdir(parents=True)
    parts = {name: {**part, "root": f"{root}/../{name}"} for name, part in parts.items()}
    with pytest.raises(
        InputError, match=r"parts\.a\.root: expected .*watched or a folder .* found .*/\.\./a\. DVC"
    ):
        load("union", root, parts=parts)


def test_a_root_may_itself_lead_upwards(tmp_path, parts, monkeypatch):
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    parts = {name: {**part, "root": f"../{name}"} for name, part in parts.items()}
    assert len(load("union", "..", parts=parts).table) == 15


def test_the_origin_outlives_alignment_and_reaches_the_samples(tmp_path, parts):
    """Also where an image cannot be read and its row falls out."""
    data = load("union", tmp_path, parts=parts, test=["b"])
    (tmp_path / "b" / "valid" / "sad" / "x.png").write_text("no image")
    options = {"size": 4, "detect": False, "pad": 0.0, "upscale": 1.0, "batch_size": 4, "workers": 1}
    align_dataset(data, out=tmp_path / "aligned", work=tmp_path / "work", **options)
    aligned = store.load(tmp_path / "aligned")
    assert aligned.manifest["origin"].tolist() == ["a"] * 3 + ["b"] * 5
    train = aligned.manifest[aligned.manifest["split"] == "train"]
    labels = pd.DataFrame({"id": train["id"], "given": train["true"], "true": train["true"]})
    data = cell_data(aligned, labels)
    assert data.train.origin.tolist() == [0, 0, 0, 1, 1]
    assert data.test.origin.tolist() == [1, 1]
    np.testing.assert_array_equal(data.train.faces[:][:, 0, 0, 0], [10, 20, 30, 110, 120])
