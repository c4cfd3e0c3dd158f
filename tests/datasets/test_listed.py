"""Csv files in others' columns, votes, boxes, absent images."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from asm.basics.errors import InputError
from asm.datasets import load
from asm.scores.label_quality import vote_entropy, votes_of


def write(root, picture, name, header, *rows, images=()):
    (root / name).write_text("\n".join([header, *rows, ""]))
    for k, image in enumerate(images):
        picture(root / image, 10 * k)


def test_columns_by_name_of_several_files(tmp_path, picture):
    """A column may be a part of the path; numbers as names of images keep their zeros."""
    write(
        tmp_path,
        picture,
        "a.csv",
        ",id,emotion",
        "0,001,sad",
        "1,002,happy",
        images=["f/001.png", "f/002.png"],
    )
    write(tmp_path, picture, "b.csv", "emotion,id", "sad,003", images=["f/003.png", "f/4.png"])
    options = {
        "csv": {"train": "a.csv", "test": "b.csv"},
        "columns": {"path": "f/{id}.png", "label": "emotion"},
    }
    data = load("folder", tmp_path, **options)
    assert data.table.path.tolist() == ["f/001.png", "f/002.png", "f/003.png"]
    assert [data.classes[k] for k in data.table.true] == ["sad", "happy", "sad"]
    assert data.table.split.tolist() == ["train", "train", "test"]
    assert data.left_out == {"f/4.png": "not in a.csv and b.csv"}
    with pytest.raises(InputError, match=r"b.csv: no column mood; .*the option `columns`"):
        load(
            "folder", tmp_path, csv=["b.csv"], columns={"path": "f/{id}.png", "label": "mood"}, test_share=0.5
        )


def test_kaggle_affectnet(tmp_path, picture):
    images = [f"{name}/image{k}.jpg" for name in ("anger", "happy") for k in range(5)]
    rows = [f"{k},{path},{path.partition('/')[0]},0.8{k}" for k, path in enumerate(images)]
    write(tmp_path, picture, "labels.csv", ",pth,label,relFCs", *rows, images=images)
    with pytest.raises(InputError, match=r"no column split; .*`test_share: 0.2` makes one"):
        load("folder", tmp_path)
    data = load("folder", tmp_path, test_share=0.2)
    assert data.table.path.tolist() == images
    assert data.table.true.tolist() == [0] * 5 + [1] * 5
    assert data.table[data.table.split == "test"].true.tolist() == [0, 1]


def test_kaggle_rafdb(tmp_path, picture):
    images = {"train": [], "test": []}
    for split, paths in images.items():
        rows = []
        for label in range(1, 8):
            rows.append(f"{split}_{label}_aligned.jpg,{label}")
            paths.append(f"DATASET/{split}/{label}/{split}_{label}_aligned.jpg")
        write(tmp_path, picture, f"{split}_labels.csv", "image,label", *rows, images=paths)
    data = load(
        "folder",
        tmp_path,
        classes=["surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"],
    )
    assert data.table.path.tolist() == images["train"] + images["test"]
    assert data.table.true.tolist() == [*range(7), *range(7)]
    assert load("folder", tmp_path).classes == tuple(sorted(data.classes))


HEADER = "annotation_id,annotator,choice,created_at,id,image,lead_time,updated_at"


def exported(number, annotator, choice, image):
    return f"{number},{annotator},{choice},2026-01-01T00:00:00Z,{number},{image},3.2,2026-01-01T00:00:00Z"


def test_label_studio_with_several_annotators(tmp_path, picture):
    """Their labels are votes; those of an image on which they do not agree leave it out."""
    up = "/data/upload/3/1a2b3c4d-"
    rows = [
        exported(1, 1, "sad", f"{up}a%20b.png"),
        exported(2, 2, "sad", f"{up}a%20b.png"),
        exported(3, 3, "happy", f"{up}a%20b.png"),
        exported(4, 1, "happy", "/data/local-files/?d=set/photos/c.png"),
        exported(5, 1, "sad", f"{up}d.png"),
        exported(6, 2, "happy", f"{up}d.png"),
        exported(7, 1, "sad", f"{up}e.png"),
        exported(8, 1, "happy", f"{up}f.png"),
    ]  # fmt: skip
    images = [
        "photos/a b.png",
        "photos/c.png",
        "photos/d.png",
        "1a2b3c4d-e.png",
        "photos/f.png",
        "other/c.png",
    ]
    write(tmp_path, picture, "project-1-at-2026-01-01-00-00-0a1b2c3d.csv", HEADER, *rows, images=images)
    data = load("folder", tmp_path, test_share=0.5)
    assert data.classes == ("happy", "sad")
    found = data.table.set_index("path")
    assert found.true.to_dict() == {
        "photos/a b.png": 1,
        "photos/c.png": 0,
        "1a2b3c4d-e.png": 1,
        "photos/f.png": 0,
    }
    assert found.loc["photos/a b.png", ["votes_happy", "votes_sad"]].tolist() == [1, 2]
    assert data.left_out["photos/d.png"] == "its votes are tied"
    rows.append(exported(9, 1, "happy", f"{up}c.png"))
    write(tmp_path, picture, "project-1-at-2026-01-01-00-00-0a1b2c3d.csv", HEADER, *rows)
    with pytest.raises(InputError, match=r"row 10: .*c.png' may be .*photos/c.png.*; keep one"):
        load("folder", tmp_path, test_share=0.5)


def test_one_annotator_twice_is_refused(tmp_path, picture):
    rows = [exported(k, 1, "sad", "/data/upload/1/1a2b3c4d-a.png") for k in range(2)]
    write(tmp_path, picture, "labels.csv", HEADER, *rows, images=["a.png"])
    with pytest.raises(InputError, match=r"row 3: '1' has labelled 'a.png' before. Keep one"):
        load("folder", tmp_path, test_share=0.5)


@pytest.mark.parametrize(
    ("rows", "entropies"),
    [
        (["a.png,10,0,train", "b.png,2,8,train", "c.png,5,5,test", "d.png,0,10,test"], [0, 0.5004, 0]),
        (["a.png,1.0,0,train", "b.png,.2,.8,train", "c.png,.5,.5,test", "d.png,0,1,test"], [0, 0.5004, 0]),
    ],
)
def test_votes_and_soft_labels(tmp_path, picture, rows, entropies):
    """The label is the majority's; the entropy is what the label-quality tables know of it."""
    images = [f"{k}.png" for k in "abcd"]
    write(tmp_path, picture, "labels.csv", "path,votes_sad,votes_happy,split", *rows, images=images)
    data = load("folder", tmp_path)
    assert [data.classes[k] for k in data.table.true] == ["sad", "happy", "happy"]
    assert data.left_out == {"c.png": "its votes are tied"}
    assert vote_entropy(votes_of(data.table)) == pytest.approx(entropies, abs=1e-4)
    assert votes_of(data.table).sum(axis=1).tolist() == [10, 10, 10]


