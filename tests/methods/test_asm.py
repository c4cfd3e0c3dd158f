"""ASM's epoch and step: which samples enter which loss, checked by hand on constructed logits."""

import math

import pytest
import torch
from tiny import make_config, make_samples
from torch import nn

from asm import losses
from asm.methods import Batch
from asm.methods.asm import ASM
from asm.mining import AMBIGUOUS, CLEAN, NOISY


class Fixed(nn.Module):
    """A network that answers each image with the logits stored in its pixels, scaled."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :, 0, 0] * self.scale


def pixels(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, 3, 1, 1, generator=torch.Generator().manual_seed(seed))


WEAK, STRONG = pixels(6, 0), pixels(6, 1)


def make_asm(labels: tuple[int, ...] = (0,), **sections) -> ASM:
    samples = make_samples("train", len(labels), 0)
    samples.labels[:] = torch.tensor(labels)
    method = ASM(make_config(**sections), [Fixed(1.0), Fixed(0.5)], 3, samples)
    # a face is one pixel that holds its row; the views are the rows of WEAK and STRONG
    method.weak = lambda batch: WEAK[batch.rows]
    method.strong_view = lambda faces, *_: STRONG[faces.flatten().long()]
    return method


def make_batch(epoch: int = 3, n: int = 6) -> Batch:
    rows = torch.arange(n)
    return Batch(rows, rows, rows.view(n, 1, 1, 1).byte(), rows % 3, epoch, torch.Generator())


CODES = torch.tensor([CLEAN, CLEAN, AMBIGUOUS, AMBIGUOUS, AMBIGUOUS, NOISY], dtype=torch.int8)


def parts(batch: Batch, rows: slice):
    """Weak logits of both networks, strong logits of both, and labels of some rows."""
    w, s = WEAK[rows, :, 0, 0], STRONG[rows, :, 0, 0]
    return w, 0.5 * w, s, 0.5 * s, batch.labels[rows]


def test_total_is_eq_12_over_the_subsets():
    batch = make_batch()
    method = make_asm(losses={"divide_by": "subset", "omega": 0.6, "gamma": 2.0})
    method.subset = CODES
    found = method.losses(batch)
    w1, w2, _, _, y = parts(batch, slice(0, 2))
    sup = losses.supervised(w1, w2, y)
    w1, w2, _, _, y = parts(batch, slice(2, 5))
    mut = losses.mutual(w1, w2, y, losses.ramp(3, 0.9 * 4))
    w1, w2, s1, s2, _ = parts(batch, slice(5, 6))
    usc = losses.consistency(w1, s1, w2, s2)
    torch.testing.assert_close(found["sup"], sup)
    torch.testing.assert_close(found["mut"], mut)
    torch.testing.assert_close(found["usc"], usc)
    torch.testing.assert_close(found["total"], sup + 0.6 * mut + 2.0 * usc)


def test_dividing_by_the_batch_weighs_every_sample_alike():
    batch = make_batch()
    by_subset, by_batch = (make_asm(losses={"divide_by": d}) for d in ("subset", "batch"))
    by_subset.subset = by_batch.subset = CODES
    a, b = by_subset.losses(batch), by_batch.losses(batch)
    for name, count in (("sup", 2), ("mut", 3), ("usc", 1)):
        torch.testing.assert_close(b[name], a[name] * count / 6)


@pytest.mark.parametrize("replaced", [["mutual"], ["consistency"], ["mutual", "consistency"]])
def test_an_excluded_loss_becomes_cross_entropy_at_its_weight(replaced):
    batch = make_batch()
    method = make_asm(losses={"replace_with_ce": replaced, "divide_by": "subset"})
    method.subset = CODES
    found = method.losses(batch)
    for name, key, rows in (("mut", "mutual", slice(2, 5)), ("usc", "consistency", slice(5, 6))):
        w1, w2, _, _, y = parts(batch, rows)
        is_ce = torch.isclose(found[name], losses.supervised(w1, w2, y))
        assert bool(is_ce) == (key in replaced)
    torch.testing.assert_close(found["total"], found["sup"] + 0.6 * found["mut"] + found["usc"])


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


def predicting(method: ASM, rows: list[list[float]]) -> ASM:
    """Let both networks predict these rows for the training set."""
    method.predict_all = lambda faces: torch.tensor([rows, rows])
    return method


def test_no_mining_during_warm_up():
    method = make_asm(training={"warmup_epochs": 2})
    method.predict_all = None
    assert method.start_epoch(2) == {}
    assert method.subset is None
    assert set(method.losses(make_batch())) == {"total"}


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


def test_per_class_thresholds_and_a_limit_to_the_noisy():
    rows = [[0.9, 0.05, 0.05], [0.5, 0.4, 0.1], [0.1, 0.8, 0.1], [0.14, 0.06, 0.8], [0.98, 0.01, 0.01]]
    method = predicting(make_asm((0, 0, 1, 1, 1), thresholds={"noisy": "per_class"}), rows)
    method.start_epoch(2)
    # T_c .7, .8; shared by the two other classes: T_n .15, .1; confidences .9 .5 .8 .06 .01
    assert method.noisy_threshold.tolist() == pytest.approx([0.15, 0.1, 0.1])
    assert method.subset.tolist() == [CLEAN, AMBIGUOUS, AMBIGUOUS, NOISY, NOISY]
    method = predicting(make_asm((0, 0, 1, 1, 1), thresholds={"max_noisy": 0.4}), rows)
    logs = method.start_epoch(2)
    assert method.subset.tolist() == [CLEAN, AMBIGUOUS, AMBIGUOUS, AMBIGUOUS, NOISY]  # one of three
    assert logs["subset_noisy"] == pytest.approx(0.2)


@pytest.mark.parametrize("above", [0.75, 0.8])
def test_while_the_networks_are_unsure_nothing_is_mined(above):
    """Mean T_c .75 is not above .75: cross-entropy on all samples, as in the warm-up. Then it is."""
    unsure = [[0.6875, 0.2, 0.1125], [0.15, 0.75, 0.1], [0.1, 0.0875, 0.8125]]
    method = make_asm((0, 1, 2), thresholds={"mine_above": above})
    logs = predicting(method, unsure).start_epoch(2)
    assert method.subset is None
    assert logs["threshold_clean_0"] == pytest.approx(0.6875)
    assert not any(name.startswith("subset") or name == "lambda" for name in logs)
    batch = make_batch()
    w1, w2, _, _, y = parts(batch, slice(0, 6))
    found = method.losses(batch)
    assert set(found) == {"total"}
    torch.testing.assert_close(found["total"], losses.supervised(w1, w2, y))

    sure = [[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.05, 0.05, 0.9]]
    logs = predicting(method, sure).start_epoch(3)
    assert method.subset.tolist() == [AMBIGUOUS] * 3  # each is its class's own threshold
    assert logs["subset_ambiguous"] == 1.0
    method.subset = CODES
    assert set(method.losses(batch)) == {"total", "sup", "mut", "usc"}
    predicting(method, unsure).start_epoch(4)  # unsure again
    assert method.subset is None


def test_the_ramp_counts_from_the_start_of_training_or_of_mining():
    training = {"epochs": 20, "warmup_epochs": 6}
    method = make_asm(losses={"ramp_from": "mining", "beta": 2.0, "lambda_max": 0.8}, training=training)
    # 18 of 20 epochs, 12 of them after the warm-up: .8 exp(-2 (1 - e / 12)^2)
    for epoch, e in ((7, 1), (12, 6), (18, 12), (20, 14)):
        expected = 0.8 * math.exp(-2 * (1 - e / 12) ** 2)
        assert method._lambda(epoch) == pytest.approx(expected)
    assert method._lambda(12) == pytest.approx(0.8 * math.exp(-0.5))
    method = make_asm(losses={"beta": 2.0, "lambda_max": 0.8}, training=training)
    assert method._lambda(9) == pytest.approx(0.8 * math.exp(-0.5))
    # the ramp would end before mining starts: it is at its end in the first epoch
    method = make_asm(losses={"ramp_from": "mining", "ramp_end": 0.2}, training=training)
    assert method._lambda(7) == pytest.approx(0.9)


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


def test_prediction_is_each_networks_softmax():
    images = torch.tensor([[1.0, 2.0, 3.0]]).view(1, 3, 1, 1)
    found = make_asm().predict(images)
    assert found.shape == (2, 1, 3)
    torch.testing.assert_close(found[1, 0], torch.tensor([0.5, 1.0, 1.5]).softmax(0))


def test_held_out_samples_have_no_part_in_the_losses():
    batch = make_batch()
    method = make_asm((0, 1, 2, 0, 1, 2), thresholds={"held_out": 0.5})
    kept = ~method.held_out
    assert kept.sum() == 3
    for subset in (None, CODES):
        method.subset = subset
        alone = make_asm((0, 1, 2, 0, 1, 2))
        alone.subset = subset
        rows = kept.nonzero().squeeze(1)
        faces = rows.view(-1, 1, 1, 1).byte()
        expected = alone.losses(Batch(rows, rows, faces, rows % 3, batch.epoch, torch.Generator()))
        found = method.losses(batch)
        assert set(found) == set(expected)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value)


def test_mining_waits_until_labels_are_memorised_and_does_not_stop_again():
    """All six labels are repeated, then only those that were trained on, then all again: gaps 0, 1 and 0."""
    labels = (0, 1, 2, 0, 1, 2)
    method = make_asm(labels, thresholds={"held_out": 0.5, "mine_from_gap": 0.4})
    sure = [[0.9 if k == label else 0.05 for k in range(3)] for label in labels]
    rolled = [p[1:] + p[:1] if out else p for p, out in zip(sure, method.held_out.tolist(), strict=True)]
    for probs, gap, mines in ((sure, 0, False), (rolled, 1, True), (sure, 0, True)):
        logs = predicting(method, probs).start_epoch(2)
        assert logs["fit_gap"] == pytest.approx(gap)
        assert (method.subset is not None) == mines


def test_calibration_takes_the_confidence_that_held_out_labels_deserve():
    """The networks are sure of all, and half of the held-out labels are others: T_c falls to a half."""
    labels = (0,) * 40
    method = make_asm(labels, thresholds={"held_out": 0.5, "calibrated": True})
    wrong = torch.zeros(40, dtype=torch.bool)
    wrong[method.held_out.nonzero().squeeze(1)[:10]] = True
    probs = [[0.001, 0.998, 0.001] if w else [0.998, 0.001, 0.001] for w in wrong.tolist()]
    logs = predicting(method, probs).start_epoch(2)
    assert logs["temperature"] > 4
    assert logs["threshold_clean_0"] == pytest.approx(0.5, abs=0.05)


def test_what_is_measured_on_held_out_labels_needs_some():
    with pytest.raises(ValueError, match="held_out"):
        make_asm(thresholds={"mine_from_gap": 0.1})


def test_t_n_is_that_of_a_class_until_labels_are_memorised():
    """T_c is .9; T_n .05 before the gap has passed the bound, .1 from then on."""
    labels = (0, 1, 2, 0, 1, 2)
    method = make_asm(labels, thresholds={"held_out": 0.5, "complement_from_gap": 0.4})
    sure = [[0.9 if k == label else 0.05 for k in range(3)] for label in labels]
    rolled = [p[1:] + p[:1] if out else p for p, out in zip(sure, method.held_out.tolist(), strict=True)]
    for probs, below in ((sure, 0.05), (rolled, 0.1), (sure, 0.1)):
        logs = predicting(method, probs).start_epoch(2)
        assert logs["threshold_noisy_0"] == pytest.approx(below)
