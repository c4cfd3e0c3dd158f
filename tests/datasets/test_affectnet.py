import numpy as np
import pytest
from made_layouts import AFFECTNET_HEADER

from asm.basics.errors import InputError
from asm.datasets import load


def write_first_release(root, picture):
    """All eleven ids in training.csv (8 to 10 without images), two images in validation.csv."""
    for file, ids in (("training.csv", range(11)), ("validation.csv", (1, 7))):
        rows = [f"{file[:3]}/{k}.jpg,0,0,4,4,1;2;3,{k},0.1,0.2" for k in ids]
        (root / file).write_text("\n".join([AFFECTNET_HEADER, *rows]) + "\n")
        for k in ids:
            if k < 8:
                picture(root / "Manually_Annotated_Images" / file[:3] / f"{k}.jpg", 20 * k, "RGB")
    return root


def write_release_2021(root, picture):
    for folder, labels in (("train_set", [7, 0, 1, 2, 3, 4, 5, 6, 0, 0, 5]), ("val_set", [3, 7])):
        (root / folder / "annotations").mkdir(parents=True)
        for n, label in enumerate(labels):
            picture(root / folder / "images" / f"{n}.jpg", 20 * n, "RGB")
            np.save(root / folder / "annotations" / f"{n}_exp.npy", np.array(str(label)))
            np.save(root / folder / "annotations" / f"{n}_val.npy", np.array("0.3"))
    return root


@pytest.fixture
def first_release(tmp_path, picture):
    return write_first_release(tmp_path, picture)


@pytest.fixture
def release_2021(tmp_path, picture):
    return write_release_2021(tmp_path, picture)


def test_csv_layout_leaves_out_what_is_no_expression(first_release):
    data = load("affectnet", first_release)
    assert data.classes == (
        "neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt",
    )  # fmt: skip
    assert data.table.true.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 1, 7]
    assert data.table.split.tolist() == ["train"] * 8 + ["test"] * 2
    assert data.table.id[8] == "val/1.jpg"
    assert abs(int(data.read(9)[0, 0, 0]) - 140) <= 2
    seven = load("affectnet", first_release, num_classes=7)
    assert seven.classes == data.classes[:7]
    assert seven.table.true.tolist() == [0, 1, 2, 3, 4, 5, 6, 1]  # without contempt


def test_a_path_given_twice_keeps_both_rows(first_release):
    with open(first_release / "training.csv", "a") as file:
        file.write("tra/2.jpg,0,0,4,4,1,6,0,0\n")
    data = load("affectnet", first_release)
    both = data.table[data.table.path.str.endswith("tra/2.jpg")]
    assert both.id.tolist() == ["tra/2.jpg", "tra/2.jpg#2"]
    assert both.true.tolist() == [2, 6]


def test_npy_layout_is_read_in_the_order_of_the_numbers(release_2021):
    data = load("affectnet", release_2021)
    assert data.table.path[10] == "train_set/images/10.jpg"  # after 9, not after 1
    assert data.table.true.tolist() == [7, 0, 1, 2, 3, 4, 5, 6, 0, 0, 5, 3, 7]
    assert data.table.id.tolist()[-2:] == ["val_set/0", "val_set/1"]
    assert data.table.split.tolist() == ["train"] * 11 + ["test"] * 2
    assert abs(int(data.read(12)[0, 0, 0]) - 20) <= 2
    assert load("affectnet", release_2021, num_classes=7).table.true.max() == 6


def test_absent_set_shows_both_trees_and_where_to_apply(tmp_path):
    with pytest.raises(InputError, match=r"(?s)training.csv, validation.csv.*0_exp.npy.*mohammadmahoor.com"):
        load("affectnet", tmp_path)


def test_num_classes(tmp_path):
    with pytest.raises(InputError, match="expected 7 or 8, found 6"):
        load("affectnet", tmp_path, num_classes=6)


