"""ASM's rule and its rivals: by hand, against the libraries, and on a small run with votes."""

import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_run import GIVEN, RULE, TRAIN_PROBS
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from asm.mining import AMBIGUOUS, CLEAN, NOISY
from asm.scores import label_quality
from asm.scores.label_quality import Ranking, Target
from asm.scores.schema import Hits, LabelQuality, SubsetContents

# T_c: class 0 from samples 0 and 1, class 1 from sample 3; class 2 has no correct prediction and keeps .8
PROBS = np.array(
    [[0.9, 0.1, 0.0], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.75, 0.05], [0.6, 0.3, 0.1], [0.3, 0.45, 0.25]]
)
LABELS = np.array([0, 0, 0, 1, 1, 2])
NO_RULE = {name: values[:0] for name, values in RULE.items()}


def test_equations_1_to_6_by_hand():
    rule = label_quality.paper_rule(PROBS, LABELS)
    np.testing.assert_allclose(rule.clean, [0.8, 0.8, 0.8, 0.75, 0.75, 0.8])
    np.testing.assert_allclose(rule.noisy, [0.2, 0.2, 0.2, 0.25, 0.25, 0.2])
    np.testing.assert_allclose(rule.confidence, [0.9, 0.7, 0.1, 0.75, 0.3, 0.25])
    assert rule.subset.tolist() == [CLEAN, AMBIGUOUS, NOISY, AMBIGUOUS, AMBIGUOUS, AMBIGUOUS]
    ambiguous = label_quality.ambiguity_scores(rule)
    assert ambiguous["asm_subset"].tolist() == [0, 1, 0, 1, 1, 1]
    # half the band's width less the distance from its middle, .5
    np.testing.assert_allclose(ambiguous["asm_depth"], [-0.1, 0.1, -0.1, 0, 0.05, 0.05], atol=1e-12)
    wrong = label_quality.wrong_label_scores(rule)
    assert wrong["asm_subset"].tolist() == [0, 0, 1, 0, 0, 0]
    np.testing.assert_allclose(wrong["asm_depth"], [-0.7, -0.5, 0.1, -0.5, -0.05, -0.05])


def test_the_rule_is_the_one_that_the_run_stored_and_else_the_papers():
    stored = {"probabilities": TRAIN_PROBS, "given": GIVEN}
    rule, own = label_quality.rule_of(stored | RULE), label_quality.rule_of(stored | NO_RULE)
    assert rule.subset.tolist() == [CLEAN, AMBIGUOUS, CLEAN, NOISY, CLEAN, NOISY]
    assert rule.confidence is RULE["confidence"]
    assert rule.clean.tolist() == RULE["clean_threshold"][GIVEN].tolist()
    assert rule.noisy.tolist() == RULE["noisy_threshold"][GIVEN].tolist()
    assert own.subset.tolist() == label_quality.paper_rule(TRAIN_PROBS, GIVEN).subset.tolist()
    assert own.subset.tolist() != rule.subset.tolist()


def test_rivals_by_hand_and_the_loss_ranks_as_self_confidence():
    scores = label_quality.rivals(PROBS, LABELS)
    np.testing.assert_allclose(scores["margin"], [-0.8, -0.5, -0.7, -0.55, -0.3, -0.15])
    np.testing.assert_allclose(scores["loss"][[0, 2]], -np.log([0.9, 0.1]))
    np.testing.assert_allclose(scores["entropy"][0], -0.9 * np.log(0.9) - 0.1 * np.log(0.1))
    # cleanlab maps the margin of the label, from -1 to 1, to 0 to 1
    np.testing.assert_allclose(scores["normalized_margin"][[0, 2]], [1 - (0.8 + 1) / 2, 1 - (-0.7 + 1) / 2])
    assert (np.argsort(scores["loss"]) == np.argsort(-PROBS[np.arange(6), LABELS])).all()


@given(arrays(float, (12, 4), elements=st.floats(0, 1)), arrays(np.int64, 12, elements=st.integers(0, 3)))
@settings(max_examples=60, deadline=None)
def test_cleanlabs_scores_are_cleanlabs_to_the_bit(raw, labels):
    rank = pytest.importorskip("cleanlab.rank", reason="cleanlab is an extra")
    probs = (raw + 1e-9) / (raw + 1e-9).sum(axis=1, keepdims=True)
    labels[:4] = range(4)  # cleanlab wants every class
    for name in ("normalized_margin", "confidence_weighted_entropy"):
        theirs = rank.get_label_quality_scores(labels, probs, method=name)
        np.testing.assert_array_equal(label_quality.rivals(probs, labels)[name], 1 - theirs)


def test_without_cleanlab_its_list_is_blank_and_all_else_is_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    assert label_quality.label_issues(PROBS, LABELS) is None
    rule = label_quality.paper_rule(PROBS, LABELS)
    wrong = np.array([False, False, True, False, True, False])
    scores = label_quality.wrong_label_scores(rule) | label_quality.rivals(PROBS, LABELS)
    found = label_quality._wrong(wrong, rule, scores, PROBS, LABELS)
    assert found.cleanlab is None
    assert found.subset == Hits(samples=1, precision=1.0, recall=0.5)


small_scores = arrays(float, 30, elements=st.integers(0, 6).map(float))
counts = arrays(np.uint8, 30, elements=st.integers(0, 3))


