"""Eq. 7-11 against numbers worked out by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asm import losses


def logits(*rows: list[float]) -> torch.Tensor:
    """Logits whose softmax is exactly the given probabilities."""
    return torch.tensor(rows, dtype=torch.float64).log().requires_grad_()


Z1, Z2 = logits([0.5, 0.25, 0.25], [0.1, 0.8, 0.1]), logits([0.25, 0.5, 0.25], [0.2, 0.4, 0.4])
Y = torch.tensor([0, 1])


def test_supervised_sums_over_networks_and_averages_over_samples():
    # sample 0: ln 2 + ln 4; sample 1: -ln .8 - ln .4
    expected = (math.log(2) + math.log(4) - math.log(0.8) - math.log(0.4)) / 2
    assert losses.supervised(Z1, Z2, Y).item() == pytest.approx(expected)
    assert losses.supervised(Z1, Z2, Y, size=8).item() == pytest.approx(expected * 2 / 8)


def test_contrastive_is_the_sum_of_both_divergences():
    # sample 0: KL(p1||p2) = .5 ln 2 - .25 ln 2; KL(p2||p1) = -.25 ln 2 + .5 ln 2; together .5 ln 2
    first = 0.5 * math.log(2)
    # sample 1: sum (p1 - p2) ln(p1 / p2) = -.1 ln .5 + .4 ln 2 - .3 ln .25
    second = 0.1 * math.log(2) + 0.4 * math.log(2) + 0.3 * math.log(4)
    assert losses.contrastive(Z1, Z2).item() == pytest.approx((first + second) / 2)


@pytest.mark.parametrize(
    "loss",
    [
        lambda a, b, c, d: losses.supervised(a, b, Y),
        lambda a, b, c, d: losses.contrastive(a, b),
        lambda a, b, c, d: losses.mutual(a, b, Y, 0.3),
        lambda a, b, c, d: losses.consistency(a, b, c, d),
    ],
    ids=["supervised", "contrastive", "mutual", "consistency"],
)
def test_the_gradient_passes_through_every_argument(loss):
    """It is the numerical one, so nothing is detached."""
    generator = torch.Generator().manual_seed(0)
    z = [torch.randn(2, 3, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(4)]
    assert torch.autograd.gradcheck(loss, z)


@pytest.mark.parametrize(
    ("epoch", "value"), [(1, 0.4766), (10, 0.5385), (11, 0.5454), (45, 0.7650), (90, 0.9), (100, 0.8928)]
)
def test_ramp_takes_the_published_values(epoch, value):
    assert losses.ramp(epoch, 90) == pytest.approx(value, abs=5e-5)


def test_ramp_ends_at_a_share_of_the_epochs():
    weights = losses.Weights(omega=0.6, gamma=1.0, beta=2.0, lambda_max=0.8, ramp_end=0.5)
    assert weights.lambda_at(5, 20) == pytest.approx(0.8 * math.exp(-0.5))
    assert weights.lambda_at(10, 20) == pytest.approx(0.8)


def test_ramp_by_hand():
    assert losses.ramp(5, 10, lambda_max=0.8, beta=2.0) == pytest.approx(0.8 * math.exp(-0.5))
    assert losses.ramp(3, 10, lambda_max=0.9, beta=0.0) == pytest.approx(0.9)  # beta 0: constant


def test_mutual_balances_cross_entropy_and_agreement():
    ce, con = losses.supervised(Z1, Z2, Y).item(), losses.contrastive(Z1, Z2).item()
    assert losses.mutual(Z1, Z2, Y, 0.3).item() == pytest.approx(0.7 * ce + 0.3 * con)
    assert losses.mutual(Z1, Z1, Y, 0.3).item() == pytest.approx(0.7 * losses.supervised(Z1, Z1, Y).item())


def test_consistency_is_the_mean_squared_difference_of_probabilities():
    weak1, strong1 = logits([0.5, 0.5]), logits([0.3, 0.7])  # mean of .04, .04
    weak2, strong2 = logits([0.9, 0.1]), logits([0.8, 0.2])  # mean of .01, .01
    assert losses.consistency(weak1, strong1, weak2, strong2).item() == pytest.approx(0.05)
    assert losses.consistency(weak1, strong1, weak2, strong2, size=5).item() == pytest.approx(0.01)


def test_an_empty_subset_contributes_exactly_zero_and_no_nan():
    z = torch.zeros(0, 3, requires_grad=True)
    y = torch.zeros(0, dtype=torch.int64)
    for value in (
        losses.supervised(z, z, y),
        losses.contrastive(z, z),
        losses.mutual(z, z, y, 0.5),
        losses.consistency(z, z, z, z),
        losses.supervised(z, z, y, size=32),
    ):
        assert value.item() == 0.0
        value.backward()
        assert z.grad.isfinite().all()


@given(st.integers(0, 2**31), st.integers(1, 16), st.integers(2, 8))
def test_contrastive_is_symmetric_and_not_negative(seed, n, k):
    generator = torch.Generator().manual_seed(seed)
    a, b = (5 * torch.randn(n, k, generator=generator, dtype=torch.float64) for _ in range(2))
    value = losses.contrastive(a, b)
    assert value >= 0
    torch.testing.assert_close(value, losses.contrastive(b, a))
    torch.testing.assert_close(losses.contrastive(a, a), torch.zeros((), dtype=torch.float64))


def test_extreme_logits_stay_finite():
    z1, z2 = torch.tensor([[200.0, -200.0]]), torch.tensor([[-200.0, 200.0]])
    for value in (losses.contrastive(z1, z2), losses.supervised(z1, z2, torch.tensor([0]))):
        assert value.isfinite()
