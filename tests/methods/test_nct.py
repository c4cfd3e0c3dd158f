"""NCT's losses, its two ramps, its target variability and its prediction, worked out by hand."""

import math

import pytest
import torch
from tiny import make_batch, make_data, make_method

LOG2 = math.log(2)


def make_nct(z1: torch.Tensor, z2: torch.Tensor, **sections):
    """NCT whose networks answer with these logits; all labels are 0 and none is replaced unless asked for."""
    data = make_data()
    data.train.labels[:] = 0
    sections["nct"] = {"flip_rate": [0.0, 0.0], **sections.get("nct", {})}
    method = make_method("nct", data, **sections)
    method.logits = lambda images: [z1, z2]
    return method


def probabilities(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows)


P1 = probabilities([0.5, 0.25, 0.25], [0.5, 0.25, 0.25])
P2 = probabilities([0.25, 0.5, 0.25], [0.5, 0.25, 0.25])


def softened(p: torch.Tensor, temperature: float) -> torch.Tensor:
    """Logits whose softmax at `temperature` is `p`."""
    return temperature * p.log()


def test_the_loss_mixes_cross_entropy_and_the_divergence_from_the_peer_summed_over_the_networks():
    # at temperature 2 the softened predictions are P1 and P2; only the first sample's differ:
    # KL(p2||p1) = 1/4 (-log 2) + 1/2 log 2 = log 2 / 4, and the same the other way round
    # -> T^2 = 4 times, mean over 2 samples: log 2 / 2 for each network
    z1, z2 = softened(P1, 2), softened(P2, 2)
    method = make_nct(z1, z2, nct={"temperature": 2.0, "alpha_max": 0.6, "ramp_end": 0.5})
    found = method.losses(make_batch(method.samples, [0, 1], epoch=3))  # e 2 of 2: alpha at its largest
    # cross-entropy at temperature 1: softmax(2 log p) = p^2 / sum p^2, sum p^2 = 3/8:
    # half -> 2/3, quarter -> 1/6. Network 1: 2/3, 2/3; network 2: 1/6, 2/3
    ce = -(math.log(2 / 3) + (math.log(1 / 6) + math.log(2 / 3)) / 2)
    assert found["ce"].item() == pytest.approx(ce)
    assert found["kl"].item() == pytest.approx(LOG2)
    assert found["total"].item() == pytest.approx(0.4 * ce + 0.6 * LOG2)


def test_the_peer_is_the_divergences_first_argument():
    # KL(p2||p1) for p1 = (1/2, 1/4, 1/4), p2 = (3/4, 1/8, 1/8), and the other way round, at temperature 1
    p1, p2 = probabilities([0.5, 0.25, 0.25]).repeat(2, 1), probabilities([0.75, 0.125, 0.125]).repeat(2, 1)
    from_2 = 3 / 4 * math.log(3 / 2) - 1 / 4 * LOG2  # network 1's loss
    from_1 = 1 / 2 * math.log(2 / 3) + 1 / 2 * LOG2
    z1, z2 = p1.log().requires_grad_(), p2.log().requires_grad_()
    method = make_nct(z1, z2, nct={"temperature": 1.0})
    found = method.losses(make_batch(method.samples, [0, 1]))["kl"]
    assert found.item() == pytest.approx(from_1 + from_2)
    found.backward()
    # d/dz1 of KL(p2||p1) alone is (p1 - p2) / B; without the detached peer KL(p1||p2) would add to it
    assert (2 * z1.grad[0]).tolist() == pytest.approx([-1 / 4, 1 / 8, 1 / 8])
    assert (2 * z2.grad[0]).tolist() == pytest.approx([1 / 4, -1 / 8, -1 / 8])


def test_the_default_temperature_is_4_and_its_square_scales_the_gradient():
    z1, z2 = softened(P1, 4).requires_grad_(), softened(P2, 4).requires_grad_()
    method = make_nct(z1, z2)
    method.losses(make_batch(method.samples, [0, 1]))["kl"].backward()
    # T^2 (1/T) (p1 - p2) / B
    assert z1.grad[0].tolist() == pytest.approx([4 / 2 * v for v in (1 / 4, -1 / 4, 0)])
    assert z1.grad[1].tolist() == pytest.approx([0, 0, 0], abs=1e-7)


