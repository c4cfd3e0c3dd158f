"""ASM's epoch and step: which samples enter which loss, checked by hand on constructed logits."""

import pytest
import torch
from made_asm import CODES, STRONG, WEAK, make_asm, make_batch, predicting
from tiny import make_batch as make_real_batch
from tiny import make_data
from tiny import make_method as make_real

from asm import losses
from asm.mining import AMBIGUOUS, CLEAN, NOISY
from asm.parts.views import strong_view


def parts(batch, rows: slice):
    """Weak logits of both networks, strong logits of both, and labels of some rows."""
    w, s = WEAK[rows, :, 0, 0], STRONG[rows, :, 0, 0]
    return w, 0.5 * w, s, 0.5 * s, batch.labels[rows]


@pytest.mark.parametrize("replaced", [[], ["mutual"], ["consistency"], ["mutual", "consistency"]])
def test_total_is_eq_12_over_the_subsets_each_divided_by_the_batch(replaced):
    """Table 2: an excluded loss becomes cross-entropy at its weight."""
    batch = make_batch()
    method = make_asm(losses={"omega": 0.6, "gamma": 2.0, "replace_with_ce": replaced})
    method.subset = CODES
    found = method.losses(batch)
    w1, w2, _, _, y = parts(batch, slice(0, 2))
    sup = losses.supervised(w1, w2, y, 6)
    w1, w2, _, _, y = parts(batch, slice(2, 5))
    mut = losses.mutual(w1, w2, y, losses.ramp(3, 0.9 * 4), 6)
    if "mutual" in replaced:
        mut = losses.supervised(w1, w2, y, 6)
    w1, w2, s1, s2, y = parts(batch, slice(5, 6))
    usc = losses.consistency(w1, s1, w2, s2, 6)
    if "consistency" in replaced:
        usc = losses.supervised(w1, w2, y, 6)
    for name, value in {"sup": sup, "mut": mut, "usc": usc, "total": sup + 0.6 * mut + 2.0 * usc}.items():
        torch.testing.assert_close(found[name], value)


def test_dropped_noisy_samples_have_no_influence():
    batch = make_batch()
    method = make_asm(losses={"drop_noisy": True})
    method.subset = CODES
    found = method.losses(batch)
    assert found["usc"] == 0
    others = WEAK.clone()
    others[5] = 100.0
    method.weak = lambda batch: others
    torch.testing.assert_close(method.losses(batch)["total"], found["total"])


def test_the_label_of_a_noisy_sample_is_never_used():
    batch = make_batch()
    method = make_asm()
    method.subset = CODES
    before = method.losses(batch)["total"].item()
    batch.labels[5] = (batch.labels[5] + 1) % 3
    assert method.losses(batch)["total"].item() == before


@pytest.mark.parametrize("code", [CLEAN, AMBIGUOUS, NOISY])
def test_a_batch_of_one_subset_alone_is_finite(code):
    method = make_asm()
    method.subset = torch.full((6,), code, dtype=torch.int8)
    found = method.losses(make_batch())
    assert all(v.isfinite() for v in found.values())
    found["total"].backward()
    assert all(p.grad is None or p.grad.isfinite() for p in method.parameters())


def test_no_mining_during_warm_up():
    method = make_asm(training={"warmup_epochs": 2})
    method.predict_all = None
    assert method.start_epoch(2) == {}
    assert method.subset is None
    batch = make_batch()
    w1, w2, _, _, y = parts(batch, slice(0, 6))
    found = method.losses(batch)
    assert set(found) == {"total"}
    torch.testing.assert_close(found["total"], losses.supervised(w1, w2, y))


def test_start_epoch_mines_the_training_set():
    rows = [[0.9, 0.05, 0.05], [0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.98, 0.01, 0.01]]
    method = predicting(make_asm((0, 0, 1, 1)), rows)
    logs = method.start_epoch(2)
    # T_c: class 0 (.9 + .5) / 2 = .7, class 1 .8, class 2 keeps .8; confidences .9 .5 .8 .01
    assert method.clean_threshold.tolist() == pytest.approx([0.7, 0.8, 0.8])
    assert method.noisy_threshold.tolist() == pytest.approx([0.3, 0.2, 0.2])
    assert method.subset.tolist() == [CLEAN, AMBIGUOUS, AMBIGUOUS, NOISY]
    assert logs["subset_clean"] == 0.25
    assert logs["subset_ambiguous"] == 0.5
    assert logs["threshold_clean_1"] == pytest.approx(0.8)
    assert logs["lambda"] == pytest.approx(losses.ramp(2, 3.6))


