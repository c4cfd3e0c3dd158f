import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from asm import datasets
from asm.basics.code import imported
from asm.basics.errors import InputError
from asm.datasets import base


def dataset(**columns: list) -> base.FaceDataset:
    """Two classes, two training images and a test image; `columns` replace the table's own."""
    table = {
        "id": ["a", "b", "c"],
        "path": ["a.png", "b.png", "c.png"],
        "split": ["train", "train", "test"],
        "true": [0, 1, 0],
    }
    return base.FaceDataset("tiny", ("no", "yes"), pd.DataFrame({**table, **columns}), lambda row: None)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["a", "b", "a"]}, r"id must be unique, but 1 occur more than once: a\."),
        ({"true": [0, 1, 2]}, r"row 2 \(c.png\) has the label 2; expected 0 to 1 \(no, yes\)"),
        ({"true": [0, -1, 0]}, r"row 1 \(b.png\) has the label -1"),
        ({"split": ["train", "train", "dev"]}, r"row 2 \(c.png\) has the split 'dev'; expected one of train"),
        ({"split": ["train"] * 3}, "no test image among 3"),
        ({"split": ["test"] * 3}, "no train image among 3"),
        ({"true": [0, 0, 1]}, "no training image of the class yes"),
    ],
)
def test_check_names_what_is_wrong(columns, message):
    assert base.check(sound := dataset()) is sound
    with pytest.raises(InputError, match=message):
        base.check(dataset(**columns))


@pytest.mark.parametrize(
    ("classes", "table", "message"),
    [
        (("no", "yes"), dataset().table.drop(columns="split"), "no column split; found: id, path, true"),
        (("no", "yes"), dataset().table.head(1), r"holds one image \(a.png\)"),
        (("same", "same"), dataset(true=[0, 0, 0]).table, "two or more different classes"),
        (("alone",), dataset(true=[0, 0, 0]).table, "two or more different classes"),
    ],
)
def test_check_names_a_missing_column_and_what_is_too_few(classes, table, message):
    with pytest.raises(InputError, match=message):
        base.check(base.FaceDataset("tiny", classes, table, lambda row: None))


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tif"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_images_keep_grey_and_colour(tmp_path, picture, suffix, mode):
    pixels = base.read_image(picture(tmp_path / f"x.{suffix}", 200, mode))
    # WebP has no grey: such a file is a colour image with equal channels.
    assert pixels.shape == ((4, 4) if mode == "L" and suffix != "webp" else (4, 4, 3))
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - 200).max() <= 2


@pytest.mark.parametrize(("mode", "channels"), [("RGBA", 3), ("P", 3), ("CMYK", 3), ("LA", 0), ("1", 0)])
def test_other_modes_become_rgb_or_grey(tmp_path, mode, channels):
    file = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    Image.new("RGB", (6, 4), (255, 255, 255)).convert("L" if mode == "LA" else "RGB").convert(mode).save(file)
    pixels = base.read_image(file)
    assert pixels.shape == ((4, 6, 3) if channels else (4, 6))
    assert (pixels >= 250).all()


