import pytest

from asm.basics.errors import InputError
from asm.datasets import load, rafdb


def write_tree(root, picture):
    """Seven training images, one of each class in the order of the ids, and two for testing."""
    rows = [f"train_{k:05d}.jpg {k}" for k in range(1, 8)] + ["test_0001.jpg 4", "test_0002.jpg 7"]
    (root / "EmoLabel").mkdir()
    (root / rafdb.LIST).write_text("\n".join(rows))
    for k, row in enumerate(rows):
        name = row.split(".")[0]
        picture(root / "Image" / "aligned" / f"{name}_aligned.jpg", 10 * k, "RGB")
        picture(root / "Image" / "original" / f"{name}.jpg", 10 * k + 100, "RGB")
    return root


@pytest.fixture
def tree(tmp_path, picture):
    return write_tree(tmp_path, picture)


def test_official_tree(tree):
    data = load("rafdb", tree)
    assert data.classes == ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
    assert data.table.split.tolist() == ["train"] * 7 + ["test"] * 2
    assert data.table.true.tolist() == [0, 1, 2, 3, 4, 5, 6, 3, 6]
    assert data.table.id[0] == "train_00001"
    assert data.table.path[8] == "Image/aligned/test_0002_aligned.jpg"
    assert data.read(8).shape == (4, 4, 3)
    assert abs(int(data.read(8)[0, 0, 0]) - 80) <= 2


def test_original_images(tree):
    data = load("rafdb", tree, images="original")
    assert data.table.path[0] == "Image/original/train_00001.jpg"
    assert abs(int(data.read(0)[0, 0, 0]) - 100) <= 2


def test_the_folder_that_holds_basic_will_do(tree):
    (tree / "basic").mkdir()
    for name in ("EmoLabel", "Image"):
        (tree / name).rename(tree / "basic" / name)
    assert len(load("rafdb", tree).table) == 9


def test_what_is_absent_is_named(tree, tmp_path_factory):
    def refused(message: str, root=tree, **options) -> None:
        with pytest.raises(InputError, match=message):
            load("rafdb", root, **options)

    nothing = tmp_path_factory.mktemp("nothing")
    refused(r"(?s)folder holds nothing.*EmoLabel/list_patition_label.txt.*RAF/model1", nothing)
    refused("expected one of aligned, original, found 'cropped'", images="cropped")
    (tree / "Image" / "aligned" / "train_00003_aligned.jpg").unlink()
    refused(r"1 image\(s\) listed in EmoLabel/.*: .*train_00003_aligned.jpg")
    (tree / "Image" / "original").rename(tree / "elsewhere")
    refused(r"original\): not found at .*Image/original: there is no such", images="original")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("train_00008.jpg 8", "row 10: expected a RAF-DB label as a whole number 1 to 7, found '8'"),
        ("train_00008.jpg happy", "row 10: .* found 'happy'"),
        ("train_00008.jpg", "row 10: expected '<file name> <label>'"),
        ("train_/../../../8.jpg 1", "row 10: .* found 'train_/../../../8.jpg'. The images must lie under"),
        ("/train_00008.jpg 1", "row 10: .* found '/train_00008.jpg'. The images must lie under"),
        ("00008.jpg 1", "row 10: expected a name train_… or test_…, found '00008.jpg'"),
        ("train_00001.jpg 1", "1 occur more than once: train_00001"),
    ],
)
def test_a_bad_row_is_named(tree, row, message):
    with open(tree / rafdb.LIST, "a") as file:
        file.write("\n" + row)
    with pytest.raises(InputError, match=message):
        load("rafdb", tree)


def test_images_that_the_list_does_not_name_are_named(tree, picture):
    picture(tree / "Image" / "aligned" / "train_00099_aligned.jpg", 1, "RGB")
    picture(tree / "Image" / "aligned" / "._train_00001_aligned.jpg", 1, "RGB")
    (tree / "Image" / "aligned" / "Thumbs.db").touch()
    left_out = {"Image/aligned/train_00099_aligned.jpg": "not in EmoLabel/list_patition_label.txt"}
    assert load("rafdb", tree).left_out == left_out
    assert load("rafdb", tree, images="original").left_out == {}
