"""Whatever its files hold, a data set is read or refused in a line: never a traceback.

60 examples each; more with `pytest tests/datasets/test_odd_inputs.py --hypothesis-profile long -o timeout=0`.
"""

import inspect
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from made_layouts import write_label, write_new
from odd import VALUES, damage, works_or_says_why
from pictures import write_picture
from PIL import Image
from test_affectnet import write_first_release, write_release_2021
from test_ferplus import ROWS, write_kaggle
from test_rafdb import write_tree

from asm import datasets
from asm.datasets import ferplus, folder, images, noise
from asm.rendered.dataset import render_dataset


def affectnet_csv(root: Path) -> None:
    write_first_release(root, write_picture)


def affectnet_npy(root: Path) -> None:
    write_release_2021(root, write_picture)


def ferplus_folders(root: Path) -> None:
    write_label(root, ROWS)
    write_new(root, ROWS)
    for usage, name, *_ in ROWS:
        if name:
            write_picture(root / ferplus.FOLDERS[ferplus.USAGES[usage]] / name)


def ferplus_kaggle(root: Path) -> None:
    write_new(root, ROWS)
    write_kaggle(root)


def folder_csv(root: Path) -> None:
    rows = [f"i/{k}.png,{label},{split}" for k, (label, split) in enumerate(
        [("sad", "train"), ("happy", "train"), ("sad", "test"), ("happy", "valid")]
    )]  # fmt: skip
    (root / "labels.csv").write_text("\n".join(["path,label,split", *rows, ""]))
    for k in range(4):
        write_picture(root / "i" / f"{k}.png")


def rafdb(root: Path) -> None:
    write_tree(root, write_picture)


def synthetic(root: Path) -> None:
    render_dataset(root, train=7, valid=1, test=7, size=32, seed=1, workers=1)


SETS: list[tuple[str, Callable[[Path], None], list[str]]] = [
    ("affectnet", affectnet_csv, ["training.csv", "validation.csv"]),
    ("affectnet", affectnet_npy, ["train_set/annotations/3_exp.npy", "val_set/annotations/1_exp.npy"]),
    ("ferplus", ferplus_folders, ["FER2013Train/label.csv", "FER2013Test/label.csv", "fer2013new.csv"]),
    ("ferplus", ferplus_kaggle, ["fer2013.csv", "fer2013new.csv"]),
    ("folder", folder_csv, ["labels.csv"]),
    ("rafdb", rafdb, ["EmoLabel/list_patition_label.txt"]),
    ("synthetic", synthetic, ["images.npy", "manifest.csv"]),
]


@pytest.fixture(scope="module", params=SETS, ids=lambda each: each[1].__name__)
def data_set(request, tmp_path_factory) -> tuple[str, Path, list[str]]:
    """A source, a sound data set of it, and its files that are read with the labels."""
    source, write, files = request.param
    root = tmp_path_factory.mktemp(write.__name__)
    write(root)
    assert len(datasets.load(source, root).table) > 2
    return source, root, files


@given(data=st.data(), change=damage())
def test_a_damaged_file_is_read_or_named(data_set, data, change):
    source, root, files = data_set
    path = root / data.draw(st.sampled_from(files))
    sound = path.read_bytes()
    try:
        path.write_bytes(change(sound))
        works_or_says_why(lambda: datasets.load(source, root), source, path.name)
    finally:
        path.write_bytes(sound)


@given(data=st.data())
def test_odd_options_are_taken_or_named(data_set, data):
    source, root, _ = data_set
    known = {
        "affectnet": ["num_classes", "absent_share"],
        "ferplus": ["num_classes", "rule", "votes", "merge_valid", "min_votes"],
        "folder": list(inspect.signature(folder.load).parameters)[1:],
        "rafdb": ["images"],
        "synthetic": ["size"],
    }[source]
    options = data.draw(st.dictionaries(st.sampled_from(known), VALUES, min_size=1))
    works_or_says_why(lambda: datasets.load(source, root, **options), source)


@given(options=st.dictionaries(st.sampled_from(["parts", "test"]), VALUES))
def test_odd_options_of_a_union_are_named(tmp_path_factory, options):
    root = tmp_path_factory.getbasetemp() / "no_union"
    works_or_says_why(lambda: datasets.load("union", root, **options), "union: options", "union: test")


@example(names=["."])
@given(names=st.lists(st.text(st.characters(blacklist_characters="/\0", codec=None), min_size=1, max_size=5)))
def test_odd_names_of_folders_and_files_are_read_or_named(tmp_path_factory, names):
    root = tmp_path_factory.mktemp("names")
    for name in names:
        try:
            folder = Path(str(root / "train" / name))
            folder.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4)).save(folder / f"{name}.png", format="PNG")
            write_picture(root / "test" / name / "x.png")
        except (OSError, UnicodeEncodeError):  # none that a file system takes
            continue
    works_or_says_why(lambda: datasets.load("folder", root), "folder")


@given(change=damage(), base=st.sampled_from([None, 0, 1]))
def test_a_damaged_noise_list_is_read_or_named(tmp_path_factory, change, base):
    path = tmp_path_factory.getbasetemp() / "list.txt"
    ids = ["train/sad/a.jpg", "train/happy/a.jpg", "fer01", "fer01#2"]
    text = "train/sad/a.jpg 1\ntrain/happy/a.jpg 3\nfer01.png 2\nfer01.png 1\ntest/b.jpg 2\n"
    path.write_bytes(change(text.encode()))

    def read() -> None:
        labels = noise.from_list(path, ids, np.array([0, 2, 1, 0]), "abc", base=base)
        assert labels.shape == (4,)
        assert set(labels.tolist()) <= {0, 1, 2}

    works_or_says_why(read, path)


@pytest.fixture(scope="module", params=list(images.FORMATS))
def image_file(request, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("image") / f"x{images.FORMATS[request.param][0]}"
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, request.param)
    return path


@given(change=damage())
def test_a_damaged_image_is_read_or_an_oserror(image_file, change):
    sound = image_file.read_bytes()
    damaged = image_file.with_name(f"damaged{image_file.suffix}")
    damaged.write_bytes(change(sound))
    try:
        pixels = images.read_image(damaged)
    except OSError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 2 or pixels.shape[2:] == (3,)