def test_exif_orientation_is_honoured(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    stored = np.zeros((8, 16), np.uint8)
    stored[:, :8] = 255  # left half white: on top once it is turned
    Image.fromarray(stored).save(tmp_path / "x.png", exif=exif)
    upright = base.read_image(tmp_path / "x.png")
    assert upright.shape == (16, 8)
    assert upright[:8].min() == 255
    assert upright[8:].max() == 0


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_truncated_image_raises_oserror(tmp_path, suffix):
    file = tmp_path / f"x.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(OSError, match="truncated"):
        base.read_image(file)


def test_what_is_no_image_raises_oserror(tmp_path):
    (tmp_path / "x.jpg").write_text("not a picture")
    with pytest.raises(OSError, match="cannot identify"):
        base.read_image(tmp_path / "x.jpg")
    with pytest.raises(FileNotFoundError):
        base.read_image(tmp_path / "absent.jpg")


def test_an_error_that_is_no_oserror_becomes_one(tmp_path, picture, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)  # Pillow's guard raises DecompressionBombError
    file = picture(tmp_path / "x.png")
    with pytest.raises(OSError, match=r"cannot read the image .*x\.png: .*decompression bomb"):
        base.read_image(file)


def test_readers_can_be_sent_to_worker_processes(tmp_path, picture):
    picture(tmp_path / "a" / "x.png", 7)
    files = pickle.loads(pickle.dumps(base.Files(tmp_path, ("a/x.png",))))
    assert (files(0) == 7).all()
    pixels = pickle.loads(pickle.dumps(base.Pixels(np.full((1, 2, 2), 9, np.uint8))))
    assert (pixels(0) == 9).all()


def test_missing_files_are_counted_and_named(tmp_path, picture):
    picture(tmp_path / "a" / "x.png")
    base.require_files("tiny", tmp_path, ["a/x.png"], "the list")
    absent = [f"b/{k}.png" for k in range(5)]
    with pytest.raises(InputError, match=r"5 image\(s\) .* the list .*: b/0.png, b/1.png, b/2.png, … \(5"):
        base.require_files("tiny", tmp_path, ["a/x.png", *absent], "the list")


@pytest.mark.parametrize("name", ["/data/a.png", "../a.png", "x/../../a.png"])
def test_paths_that_lead_elsewhere_are_named_with_their_row(name):
    root = Path("data/raw/mine")
    base.require_inside(root, root / "list.csv", ["a.png", "x/..a/b..png"], [2, 3])
    message = rf"list.csv, row 3: .*'\.\.', found '{name}'\. The images must lie under data/raw/mine: DVC"
    with pytest.raises(InputError, match=message):
        base.require_inside(root, root / "list.csv", ["a.png", name], [2, 3])


def test_repeated_names_get_a_number():
    assert base.unique_ids(["a", "b", "a", "a"]) == ["a", "b", "a#2", "a#3"]


def test_rows_keep_their_line_and_the_columns_asked_for(tmp_path):
    (tmp_path / "t.csv").write_text('\ufeffa, b,c\n1,"x, y",3\n\n4, z ,6\n', encoding="utf-8")
    table = base.read_rows(tmp_path / "t.csv", ["b", "a"])
    assert table.to_dict("list") == {"b": ["x, y", "z"], "a": ["1", "4"], "line": [2, 4]}


def test_a_quoted_note_of_several_lines_is_read_and_rows_are_named_by_their_first(tmp_path):
    (tmp_path / "t.csv").write_text('a,note\n1,"two\nlines, ""here"""\n2,\n')
    assert base.read_rows(tmp_path / "t.csv", ["a"]).to_dict("list") == {"a": ["1", "2"], "line": [2, 4]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,c\n1,2\n", r"t.csv: no column b; the header has: a, c"),
        (b"", "no column a, b; the header has: nothing"),
        (b"a,b\n1,2\n3\n", "t.csv, row 3: expected 2 fields, found 1"),
        (b"a,b\n1,2,3\n", "t.csv, row 2: expected 2 fields, found 3"),
        (b"a,b\n1,\xff\n", "expected comma-separated UTF-8 text"),
        # a stray quotation mark swallows the lines that follow: named is the row where it stands
        (b'a,b,c\n"1,2,3\n4,5,6\n7,8,9\n', "t.csv, row 2: a quotation mark"),
        (b'a,b,c\n0,0,0\n1,"2,3\n4,5,6\n', "t.csv, row 3: a quotation mark"),
        (b'a,b,c\n1,2,"3\n4,5,6\n', "t.csv, row 2: a quotation mark"),  # three fields, but two lines are lost
        (b'a,b,c\n"1,2,3\n4,5,6\n"7",8,9\n', "t.csv, row 2: a quotation mark"),
        (b'a,b,c\n1,"2,3\n4,"5,6\n', "t.csv, row 2: a quotation mark"),
        (b'a,b,c\n1,"2,3\n' + 30_000 * b"4,5,6\n", "t.csv, row 2: a quotation mark"),  # over csv's limit
    ],
)
def test_a_damaged_table_is_named_with_its_row(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        base.read_rows(tmp_path / "t.csv", ["a", "b"])


@pytest.mark.parametrize("value", ["x", "", "1.5", "4", "-1", "9" * 40])
def test_numbers_outside_the_range_are_named_with_their_row(value):
    assert base.integers(Path("t.csv"), ["0", "3"], [2, 3], "a label", 0, 3).tolist() == [0, 3]
    with pytest.raises(
        InputError, match=f"t.csv, row 7: .* a label as a whole number 0 to 3, found '{value}'"
    ):
        base.integers(Path("t.csv"), ["0", value], [6, 7], "a label", 0, 3)


@pytest.mark.parametrize("line", ["a.jpg 1 2", "train_1 1 2", "a b 3", "a.jpg 1 0.9", "x 2.txt 1"])
def test_three_words_are_no_pair_unless_the_name_ends_in_its_suffix(tmp_path, line):
    (tmp_path / "l.txt").write_text(f"a.jpg 1\n{line}\n")
    with pytest.raises(InputError, match=r"l.txt, row 2: .* found 3 words: .*the first two words, .*"):
        base.read_pairs(tmp_path / "l.txt")


def test_pairs_allow_spaces_in_a_name(tmp_path):
    (tmp_path / "l.txt").write_text("my photo.jpg 3\n\nb.jpg\t1")
    found = base.read_pairs(tmp_path / "l.txt").to_dict("list")
    assert found == {"name": ["my photo.jpg", "b.jpg"], "value": ["3", "1"], "line": [1, 3]}


def test_a_line_that_is_no_pair_is_named(tmp_path):
    (tmp_path / "l.txt").write_text("a.jpg 1\nb.jpg\n")
    with pytest.raises(InputError, match=r"l.txt, row 2: expected '<file name> <label>', found 'b.jpg'"):
        base.read_pairs(tmp_path / "l.txt")
    (tmp_path / "l.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="expected UTF-8 text"):
        base.read_pairs(tmp_path / "l.txt")


def test_the_error_for_an_absent_dataset_shows_what_is_there(tmp_path):
    (tmp_path / "stray").mkdir()
    (tmp_path / "notes.txt").touch()
    error = base.absent("tiny", tmp_path, "\na.csv\n", "Ask at example.org.")
    assert str(error) == (
        f"tiny: not found at {tmp_path}: the folder holds notes.txt, stray/.\n"
        "Expected there:\n    a.csv\nAsk at example.org."
    )
    assert "there is no such folder" in str(base.absent("tiny", tmp_path / "none", "", ""))
    assert "it is a file" in str(base.absent("tiny", tmp_path / "notes.txt", "", ""))


def test_an_unknown_source_or_option_lists_the_known_ones(tmp_path):
    with pytest.raises(
        InputError, match="'jaffe'; expected one of affectnet, ferplus, folder, rafdb, synthetic, union"
    ):
        datasets.load("jaffe", tmp_path)
    with pytest.raises(InputError, match="rafdb: unknown option image; known: images"):
        datasets.load("rafdb", tmp_path, image="aligned")
    for other in ("base", "noise", "", "folder.os"):
        with pytest.raises(InputError, match="unknown data set source"):
            datasets.load(other, tmp_path)


def test_only_the_chosen_source_is_imported(tmp_path):
    """So that aligned faces do not depend on the code of another."""
    source = (
        "import sys, pathlib\n"
        "from asm import datasets\n"
        "from asm.basics.errors import InputError\n"
        "try: datasets.load('rafdb', pathlib.Path('nowhere'))\n"
        "except InputError: pass\n"
        "print(*sorted(m for m in sys.modules if m.startswith('asm.')))"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        *("asm.basics", "asm.basics.errors", "asm.basics.named", "asm.datasets"),
        *(f"asm.datasets.{name}" for name in ("base", "images", "names", "rafdb")),
    ]


def test_reading_the_rendered_faces_depends_on_no_code_that_draws_them():
    found = imported("align", {"source": "synthetic"})
    assert {name for name in found if name.startswith("asm.rendered")} == {"asm.rendered"}


def test_every_source_says_when_it_is_absent(tmp_path):
    for source in datasets.source_names():
        with pytest.raises(InputError):
            datasets.load(source, tmp_path / "nowhere")


def test_a_linked_folder_is_refused_and_a_linked_root_is_not(tmp_path):
    """DVC follows the root of a data set, but no link below it."""
    image = Image.new("L", (8, 8))
    for name in ("real/train/a", "real/train/b", "real/test/a", "far/b"):
        (tmp_path / name).mkdir(parents=True)
        image.save(tmp_path / name / "x.png")
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    assert len(datasets.load("folder", tmp_path / "linked").table) == 3
    (tmp_path / "real" / "test" / "b").symlink_to(tmp_path / "far" / "b")
    with pytest.raises(InputError, match=r"test/b is a link to a folder, whose changes DVC does not see"):
        datasets.load("folder", tmp_path / "real")
