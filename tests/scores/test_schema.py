"""The committed scores are of today's schema, and every key of it is needed."""

import json
from pathlib import Path

import pytest
from made_run import FACES, NOISE, make_manifest, write_run

from asm.basics.errors import InputError
from asm.scores.evaluation import evaluate
from asm.scores.schema import FaceCounts, Scores, load_scores

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = [*ROOT.glob("reports/scores/*.json"), *ROOT.glob("profiles/*/reports/scores/*.json")]


@pytest.fixture
def written(tmp_path) -> Path:
    """The scores of the made-up run."""
    write_run(tmp_path / "run")
    scores = evaluate(tmp_path / "run", make_manifest(), FaceCounts(**FACES), NOISE)
    path = tmp_path / "tiny.json"
    path.write_text(scores.model_dump_json(indent=1))
    return path


@pytest.mark.skipif(not COMMITTED, reason="no scores are committed")
def test_committed_scores_validate_and_would_be_written_as_they_are():
    for path in COMMITTED:
        scores = load_scores(path)
        assert scores.cell == path.stem
        assert scores.model_dump_json(indent=1) + "\n" == path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize("key", Scores.model_fields)
def test_every_key_is_needed(written, key):
    content = json.loads(written.read_text())
    del content[key]
    written.write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"tiny\.json: {key}: Field required; evaluate the cell again"):
        load_scores(written)


def test_an_unknown_key_and_a_number_that_json_lacks_are_errors(written):
    content = json.loads(written.read_text())
    written.write_text(json.dumps(content | {"label": 1}))
    with pytest.raises(InputError, match=r"tiny\.json: label: Extra inputs"):
        load_scores(written)
    content["test"]["ece"] = float("nan")
    written.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"tiny\.json: test\.ece"):
        load_scores(written)


def test_a_missing_or_truncated_file_is_named(written, tmp_path):
    with pytest.raises(InputError, match=r"absent\.json: cannot be read"):
        load_scores(tmp_path / "absent.json")
    written.write_text(written.read_text()[:100])
    with pytest.raises(InputError, match=r"tiny\.json: the whole file: Invalid JSON"):
        load_scores(written)