def test_one_hot_labels_are_labels(tmp_path, picture):
    rows = ["a.png,1,0,train", "b.png,0,1,train", "c.png,0,1,test"]
    write(tmp_path, picture, "labels.csv", "path,sad,happy,split", *rows, images=["a.png", "b.png", "c.png"])
    data = load("folder", tmp_path, columns={"votes": ["sad", "happy"]})
    assert [data.classes[k] for k in data.table.true] == ["sad", "happy", "happy"]
    assert votes_of(data.table) is None


def test_several_faces_of_one_image(tmp_path):
    """Each is the part of the image around its box."""
    pixels = np.zeros((40, 60), np.uint8)
    pixels[10:20, 10:20], pixels[10:20, 40:50] = 100, 200
    Image.fromarray(pixels).save(tmp_path / "a.png")
    rows = ["a.png,sad,train,10,10,10,10", "a.png,happy,train,40,10,10,10", "a.png,sad,test,55,35,10,10"]
    rows.append("a.png,sad,test,70,10,10,10")
    (tmp_path / "labels.csv").write_text("\n".join(["path,label,split,x,y,w,h", *rows, ""]))
    data = load("folder", tmp_path, columns={"box_size": ["x", "y", "w", "h"]})
    assert data.table.id.tolist() == ["a.png", "a.png#2", "a.png#3", "a.png#4"]
    assert [int(data.read(row).max()) for row in range(3)] == [100, 200, 0]
    assert [data.read(row).shape for row in range(3)] == [(17, 17), (17, 17), (8, 8)]
    with pytest.raises(OSError, match="outside the image of 60 x 40"):
        data.read(3)
    with pytest.raises(
        InputError, match=r"row 2: the box is empty: x, y, w, h are read as its left, top, right"
    ):
        load("folder", tmp_path, columns={"box": ["x", "y", "w", "h"]})


