"""Scores of today's schema and of the one before, which committed files have."""

import json
from pathlib import Path

import pytest
from made_run import FACES, NOISE, make_manifest, write_run

from asm.basics.errors import InputError
from asm.scores.evaluation import evaluate
from asm.scores.schema import FaceCounts, GivenLabels, Scores, load_scores

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = [*ROOT.glob("reports/scores/*.json"), *ROOT.glob("profiles/*/reports/scores/*.json")]


@pytest.fixture
def written(tmp_path) -> Path:
    """The scores of the made-up run."""
    write_run(tmp_path / "run")
    scores = evaluate(
        tmp_path / "run", make_manifest(), FaceCounts(**FACES), GivenLabels(**NOISE, train_images=6)
    )
    path = tmp_path / "tiny.json"
    path.write_text(scores.model_dump_json(indent=1))
    return path


def check_kept(found, stored) -> None:
    """Each value of a file stands in what was read from it."""
    for key, value in stored.items():
        if key == "balanced_accuracy":
            assert found["mean_class_accuracy"] == {"last5": None, "last": value}
        elif isinstance(value, dict):
            check_kept(found[key], value)
        else:
            assert found[key] == value, key


@pytest.mark.skipif(not COMMITTED, reason="no scores are committed")
def test_committed_scores_load_whichever_version_wrote_them():
    for path in COMMITTED:
        scores = load_scores(path)
        assert scores.cell == path.stem
        check_kept(json.loads(scores.model_dump_json()), json.loads(path.read_text(encoding="utf-8")))


def test_a_file_of_the_version_before_has_none_where_scores_came_later(written):
    today, content = load_scores(written), json.loads(written.read_text())
    del content["curves"]["mean_class_accuracy"], content["mining"]["right_noisy_by_class_epoch"]
    del content["faces"]["corrected"], content["test"]["valid_mean_class_accuracy"]
    last = content["test"].pop("mean_class_accuracy")["last"]
    written.write_text(json.dumps(content | {"test": content["test"] | {"balanced_accuracy": last}}))
    scores = load_scores(written)
    assert scores.test.mean_class_accuracy.model_dump() == {"last5": None, "last": last}
    assert scores.test.mean_class_accuracy.headline == last
    assert today.test.mean_class_accuracy.headline == today.test.mean_class_accuracy.last5 != last
    assert scores.curves.mean_class_accuracy is None
    assert scores.test.valid_mean_class_accuracy is None
    assert scores.mining.right_noisy_by_class_epoch is None
    assert scores.faces.corrected == 0
    assert scores.test.accuracy == today.test.accuracy


@pytest.mark.parametrize("key", Scores.model_fields)
def test_every_key_of_the_first_version_is_needed(written, key):
    content = json.loads(written.read_text())
    del content[key]
    written.write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"tiny\.json: {key}: Field required; evaluate the cell again"):
        load_scores(written)


@pytest.mark.parametrize(
    ("part", "key", "value", "message"),
    [
        ("test", "label", 1, r"the key 'test\.label' is of another version"),
        ("test", "ece", float("nan"), r"test\.ece: "),
        ("curves", "accuracy", [0.5], r"curves: .*accuracy has 1 values for 6 epochs"),
        ("mining", "wrong_share", {"clean": []}, r"mining: .*wrong_share\.clean has 0 values for 2 epochs"),
        ("test", "confusion", [[1]], r"the whole file: .*confusion is not 3 x 3"),
        ("test", "per_class", [], r"the whole file: .*per_class does not name the classes"),
    ],
)
def test_what_does_not_fit_is_named(written, part, key, value, message):
    content = json.loads(written.read_text())
    content[part][key] = value
    written.write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"tiny\.json: {message}.*; evaluate the cell again"):
        load_scores(written)


def test_a_missing_or_truncated_file_is_named(written, tmp_path):
    with pytest.raises(InputError, match=r"absent\.json: cannot be read"):
        load_scores(tmp_path / "absent.json")
    written.write_text(written.read_text()[:100])
    with pytest.raises(InputError, match=r"tiny\.json: the whole file: Invalid JSON"):
        load_scores(written)