@given(small_scores, arrays(bool, 30), counts)
@settings(max_examples=60, deadline=None)
def test_weighted_auroc_is_that_of_the_repeated_samples(score, positive, weights):
    repeated = np.repeat(positive, weights)
    if not repeated.any() or repeated.all():
        return
    ours = Ranking(score).auroc(weights * positive, weights * ~positive)
    assert ours == pytest.approx(roc_auc_score(repeated, np.repeat(score, weights)))


@given(small_scores, small_scores, counts)
@settings(max_examples=60, deadline=None)
def test_weighted_rank_correlation_is_that_of_the_repeated_samples(first, second, weights):
    a, b = np.repeat(first, weights), np.repeat(second, weights)
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return
    ours = Target(second).spearman([Ranking(first)], weights)
    assert ours[0] == pytest.approx(spearmanr(a, b).statistic)


def make_run(method: str = "asm") -> dict:
    """`assess`'s arguments: 120 training samples whose entropy follows the votes and whose label is wrong for
    every fifth; ASM has stored what Eq. 1-6 make of them."""
    rng = np.random.default_rng(0)
    n, classes = 120, 3
    true, second = rng.integers(0, 3, n), rng.integers(1, 3, n)
    for_second = rng.integers(0, 6, n)  # of ten votes
    votes = np.zeros((n, classes), int)
    votes[np.arange(n), true] = 10 - for_second
    votes[np.arange(n), (true + second) % 3] = for_second
    probs = 0.9 * votes / 10 + 0.1 / 3 + rng.normal(0, 1e-4, (n, 3))
    probs /= probs.sum(1, keepdims=True)
    given = np.where(np.arange(n) % 5 == 0, (true + 1) % 3, true)
    stored = {"given": given, "true": true, "probabilities": probs} | NO_RULE
    if method == "asm":
        rule = label_quality.paper_rule(probs, given)
        first = [np.flatnonzero(given == k)[0] for k in range(classes)]
        stored |= {"final_subset": rule.subset, "confidence": rule.confidence}
        stored |= {"clean_threshold": rule.clean[first], "noisy_threshold": rule.noisy[first]}
    rows = pd.DataFrame({f"votes_{k}": votes[:, k] for k in range(classes)})
    return {"method": method, "stored": stored, "rows": rows}


def test_assessment_of_a_run_with_votes_and_wrong_labels():
    run = make_run()
    found = label_quality.assess(**run)
    known, wrong = found.ambiguous, found.wrong
    votes = np.sort(run["rows"].to_numpy(), axis=1)
    assert known.truth == "votes"
    assert known.share == pytest.approx((votes[:, -1] - votes[:, -2] <= 2).mean())
    assert known.scores["entropy"].spearman[0] > 0.97  # ties of the votes are none of the entropy
    assert known.scores["margin"].auroc[0] > 0.99
    for judged in (known, wrong):
        for score in judged.scores.values():
            value, low, high = score.auroc
            assert low <= value <= high
    assert known.scores["loss"].auroc[2] - known.scores["loss"].auroc[1] > 0.01
    held = known.by_subset
    assert sum(subset.samples for subset in held.values()) == 120
    assert all(sum(subset.counts) == subset.samples for subset in held.values())
    assert held["clean"].ambiguous < held["ambiguous"].ambiguous
    assert wrong.share == pytest.approx(0.2)
    assert wrong.samples == 120
    assert wrong.scores["loss"].at_asm_size.samples == wrong.subset.samples > 0
    assert wrong.scores["loss"].auroc[0] > 0.9 > wrong.scores["entropy"].auroc[0]
    assert wrong.scores["asm_subset"].at_asm_size is None
    assert wrong.scores["loss"].spearman is None
    assert label_quality.assess(**run) == found  # the resamples are seeded
    assert LabelQuality.model_validate_json(found.model_dump_json()) == found


def test_a_rule_that_calls_nothing_noisy():
    run = make_run()
    nothing = np.where(run["stored"]["final_subset"] == NOISY, AMBIGUOUS, run["stored"]["final_subset"])
    found = label_quality.assess(**run | {"stored": run["stored"] | {"final_subset": nothing}})
    assert found.wrong.subset == Hits(samples=0, precision=None, recall=0.0)
    assert found.ambiguous.by_subset["noisy"] == SubsetContents(
        samples=0, ambiguous=None, vote_entropy=[], counts=[]
    )


def test_a_network_trained_without_mining_is_judged_by_the_papers_rule():
    assert label_quality.assess(**make_run("baseline")) == label_quality.assess(**make_run())
    assert label_quality.assess(**make_run("scn")) is None  # nobody asks


def test_blends_stand_in_for_votes_and_nothing_known_is_none():
    run = make_run("baseline")
    blends = pd.DataFrame({"ambiguous": np.arange(120) % 4 == 0})
    found = label_quality.assess(**run | {"rows": blends})
    assert found.ambiguous.truth == "blends"
    assert found.ambiguous.scores["entropy"].spearman is None
    assert found.ambiguous.by_subset["clean"].vote_entropy == []
    nothing = pd.DataFrame(index=range(120))
    found = label_quality.assess(**run | {"rows": nothing})
    assert found.ambiguous is None
    assert found.wrong.share == pytest.approx(0.2)
    all_true = run["stored"] | {"given": run["stored"]["true"]}
    assert label_quality.assess(**run | {"rows": nothing, "stored": all_true}) is None
