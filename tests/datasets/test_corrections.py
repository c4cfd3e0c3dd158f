"""Corrections of a review, applied to what a source reads."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asm.basics.errors import InputError
from asm.datasets import base, corrections, load

HEADER = "id,given,action,label"


@pytest.fixture
def tree(tmp_path, picture):
    """Three classes; the shade of an image is its number."""
    names = ["train/fear/0", "train/fear/1", "train/joy/2", "train/joy/3", "train/woe/4", "test/joy/5"]
    for shade, name in enumerate(names):
        picture(tmp_path / f"{name}.png", shade)
    return tmp_path


def write(root, *rows, header=HEADER):
    (root / "corrections.csv").write_text("\n".join([header, *rows]) + "\n")
    return {"source": "folder", "root": root, "corrections": "corrections.csv"}


def test_labels_are_replaced_and_dropped_images_leave_the_others_pixels_where_they_were(tree, capsys):
    rows = [
        "train/fear/0.png,fear,relabel,joy",
        "train/joy/2.png,joy,drop,",
        "train/joy/3.png,joy,keep,",
        "train/woe/4.png,woe,ambiguous,",
    ]
    data = load(**write(tree, *rows))
    assert data.table.id.tolist() == [
        "train/fear/0.png", "train/fear/1.png", "train/joy/3.png", "train/woe/4.png", "test/joy/5.png",
    ]  # fmt: skip
    assert [data.classes[k] for k in data.table.true] == ["joy", "fear", "joy", "woe", "joy"]
    assert data.table.corrected_from.tolist() == ["fear", "", "", "", ""]
    assert [int(data.read(i).max()) for i in range(5)] == [0, 1, 3, 4, 5]
    assert not data.left_out  # the file itself is no stray one
    assert "1 labels corrected, 1 images left out, 2 kept" in capsys.readouterr().err


def test_a_class_that_loses_all_its_images_is_left_out(tree, capsys):
    data = load(**write(tree, "train/woe/4.png,woe,relabel,joy"))
    assert data.classes == ("fear", "joy")
    assert [data.classes[k] for k in data.table.true] == ["fear", "fear", "joy", "joy", "joy", "joy"]
    assert "no image is left of woe" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("train/joy/9.png,joy,drop,", "row 3: no image has the id 'train/joy/9.png'"),
        ("train/joy/2.png,fear,keep,", "row 3: the label of .* was 'fear' .* is 'joy' now"),
        ("train/joy/2.png,joy,delete,", "row 3: expected an action keep, relabel.*; found 'delete'"),
        ("train/joy/2.png,joy,relabel,bliss", "row 3: expected a class among fear, joy, woe .*'bliss'"),
        ("train/joy/2.png,joy,relabel,", "row 3: expected a class among"),
        ("train/joy/2.png,joy,keep,fear", "row 3: expected no label beside 'keep'; found 'fear'"),
        ("train/fear/0.png,fear,keep,", "row 3: 'train/fear/0.png' was corrected in row 2 already"),
        ("train/joy/2.png,joy,keep", "row 3: expected 4 fields, found 3"),
    ],
)
def test_a_bad_row_is_named(tree, row, message):
    with pytest.raises(InputError, match=rf"corrections\.csv, {message}"):
        load(**write(tree, "train/fear/0.png,fear,keep,", row))


def test_bad_files_are_errors(tree):
    with pytest.raises(InputError, match=r"corrections\.csv: no such file of corrections"):
        load("folder", tree, corrections="corrections.csv")
    for name in ("../corrections.csv", "/tmp/corrections.csv", 3):
        with pytest.raises(InputError, match="expected the name of a csv file in"):
            load("folder", tree, corrections=name)
    with pytest.raises(InputError, match="no column action"):
        load(**write(tree, header="id,given,label"))
    emptied = write(tree, "test/joy/5.png,joy,relabel,woe", "train/woe/4.png,woe,drop,")
    with pytest.raises(InputError, match=r"no test image|no training image of the class woe"):
        load(**emptied)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_only_what_is_named_changes(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("data")
    count, classes = 12, ("a", "b", "c")
    true = np.arange(count) % 3
    table = pd.DataFrame({"id": [f"i{k}" for k in range(count)], "path": "x", "split": "train"})
    table.loc[count - 1, "split"] = "test"
    table["true"] = true
    pixels = np.arange(count, dtype=np.uint8)[:, None, None]
    dataset = base.FaceDataset("made", classes, table, base.Pixels(pixels))
    chosen = data.draw(
        st.lists(st.integers(3, count - 2), unique=True)
    )  # a training image of each class stays
    lines, expected = [HEADER], dict(enumerate(true.tolist()))
    for k in chosen:
        action = data.draw(st.sampled_from(corrections.ACTIONS))
        new = data.draw(st.integers(0, 2))
        lines.append(f"i{k},{classes[true[k]]},{action},{classes[new] if action == 'relabel' else ''}")
        if action == "relabel":
            expected[k] = new
        elif action == "drop":
            del expected[k]
    (root / "c.csv").write_text("\n".join(lines))
    found = corrections.apply(dataset, root, "c.csv")
    read = {int(found.read(i).item()): int(label) for i, label in enumerate(found.table.true)}
    assert read == expected
    assert found.table.index.tolist() == list(range(len(expected)))
