"""What others paste into their own loop: the examples of its docstrings and of its page, and bad input."""

import doctest
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import random_probs

import asm.library
import asm.losses
from asm import mining
from asm.basics.code import imported
from asm.basics.errors import InputError
from asm.library import NOISY, mine, rank_label_issues

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("module", [asm.library, asm.losses])
def test_the_examples_of_docstrings_are_true(module):
    found = doctest.testmod(module)
    assert found.attempted > 5
    assert not found.failed


def test_the_examples_of_the_page_are_true():
    found = doctest.testfile(str(ROOT / "docs" / "library.md"), module_relative=False)
    assert found.attempted > 20
    assert not found.failed


def test_what_the_page_offers_is_what_the_module_has():
    page = (ROOT / "docs" / "library.md").read_text()
    offered = re.search(r"from asm.library import (.*)", page)[1].split(", ")
    assert set(offered) <= set(asm.library.__all__)


def test_no_stage_depends_on_it():
    """Else a change of it would train every cell again."""
    for stage in ("train", "evaluate", "align", "report"):
        assert "asm.library" not in imported(stage, {"method": "asm", "source": "folder"})


@pytest.mark.parametrize("seed", range(20))
def test_numpy_and_torch_mine_the_same_as_the_method(seed):
    probs, labels, before = random_probs(seed)
    found, other = mine(probs, labels), mine(probs.numpy(), labels.numpy())
    clean = mining.clean_thresholds(probs, labels, before)
    subset = mining.partition(
        mining.confidence(probs, labels, "label"), labels, clean, mining.noisy_thresholds(clean)
    )
    assert torch.equal(found.subset, subset)
    for one, two in zip(found, other, strict=True):
        assert isinstance(two, np.ndarray)
        np.testing.assert_array_equal(one.numpy(), two)


@pytest.mark.parametrize("seed", range(20))
def test_noisy_samples_come_first(seed):
    probs, labels, _ = random_probs(seed)
    mined = mine(probs, labels)
    ranked = rank_label_issues(labels, probs)
    assert sorted(ranked) == list(range(len(labels)))
    if mined.clean.min() > 0.5:
        noisy = (mined.subset == NOISY).numpy()
        assert noisy[ranked[: noisy.sum()]].all()
    confidence = rank_label_issues(labels.tolist(), probs, return_indices_ranked_by="self_confidence")
    assert (np.diff(mined.confidence.numpy()[confidence]) >= 0).all()


def test_thresholds_of_the_epoch_before_are_kept_where_nothing_is_predicted():
    probabilities, labels = np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1])
    assert mine(probabilities, labels).clean.tolist() == [0.9, 0.8]
    assert mine(probabilities, labels, previous=np.array([0.3, 0.7])).clean.tolist() == [0.9, 0.7]


@pytest.mark.parametrize(
    ("probabilities", "labels", "said"),
    [
        ([[2.0, -1.0]], [0], "logits"),
        ([[0.5, 0.5]], [2], "0 to 1"),
        ([[0.5, 0.5]], [0.0], "whole numbers"),
        ([[0.5, 0.5]], [0, 1], r"found \(1, 2\) and \(2,\)"),
    ],
)
def test_what_is_no_probability_or_label_is_refused(probabilities, labels, said):
    with pytest.raises(InputError, match=said):
        mine(np.array(probabilities), np.array(labels))


def test_an_unknown_ranking_is_refused():
    with pytest.raises(InputError, match="normalized_margin"):
        rank_label_issues([0], np.array([[0.5, 0.5]]), return_indices_ranked_by="loss")
