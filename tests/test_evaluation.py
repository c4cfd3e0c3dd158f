"""Every score against numbers worked out by hand on a run of five test and six training samples."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from asm import evaluation
from asm.errors import InputError
from asm.report.cells import Details

CLASSES = ["a", "b", "c"]
TRUTH = np.array([0, 0, 1, 1, 1])  # no test sample of class c
# The ensemble's predictions after epochs 2 to 6: 5, 4, 3, 4 and 3 of 5 are right.
PREDICTED = np.array([[0, 0, 1, 1, 1], [0, 0, 1, 1, 0], [0, 1, 1, 0, 1], [0, 0, 1, 1, 0], [0, 2, 1, 1, 0]])

GIVEN, CLEAN = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 1, 1, 2, 0])  # samples 1 and 5 are flipped
SUBSETS = np.array([[0, 2, 0, 1, 2, 0], [0, 2, 0, 0, 0, 2]], np.int8)  # epochs 5 and 6
# Of the given label: .9 .3 .8 .2 .7 .1; the largest: .9 .6 .8 .5 .7 .75; by entropy: 0 < 2 < 5 < 4 < 1 < 3.
TRAIN_PROBS = np.array(
    [[0.9, 0.05, 0.05], [0.3, 0.6, 0.1], [0.1, 0.8, 0.1], [0.5, 0.2, 0.3], [0.2, 0.1, 0.7], [0.75, 0.15, 0.1]]
)
NOISE = {"kind": "symmetric", "rate": 0.3, "realised": 1 / 3}


def stored_probabilities() -> np.ndarray:
    """[epochs, networks, N, K]. The first network gives its class .8; the second always class 0, with .5."""
    first = np.where(np.eye(3)[PREDICTED] == 1, 0.8, 0.1)
    second = np.broadcast_to([0.5, 0.25, 0.25], first.shape).copy()
    # the last sample at the end: the mean of probabilities says 0, that of logits 1
    first[-1, -1], second[-1, -1] = [0.98, 0.01, 0.01], [0.001, 0.6, 0.399]
    return np.stack([first, second], 1).astype(np.float32)


def make_manifest() -> pd.DataFrame:
    """Not in the run's order; the test samples 1 and 4 and the training samples 3 and 4 are blends."""
    ids = [*(f"test{i}" for i in range(5)), *(f"train{i}" for i in range(6))]
    ambiguous = [False, True, False, False, True, False, False, False, True, True, False]
    return pd.DataFrame({"id": ids, "ambiguous": ambiguous}).iloc[::-1].reset_index(drop=True)


def write_run(run, networks: int = 2, confidence: str = "label") -> None:
    """The files that training leaves: ASM's, or with one network those of a method that does not mine."""
    run.mkdir(parents=True)
    mines = networks == 2
    warmup = [None] * 4
    history = {
        "epoch": range(1, 7),
        "lr": [0.001] * 6,
        "test_accuracy": [0.2, 1.0, 0.8, 0.6, 0.8, 0.6],
        "valid_accuracy": [0.0, 0.5, 0.6, 0.7, 0.8, 0.9],
        "loss_total": [2.0, 1.5, 1.0, 0.9, 0.8, 0.7],
        "forward_passes": [2.0] * 4 + [4.4, 4.6],
    }
    if mines:
        history |= {
            "lambda": [*warmup, 0.4, 0.5],
            "subset_clean": [*warmup, 3 / 6, 4 / 6],
            "subset_ambiguous": [*warmup, 1 / 6, 0.0],
            "subset_noisy": [*warmup, 2 / 6, 2 / 6],
            **{f"threshold_clean_{k}": [*warmup, 0.7, 0.8 + k / 100] for k in range(3)},
            **{f"threshold_noisy_{k}": [*warmup, 0.3, 0.2 - k / 100] for k in range(3)},
        }
    pd.DataFrame(history).to_csv(run / "history.csv", index=False)
    np.savez(
        run / "predictions.npz",
        epochs=np.arange(2, 7),
        test_ids=np.array([f"test{i}" for i in range(5)]),
        test_labels=TRUTH,
        test_probabilities=stored_probabilities()[:, :networks],
    )
    np.savez(
        run / "mining.npz",
        train_ids=np.array([f"train{i}" for i in range(6)]),
        given_labels=GIVEN,
        clean_labels=CLEAN,
        probabilities=TRAIN_PROBS.astype(np.float32),
        epochs=np.array([5, 6] if mines else [], np.int64),
        subsets=SUBSETS if mines else np.empty((0, 0), np.int8),
    )
    config = {"cell": "tiny", "dataset": "made", "method": "asm" if mines else "baseline", "seed": 3}
    if mines:
        config["thresholds"] = {"confidence": confidence}
    config["schedule"] = "fair"
    info = {
        "config": config,
        "classes": CLASSES,
        "train_images": 6,
        "parameters": 1234,
        "versions": {"torch": "2"},
    }
    (run / "run.json").write_text(json.dumps(info))


