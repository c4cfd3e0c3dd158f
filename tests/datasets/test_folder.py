import os
import re

import pytest

from asm.basics.errors import InputError
from asm.datasets import load


@pytest.fixture
def tree(tmp_path, picture):
    for k, name in enumerate(
        ("train/sad/b.jpg", "train/happy/a.PNG", "test/sad/a.png", "train/happy/c.webp")
    ):
        picture(tmp_path / name, 50 * k)
    (tmp_path / "train" / "happy" / "notes.txt").touch()
    (tmp_path / "train" / "happy" / "._a.png").touch()
    (tmp_path / "train" / ".cache").mkdir()
    return tmp_path


def write_csv(root, picture, *rows, header="path,label,split"):
    root.mkdir(exist_ok=True)
    (root / "labels.csv").write_text("\n".join([header, *rows]) + "\n")
    for name in ("a", "b", "c"):
        picture(root / "images" / f"{name}.png", 60)
    return root


def test_class_folders(tree):
    data = load("folder", tree)
    assert data.classes == ("happy", "sad")
    assert data.table.path.tolist() == [
        "train/happy/a.PNG", "train/happy/c.webp", "train/sad/b.jpg", "test/sad/a.png",
    ]  # fmt: skip
    assert data.table.id.tolist() == data.table.path.tolist()
    assert data.table.true.tolist() == [0, 0, 1, 1]
    assert (data.read(0) == 50).all()


def test_every_image_is_taken_and_what_is_left_out_is_named(tree, picture):
    for name in ("x.jfif", "x.gif", "x.jpe", "x.ppm", "x.TIFF", "person1/x.jpg", "person1/day2/x.png"):
        picture(tree / "train" / "sad" / name)
    picture(tree / "train" / "loose.png")
    picture(tree / "validation" / "sad" / "x.png")
    (tree / "train" / "sad" / "clip.mp4").touch()
    (tree / "test" / "sad" / "gone.png").symlink_to(tree / "nowhere.png")
    os.mkfifo(tree / "test" / "sad" / "pipe.png")
    data = load("folder", tree)
    sad = ["b.jpg", "person1/day2/x.png", "person1/x.jpg", "x.TIFF", "x.gif", "x.jfif", "x.jpe", "x.ppm"]
    assert data.table.path[data.table.path.str.startswith("train/sad/")].tolist() == [
        f"train/sad/{name}" for name in sad
    ]
    assert data.left_out == {
        "test/sad/gone.png": "no file, or a broken link",
        "test/sad/pipe.png": "no file, or a broken link",
        "train/happy/notes.txt": "its suffix is none of an image that is read",
        "train/loose.png": "in no class's folder of a split",
        "train/sad/clip.mp4": "its suffix is none of an image that is read",
        "validation/sad/x.png": "in no class's folder of a split",
    }


def test_a_name_in_another_encoding_is_refused_before_any_work(tree, picture):
    os.rename(tree / "train" / "sad" / "b.jpg", os.fsencode(tree / "train" / "sad") + b"/caf\xe9.jpg")
    with pytest.raises(InputError, match=r"train/sad/caf\\udce9\.jpg is not UTF-8. Rename the file"):
        load("folder", tree)


def test_both_forms_of_an_accent_are_one_class(tree, picture):
    for folder in ("train/g\u00eane", "test/ge\u0302ne"):
        picture(tree / folder / "x.png")
    data = load("folder", tree)
    assert data.classes == ("g\u00eane", "happy", "sad")
    assert data.table.true[data.table.path.str.contains("ne/x")].tolist() == [0, 0]
    assert load("folder", tree, classes=["sad", "happy", "ge\u0302ne"]).classes[2] == "g\u00eane"
    picture(tree / "train" / "ge\u0302ne" / "y.png")
    with pytest.raises(InputError, match=r"names look the same, 'ge\\u0302ne' and 'g\\xeane'. Merge"):
        load("folder", tree)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Sad", "the classes 'Sad' and 'sad' look like one"),
        ("=HYPERLINK(1)", "begins like a spreadsheet's formula"),
        ("-1", "begins like a spreadsheet's formula"),
        ("a|b", r"holds a '\|', which ends a cell"),
        ("a\nb", "control something or end a line"),
        (" ", "has no name"),
        ("x" * 101, "more than 100 characters"),
    ],
)
def test_a_class_that_would_spoil_the_reports_is_refused(tree, picture, name, message):
    picture(tree / "train" / name / "x.png")
    with pytest.raises(InputError, match=f"folder: .*{message}"):
        load("folder", tree)