@pytest.mark.parametrize(
    ("epochs", "options", "at", "expected"),
    [
        # e counted from 0, to 20 of 200: .9 exp(-5), .9 exp(-5/4), then .9
        (200, {}, (1, 11, 21, 22, 200), [math.exp(-5), math.exp(-1.25), 1, 1, 1]),
        # the constants that ASM cites: .9 exp(-.65) at first
        (
            100,
            {"beta": 0.65, "ramp_end": 0.9},
            (1, 46, 91, 100),
            [math.exp(-0.65), math.exp(-0.65 / 4), 1, 1],
        ),
    ],
)
def test_alpha_rises_over_its_share_of_the_epochs_and_stays(epochs, options, at, expected):
    method = make_method("nct", training={"epochs": epochs}, nct=options)
    found = [method.start_epoch(epoch)["alpha"] / 0.9 for epoch in at]
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("epochs", "warmup", "at", "expected"),
    [
        # seven epochs follow, t = 0 .. 6: .2 + .5 log(t) / log 7, from t = 1 on
        (10, 3, range(1, 11), [0.2] * 4 + [0.2 + 0.5 * math.log(t) / math.log(7) for t in range(1, 7)]),
        # as released, at its epochs 3, 4, 5 and 199, counted from 0
        (200, 3, (4, 5, 6, 200), [0.2, 0.2, 0.26560, 0.69952]),
        # few epochs after the warm-up, of the last case three: the last has t = 2; and none
        (3, 2, (1, 2, 3), [0.2] * 3),
        (4, 2, (3, 4), [0.2] * 2),
        (5, 2, (3, 4, 5), [0.2, 0.2, 0.2 + 0.5 * math.log(2) / math.log(3)]),
        (2, 2, (1, 2), [0.2] * 2),
    ],
)
def test_the_replaced_share_is_constant_in_the_warm_up_and_then_rises_with_the_logarithm(
    epochs, warmup, at, expected
):
    method = make_method("nct", training={"epochs": epochs, "warmup_epochs": warmup})
    found = [method.start_epoch(epoch)["flip_rate"] for epoch in at]
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_a_replacement_is_uniform_over_all_classes(rate):
    method = make_method("nct", nct={"flip_rate": [rate, rate]})
    labels = torch.arange(9000) % 3
    found = method.vary(labels, 3, torch.Generator().manual_seed(0))
    steps = torch.bincount((found - labels) % 3, minlength=3) / 9000
    # standard deviation of a share at most .5 / sqrt(9000) = .0053; rate 2/3 changes
    assert steps.tolist() == pytest.approx([1 - rate * 2 / 3, rate / 3, rate / 3], abs=0.02)
    per_class = torch.bincount(labels[found != labels], minlength=3) / 3000
    assert per_class.tolist() == pytest.approx([rate * 2 / 3] * 3, abs=0.04)


def test_each_network_and_each_batch_have_their_own_replacements(monkeypatch):
    method = make_nct(P1.log().repeat(15, 1), P2.log().repeat(15, 1), nct={"flip_rate": [1.0, 1.0]})
    seen = []
    real = method.vary
    monkeypatch.setattr(method, "vary", lambda *args: (seen.append(real(*args)), seen[-1])[1])
    batch = make_batch(method.samples, list(range(30)))
    method.losses(batch)
    method.losses(batch)
    assert len(seen) == 4
    assert all(not a.equal(b) for i, a in enumerate(seen) for b in seen[:i])
    assert (method.samples.labels == 0).all()  # the training set keeps its labels


def test_the_cross_entropy_is_of_the_replaced_labels(monkeypatch):
    method = make_nct(P1.log(), P2.log())
    replaced = [torch.tensor([1, 1]), torch.tensor([2, 0])]  # network 1's, network 2's
    monkeypatch.setattr(method, "vary", lambda *args: replaced.pop(0))
    found = method.losses(make_batch(method.samples, [0, 1]))["ce"].item()
    # network 1: 1/4, 1/4; network 2: 1/4, 1/2
    assert found == pytest.approx((2 + 2) / 2 * LOG2 + (2 + 1) / 2 * LOG2)
