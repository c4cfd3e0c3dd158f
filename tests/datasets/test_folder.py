import pytest

from asm.datasets import load
from asm.errors import InputError


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


@pytest.mark.parametrize("name", ["valid", "val"])
def test_validation_is_optional_and_has_two_names(tree, picture, name):
    picture(tree / name / "sad" / "v.jpg")
    data = load("folder", tree)
    assert data.table[data.table.split == "valid"].path.tolist() == [f"{name}/sad/v.jpg"]


def test_two_validation_folders_are_one_too_many(tree):
    (tree / "val").mkdir()
    (tree / "valid").mkdir()
    with pytest.raises(InputError, match="both valid/ and val/"):
        load("folder", tree)


def test_classes_fix_the_order(tree):
    data = load("folder", tree, classes=["sad", "happy"])
    assert data.classes == ("sad", "happy")
    assert data.table.true.tolist() == [1, 1, 0, 0]


def test_an_unexpected_class_folder_is_named(tree, picture):
    picture(tree / "test" / "angry" / "x.jpg")
    with pytest.raises(InputError, match=r"test/angry is no folder of a class; expected happy, sad"):
        load("folder", tree)


def test_a_class_without_training_images_is_named(tree):
    with pytest.raises(InputError, match="no training image of the class angry"):
        load("folder", tree, classes=["happy", "sad", "angry"])


def test_absent_splits(tmp_path, tree):
    (tree / "test").rename(tree / "testing")
    with pytest.raises(
        InputError, match=r"(?s)no test images.*holds testing/, train/\..*test/<class>/<image>"
    ):
        load("folder", tree)
    with pytest.raises(InputError, match=r"(?s)there is no such folder.*labels.csv"):
        load("folder", tmp_path / "nowhere")


def test_folders_without_images(tmp_path):
    (tmp_path / "train" / "sad").mkdir(parents=True)
    (tmp_path / "test" / "sad").mkdir(parents=True)
    with pytest.raises(InputError, match="no images"):
        load("folder", tmp_path)


def test_csv_with_names(tmp_path, picture):
    root = write_csv(
        tmp_path, picture, "images/a.png,sad,train", "images/b.png,happy,train", "images/c.png,sad,test"
    )
    data = load("folder", root)
    assert data.classes == ("happy", "sad")
    assert data.table.true.tolist() == [1, 0, 1]
    assert data.table.split.tolist() == ["train", "train", "test"]
    assert (data.read(2) == 60).all()


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


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        (
            "images/c.png,sad,dev",
            {},
            "labels.csv, row 4: expected a split train, valid, val, test; found 'dev'",
        ),
        (
            "images/c.png,glad,test",
            {"classes": ["sad", "happy"]},
            "row 4: expected a label among sad, happy; found",
        ),
        ("images/c.png,sad", {}, "row 4: expected 3 fields, found 2"),
        ("images/d.png,sad,test", {}, r"1 image\(s\) listed in labels.csv .*: images/d.png"),
        ("../images/c.png,sad,test", {}, "row 4: .* found '../images/c.png'. The images must lie under"),
        ("/images/c.png,sad,test", {}, "row 4: .*neither absolute .* found '/images/c.png'"),
        ("images/a.png,sad,test", {}, "1 occur more than once: images/a.png"),
        ("images/c.png,glad,test", {}, "no training image of the class glad"),
    ],
)
def test_a_bad_row_is_named(tmp_path, picture, row, options, message):
    root = write_csv(tmp_path, picture, "images/a.png,sad,train", "images/b.png,happy,train", row)
    with pytest.raises(InputError, match=message):
        load("folder", root, **options)


def test_a_number_outside_the_classes_is_named(tmp_path, picture):
    root = write_csv(tmp_path, picture, "images/a.png,0,train", "images/b.png,1,train", "images/c.png,2,test")
    with pytest.raises(
        InputError, match="row 4: expected a class number as a whole number 0 to 1, found '2'"
    ):
        load("folder", root, classes=["sad", "happy"])


def test_a_csv_without_its_columns_or_rows(tmp_path, picture):
    with pytest.raises(InputError, match="no column split; the header has: path, label"):
        load("folder", write_csv(tmp_path, picture, header="path,label"))
    with pytest.raises(InputError, match="expected one row per image, found none"):
        load("folder", write_csv(tmp_path, picture))


@pytest.mark.parametrize("classes", ["happy", []])
def test_classes_must_be_a_list(tree, classes):
    with pytest.raises(InputError, match="expected a list of names"):
        load("folder", tree, classes=classes)
