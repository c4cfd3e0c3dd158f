"""Every score against numbers worked out by hand on a run of five test and six training samples."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_run import FACES, NOISE, make_manifest, write_faces, write_run

from asm import mining
from asm.basics.errors import InputError
from asm.scores import evaluation, schema
from asm.scores.label_quality import vote_entropy
from asm.scores.run import read_arrays, rows_of


@pytest.fixture
def run(tmp_path):
    write_run(tmp_path / "run")
    return tmp_path / "run"


def evaluate(run, manifest=None):
    manifest = make_manifest() if manifest is None else manifest
    noise = schema.GivenLabels(**NOISE, train_images=6)
    return evaluation.evaluate(run, manifest, schema.FaceCounts(**FACES), noise)


def mined(run, manifest=None):
    """The scores of the mining alone."""
    train = read_arrays(run / "train_predictions.npz")
    rows = rows_of(make_manifest() if manifest is None else manifest, train["ids"], run)
    return evaluation.mining_scores(train, rows, pd.read_csv(run / "history.csv"), ["a", "b", "c"])


@pytest.fixture
def scores(run):
    return evaluate(run)


# --- test set ---------------------------------------------------------------------------------------------


def test_headline_is_the_mean_of_the_last_five_epochs_beside_last_and_best(scores):
    test = scores.test
    assert test.averaged_epochs == 5
    assert test.images == 5
    assert test.accuracy.last5 == pytest.approx((1.0 + 0.8 + 0.6 + 0.8 + 0.6) / 5)
    assert test.accuracy.last == pytest.approx(0.6)
    assert test.accuracy.best == 1.0
    assert test.accuracy.best_epoch == 2
    assert test.valid_accuracy == pytest.approx((0.5 + 0.6 + 0.7 + 0.8 + 0.9) / 5)


def test_each_network_alone(scores):
    first, second = scores.test.networks
    assert first.last5 == pytest.approx(0.76)
    # class 0 is right for 2 of 5; at the end also the last sample
    assert second.last5 == pytest.approx((4 * 0.4 + 0.6) / 5)


def test_classes_and_confusion_of_the_last_epoch(scores):
    # predicted 0 2 1 1 0 for 0 0 1 1 1
    test = scores.test
    assert test.confusion == [[1, 0, 1], [1, 2, 0], [0, 0, 0]]
    a, b, c = test.per_class
    assert a == schema.ClassScore(name="a", recall=0.5, precision=0.5, f1=0.5, support=2)
    assert (b.recall, b.precision, b.f1) == pytest.approx((2 / 3, 1.0, 0.8))
    assert c == schema.ClassScore(name="c", recall=None, precision=0.0, f1=0.0, support=0)


def test_a_class_without_test_samples_does_not_count_in_the_means(scores):
    mean = scores.test.mean_class_accuracy
    assert mean.last == pytest.approx((1 / 2 + 2 / 3) / 2)
    # of class 0, of class 1: 2 3, 2 2, 1 2, 2 2 and 1 2 are right
    assert mean.last5 == pytest.approx((8 / 2 + 11 / 3) / 2 / 5)
    assert scores.test.valid_mean_class_accuracy == pytest.approx((0.1 + 0.2 + 0.3 + 0.4 + 0.5) / 5)
    assert scores.curves.mean_class_accuracy == [0.1, 1.0, 0.8, 0.7, 0.8, 0.6]
    assert scores.test.macro_f1 == pytest.approx((0.5 + 0.8) / 2)


def test_calibration_is_that_of_the_ensembles_last_epoch(scores):
    # .65 right; .525 wrong, right, right and .4905 wrong share a bin of 1/15
    expected = (abs(1 - 0.65) + abs(2 - 3 * 0.525 - 0.4905)) / 5
    assert scores.test.ece == pytest.approx(expected, abs=1e-6)


def test_unambiguous_accuracy_leaves_the_blends_out(run, scores):
    # samples 0, 2 and 3 over five epochs: one miss in the third
    assert scores.test.unambiguous_accuracy == pytest.approx(14 / 15)
    assert evaluate(run, make_manifest().assign(ambiguous=True)).test.unambiguous_accuracy is None


def test_what_identifies_the_run_and_what_it_cost(scores):
    assert (scores.cell, scores.dataset, scores.method, scores.seed) == ("tiny", "made", "asm", 3)
    assert scores.schedule == "fair"
    assert scores.classes == ["a", "b", "c"]
    assert scores.noise.model_dump() == {**NOISE, "train_images": 6}
    assert scores.faces.model_dump() == FACES | {"corrected": 0}
    assert scores.cost.model_dump() == {"parameters": 1234, "forward_passes": 4.6}  # of the last epoch


def test_curves_have_none_during_warmup(scores):
    curves = scores.curves
    assert curves.epoch == [1, 2, 3, 4, 5, 6]
    assert curves.accuracy == [0.2, 1.0, 0.8, 0.6, 0.8, 0.6]
    assert curves.subset_ambiguous == [None, None, None, None, pytest.approx(1 / 6), 0.0]
    assert curves.subset_noisy == [None, None, None, None, pytest.approx(2 / 6), pytest.approx(2 / 6)]
    assert curves.threshold_clean["c"] == [None, None, None, None, 0.7, pytest.approx(0.82)]


def test_a_method_without_mining_or_a_validation_split(tmp_path):
    write_run(tmp_path / "run", networks=1)
    history = pd.read_csv(tmp_path / "run" / "history.csv").drop(
        columns=["valid_accuracy", "valid_mean_class_accuracy", "test_mean_class_accuracy"]
    )
    history.to_csv(tmp_path / "run" / "history.csv", index=False)
    scores = evaluate(tmp_path / "run", make_manifest().drop(columns="ambiguous"))
    assert scores.mining is None
    assert scores.fit == schema.Fit(right=0.75, wrong=0.0)
    assert [network.last5 for network in scores.test.networks] == [pytest.approx(0.76)]
    assert scores.test.valid_accuracy is scores.test.valid_mean_class_accuracy is None
    assert scores.curves.mean_class_accuracy is None
    assert scores.test.unambiguous_accuracy is None
    assert scores.curves.subset_clean is None
    assert scores.curves.threshold_clean is None


def test_scores_come_from_the_runs_faces_and_noise_files_and_round_trip_exactly(run, tmp_path, scores):
    write_faces(tmp_path / "faces", make_manifest())
    noise = tmp_path / "noise.json"
    noise.write_text(json.dumps(NOISE | {"classes": ["a", "b", "c"], "samples": 6, "per_class": [None] * 3}))
    found = evaluation.score_run(run, tmp_path / "faces", noise)
    assert found == scores
    path = tmp_path / "tiny.json"
    path.write_text(found.model_dump_json(indent=1))
    assert schema.load_scores(path) == found
    assert schema.load_scores(path).model_dump_json(indent=1) == path.read_text()
    json.loads(path.read_text(), parse_constant=pytest.fail)  # strict JSON: no NaN


def test_labels_that_a_review_changed_are_counted(run, tmp_path, scores):
    write_faces(tmp_path / "faces", make_manifest())
    (tmp_path / "faces" / "summary.json").write_text(json.dumps(FACES | {"corrected": 4}))
    (tmp_path / "noise.json").write_text(json.dumps(NOISE))
    found = evaluation.score_run(run, tmp_path / "faces", tmp_path / "noise.json")
    assert (found.faces.corrected, scores.faces.corrected) == (4, 0)


@pytest.mark.parametrize(
    ("name", "key", "message"),
    [
        ("faces/manifest.csv", None, ""),
        ("faces/summary.json", None, "not found"),
        ("noise.json", None, "not found"),
        ("faces/summary.json", "images", "images: Field required; build the aligned faces again"),
        ("noise.json", "wrong", "wrong: Field required; corrupt the labels again"),
    ],
)
def test_a_missing_input_or_key_is_named(run, tmp_path, name, key, message):
    write_faces(tmp_path / "faces", make_manifest())
    (tmp_path / "noise.json").write_text(json.dumps(NOISE))
    path = tmp_path / name
    if key is None:
        path.unlink()
    else:
        content = json.loads(path.read_text())
        del content[key]
        path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"{name}: {message}"):
        evaluation.score_run(run, tmp_path / "faces", tmp_path / "noise.json")


# --- mining -----------------------------------------------------------------------------------------------


def test_noisy_subset_against_the_wrong_labels(scores):
    found = scores.mining
    assert found.epoch == [5, 6]
    assert found.noisy_precision == [0.5, 1.0]
    assert found.noisy_recall == [0.5, 1.0]
    assert found.noisy_f1 == [0.5, 1.0]
    assert found.wrong_share == {
        "clean": [pytest.approx(1 / 3), 0.0],
        "ambiguous": [0.0, None],
        "noisy": [0.5, 1.0],
    }


def test_fit_of_the_right_and_the_wrong_given_labels(run, scores):
    # most probable 0 1 1 0 2 0 for the labels 0 0* 1 1 2 2*, * wrong: of the right ones three, of the wrong
    # ones none are learned
    assert scores.fit == schema.Fit(right=0.75, wrong=0.0)
    stored = dict(np.load(run / "train_predictions.npz"))
    stored["given"][1] = 2  # still wrong
    stored["probabilities"][1] = [0.2, 0.3, 0.5]  # and now learned
    assert evaluation.fit_scores(stored) == schema.Fit(right=0.75, wrong=0.5)
    all_right, all_wrong = ({**stored, "true": stored["given"] + step} for step in (0, 1))
    assert evaluation.fit_scores(all_right) == schema.Fit(right=4 / 6, wrong=None)
    assert evaluation.fit_scores(all_wrong) == schema.Fit(right=None, wrong=4 / 6)


def test_right_labels_that_are_called_noisy(run, scores):
    # right: 0, 2, 3, 4; noisy: 1 and 4, then 1 and 5
    found = scores.mining
    assert found.right_noisy == [0.25, 0.0]
    assert found.right_noisy_by_class == {"a": 0.0, "b": 0.0, "c": 0.0}
    stored = dict(np.load(run / "train_predictions.npz"))
    np.savez(run / "train_predictions.npz", **{**stored, "subsets": stored["subsets"][::-1]})
    found = mined(run)
    assert found.right_noisy == [0.0, 0.25]
    assert found.right_noisy_by_class == {"a": 0.0, "b": 0.0, "c": 1.0}  # of c only 4 has a right label
    assert found.right_noisy_by_class_epoch == {"a": [0.0, 0.0], "b": [0.0, 0.0], "c": [0.0, 1.0]}
    np.savez(run / "train_predictions.npz", **{**stored, "true": np.array([0, 1, 1, 1, 0, 0])})
    assert mined(run).right_noisy_by_class["c"] is None


def test_the_clean_threshold_when_mining_starts(run, scores):
    assert scores.mining.clean_threshold_start == pytest.approx(0.7)  # of epoch 5; .8 to .82 later
    history = pd.read_csv(run / "history.csv")
    plain = history[[name for name in history if not name.startswith("threshold")]]
    plain.to_csv(run / "history.csv", index=False)  # MAN's
    assert mined(run).clean_threshold_start is None


@pytest.mark.parametrize(
    ("confidence", "auroc"),
    [
        # wrong .3 and .1 below 3 and 4 of .9 .8 .2 .7
        ([0.9, 0.3, 0.8, 0.2, 0.7, 0.1], 7 / 8),
        # Eq. 3 as printed: .6 and .75 below 3 and 2 of .9 .8 .5 .7
        ([0.9, 0.6, 0.8, 0.5, 0.7, 0.75], 5 / 8),
        # none, as MAN has none: the probability of the given label
        ([], 7 / 8),
    ],
)
def test_auroc_is_of_the_confidence_that_the_run_used(run, confidence, auroc):
    stored = dict(np.load(run / "train_predictions.npz"))
    np.savez(run / "train_predictions.npz", **stored | {"confidence": np.array(confidence)})
    assert mined(run).auroc_wrong == pytest.approx(auroc)


def test_without_wrong_labels_precision_recall_and_auroc_are_undefined(run):
    stored = dict(np.load(run / "train_predictions.npz"))
    np.savez(run / "train_predictions.npz", **{**stored, "true": stored["given"]})
    found = mined(run)
    assert found.noisy_precision == found.noisy_recall == found.noisy_f1 == [None, None]
    assert found.auroc_wrong is None
    assert found.wrong_share["noisy"] == [0.0, 0.0]


def test_ambiguous_subset_against_known_blends(run):
    # blends 3 and 4; in the first mined epoch 3 is called ambiguous, in the last none. By entropy 3 is above
    # all four others, 4 above three.
    found = mined(run).ambiguity
    assert (found.precision, found.recall, found.auroc) == (None, 0.0, pytest.approx(7 / 8))
    stored = dict(np.load(run / "train_predictions.npz"))
    np.savez(run / "train_predictions.npz", **{**stored, "subsets": stored["subsets"][::-1]})
    found = mined(run).ambiguity
    assert (found.precision, found.recall) == (1.0, 0.5)


def with_votes(rows: list[list[int]]) -> pd.DataFrame:
    """A manifest of the training samples with votes for a, b and "unknown"; no known ambiguity."""
    votes = pd.DataFrame(rows, columns=["votes_a", "votes_b", "votes_unknown"])
    votes.insert(0, "id", [f"train{i}" for i in range(6)])
    return votes


def test_rank_correlation_with_the_entropy_of_all_votes(run):
    # the votes' order is 0 < 2 < 5 < 4 < 3 < 1, the networks' 0 < 2 < 5 < 4 < 1 < 3: one swap of neighbours
    rows = [[10, 0, 0], [5, 0, 5], [1, 9, 0], [4, 6, 0], [0, 7, 3], [0, 8, 2]]
    found = mined(run, with_votes(rows))
    assert found.vote_entropy_spearman == pytest.approx(1 - 6 * (1 + 1) / (6 * (36 - 1)))
    assert found.ambiguity is None
    assert mined(run, make_manifest()).vote_entropy_spearman is None
    assert mined(run, with_votes([[10, 0, 0]] * 6)).vote_entropy_spearman is None  # all unanimous


def test_equal_vote_counts_tie_in_whichever_columns_they_stand(run):
    # by the networks 0 < 2 < 5 < 4 < 1 < 3; all tied but sample 3. Ranks of the votes: 3 3 3 6 3 3
    rows = [[1, 4, 5], [1, 5, 4], [4, 1, 5], [4, 3, 3], [4, 5, 1], [5, 1, 4]]
    expected = np.corrcoef([1, 5, 2, 6, 4, 3], [3, 3, 3, 6, 3, 3])[0, 1]
    assert mined(run, with_votes(rows)).vote_entropy_spearman == pytest.approx(expected)


def test_vote_entropy():
    votes = np.array([[10, 0, 0, 0], [5, 5, 0, 0], [0, 5, 0, 5], [2, 2, 2, 2], [8, 2, 0, 0], [0, 0, 0, 0]])
    expected = [0, np.log(2), np.log(2), np.log(4), -0.8 * np.log(0.8) - 0.2 * np.log(0.2), 0]
    np.testing.assert_allclose(vote_entropy(votes), expected, atol=1e-9)


def test_subset_quality_by_hand():
    codes = np.array([2, 2, 2, 1, 1, 0, 0, 0], np.int8)
    truth = np.array([1, 1, 0, 1, 0, 0, 0, 1], bool)
    assert evaluation.subset_quality(codes, truth, "noisy") == {
        "precision": pytest.approx(2 / 3),
        "recall": 0.5,
        "f1": pytest.approx(4 / 7),
        "share": {"clean": pytest.approx(1 / 3), "ambiguous": 0.5, "noisy": pytest.approx(2 / 3)},
    }
    found = evaluation.subset_quality(codes, truth, "ambiguous")
    assert (found["precision"], found["recall"], found["f1"]) == (0.5, 0.25, pytest.approx(1 / 3))


def test_an_empty_subset_has_no_precision_and_finds_nothing():
    found = evaluation.subset_quality(np.array([0, 0, 1], np.int8), np.array([True, False, True]), "noisy")
    share = {"clean": 0.5, "ambiguous": 1.0, "noisy": None}
    assert found == {"precision": None, "recall": 0.0, "f1": 0.0, "share": share}


@st.composite
def partitions(draw):
    n = draw(st.integers(1, 40))
    return draw(arrays(np.int8, n, elements=st.integers(0, 2))), draw(arrays(bool, n))


@settings(max_examples=60, deadline=None)
@given(partitions())
def test_the_subsets_shares_average_to_the_overall_one(case):
    codes, truth = case
    share = evaluation.subset_quality(codes, truth, "noisy")["share"]
    sizes = {name: (codes == code).sum() for code, name in enumerate(mining.SUBSETS)}
    assert sum(sizes[n] * (v or 0) for n, v in share.items()) == pytest.approx(truth.sum())
    assert [n for n, v in share.items() if v is None] == [n for n, size in sizes.items() if size == 0]


# --- calibration ------------------------------------------------------------------------------------------


def test_expected_calibration_error_by_hand():
    probs = np.array([[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.6, 0.4], [1.0, 0.0]])
    labels = np.array([0, 1, 0, 0, 1])
    # .9 and .9 right, .6 and .6 right, 1.0 wrong; the last bin holds .9, .9 and 1.0, or 1.0 alone
    assert evaluation.expected_calibration_error(probs, labels, bins=5) == pytest.approx(
        (abs(2 - (0.9 + 0.9 + 1.0)) + abs(2 - 1.2)) / 5
    )
    assert evaluation.expected_calibration_error(probs, labels, bins=20) == pytest.approx(
        (abs(2 - 1.8) + abs(2 - 1.2) + abs(0 - 1.0)) / 5
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 50), st.integers(2, 8))
def test_one_bin_is_the_gap_of_the_means_and_more_bins_show_no_less(seed, n, classes):
    rng = np.random.default_rng(seed)
    probs, labels = rng.dirichlet(np.ones(classes), n), rng.integers(classes, size=n)
    gap = abs(probs.max(1).mean() - (probs.argmax(1) == labels).mean())
    one, many = (evaluation.expected_calibration_error(probs, labels, bins) for bins in (1, 15))
    assert one == pytest.approx(gap)
    assert one - 1e-9 <= many <= 1


# --- out of sample ----------------------------------------------------------------------------------------


def test_out_of_sample_predictions_are_assessed_by_the_rule_that_is_stored_with_them(run, tmp_path):
    write_faces(tmp_path / "faces", make_manifest()[["id"]])
    config = {"cell": "tiny", "method": "asm"}
    found = evaluation.assess_out_of_sample(config, run / "train_predictions.npz", tmp_path / "faces")
    assert (found.wrong.samples, found.wrong.share) == (6, pytest.approx(2 / 6))
    # by the rule 3 and 5 are noisy; 1 and 5 are wrong
    assert found.wrong.subset == schema.Hits(samples=2, precision=0.5, recall=0.5)
    arrays = read_arrays(run / "train_predictions.npz")
    np.savez(tmp_path / "right.npz", **arrays | {"given": arrays["true"]})
    with pytest.raises(InputError, match="tiny: no wrong labels"):
        evaluation.assess_out_of_sample(config, tmp_path / "right.npz", tmp_path / "faces")
    np.savez(tmp_path / "old.npz", **{k: v for k, v in arrays.items() if k != "final_subset"})
    with pytest.raises(InputError, match=r"old\.npz: the arrays \['final_subset'\] are missing"):
        evaluation.assess_out_of_sample(config, tmp_path / "old.npz", tmp_path / "faces")
