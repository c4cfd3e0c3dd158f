import io
import json
import os
import weakref
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from asm.basics.errors import InputError
from asm.datasets.base import read_image
from asm.faces import blocks, process
from asm.faces.alignment import crop_face
from asm.faces.store import load


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def times(work: Path) -> dict[str, int]:
    """When each finished block was written."""
    return {path.name: path.stat().st_mtime_ns for path in work.glob("[0-9]*[0-9].npz")}


def times_before_writing(monkeypatch, work: Path) -> dict[str, int]:
    """`times` once all blocks are there, filled in when the result is put together."""
    kept, write = {}, process._write
    monkeypatch.setattr(process, "_write", lambda *words: kept.update(times(work)) or write(*words))
    return kept


@pytest.fixture
def align(tmp_path):
    def run(dataset, name="out", *, work="work", **changed):
        options = {"size": 32, "detect": False, "pad": 0.0, "upscale": 1.0, "batch_size": 4, "workers": 1}
        return process.align_dataset(
            dataset, out=tmp_path / name, work=tmp_path / work, **{**options, **changed}
        )

    return run


def test_images_with_several_faces_are_listed_aside(align, make_dataset, rendered, tmp_path):
    pair = np.concatenate([rendered.images[0], rendered.images[1]], axis=1)
    dataset = make_dataset([rendered.images[2], pair, rendered.images[3]])
    align(dataset, detect=True)
    align(dataset, "listed", detect=True, others=tmp_path / "others.csv")
    assert contents(tmp_path / "listed") == contents(tmp_path / "out")
    assert (tmp_path / "others.csv").read_text() == "id,others\n001,1\n"


def test_faces_are_found_and_cropped(align, make_dataset, rendered, tmp_path):
    blank = np.full((70, 50), 100, np.uint8)
    dataset = make_dataset([*rendered.images[:5], blank])
    summary = align(dataset, detect=True, size=48)
    assert summary == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["images"], summary["fallback"], summary["unreadable"]) == (6, 1, 0)
    assert summary["fallback_share"] == pytest.approx(1 / 6, abs=1e-6)

    store = load(tmp_path / "out")
    assert store.faces.shape == (6, 48, 48, 3)  # the grey image among colour became RGB
    assert store.manifest["face"].tolist() == ["mtcnn"] * 5 + ["fallback"]
    assert store.manifest["votes_a"].tolist() == list(range(6))
    assert np.isnan(store.landmarks[5]).all()
    assert (store.faces[5] == 100).all()
    assert np.abs(store.landmarks[:5] - rendered.landmarks[:5]).mean() < 5
    report = pd.read_csv(tmp_path / "out" / "report.csv", dtype=str)
    assert report["id"].tolist() == ["005"]
    assert "no face" in report["reason"][0]

    # the landmarks that are stored give the stored pixels
    for face, image, points in zip(store.faces, rendered.images[:5], store.landmarks, strict=False):
        assert np.array_equal(face, crop_face(image, points, 48))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "work"]


