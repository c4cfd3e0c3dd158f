"""The wait for memorisation: what is held out teaches nothing, and when mining begins."""

import pytest
import torch
from made_asm import CODES, make_asm, make_batch, predicting
from tiny import make_batch as make_real_batch
from tiny import make_method

LABELS = (0, 1, 2, 0, 1, 2)
HALF = {"held_out": 0.5, "mine_from_gap": 0.4}


@pytest.mark.parametrize("subset", [None, CODES])
def test_held_out_samples_have_no_part_in_the_losses(subset):
    method, alone = make_asm(LABELS, "waiting_asm", waiting=HALF), make_asm(LABELS)
    kept = ~method.held_out
    assert kept.sum() == 3
    method.subset = alone.subset = subset
    expected = alone.losses(make_batch(kept.nonzero().squeeze(1)))
    found = method.losses(make_batch())
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_a_batch_of_which_one_sample_is_left_teaches_nothing():
    """Batch normalisation of one sample's 1 x 1 map would fail."""
    method = make_method("waiting_asm", waiting=HALF).train()
    out, kept = method.held_out.nonzero().squeeze(1)[:2].tolist(), (~method.held_out).nonzero()[0].item()
    for rows in ([out[0], kept], out):
        found = method.losses(make_real_batch(method.samples, rows))["total"]
        assert found.item() == 0
        found.backward()
    assert all(p.grad.abs().max() == 0 for p in method.parameters())


def test_mining_waits_until_labels_are_memorised_and_does_not_stop_again():
    """All six labels are repeated, then only those that were trained on, then all again: gaps 0, 1 and 0."""
    method = make_asm(LABELS, "waiting_asm", waiting=HALF)
    sure = [[0.9 if k == label else 0.05 for k in range(3)] for label in LABELS]
    rolled = [p[1:] + p[:1] if out else p for p, out in zip(sure, method.held_out.tolist(), strict=True)]
    for probs, gap, mines in ((sure, 0, False), (rolled, 1, True), (sure, 0, True)):
        logs = predicting(method, probs).start_epoch(2)
        assert logs["fit_gap"] == pytest.approx(gap)
        assert logs["threshold_clean_0"] == pytest.approx(0.9)
        assert ("subset_clean" in logs) == ("lambda" in logs) == (method.subset is not None) == mines
    again = make_asm(LABELS, "waiting_asm", waiting=HALF)
    again.load_state_dict(method.state_dict())  # the largest gap travels with the state
    assert again.mines()


def test_the_seed_decides_which_samples_are_held_out():
    first, again, other = (make_method("waiting_asm", waiting=HALF, seed=seed).held_out for seed in (3, 3, 4))
    assert first.sum() == other.sum() == 15
    assert first.equal(again)
    assert not first.equal(other)


def test_without_a_gap_it_is_asm():
    method, plain = make_asm(LABELS, "waiting_asm", waiting={"mine_from_gap": 0.0}), make_asm(LABELS)
    assert not method.held_out.any()
    for each in (method, plain):
        predicting(each, [[0.9, 0.05, 0.05]] * 6)
    assert method.start_epoch(2) == plain.start_epoch(2)
    assert method.losses(make_batch()) == plain.losses(make_batch())


def test_a_gap_needs_labels_that_are_held_out():
    with pytest.raises(ValueError, match="held_out"):
        make_asm(name="waiting_asm", waiting={"held_out": 0.0})
