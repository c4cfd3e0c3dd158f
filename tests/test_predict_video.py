"""Expressions read off a video: frames by time, faces followed, files that are damaged or cut."""

import sys
import wave

import numpy as np
import pandas as pd
import pytest
import rendered_clip
import trained_run
from PIL import Image

from asm.__main__ import main
from asm.basics.errors import InputError
from asm.faces.detection import Detection
from asm.tools.predict import video

FPS, SECONDS = 10, 3
GONE = (1.2, 1.7)  # seconds between which the right face is not seen

av = pytest.importorskip("av", reason="the extra video is not installed")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained_run.write(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Two people who move a little, the right one hidden for half a second; the first frame shows nobody."""
    path = tmp_path_factory.mktemp("clip") / "two.mp4"
    frames = [np.full((180, 400, 3), 128, np.uint8)]
    for number in range(1, FPS * SECONDS):
        time, frame = number / FPS, np.full((180, 400, 3), 128, np.uint8)
        for person, x in enumerate((10 + number, 220 - number)):
            if person == 0 or not GONE[0] < time < GONE[1]:
                shown = rendered_clip.intensities(time, rendered_clip.expressions(2 * person))
                frame[10:170, x : x + 160] = rendered_clip.face(person, shown, photograph=person)
        frames.append(frame)
    rendered_clip.write(path, frames, FPS)
    return path


def test_faces_of_sampled_frames_are_read_and_followed(run, clip, tmp_path, capsys):
    main(["predict", str(clip), "--weights", str(run), "--fps", "4", "--annotate", "--out", str(tmp_path)])
    table = pd.read_csv(tmp_path / "predictions.csv")
    times = [0, 0.3, 0.5, 0.8, 1.0, 1.3, 1.5, 1.8, 2.0, 2.3, 2.5, 2.8]  # first frames at or after n / 4
    assert table["time"].drop_duplicates().tolist() == times
    assert table.loc[table["time"] == 0, "expression"].isna().tolist() == [True]
    seen = table[table["time"] > 0]
    for number, missing in ((1, set()), (2, {1.3, 1.5})):
        rows = seen[seen["face"] == number]
        assert set(times[1:]) - set(rows["time"]) == missing
        assert (rows["x1"].diff().dropna() * (1 if number == 1 else -1) > 0).mean() > 0.7  # the way it moves
    np.testing.assert_allclose(seen[["p_red", "p_green", "p_blue"]].sum(axis=1), 1, atol=1e-3)
    printed = capsys.readouterr().out
    assert "2 faces in 12 frames" in printed
    assert "note: 1 frames without a face" in printed
    with Image.open(tmp_path / "timeline.png") as picture:
        assert len(picture.convert("RGB").getcolors(100000)) > 3
    copied = list(video.sampled(tmp_path / "annotated.mp4", 100))
    assert [time for time, _ in copied] == times
    (_, before), (_, after) = list(video.sampled(clip, 4))[3], copied[3]
    changed = np.abs(before.astype(int) - after).max(axis=2) > 30
    x1, y1 = seen.loc[(seen["face"] == 1) & (seen["time"] == 0.8), ["x1", "y1"]].to_numpy(int)[0]
    assert changed[y1 : y1 + 60, x1 - 1 : x1 + 3].any(axis=1).mean() > 0.5  # the box
    assert changed.mean() < 0.2


def test_a_face_keeps_its_number_by_the_overlap_of_its_boxes():
    def faces(*boxes):
        return [Detection(np.zeros((5, 2)), np.array([x, 0, x + 100, 100], np.float32), 1.0) for x in boxes]

    followed = video.Followed()
    assert followed.numbers(faces(0, 200)) == [1, 2]
    assert followed.numbers(faces(150, 40)) == [2, 1]
    assert followed.numbers(faces(100)) == [2]  # a third of the union; a quarter of the other's
    for _ in range(video.PATIENCE - 2):
        assert followed.numbers([]) == []
    assert followed.numbers(faces(50, 400)) == [1, 3]
    for _ in range(video.PATIENCE):
        followed.numbers([])
    assert followed.numbers(faces(50)) == [4]


def test_a_turned_video_is_read_upright(clip, tmp_path):
    content = clip.read_bytes()
    straight = bytes.fromhex("00010000 00000000 00000000 00000000 00010000")
    turned = bytes.fromhex("00000000 00010000 00000000 ffff0000 00000000")
    at = content.index(straight, content.index(b"tkhd"))
    path = tmp_path / "turned.mp4"
    path.write_bytes(content[:at] + turned + content[at + len(straight) :])
    (_, as_stored), (_, upright) = (list(video.sampled(file, 1))[1] for file in (clip, path))
    assert upright.shape == (400, 180, 3)
    assert np.array_equal(upright, np.rot90(as_stored, -1))  # the matrix turns it clockwise


def test_of_a_cut_file_what_was_read_is_kept(run, clip, tmp_path, capsys):
    content = clip.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(content[: len(content) * 6 // 10])
    main(["predict", str(cut), "--weights", str(run), "--fps", "2", "--out", str(tmp_path / "out")])
    assert 2 <= pd.read_csv(tmp_path / "out" / "predictions.csv")["time"].nunique() < 6
    assert (tmp_path / "out" / "timeline.png").is_file()
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "what was read is kept" in line]
    assert str(cut) in line


def test_what_is_no_video_ends_in_one_line(run, clip, tmp_path, monkeypatch):
    (tmp_path / "text.mp4").write_text("nothing of the kind\n" * 100)
    with wave.open(str(tmp_path / "sound.mp4"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", None))
        sound.writeframes(bytes(8000))
    out = tmp_path / "out"
    for name, message in (
        ("text.mp4", "cannot be read as a video"),
        ("none.mp4", "cannot be read as a video .*No such file"),
        ("sound.mp4", "no pictures in this file"),
    ):
        with pytest.raises(SystemExit, match=rf"^error: .*{name}: {message}"):
            main(["predict", str(tmp_path / name), "--weights", str(run), "--out", str(out)])
        assert not out.exists()
    with pytest.raises(SystemExit, match=r"^error: --fps 0"):
        main(["predict", str(clip), "--weights", str(run), "--fps", "0"])
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"not installed; pip install '\.\[video\]'"):
        video.require()
