"""What a class may lose: a share of its samples, below a threshold that has a bound."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_asm import make_asm, predicting
from tiny import random_probs

from asm import mining
from asm.methods.fair_asm import cap_noisy
from asm.mining import AMBIGUOUS, CLEAN, NOISY

ROWS = [[0.9, 0.05, 0.05], [0.5, 0.4, 0.1], [0.1, 0.8, 0.1], [0.14, 0.06, 0.8], [0.98, 0.01, 0.01]]


@pytest.mark.parametrize(
    ("fair", "noisy", "expected"),
    [
        # T_c .7 and .8, T_n .3 and .2; confidences .9 .5 | .8 .06 .01: two of class 1 are noisy
        ({"max_noisy": 1.0, "max_threshold": 1.0}, 0.2, [CLEAN, AMBIGUOUS, AMBIGUOUS, NOISY, NOISY]),
        ({"max_noisy": 0.4, "max_threshold": 1.0}, 0.2, [CLEAN, AMBIGUOUS, AMBIGUOUS, AMBIGUOUS, NOISY]),
        ({"max_noisy": 1.0, "max_threshold": 0.05}, 0.05, [CLEAN, AMBIGUOUS, AMBIGUOUS, AMBIGUOUS, NOISY]),
        ({"max_noisy": 0.0, "max_threshold": 1.0}, 0.2, [CLEAN, AMBIGUOUS, AMBIGUOUS, AMBIGUOUS, AMBIGUOUS]),
    ],
)
def test_thresholds_and_the_share_of_a_class_are_bounded(fair, noisy, expected):
    method = make_asm((0, 0, 1, 1, 1), "fair_asm", fair=fair, waiting={"mine_from_gap": 0.0})
    logs = predicting(method, ROWS).start_epoch(2)
    assert method.subset.tolist() == expected
    assert logs["threshold_clean_1"] == pytest.approx(0.8)
    assert logs["threshold_noisy_1"] == pytest.approx(noisy)
    assert logs["subset_noisy"] == pytest.approx(expected.count(NOISY) / 5)


def test_it_waits_for_memorisation_as_well():
    method = predicting(make_asm((0, 0, 1, 1, 1), "fair_asm", waiting={"held_out": 0.4}), ROWS)
    method.held_out[:] = torch.tensor([True, False, False, True, True])
    assert method.start_epoch(2)["fit_gap"] == pytest.approx(1 - 1 / 3)
    assert method.subset is not None
    method = predicting(make_asm((0, 0), "fair_asm", waiting={"held_out": 0.5}), ROWS[:2])
    method.start_epoch(2)
    assert method.subset is None


def test_of_each_class_those_of_the_lowest_confidence_stay_noisy_of_equal_ones_the_first():
    confidence = torch.tensor([0.3, 0.1, 0.2, 0.9, 0.05, 0.6, 0.04, 0.03])
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    c, a, n = CLEAN, AMBIGUOUS, NOISY
    subset = torch.tensor([n, n, n, c, n, a, n, n], dtype=torch.int8)
    found = cap_noisy(subset, confidence, labels, 0.5)  # two of four in each class
    assert found.tolist() == [a, n, n, c, a, a, n, n]
    assert found.dtype == torch.int8
    assert cap_noisy(subset, confidence, labels, 0.25).tolist() == [a, n, a, c, a, a, a, n]
    assert cap_noisy(subset, confidence, labels, 0.75).tolist() == subset.tolist()  # three were
    subset = torch.full((4,), n, dtype=torch.int8)
    assert cap_noisy(subset, torch.full((4,), 0.1), 0 * labels[:4], 0.5).tolist() == [n, n, a, a]


@given(
    st.integers(0, 2**31),
    st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]),
    st.sampled_from(["label", "max"]),
)
def test_a_limit_moves_the_likeliest_of_the_noisy_and_nothing_else(seed, share, kind):
    probs, labels, previous = random_probs(seed)
    confidence = mining.confidence(probs, labels, kind)
    before = mining.partition(confidence, labels, previous, 1 - previous / 4)  # many are noisy
    after = cap_noisy(before, confidence, labels, share)
    moved = before != after
    assert (before[moved] == NOISY).all()
    assert (after[moved] == AMBIGUOUS).all()
    for label in labels.unique():
        of_class = labels == label
        stayed = of_class & (after == NOISY)
        assert stayed.sum() <= share * of_class.sum() + 1e-6
        if (moved & of_class).any():  # then the share is used up, by the least likely ones
            assert stayed.sum() + 1 > share * of_class.sum()
            assert not stayed.any() or confidence[stayed].max() <= confidence[moved & of_class].min()
