"""Splits that are drawn: a flat folder of classes, folds, and no person on both sides."""

import sys

import numpy as np
import pytest
from PIL import Image

from asm.basics.errors import InputError
from asm.datasets import heic, load
from asm.datasets.splits import drawn


@pytest.fixture
def flat(tmp_path, picture):
    """10 faces of two classes, of 5 persons who each show both."""
    for k in range(20):
        picture(tmp_path / ("sad", "happy")[k % 2] / f"p{k % 5}_{k:02d}.png", 10 * k)
    return tmp_path


def test_a_flat_folder_of_classes(flat, picture):
    data = load("folder", flat, test_share=0.2)
    assert data.classes == ("happy", "sad")
    assert data.table.path.str.partition("/")[0].tolist() == ["happy"] * 10 + ["sad"] * 10
    test = data.table[data.table.split == "test"]
    assert test.true.tolist() == [0, 0, 1, 1]
    assert load("folder", flat, test_share=0.2).table.equals(data.table)
    assert not load("folder", flat, test_share=0.2, split_seed=1).table.equals(data.table)
    (flat / "train").mkdir()
    for name in ("sad", "happy"):
        (flat / name).rename(flat / "train" / name)
    assert (load("folder", flat, test_share=0.3).table.split == "test").sum() == 6
    picture(flat / "test" / "sad" / "x.png")
    with pytest.raises(InputError, match="is split already, it holds test/; leave out `test_share`"):
        load("folder", flat, test_share=0.3)


def test_what_our_commands_wrote_is_no_class(flat, picture):
    picture(flat / "loose.png")
    for name, file in (("predictions", "predictions.csv"), ("audit", "audit.csv")):
        picture(flat / name / "images" / "x.jpg")
        (flat / name / file).touch()
    data = load("folder", flat, test_share=0.2)
    assert data.classes == ("happy", "sad")
    assert set(data.left_out) == {"loose.png"}
    picture(flat / "train" / "sad" / "x.png")
    picture(flat / "test" / "sad" / "x.png")
    picture(flat / "train" / "happy" / "x.png")
    assert not any(path.startswith(("predictions", "audit")) for path in load("folder", flat).left_out)


def test_an_image_more_moves_few_others(flat, picture):
    before = load("folder", flat, test_share=0.2).table.set_index("path").split
    picture(flat / "sad" / "new.png")
    after = load("folder", flat, test_share=0.2).table.set_index("path").split
    assert (after[before.index] != before).sum() <= 1


def test_each_image_is_in_one_fold(flat):
    tests = [load("folder", flat, folds=5, fold=k).table.split == "test" for k in range(5)]
    assert np.sum(tests, axis=0).tolist() == [1] * 20
    assert [int(test.sum()) for test in tests] == [4] * 5


@pytest.mark.parametrize("options", [{"test_share": 0.4}, {"folds": 3, "fold": 1}])
def test_no_person_is_on_both_sides(flat, options):
    table = load("folder", flat, subject=r"/p(\d)_", **options).table
    assert set(table.subject) == set("01234")
    assert (table.groupby("subject").split.nunique() == 1).all()
    assert table.subject[table.split == "test"].nunique() == 2


def test_persons_in_a_given_split(flat, picture):
    rows = [
        f"sad/p{k}_{k:02d}.png,{'sad' if k % 4 else 'happy'},{'test' if k else 'train'},{k % 3}"
        for k in (0, 2, 4)
    ]
    rows.append("happy/p1_01.png,sad,train,1")
    (flat / "labels.csv").write_text("\n".join(["path,label,split,who", *rows, ""]))
    with pytest.raises(InputError, match=r"1 subject\(s\) are in two splits, such as '1'"):
        load("folder", flat, columns={"subject": "who"})
    assert load("folder", flat, subject=r"p\d").table.subject.tolist() == ["p0", "p2", "p4", "p1"]
    with pytest.raises(InputError, match="subject: expected the option, or a column"):
        load("folder", flat, subject=r"p\d", columns={"subject": "who"})


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(", "subject: no regular expression: '\\('"), ("x", "subject: 'x' finds nothing in 'happy/p")],
)
def test_a_pattern_that_finds_no_one(flat, pattern, message):
    with pytest.raises(InputError, match=message):
        load("folder", flat, subject=pattern, test_share=0.2)


def test_a_class_keeps_an_image_for_training():
    labels = [0, 0, 0, 1]
    test = drawn(labels, list("abcd"), 0, 0.99, None, 0)
    assert test.tolist().count(True) == 2
    assert not test[3]


@pytest.fixture
def photo(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    image = Image.fromarray(np.repeat(np.linspace(0, 255, 64, dtype=np.uint8)[None], 32, axis=0)).convert(
        "RGB"
    )
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    pillow_heif.from_pillow(image).save(tmp_path / "x.HEIC", exif=exif.tobytes(), quality=90)
    return tmp_path / "x.HEIC"


def test_heic(photo, picture):
    for name in ("train/sad", "train/happy", "test/sad"):
        picture(photo.parent / name / "x.png")
    photo.rename(photo.parent / "train" / "sad" / "y.HEIC")
    data = load("folder", photo.parent)
    row = data.table.path.tolist().index("train/sad/y.HEIC")
    pixels = data.read(row)
    assert pixels.shape == (64, 32, 3)
    assert pixels[0].mean() < 20
    assert pixels[-1].mean() > 235


def test_heic_that_is_damaged_or_cannot_be_read(photo, monkeypatch):
    damaged = photo.with_name("damaged.heic")
    for content in (photo.read_bytes()[:200], b"", b"x" * 100):
        damaged.write_bytes(content)
        with pytest.raises(OSError, match=r"damaged\.heic"):
            heic.read_photo(damaged)
    monkeypatch.setattr(heic.images, "MAX_PIXELS", 100)
    with pytest.raises(OSError, match=r"x\.HEIC: .* pixels; at most"):
        heic.read_photo(photo)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(OSError, match=r"x.HEIC: HEIC is read where pillow-heif is installed"):
        heic.read_photo(photo)