def test_fixed_thresholds_stay_at_their_initial_values():
    method = make_asm((0, 1), thresholds={"adaptive": False, "init_clean": 0.6, "init_noisy": 0.4})
    predicting(method, [[0.99, 0.01, 0.0], [0.5, 0.45, 0.05]]).start_epoch(2)
    assert method.clean_threshold.tolist() == pytest.approx([0.6] * 3)
    assert method.noisy_threshold.tolist() == pytest.approx([0.4] * 3)
    assert method.subset.tolist() == [CLEAN, AMBIGUOUS]


def test_thresholds_travel_with_the_state():
    method, other = make_asm(), make_asm()
    predicting(method, [[0.66, 0.3, 0.04]]).start_epoch(2)
    other.load_state_dict(method.state_dict())
    assert other.clean_threshold.tolist() == pytest.approx([0.66, 0.8, 0.8])


SECTIONS = {
    "asm": {},
    "waiting_asm": {"waiting": {"held_out": 0.5, "mine_from_gap": 0.9}},
    "fair_asm": {"waiting": {"mine_from_gap": 0.0}, "fair": {"max_noisy": 0.25, "max_threshold": 0.1}},
}


@pytest.mark.parametrize("adaptive", [True, False])
@pytest.mark.parametrize("name", SECTIONS)
def test_mining_of_a_finished_run_is_by_the_rule_that_trained_it(name, adaptive):
    """With thresholds set anew as before an epoch, and with those that the last epoch had."""
    probs = (4 * torch.randn(2, 40, 3, generator=torch.Generator().manual_seed(0))).softmax(-1)
    labels = torch.arange(40) % 3
    method = make_asm(tuple(labels.tolist()), name, thresholds={"adaptive": adaptive}, **SECTIONS[name])
    before = {key: value.clone() for key, value in method.state_dict().items()}
    mined, with_first = method.mine(probs, labels), method.mine(probs, labels, adapt=False)
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())
    assert with_first.clean_threshold.equal(before["clean_threshold"])
    torch.testing.assert_close(mined.confidence, probs.mean(0)[torch.arange(40), labels])

    method.predict_all = lambda faces: probs
    method.start_epoch(2)
    assert method.clean_threshold.equal(mined.clean_threshold)
    assert method.noisy_threshold.equal(mined.noisy_threshold)
    again = method.mine(probs, labels, adapt=False).subset
    assert again.equal(mined.subset)
    assert again.unique().numel() > 1
    if name == "waiting_asm":
        assert method.subset is None  # it waits, but `mine` says what the rule would call
    else:
        assert method.subset.equal(mined.subset)


@pytest.mark.parametrize("noisy", [0, 1, 5])
def test_the_joint_forward_equals_one_forward_a_subset_with_frozen_normalisation(noisy):
    """Losses and gradients of the step against each subset by itself, as public code has it."""
    data = make_data()
    method = make_real("asm", data)
    method.subset = torch.tensor([NOISY] * noisy + [CLEAN, AMBIGUOUS] * 15, dtype=torch.int8)[:30]
    method.eval()  # the statistics of a batch are the one thing that differs
    joint = method.losses(make_real_batch(data.train, list(range(12))))
    joint["total"].backward()
    gradients = [p.grad.clone() for p in method.parameters()]
    method.zero_grad()

    batch = make_real_batch(data.train, list(range(12)))
    weak = method.weak(batch)
    clean, ambiguous, wrong = (method.subset[:12] == code for code in (CLEAN, AMBIGUOUS, NOISY))
    strong = strong_view(batch.faces[wrong], method.config.strong_augment, batch.generator)
    nothing = torch.zeros(0, 3)
    c1, c2 = method.logits(weak[clean])
    a1, a2 = method.logits(weak[ambiguous])
    w1, w2 = method.logits(weak[wrong]) if noisy else (nothing, nothing)
    s1, s2 = method.logits(strong) if noisy else (nothing, nothing)
    weight = losses.ramp(batch.epoch, 0.9 * method.config.training.epochs)
    expected = {
        "sup": losses.supervised(c1, c2, batch.labels[clean], 12),
        "mut": losses.mutual(a1, a2, batch.labels[ambiguous], weight, 12),
        "usc": losses.consistency(w1, s1, w2, s2, 12),
    }
    (expected["sup"] + 0.6 * expected["mut"] + expected["usc"]).backward()
    for name, value in expected.items():
        torch.testing.assert_close(joint[name], value, rtol=1e-4, atol=1e-6)
    for parameter, gradient in zip(method.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-6)
