"""Eq. 1-6 against numbers worked out by hand, and the properties that the paper promises."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asm import mining

# Four samples, three classes; rows sum to one. Argmax: 0, 0, 1, 2.
PROBS = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.2, 0.3, 0.5]])


def test_mean_probabilities_is_the_plain_mean():
    p1, p2 = torch.tensor([[0.8, 0.2]]), torch.tensor([[0.4, 0.6]])
    torch.testing.assert_close(mining.mean_probabilities(p1, p2), torch.tensor([[0.6, 0.4]]))


def test_clean_thresholds_average_the_correct_samples_of_each_class():
    labels = torch.tensor([0, 0, 1, 1])  # the last one is predicted 2, so it is wrong
    previous = torch.tensor([0.8, 0.8, 0.8])
    found = mining.clean_thresholds(PROBS, labels, previous)
    # class 0: (.7 + .5) / 2; class 1: .6 alone; class 2: no sample, keeps .8
    torch.testing.assert_close(found, torch.tensor([0.6, 0.6, 0.8]))


def test_a_class_without_a_correct_prediction_keeps_its_threshold():
    previous = torch.tensor([0.11, 0.22, 0.33])
    found = mining.clean_thresholds(PROBS, torch.tensor([1, 2, 0, 0]), previous)
    torch.testing.assert_close(found, previous)


def test_noisy_thresholds_are_the_complement():
    torch.testing.assert_close(mining.noisy_thresholds(torch.tensor([0.9, 0.3])), torch.tensor([0.1, 0.7]))


def test_per_class_noisy_thresholds_share_the_complement_among_the_other_classes():
    clean = torch.tensor([0.9, 0.3, 0.6, 1.0, 0.0])
    found = mining.noisy_thresholds(clean, "per_class")
    torch.testing.assert_close(found, torch.tensor([0.025, 0.175, 0.1, 0.0, 0.25]))
    torch.testing.assert_close(mining.noisy_thresholds(clean[:2], "per_class"), 1 - clean[:2])


def test_confidence_readings():
    labels = torch.tensor([1, 0, 2, 2])
    torch.testing.assert_close(mining.confidence(PROBS, labels, "max"), torch.tensor([0.7, 0.5, 0.6, 0.5]))
    torch.testing.assert_close(mining.confidence(PROBS, labels, "label"), torch.tensor([0.2, 0.5, 0.3, 0.5]))
    with pytest.raises(ValueError, match="'mean': expected 'label' or 'max'"):
        mining.confidence(PROBS, labels, "mean")


def test_bounds_are_strict_for_clean_and_noisy_and_closed_for_ambiguous():
    confidence = torch.tensor([0.8001, 0.8, 0.5, 0.2, 0.1999])
    labels = torch.zeros(5, dtype=torch.int64)
    codes = mining.partition(confidence, labels, torch.tensor([0.8]), torch.tensor([0.2]))
    assert codes.tolist() == [mining.CLEAN, *[mining.AMBIGUOUS] * 3, mining.NOISY]
    assert codes.dtype == torch.int8


def test_each_sample_is_judged_by_its_own_class():
    codes = mining.partition(
        torch.tensor([0.5, 0.5, 0.5]),
        torch.tensor([0, 1, 2]),
        clean=torch.tensor([0.4, 0.9, 0.9]),
        noisy=torch.tensor([0.1, 0.1, 0.6]),
    )
    assert codes.tolist() == [mining.CLEAN, mining.AMBIGUOUS, mining.NOISY]


def test_clean_wins_where_the_thresholds_cross():
    # T_c = .3 < T_n = .7: Eq. 4 and Eq. 6 both hold at .5
    codes = mining.partition(
        torch.tensor([0.5, 0.3, 0.2]),
        torch.zeros(3, dtype=torch.int64),
        torch.tensor([0.3]),
        torch.tensor([0.7]),
    )
    assert codes.tolist() == [mining.CLEAN, mining.NOISY, mining.NOISY]


@st.composite
def mined(draw):
    seed, n, k = draw(st.integers(0, 2**31)), draw(st.integers(1, 60)), draw(st.integers(2, 8))
    generator = torch.Generator().manual_seed(seed)
    probs = torch.softmax(3 * torch.randn(n, k, generator=generator), 1)
    return probs, torch.randint(k, (n,), generator=generator), torch.full((k,), 0.8)


@settings(max_examples=60, deadline=None)
@given(mined(), st.sampled_from(["label", "max"]))
def test_partition_is_a_function_of_each_sample_alone(case, kind):
    probs, labels, previous = case
    clean = mining.clean_thresholds(probs, labels, previous)
    codes = mining.partition(mining.confidence(probs, labels, kind), labels, clean, 1 - clean)
    assert set(codes.tolist()) <= {0, 1, 2}
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    permuted = mining.clean_thresholds(probs[order], labels[order], previous)
    torch.testing.assert_close(permuted, clean)
    again = mining.partition(
        mining.confidence(probs[order], labels[order], kind), labels[order], clean, 1 - clean
    )
    assert torch.equal(again, codes[order])


@settings(max_examples=60, deadline=None)
@given(mined())
def test_both_readings_of_eq_3_agree_on_correct_predictions(case):
    probs, labels, _ = case
    correct = probs.argmax(1) == labels
    torch.testing.assert_close(
        mining.confidence(probs, labels, "label")[correct], mining.confidence(probs, labels, "max")[correct]
    )


def test_the_printed_reading_cannot_see_a_wrong_label():
    # one confident sample with a wrong label: "max" calls it clean, "label" noisy
    probs, wrong = torch.tensor([[0.95, 0.05]]), torch.tensor([1])
    clean, noisy = torch.tensor([0.8, 0.8]), torch.tensor([0.2, 0.2])
    codes = [
        mining.partition(mining.confidence(probs, wrong, kind), wrong, clean, noisy).item()
        for kind in ("max", "label")
    ]
    assert codes == [mining.CLEAN, mining.NOISY]


def test_of_each_class_at_most_a_share_stays_noisy_those_of_the_lowest_confidence():
    confidence = torch.tensor([0.3, 0.1, 0.2, 0.9, 0.05, 0.6, 0.04, 0.03])
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    c, a, n = mining.CLEAN, mining.AMBIGUOUS, mining.NOISY
    subset = torch.tensor([n, n, n, c, n, a, n, n], dtype=torch.int8)
    found = mining.cap_noisy(subset, confidence, labels, 0.5)  # two of four in each class
    assert found.tolist() == [a, n, n, c, a, a, n, n]
    assert found.dtype == torch.int8
    assert mining.cap_noisy(subset, confidence, labels, 0.25).tolist() == [a, n, a, c, a, a, a, n]
    assert mining.cap_noisy(subset, confidence, labels, 0.75).tolist() == subset.tolist()  # three were
    assert mining.cap_noisy(subset, confidence, labels, 0.0).tolist() == [a, a, a, c, a, a, a, a]


def test_of_equal_confidences_the_first_stay_noisy():
    subset = torch.full((4,), mining.NOISY, dtype=torch.int8)
    found = mining.cap_noisy(subset, torch.full((4,), 0.1), torch.zeros(4, dtype=torch.int64), 0.5)
    assert found.tolist() == [mining.NOISY] * 2 + [mining.AMBIGUOUS] * 2


@settings(max_examples=100, deadline=None)
@given(mined(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), st.sampled_from(["label", "max"]))
def test_a_limit_moves_the_likeliest_of_the_noisy_and_nothing_else(case, share, kind):
    probs, labels, previous = case
    confidence = mining.confidence(probs, labels, kind)
    before = mining.partition(confidence, labels, previous, 1 - previous / 4)  # many are noisy
    after = mining.cap_noisy(before, confidence, labels, share)
    moved = before != after
    assert (before[moved] == mining.NOISY).all()
    assert (after[moved] == mining.AMBIGUOUS).all()
    for label in labels.unique():
        of_class = labels == label
        stayed = of_class & (after == mining.NOISY)
        assert stayed.sum() <= share * of_class.sum() + 1e-6
        if (moved & of_class).any():  # then the share is used up, by the least likely ones
            assert stayed.sum() + 1 > share * of_class.sum()
            assert not stayed.any() or confidence[stayed].max() <= confidence[moved & of_class].min()
