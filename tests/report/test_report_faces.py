"""The site with the data sets' faces, which is only written on demand."""

import base64
import io

import numpy as np
import pytest
from made_up import read, write_faces, write_report, write_run
from PIL import Image

from asm.basics.errors import InputError
from asm.report import charts


@pytest.fixture
def run(small, tmp_path):
    return write_run(tmp_path, small)


def test_every_point_has_its_own_face(run):
    faces = write_faces(run)
    panels = charts.build(read(run), run / "tsne", faces)["fig1_tsne"]["hconcat"][0]["vconcat"]
    for panel, part, first in (
        (panels[0], "test", 1400),
        (panels[1], "train", 0),
    ):  # as stored
        (row,) = panel["data"]["values"]
        assert len(row["image"]) == len(row["id"])
        for name, url in list(zip(row["id"], row["image"], strict=True))[:300:7]:
            assert name.startswith(f"{part}/")
            pixels = np.array(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))))
            assert abs(int(pixels[0, 0]) - (first + int(name.split("/")[1])) % 256) <= 2  # a JPEG


def test_no_face_is_shown_unless_asked_for(run, no_figures):
    write_faces(run)
    assert "data:image/jpeg" not in (write_report(run) / "index.html").read_text(encoding="utf-8")


def test_faces_of_another_data_set_are_an_error(run):
    with pytest.raises(InputError, match="no such directory of aligned faces"):
        charts.build(read(run), run / "tsne", run / "elsewhere")
    with pytest.raises(InputError, match=r"samples, e\.g\. t.*, are not in this data set's manifest"):
        charts.build(read(run), run / "tsne", write_faces(run, test=699, train=1399))
