"""Files of a finished run that were damaged since: each is scored, or one clear error names it."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_run import NOISE, make_manifest, write_faces, write_run

from asm.basics.errors import InputError
from asm.scores import evaluation

FILES = (
    *("run/run.json", "run/history.csv", "run/test_predictions.npz", "run/train_predictions.npz"),
    *("faces/manifest.csv", "faces/summary.json", "noise.json"),
)


@pytest.fixture
def whole(tmp_path) -> Path:
    """A folder with a run, its data set's store and what was done to its labels."""
    write_run(tmp_path / "whole" / "run")
    write_faces(tmp_path / "whole" / "faces", make_manifest())
    (tmp_path / "whole" / "noise.json").write_text(json.dumps(NOISE))
    return tmp_path / "whole"


def score(folder: Path) -> str:
    return evaluation.score_run(folder / "run", folder / "faces", folder / "noise.json").model_dump_json()


def score_or_name(folder: Path) -> None:
    try:
        score(folder)
    except InputError as error:
        message = str(error)
    else:
        return
    assert str(folder) in message
    assert "again" in message


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(FILES), st.data())
def test_a_damaged_file_is_scored_or_named(tmp_path, whole, name, data):
    """Cut, with a byte changed, something else, or a value of another kind."""
    folder = tmp_path / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    content = (whole / name).read_bytes()
    damage = data.draw(st.sampled_from(["cut", "byte", "other", *["value"] * name.endswith("json")]))
    if damage == "cut":
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    elif damage == "byte":
        at = data.draw(st.integers(0, len(content) - 1))
        content = content[:at] + data.draw(st.binary(min_size=1, max_size=1)) + content[at + 1 :]
    elif damage == "other":
        content = data.draw(st.binary(max_size=20))
    else:
        values = json.loads(content)
        values[data.draw(st.sampled_from(sorted(values)))] = data.draw(VALUES)
        content = json.dumps(values).encode()
    (folder / name).write_bytes(content)
    score_or_name(folder)


def test_what_is_cut_off_is_noticed(whole):
    """Each of these would still be a table."""
    path, info = whole / "run" / "history.csv", json.loads((whole / "run" / "run.json").read_text())
    info["config"]["training"] = {"epochs": 6}
    (whole / "run" / "run.json").write_text(json.dumps(info))
    text = path.read_text()
    path.write_text(text[:-1])
    with pytest.raises(InputError, match=r"history\.csv: its end is missing"):
        score(whole)
    path.write_text("".join(text.splitlines(keepends=True)[:-1]))
    with pytest.raises(InputError, match=r"history\.csv: expected a row for each of the epochs 1 to 6"):
        score(whole)
    path.write_text(text)
    assert json.loads(score(whole))["test"]


@pytest.mark.parametrize("name", ["run.json", "history.csv", "test_predictions.npz", "train_predictions.npz"])
def test_an_incomplete_run_is_named(whole, name):
    (whole / "run" / name).unlink()
    with pytest.raises(
        InputError, match=f"{name}: not found; the run is incomplete or damaged, train this cell again"
    ):
        score(whole)


@pytest.mark.parametrize("split", ["test", "train"])
def test_a_run_of_other_data_is_refused(whole, split):
    manifest = make_manifest()
    manifest["id"] = manifest["id"].str.replace(f"{split}0", "stranger").str.replace(f"{split}1", "other")
    write_faces(whole / "faces", manifest)
    count = {"test": 5, "train": 6}[split]
    expected = rf"{split}_predictions\.npz: 2 of {count} samples, e\.g\. {split}0, {split}1,"
    with pytest.raises(InputError, match=expected):
        score(whole)