@pytest.mark.parametrize("name", ["高兴", "سعيد", "می‌ترسد", "खुश", "a$x^$b", "sad + happy", "#1"])
def test_a_class_may_have_any_other_name(tree, picture, name):
    picture(tree / "train" / name / "x.png")
    assert name in load("folder", tree).classes


@pytest.mark.parametrize("name", ["valid", "val"])
def test_validation_is_optional_and_has_two_names(tree, picture, name):
    picture(tree / name / "sad" / "v.jpg")
    data = load("folder", tree)
    assert data.table[data.table.split == "valid"].path.tolist() == [f"{name}/sad/v.jpg"]


def test_classes_fix_the_order(tree):
    data = load("folder", tree, classes=["sad", "happy"])
    assert data.classes == ("sad", "happy")
    assert data.table.true.tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(
    "names",
    [
        [str(k) for k in range(1, 12)],
        ["08", "9", "010", "11"],
        ["au2", "au10", "b1"],
        ["1_neutral", "2_happy", "10_contempt"],
        ["7", "٨", "x" + "9" * 99],
    ],
)
def test_numbers_in_the_names_of_classes_count_by_their_value(tmp_path, picture, names):
    """In folders as in a csv file: 2 before 10."""
    for name in reversed(names):
        for split in ("train", "test"):
            picture(tmp_path / "folders" / split / name / "x.png")
    data = load("folder", tmp_path / "folders")
    assert data.classes == tuple(names)
    assert all(
        f"/{data.classes[k]}/" in path for path, k in zip(data.table.path, data.table.true, strict=True)
    )
    rows = [f"images/{k}.png,{name},{split}" for split in ("train", "test") for k, name in enumerate(names)]
    rows = [row.replace(".png", "t.png") if row.endswith("test") else row for row in rows]
    root = write_csv(tmp_path / "csv", picture, *rows)
    for row in rows:
        picture(root / row.partition(",")[0])
    assert load("folder", root).classes == tuple(names)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (["val/", "valid/"], {}, "both valid/ and val/"),
        (["test/angry/x.jpg"], {}, "test/angry is no folder of a class; expected happy, sad"),
        ([], {"classes": ["happy", "sad", "angry"]}, "no training image of the class angry"),
        ([], {"classes": ["happy", True]}, "classes: expected names, found True; put it in quotes"),
        ([], {"classes": ["happy", 1.5]}, "classes: expected names, found 1.5"),
        ([], {"classes": ["happy", None]}, "classes: expected names, found None"),
        ([], {"classes": ["happy", ["a"]]}, "classes: expected names"),
        ([], {"classes": "happy"}, "expected a list of names"),
        ([], {"classes": []}, "expected a list of names"),
    ],
)
def test_what_does_not_fit_the_folders_is_named(tree, picture, change, options, message):
    for name in change:
        (tree / name).mkdir() if name.endswith("/") else picture(tree / name)
    with pytest.raises(InputError, match=message):
        load("folder", tree, **options)


def test_absent_splits_and_images(tmp_path, tree):
    (tree / "test").rename(tree / "testing")
    with pytest.raises(
        InputError, match=r"(?s)no test images.*holds testing/, train/\..*test/<class>/<image>"
    ):
        load("folder", tree)
    with pytest.raises(InputError, match=r"(?s)there is no such folder.*labels.csv"):
        load("folder", tmp_path / "nowhere")
    for split in ("train", "test"):
        (tmp_path / "empty" / split / "sad").mkdir(parents=True)
    with pytest.raises(InputError, match="no images"):
        load("folder", tmp_path / "empty")


def test_csv_with_names(tmp_path, picture):
    """Paths are one whatever their spelling; images that the file does not name are named."""
    rows = ["./images/a.png,sad,train", "images//b.png,happy,train", "d.png,sad,test"]
    root = write_csv(tmp_path, picture, *rows)
    picture(root / "d.png", 1)
    data = load("folder", root)
    assert data.classes == ("happy", "sad")
    assert data.table.true.tolist() == [1, 0, 1]
    assert data.table.split.tolist() == ["train", "train", "test"]
    assert data.table.id.tolist() == ["images/a.png", "images/b.png", "d.png"]
    assert [int(data.read(row).max()) for row in (1, 2)] == [60, 1]
    assert data.left_out == {"images/c.png": "not in labels.csv"}


def test_csv_with_numbers(tmp_path, picture):
    root = write_csv(tmp_path, picture, "images/a.png,1,train", "images/b.png,0,train", "images/c.png,1,test")
    assert load("folder", root).classes == ("0", "1")
    data = load("folder", root, classes=["calm", "tense"])
    assert data.classes == ("calm", "tense")
    assert data.table.true.tolist() == [1, 0, 1]