def test_missing_files_of_the_first_release(first_release):
    (first_release / "Manually_Annotated_Images" / "tra" / "5.jpg").unlink()
    with pytest.raises(InputError, match=r"1 image\(s\) .*: Manually_Annotated_Images/tra/5.jpg"):
        load("affectnet", first_release)
    (first_release / "validation.csv").unlink()
    with pytest.raises(InputError, match="not found at"):
        load("affectnet", first_release)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (AFFECTNET_HEADER + "\na.jpg,0,0,4,4,1,11,0,0\n", ", row 2: expected an expression id .* found '11'"),
        (AFFECTNET_HEADER + "\n../a.jpg,0,0,4,4,1,1,0,0\n", ", row 2: .* found '../a.jpg'. The images"),
        (AFFECTNET_HEADER + "\n/a.jpg,0,0,4,4,1,1,0,0\n", ", row 2: .* found '/a.jpg'. The images"),
        (AFFECTNET_HEADER + "\na.jpg,0,0,4\n", ", row 2: expected 9 fields, found 4"),
        ("a.jpg,0,0,4,4,1,1,0,0\n", ": no column subDirectory_filePath, expression"),
    ],
)
def test_a_bad_csv_is_named_with_its_row(first_release, content, message):
    (first_release / "training.csv").write_text(content)
    with pytest.raises(InputError, match=f"training.csv{message}"):
        load("affectnet", first_release)


def test_damaged_files_of_2021(release_2021):
    annotations = release_2021 / "train_set" / "annotations"
    path = annotations / "4_exp.npy"
    np.save(annotations / "._4_exp.npy", np.array("1"))  # macOS's; passed over

    def refused(message: str) -> str:
        with pytest.raises(InputError, match=message) as error:
            load("affectnet", release_2021)
        return str(error.value)

    np.save(path, np.array("12"))
    refused("4_exp.npy: expected an expression id 0 to 10, found '12'")
    path.write_bytes(b"")
    refused("4_exp.npy: expected a numpy file with one expression id")
    for strange in (np.array(3.5), np.array([1, 2]), np.array(1j), np.array("2020", "M8[D]"), np.array(b"x")):
        np.save(path, strange)
        refused("4_exp.npy: expected")
    np.save(path, np.array({"a": 1}), allow_pickle=True)
    assert "pickle" not in refused("4_exp.npy: expected a numpy file")  # nobody is told to load it unsafely
    with open(path, "wb") as file:
        np.savez(file, a=1)
    refused("4_exp.npy: expected a numpy file")
    np.save(path, np.float64(3.0))
    assert load("affectnet", release_2021).table.true[4] == 3
    path.unlink()
    refused(r"1 image\(s\) .* no annotation; the first is 4.jpg")
    (release_2021 / "train_set" / "images" / "4.jpg").unlink()
    (release_2021 / "train_set" / "images" / "6.jpg").unlink()
    refused(r"1 image\(s\) listed in the annotations .*train_set/images/6.jpg")


def test_2021_without_its_validation_set(release_2021):
    (release_2021 / "val_set").rename(release_2021 / "elsewhere")
    with pytest.raises(InputError, match=r"not found at .*val_set/images: there is no such folder"):
        load("affectnet", release_2021)


def test_images_without_an_annotation_are_named(first_release, picture):
    folder = first_release / "Manually_Annotated_Images" / "tra"
    picture(folder / "9.jpg", 1, "RGB")  # annotated: uncertain
    picture(folder / "99.jpg", 1, "RGB")
    left_out = load("affectnet", first_release).left_out
    assert left_out == {"Manually_Annotated_Images/tra/99.jpg": "not in the annotations"}


def test_images_of_another_kind_are_named(release_2021, picture):
    picture(release_2021 / "train_set" / "images" / "3.png", 1, "RGB")
    assert load("affectnet", release_2021).left_out == {"train_set/images/3.png": "not in the annotations"}


def test_absent_images_up_to_a_share(first_release, capsys):
    (first_release / "Manually_Annotated_Images" / "tra" / "0.jpg").unlink()
    with open(first_release / "training.csv", "a") as file:
        file.write("tra/8.jpg,0,0,4,4,1,0,0,0\n")
    (first_release / "Manually_Annotated_Images" / "tra" / "8.jpg").write_bytes(b"")
    data = load("affectnet", first_release, absent_share=0.1)
    assert len(data.table) == 10
    assert data.left_out == {
        "Manually_Annotated_Images/tra/0.jpg": "listed in the annotations, but not there"
    }
    assert "1 of 11 image(s) listed in the annotations are not there" in capsys.readouterr().err
    with pytest.raises(InputError, match="absent_share: expected a share from 0 to below 1, found True"):
        load("affectnet", first_release, absent_share=True)
