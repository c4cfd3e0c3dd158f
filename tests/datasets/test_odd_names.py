"""Names of classes and files as people have them: every label is its own, or the name is refused in a line.

More examples: `--hypothesis-profile long -o timeout=0`.
"""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from odd import damage, odd_files, works_or_says_why
from pictures import write_picture
from test_listed import HEADER, exported

from asm.basics.errors import InputError
from asm.datasets import load, noise
from asm.datasets.names import by_number
from asm.faces.process import align_dataset

NUMBERS = st.integers(0, 120).map(str)
CLASSES = st.lists(
    NUMBERS
    | st.builds("{:0{}d}".format, st.integers(0, 120), st.integers(1, 5))
    | st.builds("{}{}".format, st.sampled_from(["au", "1_", "e", "-", "٣", " ", "é"]), NUMBERS)
    | st.builds("{}_{}".format, NUMBERS, st.sampled_from(["sad", "happy", "", "1e5"]))
    | st.sampled_from(["nan", "NA", "null", "true", "no", "1.0", "1e5", "0x1", "inf", "Sad", "sad", "sad "]),
    min_size=2,
    max_size=13,
    unique=True,
)
SIZE = {"size": 8, "detect": False, "pad": 0.0, "upscale": 1.0, "batch_size": 4, "workers": 1}


@example(names=[str(k) for k in range(1, 12)])
@example(names=["01", "1"])
@given(names=CLASSES)
def test_labels_are_their_own_in_folders_csv_files_and_lists(tmp_path_factory, names):
    """A list of the folders' own names without noise changes no label, also where the names are numbers."""
    root = tmp_path_factory.mktemp("classes")
    rows = []
    for k, name in enumerate(names):
        for split in ("train", "test"):
            path = f"{split}/{name}/{k}{split}.png"
            write_picture(root / path)
            rows.append((path, name, split))
    (root / "noise.txt").write_text("".join(f"{k}train.png {name}\n" for k, name in enumerate(names)))

    def read() -> None:
        data = load("folder", root)
        assert list(data.classes) == sorted(data.classes, key=by_number)
        for path, k in zip(data.table.path, data.table.true, strict=True):
            assert path.split("/")[1] == data.classes[k]
        train = data.table[data.table.split == "train"]
        given = noise.from_list(root / "noise.txt", train.id.tolist(), train.true.to_numpy(), data.classes)
        assert (given == train.true).all()

    works_or_says_why(read, "folder", "noise.txt")
    (root / "labels.csv").write_text("\n".join(["path,label,split", *map(",".join, rows), ""]))

    def read_csv() -> None:
        data = load("folder", root)
        assert list(data.classes) == sorted(data.classes, key=by_number)
        written = dict(row[:2] for row in rows)
        assert all(
            written[path].strip() == data.classes[k]
            for path, k in zip(data.table.path, data.table.true, strict=True)
        )

    works_or_says_why(read_csv, "labels.csv", "folder")


@given(beside=odd_files())
def test_a_file_of_any_name_is_aligned_or_named(tmp_path_factory, beside):
    root = tmp_path_factory.mktemp("files")
    for path in ("train/sad/a.png", "train/happy/b.png", "test/sad/c.png"):
        write_picture(root / path, 50)
    beside(root / "train/sad/a.png")

    def align() -> None:
        data = load("folder", root)
        align_dataset(
            data, out=root.parent / f"{root.name}_out", work=root.parent / f"{root.name}_work", **SIZE
        )

    works_or_says_why(align, "folder")


def kaggle(root: Path) -> None:
    for split in ("train", "test"):
        rows = [f"{split}_{k}.jpg,{k}" for k in range(1, 8)]
        (root / f"{split}_labels.csv").write_text("\n".join(["image,label", *rows, ""]))
        for k in range(1, 8):
            write_picture(root / "DATASET" / split / str(k) / f"{split}_{k}.jpg")


def label_studio(root: Path) -> None:
    rows = [
        exported(k, k % 3, "sad" if k % 2 else "happy", f"/data/upload/1/1a2b3c4d-{k // 3}.png")
        for k in range(18)
    ]
    (root / "labels.csv").write_text("\n".join([HEADER, *rows, ""]))
    for k in range(6):
        write_picture(root / f"{k}.png")


def votes(root: Path) -> None:
    rows = [f"{k}.png,.{k},{1 - k / 10:.1f},p{k % 3},{k},{k},9,9" for k in range(1, 9)]
    (root / "labels.csv").write_text("\n".join(["path,votes_a,votes_b,who,l,t,w,h", *rows, ""]))
    for k in range(1, 9):
        write_picture(root / f"{k}.png")


DRAWN = {"test_share": 0.3, "absent_share": 0.3}
BOXED = DRAWN | {"columns": {"box_size": ["l", "t", "w", "h"], "subject": "who"}}


@pytest.fixture(
    scope="module",
    params=[
        (kaggle, "test_labels.csv", {"absent_share": 0.3}),
        (label_studio, "labels.csv", DRAWN),
        (votes, "labels.csv", BOXED),
    ],
    ids=lambda each: each[0].__name__,
)
def export(request, tmp_path_factory):
    write, file, options = request.param
    root = tmp_path_factory.mktemp(write.__name__)
    write(root)
    assert len(load("folder", root, **options).table) > 3
    return root, file, options


@given(change=damage())
def test_a_damaged_export_is_read_or_named(export, change):
    root, file, options = export
    sound = (root / file).read_bytes()

    def read() -> None:
        data = load("folder", root, **options)
        for row in range(len(data.table)):
            try:
                assert data.read(row).size
            except OSError:  # a box outside the image
                continue
        assert data.table.true.between(0, len(data.classes) - 1).all()
        columns = [name for name in data.table if name.startswith("votes_")]
        assert np.isfinite(data.table[columns].to_numpy(float)).all()

    try:
        (root / file).write_bytes(change(sound))
        works_or_says_why(read, "folder", file)
    finally:
        (root / file).write_bytes(sound)


def test_the_refusal_of_a_class_is_one_line(tmp_path):
    for name in ("1", "01"):
        write_picture(tmp_path / "train" / name / "x.png")
    write_picture(tmp_path / "test" / "1" / "x.png")
    with pytest.raises(InputError, match="the classes '01' and '1' look like one"):
        load("folder", tmp_path)