def test_numbers_that_are_class_names_are_taken_as_names(tmp_path, picture):
    root = write_csv(
        tmp_path, picture, "images/a.png,2,train", "images/b.png,10,train", "images/c.png,10,test"
    )
    assert load("folder", root).classes == ("2", "10")  # by value, not as text
    assert load("folder", root, classes=[10, 2]).table.true.tolist() == [1, 0, 0]


A, B = "images/a.png,sad,train", "images/b.png,happy,train"
LEADS_AWAY = "The images must lie under"


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([A, B, "images/c.png,sad,dev"], {}, "row 4: expected a split train, valid, val, test; found 'dev'"),
        ([A, B, "images/c.png,glad,test"], {"classes": ["sad", "happy"]},
         "row 4: expected a label among sad, happy; found"),
        ([A, B, "images/c.png,sad"], {}, "row 4: expected 3 fields, found 2"),
        ([A, B, "images/d.png,sad,test"], {}, r"1 image\(s\) listed in labels.csv .*: images/d.png"),
        ([A, B, "../images/c.png,sad,test"], {}, f"row 4: .* found '../images/c.png'. {LEADS_AWAY}"),
        ([A, B, "/images/c.png,sad,test"], {}, "row 4: .*neither absolute .* found '/images/c.png'"),
        ([A, B, "images/a.png,sad,test"], {}, "row 4: the image 'images/a.png' is that of row 2 already"),
        ([A, "./images/a.png,sad,test"], {}, "row 3: the image './images/a.png' is that of row 2"),
        ([A, B, "images/c.png,glad,test"], {}, "no training image of the class glad"),
        (["images/a.png,0,train", "images/b.png,1,train", "images/c.png,2,test"], {"classes": ["x", "y"]},
         "row 4: expected a class number as a whole number 0 to 1, found '2'"),
        (["images/a.png,,train"], {}, "row 2: expected a class's name or its number 0, 1, …; found ''"),
        (["images/a.png,NaN,train"], {}, "row 2: .*; found 'NaN'"),
        (["images/a.png,-1,train"], {}, "row 2: .*; found '-1'"),
        (["images/a.png,1.0,train"], {}, "row 2: .*; found '1.0'"),
        ([A, "images/b.png,Sad,train"], {}, "row 3: the label 'Sad' looks like 'sad' of row 2"),
        (["images/a.png,so  sad,train", "images/b.png,so sad,train"], {}, "row 3: the label 'so sad' looks"),
        (["images/a.png,1,train", "images/b.png,01,train"], {}, "row 3: the label '01' looks like '1' of"),
        ([",sad,train"], {}, "row 2: expected an image's path, found none"),
        (["images\\a.png,sad,train"], {}, "Write the folders with /, not with"),
        (["=x.png,sad,train"], {}, "not under"),
        ([A, "images/c.png,sad,test"], {"classes": ["\n"]}, r"^folder: the class '\\n'"),
    ],
)  # fmt: skip
def test_a_value_that_is_none_is_named_with_its_row(tmp_path, picture, rows, options, message):
    root = write_csv(tmp_path, picture, *rows)
    with pytest.raises(InputError, match=message):
        load("folder", root, **options)


def test_a_csv_without_its_columns_or_rows(tmp_path, picture):
    with pytest.raises(InputError, match="no column split; the header has: path, label"):
        load("folder", write_csv(tmp_path, picture, header="path,label"))
    with pytest.raises(InputError, match="expected one row per image, found none"):
        load("folder", write_csv(tmp_path, picture))


def test_a_name_that_a_spreadsheet_would_run_is_refused(tmp_path, picture):
    root = write_csv(tmp_path, picture, "images/a.png,x,train", "images/b.png,y,train", "=c.png,x,test")
    picture(root / "=c.png")
    with pytest.raises(InputError, match=r"the image '=c.png' begins like a spreadsheet's formula"):
        load("folder", root)


def test_a_path_in_the_other_form_of_unicode_is_explained(tmp_path, picture):
    root = write_csv(tmp_path, picture, "images/caf\u00e9.png,sad,train")
    picture(root / "images" / "cafe\u0301.png")
    with pytest.raises(InputError, match=r"other Unicode: 'cafe\\u0301.png', not 'caf\\xe9"):
        load("folder", root)


@pytest.mark.parametrize("sign", [";", "\t"], ids=repr)
def test_another_separator_is_named(tmp_path, picture, sign):
    row, header = (
        sign.join(words) for words in (["images/a.png", "sad", "train"], ["path", "label", "split"])
    )
    root = write_csv(tmp_path, picture, row, header=header)
    with pytest.raises(InputError, match=re.escape(f"separated by {sign!r}? Write commas")):
        load("folder", root)
