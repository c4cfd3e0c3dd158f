"""ASM's epoch and step: which samples enter which loss, checked by hand on constructed logits."""

import pytest
import torch
from tiny import make_config
from torch import nn

from asm import losses
from asm.methods import ASM, Batch
from asm.mining import AMBIGUOUS, CLEAN, NOISY


class Fixed(nn.Module):
    """A network that answers each image with the logits stored in its pixels, scaled."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :, 0, 0] * self.scale


def make_asm(**sections) -> ASM:
    return ASM(make_config(**sections), [Fixed(1.0), Fixed(0.5)], num_classes=3)


def make_batch(epoch: int = 3, n: int = 6) -> Batch:
    generator = torch.Generator().manual_seed(0)
    weak = torch.randn(n, 3, 1, 1, generator=generator)
    strong = torch.randn(n, 3, 1, 1, generator=generator)
    return Batch(torch.arange(n), weak, torch.arange(n) % 3, lambda mask: strong[mask], epoch)


CODES = torch.tensor([CLEAN, CLEAN, AMBIGUOUS, AMBIGUOUS, AMBIGUOUS, NOISY], dtype=torch.int8)


def parts(batch: Batch, rows: slice):
    """Weak logits of both networks, strong logits of both, and labels of some rows."""
    w, s = batch.weak[rows, :, 0, 0], batch.strong(torch.ones(6) > 0)[rows, :, 0, 0]
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
    batch.weak[5] = 100.0
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


def predictions(rows: list[list[float]]) -> torch.Tensor:
    p = torch.tensor(rows)
    return torch.stack([p, p])


def test_no_mining_during_warm_up():
    method = make_asm(training={"warmup_epochs": 2})
    called = []
    assert method.start_epoch(2, torch.tensor([0]), lambda: called.append(1)) == {}
    assert not called
    assert method.subset is None
    assert set(method.losses(make_batch())) == {"total"}


def test_start_epoch_mines_the_training_set():
    method = make_asm()
    labels = torch.tensor([0, 0, 1, 1])
    rows = [[0.9, 0.05, 0.05], [0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.98, 0.01, 0.01]]
    logs = method.start_epoch(2, labels, lambda: predictions(rows))
    # T_c: class 0 (.9 + .5) / 2 = .7, class 1 .8, class 2 keeps .8; confidences .9 .5 .8 .01
    assert method.clean_threshold.tolist() == pytest.approx([0.7, 0.8, 0.8])
    assert method.noisy_threshold.tolist() == pytest.approx([0.3, 0.2, 0.2])
    assert method.subset.tolist() == [CLEAN, AMBIGUOUS, AMBIGUOUS, NOISY]
    assert logs["subset_clean"] == 0.25
    assert logs["subset_ambiguous"] == 0.5
    assert logs["threshold_clean_1"] == pytest.approx(0.8)
    assert logs["lambda"] == pytest.approx(losses.ramp(2, 3.6))


def test_fixed_thresholds_stay_at_their_initial_values():
    method = make_asm(thresholds={"adaptive": False, "init_clean": 0.6, "init_noisy": 0.4})
    method.start_epoch(2, torch.tensor([0, 1]), lambda: predictions([[0.99, 0.01, 0.0], [0.5, 0.45, 0.05]]))
    assert method.clean_threshold.tolist() == pytest.approx([0.6] * 3)
    assert method.noisy_threshold.tolist() == pytest.approx([0.4] * 3)
    assert method.subset.tolist() == [CLEAN, AMBIGUOUS]


def test_thresholds_travel_with_the_state():
    method, other = make_asm(), make_asm()
    method.start_epoch(2, torch.tensor([0]), lambda: predictions([[0.66, 0.3, 0.04]]))
    other.load_state_dict(method.state_dict())
    assert other.clean_threshold.tolist() == pytest.approx([0.66, 0.8, 0.8])


def test_prediction_is_each_networks_softmax():
    images = torch.tensor([[1.0, 2.0, 3.0]]).view(1, 3, 1, 1)
    found = make_asm().predict(images)
    assert found.shape == (2, 1, 3)
    torch.testing.assert_close(found[1, 0], torch.tensor([0.5, 1.0, 1.5]).softmax(0))