def test_unreadable_images_are_left_out_and_listed(align, tmp_path, make_dataset, capsys):
    """A truncated JPEG and a text file, read from disk as a loader does."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 40, 40, 3), dtype=np.uint8)
    root = tmp_path / "the data"
    root.mkdir()
    names = [f"{i}.jpg" for i in range(6)]
    for name, image in zip(names, pixels, strict=True):
        Image.fromarray(image).save(root / name)
    (root / "2.jpg").write_bytes((root / "2.jpg").read_bytes()[:600])
    (root / "4.jpg").write_text("no image")
    dataset = make_dataset([None] * 6, label=[0, 0, 0, 1, 1, 1])
    dataset = replace(
        dataset, table=dataset.table.assign(path=names), read=lambda row: read_image(root / names[row])
    )

    assert align(dataset)["unreadable"] == 2
    assert "2 image(s) cannot be read, such as 002 (" in capsys.readouterr().err
    store = load(tmp_path / "out")
    assert store.manifest["id"].tolist() == ["000", "001", "003", "005"]
    assert store.manifest["face"].tolist() == ["as_is"] * 4
    assert len(store.faces) == 4
    assert np.isnan(store.landmarks).all()
    report = pd.read_csv(tmp_path / "out" / "report.csv", dtype=str).set_index("id")["reason"]
    assert report.index.tolist() == ["002", "004"]
    assert report["002"].startswith("unreadable: ")
    assert "truncated" in report["002"].lower()
    assert "4.jpg" in report["004"]
    assert str(tmp_path) not in report["004"]


def test_reasons_do_not_depend_on_the_run():
    with pytest.raises(OSError, match="0x") as caught:
        Image.open(io.BytesIO(b"nothing"))
    assert "0x" not in blocks.reason_of(caught.value, "a.png")
    assert blocks.reason_of(OSError("bad /home/x/images/a.png, ~"), "images/a.png") == "bad images/a.png, ~"
    assert blocks.reason_of(OSError(), "") == "OSError"


BROKEN = OSError("broken")
FINE = np.zeros((9, 9), np.uint8)


@pytest.mark.parametrize(
    ("entries", "split", "label", "message"),
    [
        ([BROKEN] * 4, None, None, r"none of the 4 images can be read \(e.g. images/000.png: broken\)"),
        ([FINE, FINE, BROKEN, FINE], ["train", "train", "valid", "test"], None, "split 'valid'"),
        ([FINE, BROKEN, FINE, FINE], ["train", "train", "test", "test"], None, "class 'b'"),
    ],
)
def test_what_becomes_empty_is_named(align, make_dataset, entries, split, label, message):
    with pytest.raises(InputError, match=message):
        align(make_dataset(entries, split, label))
    # The finished blocks stay, but mended images are looked at again.
    assert align(make_dataset([FINE] * 4, split, label))["unreadable"] == 0


def test_a_class_that_never_had_training_images_is_not_blamed_on_files(align, make_dataset):
    assert align(make_dataset([FINE, BROKEN, FINE], ["train", "train", "test"], [0, 0, 1]))["unreadable"] == 1


def test_as_is_images_of_the_right_size_are_not_changed_and_corrections_are_counted(
    align, make_dataset, tmp_path
):
    images = np.random.default_rng(1).integers(0, 256, (5, 32, 32), dtype=np.uint8)
    dataset = make_dataset(list(images))
    summary = align(dataset)
    assert summary["channels"] == 1
    assert "corrected" not in summary
    assert np.array_equal(load(tmp_path / "out").faces[..., 0], images)
    dataset = replace(dataset, table=dataset.table.assign(corrected_from=["", "a", "", "b", ""]))
    assert align(dataset)["corrected"] == 2


def test_the_same_image_in_two_splits_is_counted_and_named(align, make_dataset, tmp_path, capsys):
    images = list(np.random.default_rng(0).integers(0, 256, (6, 9, 9), dtype=np.uint8))
    images[4], images[5] = images[1].copy(), images[3].copy()  # 005 is a test image, as 003 is
    splits = ["train", "train", "valid", "test", "test", "test"]
    summary = align(make_dataset(images, splits, [0, 1, 0, 1, 0, 1]))
    assert summary["in_two_splits"] == 1
    report = pd.read_csv(tmp_path / "out" / "report.csv", dtype=str)
    assert report.values.tolist() == [["004", "the same pixels as 001 in train"]]
    assert (
        "made: 1 image(s) are also in another split, pixel by pixel, such as 004 in"
        in capsys.readouterr().err
    )

    images[4] = BROKEN
    images[1] = OSError("broken")  # of one reason, and not of one image
    assert "in_two_splits" not in align(make_dataset(images, splits, [0] * 6), "none")


def test_files_that_are_left_out_are_counted_and_named(align, make_dataset, tmp_path, capsys):
    left_out = {"train/a/b.mp4": "no image", os.fsdecode(b"caf\xe9.txt"): "no image"}
    assert align(replace(make_dataset([FINE, FINE + 1, FINE + 2]), left_out=left_out))["left_out"] == 2
    report = pd.read_csv(tmp_path / "out" / "report.csv", dtype=str)
    assert report.values.tolist() == [
        ["train/a/b.mp4", "left out: no image"],
        ["caf\\udce9.txt", "left out: no image"],
    ]
    assert "made: 2 file(s) are left out, such as train/a/b.mp4 (no image); all" in capsys.readouterr().err


@pytest.mark.parametrize("workers", [1, 2])
def test_large_images_are_held_one_at_a_time_and_change_nothing(
    align, make_dataset, rendered, tmp_path, monkeypatch, workers
):
    """As small images of which a block may hold one; unreadable ones between them."""
    monkeypatch.setattr(process, "BLOCK", 8)
    entries = [*rendered.images[:6], BROKEN, *rendered.images[6:12], BROKEN]
    dataset = make_dataset(entries, ["train"] * 11 + ["test"] * 3)
    align(dataset, detect=True)
    monkeypatch.setattr(blocks, "HELD", rendered.images[0].nbytes)
    alive: list[weakref.ref] = []

    class Image(np.ndarray):
        pass

    def read(row):
        image = dataset.read(row).view(Image)
        alive.append(weakref.ref(image))
        # the one that each of two blocks holds, and one or two at work; not the 14
        assert sum(each() is not None for each in alive) < 7
        return image

    align(replace(dataset, read=read), "frugal", detect=True, workers=workers)
    assert contents(tmp_path / "out") == contents(tmp_path / "frugal")


def test_work_of_other_options_or_code_is_dropped_and_foreign_files_are_not(
    align, make_dataset, tmp_path, capsys
):
    dataset = make_dataset([FINE, BROKEN, FINE, FINE], ["train", "train", "test", "test"])
    for code in ("one", "one", "other"):
        with pytest.raises(InputError, match="class 'b'"):
            align(dataset, code=code)
        assert (tmp_path / "work" / "000000000.npz").is_file()
        assert ("starting anew" in capsys.readouterr().err) == (code == "other")
    assert align(make_dataset([FINE] * 4), size=16, code="other")["size"] == 16
    assert "starting anew" in capsys.readouterr().err
    assert load(tmp_path / "out").faces.shape[1] == 16

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("do not delete")
    with pytest.raises(InputError, match="found other files"):
        align(dataset, work="mine")
    assert (tmp_path / "mine" / "thesis.tex").is_file()


def test_existing_output_is_replaced(align, make_dataset, tmp_path):
    align(make_dataset([FINE] * 4))
    (tmp_path / "out" / "old").write_text("")
    align(make_dataset([FINE] * 6))
    assert "old" not in contents(tmp_path / "out")
    assert len(load(tmp_path / "out").faces) == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "work"]


@pytest.mark.parametrize(
    "bad", [{"size": 0}, {"pad": -0.1}, {"upscale": 0}, {"workers": 0}, {"batch_size": 0}]
)
def test_nonsense_options_are_refused(align, make_dataset, bad):
    with pytest.raises(InputError, match="expected size"):
        align(make_dataset([FINE] * 4), **bad)


def test_images_replaced_under_the_same_names_are_aligned_again(align, make_dataset, tmp_path, monkeypatch):
    """A run stops after 4 of 5 blocks; then the images of 3 blocks are others, one grey, one mended."""
    monkeypatch.setattr(process, "BLOCK", 8)
    images = list(np.random.default_rng(0).integers(0, 256, (40, 20, 20, 3), dtype=np.uint8))
    images[9] = OSError("broken")
    with pytest.raises(KeyboardInterrupt):
        align(make_dataset([*images[:32], *[KeyboardInterrupt()] * 8]))
    finished = times(tmp_path / "work")
    assert sorted(finished) == ["000000000.npz", "000000008.npz", "000000016.npz", "000000024.npz"]

    images[3] = 255 - images[3]
    images[9] = images[8]
    images[30] = images[30].reshape(60, 20)  # the same bytes, of another shape
    kept = times_before_writing(monkeypatch, tmp_path / "work")
    align(make_dataset(images))
    assert [name for name in sorted(finished) if kept[name] == finished[name]] == ["000000016.npz"]
    align(make_dataset(images), "fresh", work="fresh_work")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_an_image_is_read_once_also_on_resuming(align, make_dataset, monkeypatch):
    monkeypatch.setattr(process, "BLOCK", 8)
    dataset = make_dataset([FINE] * 20)
    seen = []

    def read(row, last=99):
        if row > last:
            raise KeyboardInterrupt
        seen.append(row)
        return FINE

    with pytest.raises(KeyboardInterrupt):
        align(replace(dataset, read=partial(read, last=17)))
    seen.clear()
    align(replace(dataset, read=read))
    assert seen == list(range(20))


def test_the_digest_tells_images_and_reasons_apart():
    image = np.zeros((2, 3), np.uint8)
    different = [image, image.reshape(3, 2), image.astype(np.uint16), image + 1, "broken", "bro", ""]
    assert len({blocks.digest_of(each) for each in different}) == len(different)
    assert blocks.digest_of(np.zeros((4, 6), np.uint8)[::2, ::2]) == blocks.digest_of(image)