def test_faces_of_one_image_are_on_one_side(tmp_path, picture):
    rows = [f"{k // 2}.png,{'sad' if k % 2 else 'happy'},0,0,{k + 1},4" for k in range(20)]
    write(
        tmp_path, picture, "labels.csv", "path,label,a,b,c,d", *rows, images=[f"{k}.png" for k in range(10)]
    )
    table = load("folder", tmp_path, columns={"box": ["a", "b", "c", "d"]}, test_share=0.3).table
    assert (table.split == "test").sum() == 6
    assert (table.groupby("path").split.nunique() == 1).all()


def test_absent_images_up_to_a_share(tmp_path, picture, capsys):
    rows = [f"{k}.png,{'sad' if k % 2 else 'happy'},{'test' if k > 7 else 'train'}" for k in range(10)]
    write(
        tmp_path, picture, "labels.csv", "path,label,split", *rows, images=[f"{k}.png" for k in range(1, 10)]
    )
    for share in (0, 0.09):
        with pytest.raises(InputError, match=r"1 image\(s\) listed in labels.csv .*: 0.png"):
            load("folder", tmp_path, absent_share=share)
    data = load("folder", tmp_path, absent_share=0.1)
    assert data.table.path.tolist() == [f"{k}.png" for k in range(1, 10)]
    assert data.left_out == {"0.png": "listed in labels.csv, but not there"}
    assert (
        "1 of 10 image(s) listed in labels.csv are not there, and are left out, such as 0.png"
        in capsys.readouterr().err
    )
    assert int(data.read(0).max()) == 0
    assert isinstance(data.table.index, pd.RangeIndex)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": {"pfad": "x"}}, "columns: pfad: unknown key; known here: annotator, box"),
        ({"columns": {"box": ["a"]}}, "columns: box: List should have at least 4"),
        ({"columns": {"box": list("abcd"), "box_size": list("abcd")}}, "expected `box` or `box_size`"),
        ({"csv": "../labels.csv"}, "csv: expected a file in .*which DVC watches"),
        ({"csv": "none.csv"}, "csv: .*none.csv is no file"),
        ({"csv": {"training": "labels.csv"}}, "csv.*Input should be"),
        ({"test_share": 0.2}, "labels.csv: has a split already"),
        ({"test_share": 0}, "test_share: Input should be greater than 0"),
        ({"absent_share": 1}, "absent_share: Input should be less than 1"),
        ({"fold": 1}, "`folds` and a `fold` below it"),
        ({"folds": 2, "fold": 2}, "`folds` and a `fold` below it"),
        ({"folds": 2, "test_share": 0.5}, "`folds` and a `fold` below it"),
        ({"columns": {"votes": ["label", "split"]}}, "row 2: label: expected a number, found 'sad'"),
    ],
)  # fmt: skip
def test_an_option_that_is_none_is_named(tmp_path, picture, options, message):
    write(tmp_path, picture, "labels.csv", "path,label,split", "a.png,sad,train", images=["a.png"])
    with pytest.raises(InputError, match=message):
        load("folder", tmp_path, **options)


@pytest.mark.parametrize(
    ("row", "message"),
    [("a.png,1,.5", "row 3: expected shares that sum to 1"), ("a.png,0,0", "row 3: expected a vote"),
     ("a.png,-1,2", "row 3: votes_x: expected a number, found '-1'"), ("a.png,nan,2", "found 'nan'"),
     ("a.png,1e9,2", "found '1e9'")],
)  # fmt: skip
def test_a_vote_that_is_none_is_named(tmp_path, picture, row, message):
    write(tmp_path, picture, "labels.csv", "path,votes_x,votes_y", "b.png,0,1", row)
    with pytest.raises(InputError, match=message):
        load("folder", tmp_path, test_share=0.5)
