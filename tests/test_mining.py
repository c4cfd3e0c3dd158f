"""Eq. 1-6 against numbers worked out by hand, and the properties that the paper promises."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import random_probs

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


def test_of_equal_probabilities_the_first_is_the_predicted_class():
    probs = torch.tensor([[0.4, 0.4, 0.2], [0.4, 0.4, 0.2]])
    found = mining.clean_thresholds(probs, torch.tensor([0, 1]), torch.full((3,), 0.8))
    torch.testing.assert_close(found, torch.tensor([0.4, 0.8, 0.8]))


def test_many_samples_do_not_blur_the_mean():
    """In float32 the sum of so many would be off by 0.4 %."""
    probs = torch.tensor([[0.7, 0.3]]).expand(300_000, 2)
    found = mining.clean_thresholds(probs, torch.zeros(300_000, dtype=torch.int64), torch.full((2,), 0.8))
    assert found[0].item() == pytest.approx(0.7, abs=1e-6)


def test_noisy_thresholds_are_the_complement():
    torch.testing.assert_close(mining.noisy_thresholds(torch.tensor([0.9, 0.3])), torch.tensor([0.1, 0.7]))


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


@given(st.integers(0, 2**31), st.sampled_from(["label", "max"]))
def test_partition_is_a_function_of_each_sample_alone(seed, kind):
    probs, labels, previous = random_probs(seed)
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


@given(st.integers(0, 2**31))
def test_both_readings_of_eq_3_agree_on_correct_predictions(seed):
    probs, labels, _ = random_probs(seed)
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


def test_rows_and_shares_of_the_subsets():
    subset = torch.tensor([2, 0, 1, 0, 0], dtype=torch.int8)
    rows = mining.rows_of(subset, torch.device("cpu"))
    assert [r.tolist() for r in rows] == [[1, 3, 4], [2], [0]]
    assert mining.shares(subset) == pytest.approx(
        {"subset_clean": 0.6, "subset_ambiguous": 0.2, "subset_noisy": 0.2}
    )
    assert mining.shares(subset[1:2])["subset_noisy"] == 0.0