@pytest.fixture
def run(tmp_path):
    write_run(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def details(run):
    return evaluation.evaluate(run, make_manifest(), NOISE)


# --- test set ---------------------------------------------------------------------------------------------


def test_headline_is_the_mean_of_the_last_five_epochs_beside_last_and_best(details):
    test = details["test"]
    assert test["averaged_epochs"] == 5
    assert test["images"] == 5
    assert test["accuracy"]["last5"] == pytest.approx((1.0 + 0.8 + 0.6 + 0.8 + 0.6) / 5)
    assert test["accuracy"]["last"] == pytest.approx(0.6)
    assert test["accuracy"]["best"] == 1.0
    assert test["accuracy"]["best_epoch"] == 2
    assert test["valid_accuracy"]["last5"] == pytest.approx((0.5 + 0.6 + 0.7 + 0.8 + 0.9) / 5)


def test_each_network_alone_and_the_mean_of_logits(details):
    first, second = details["test"]["networks"]
    assert first == pytest.approx({"last5": 0.76, "last": 0.6})
    # class 0 is right for 2 of 5; at the end also the last sample
    assert second == pytest.approx({"last5": (4 * 0.4 + 0.6) / 5, "last": 0.6})
    assert details["test"]["mean_logit_accuracy"] == pytest.approx(0.8)


def test_classes_and_confusion_of_the_last_epoch(details):
    # predicted 0 2 1 1 0 for 0 0 1 1 1
    test = details["test"]
    assert test["confusion"] == [[1, 0, 1], [1, 2, 0], [0, 0, 0]]
    a, b, c = test["per_class"]
    assert a == {"class": "a", "recall": 0.5, "precision": 0.5, "f1": 0.5, "support": 2}
    assert (b["recall"], b["precision"], b["f1"]) == pytest.approx((2 / 3, 1.0, 0.8))
    assert c == {"class": "c", "recall": None, "precision": 0.0, "f1": 0.0, "support": 0}


def test_a_class_without_test_samples_does_not_count_in_the_means(details):
    assert details["test"]["balanced_accuracy"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert details["test"]["macro_f1"] == pytest.approx((0.5 + 0.8) / 2)


def test_calibration_is_that_of_the_ensembles_last_epoch(details):
    # .65 right; .525 wrong, right, right and .4905 wrong share a bin of 1/15
    expected = (abs(1 - 0.65) + abs(2 - 3 * 0.525 - 0.4905)) / 5
    assert details["test"]["ece"] == pytest.approx(expected, abs=1e-6)


def test_unambiguous_accuracy_leaves_the_blends_out(details):
    # samples 0, 2 and 3 over five epochs: one miss in the third
    assert details["test"]["unambiguous_accuracy"] == pytest.approx(14 / 15)


def test_a_test_set_of_blends_alone_has_no_unambiguous_accuracy(run):
    details = evaluation.evaluate(run, make_manifest().assign(ambiguous=True), NOISE)
    assert details["test"]["unambiguous_accuracy"] is None


def test_the_details_are_strict_json_and_what_the_report_reads(details):
    read = json.loads(json.dumps(details, allow_nan=False))
    checked = Details.model_validate(read)
    assert (checked.cell, checked.dataset, checked.method, checked.seed) == ("tiny", "made", "asm", 3)
    assert read["noise"] == {**NOISE, "train_images": 6}
    assert read["cost"] == {"parameters": 1234, "forward_passes": 4.6}  # of the last epoch
    assert read["schedule"] == "fair"


def test_curves_have_none_during_warmup(details):
    curves = details["curves"]
    assert curves["epoch"] == [1, 2, 3, 4, 5, 6]
    assert curves["accuracy"] == [0.2, 1.0, 0.8, 0.6, 0.8, 0.6]
    assert curves["lambda"] == [None, None, None, None, 0.4, 0.5]
    assert curves["subset_ambiguous"] == [None, None, None, None, pytest.approx(1 / 6), 0.0]
    assert curves["threshold_clean"]["c"] == [None, None, None, None, 0.7, pytest.approx(0.82)]
    assert curves["threshold_noisy"]["b"] == [None, None, None, None, 0.3, 0.19]
    assert curves["losses"] == {"total": [2.0, 1.5, 1.0, 0.9, 0.8, 0.7]}


def test_a_method_without_mining_or_a_validation_split(tmp_path):
    write_run(tmp_path / "run", networks=1)
    history = pd.read_csv(tmp_path / "run" / "history.csv").drop(columns="valid_accuracy")
    history.to_csv(tmp_path / "run" / "history.csv", index=False)
    details = evaluation.evaluate(tmp_path / "run", make_manifest().drop(columns="ambiguous"), NOISE)
    assert details["mining"] is None
    assert details["test"]["networks"] == [pytest.approx({"last5": 0.76, "last": 0.6})]
    assert not {"valid_accuracy", "unambiguous_accuracy"} & set(details["test"])
    assert not {"lambda", "subset_clean", "threshold_clean"} & set(details["curves"])
    Details.model_validate(json.loads(json.dumps(details, allow_nan=False)))


# --- mining -----------------------------------------------------------------------------------------------


def test_noisy_subset_against_the_flips(details):
    mining = details["mining"]
    assert mining["epoch"] == [5, 6]
    assert mining["noisy_precision"] == [0.5, 1.0]
    assert mining["noisy_recall"] == [0.5, 1.0]
    assert mining["noisy_f1"] == [0.5, 1.0]
    assert mining["wrong_share"] == {
        "clean": [pytest.approx(1 / 3), 0.0],
        "ambiguous": [0.0, None],
        "noisy": [0.5, 1.0],
    }


@pytest.mark.parametrize(
    ("confidence", "auroc"),
    # flipped .3 and .1 below 3 and 4 of .9 .8 .2 .7 | .6 and .75 below 3 and 2 of .9 .8 .5 .7
    [("label", 7 / 8), ("max", 5 / 8)],
)
def test_auroc_is_of_the_confidence_that_the_run_used(tmp_path, confidence, auroc):
    write_run(tmp_path / "run", confidence=confidence)
    details = evaluation.evaluate(tmp_path / "run", make_manifest(), NOISE)
    assert details["mining"]["auroc_flipped"] == pytest.approx(auroc)


def test_without_flips_precision_recall_and_auroc_are_undefined(run):
    stored = dict(np.load(run / "mining.npz"))
    np.savez(run / "mining.npz", **{**stored, "clean_labels": stored["given_labels"]})
    mining = evaluation.mining_scores(run, make_manifest())
    for name in ("precision", "recall", "f1"):
        assert mining[f"noisy_{name}"] == [None, None]
    assert mining["auroc_flipped"] is None
    assert mining["wrong_share"]["noisy"] == [0.0, 0.0]


def test_ambiguous_subset_against_known_blends(details):
    # blends 3 and 4; called ambiguous: 3, then none. Entropy: 3 above all four others, 4 above three.
    found = details["mining"]["ambiguity"]
    assert found["by_epoch"]["precision"] == [1.0, None]
    assert found["by_epoch"]["recall"] == [0.5, 0.0]
    assert found["by_epoch"]["f1"] == [pytest.approx(2 / 3), 0.0]
    assert found["by_epoch"]["share"]["noisy"] == [0.5, 0.0]
    assert (found["precision"], found["recall"], found["f1"]) == (None, 0.0, 0.0)  # of the last epoch
    assert found["auroc"] == pytest.approx(7 / 8)


def with_votes(rows: list[list[int]]) -> pd.DataFrame:
    """A manifest of the training samples with votes for a, b and "unknown"; no known ambiguity."""
    votes = pd.DataFrame(rows, columns=["votes_a", "votes_b", "votes_unknown"])
    votes.insert(0, "id", [f"train{i}" for i in range(6)])
    return votes


def test_rank_correlation_with_the_entropy_of_all_votes(run):
    # the votes' order is 0 < 2 < 5 < 4 < 3 < 1, the networks' 0 < 2 < 5 < 4 < 1 < 3: one swap of neighbours
    rows = [[10, 0, 0], [5, 0, 5], [1, 9, 0], [4, 6, 0], [0, 7, 3], [0, 8, 2]]
    mining = evaluation.mining_scores(run, with_votes(rows))
    assert mining["vote_entropy_spearman"] == pytest.approx(1 - 6 * (1 + 1) / (6 * (36 - 1)))
    assert mining["ambiguity"] is None
    assert evaluation.mining_scores(run, make_manifest())["vote_entropy_spearman"] is None


def test_equal_vote_counts_tie_in_whichever_columns_they_stand(run):
    # by the networks 0 < 2 < 5 < 4 < 1 < 3; all tied but sample 3. Ranks of the votes: 3 3 3 6 3 3
    rows = [[1, 4, 5], [1, 5, 4], [4, 1, 5], [4, 3, 3], [4, 5, 1], [5, 1, 4]]
    expected = np.corrcoef([1, 5, 2, 6, 4, 3], [3, 3, 3, 6, 3, 3])[0, 1]
    assert evaluation.mining_scores(run, with_votes(rows))["vote_entropy_spearman"] == pytest.approx(expected)


def test_unanimous_votes_have_no_rank_correlation(run):
    assert evaluation.mining_scores(run, with_votes([[10, 0, 0]] * 6))["vote_entropy_spearman"] is None


def test_vote_entropy():
    votes = np.array([[10, 0, 0, 0], [5, 5, 0, 0], [0, 5, 0, 5], [2, 2, 2, 2], [8, 2, 0, 0], [0, 0, 0, 0]])
    expected = [0, np.log(2), np.log(2), np.log(4), -0.8 * np.log(0.8) - 0.2 * np.log(0.2), 0]
    np.testing.assert_allclose(evaluation.vote_entropy(votes), expected, atol=1e-12)


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
    sizes = {name: (codes == code).sum() for code, name in enumerate(evaluation.SUBSETS)}
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


# --- errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["run.json", "history.csv", "predictions.npz", "mining.npz"])
def test_an_incomplete_run_is_named(run, name):
    (run / name).unlink()
    with pytest.raises(InputError, match=f"{name}: not found; the run is incomplete, train this cell again"):
        evaluation.evaluate(run, make_manifest(), NOISE)


@pytest.mark.parametrize("kept", [0, 100, 1000])
def test_a_truncated_file_is_named(run, kept):
    path = run / "predictions.npz"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"predictions\.npz: cannot be read .*train this cell again"):
        evaluation.evaluate(run, make_manifest(), NOISE)


@pytest.mark.parametrize(("split", "name"), [("test", "predictions"), ("train", "mining")])
def test_a_run_of_other_data_is_refused(run, split, name):
    manifest = make_manifest()
    manifest["id"] = manifest["id"].str.replace(f"{split}0", "stranger").str.replace(f"{split}1", "other")
    count = {"test": 5, "train": 6}[split]
    with pytest.raises(InputError, match=rf"{name}\.npz: 2 of {count} samples, e\.g\. {split}0, {split}1,"):
        evaluation.evaluate(run, manifest, NOISE)
