"""JoCoR's joint loss and selection, worked out by hand on constructed logits."""

import math

import pytest
import torch
from tiny import make_batch, make_data, make_method

LOG2 = math.log(2)
# Two networks' probabilities of four samples, all labelled 0.
P1 = torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5]])
P2 = torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.5, 0.25], [0.25, 0.5, 0.25]])
# CE1 + CE2 in units of log 2: 1 + 1, 1 + 2, 2 + 2, 2 + 2
CE = [2 * LOG2, 3 * LOG2, 4 * LOG2, 4 * LOG2]
# Both directions of KL: equal 0; 1/4 apart in two classes whose logarithms are log 2 apart: 2 (1/4) log 2
KL = [0.0, LOG2 / 2, 0.0, LOG2 / 2]


def run(epoch: int = 3, **options):
    """Losses of the four samples, and both networks' logits with their gradients."""
    data = make_data()
    data.train.labels[:] = 0
    method = make_method("jocor", data, jocor=options)
    z1, z2 = P1.log().requires_grad_(), P2.log().requires_grad_()
    method.logits = lambda images: [z1, z2]
    found = method.losses(make_batch(data.train, [0, 1, 2, 3], epoch))
    found["total"].backward()
    return {name: value.item() for name, value in found.items()}, z1.grad, z2.grad


@pytest.mark.parametrize("weight", [0.0, 0.5, 0.9])
def test_the_loss_mixes_both_networks_cross_entropy_and_their_divergence(weight):
    found, _, _ = run(forget_rate=0.0, agreement_weight=weight)
    assert found["ce"] == pytest.approx(sum(CE) / 4)
    assert found["agreement"] == pytest.approx(sum(KL) / 4)
    assert found["total"] == pytest.approx((1 - weight) * sum(CE) / 4 + weight * sum(KL) / 4)


def test_the_published_weight_of_agreement_is_the_default():
    found, _, _ = run(forget_rate=0.0)
    assert found["total"] == pytest.approx(0.1 * sum(CE) / 4 + 0.9 * sum(KL) / 4)


def test_samples_are_kept_by_their_joint_loss():
    # weight 0.9, in log 2: 0.2, 0.3 + 0.45, 0.4, 0.4 + 0.45; by cross-entropy alone sample 1 is second
    found, grad1, grad2 = run(forget_rate=0.5, agreement_weight=0.9)
    assert found["total"] == pytest.approx((0.2 + 0.4) / 2 * LOG2)
    for grad in (grad1, grad2):
        assert grad.abs().sum(dim=1).bool().tolist() == [True, False, True, False]


def test_the_gradient_passes_through_both_arguments_of_both_directions():
    _, grad1, grad2 = run(forget_rate=0.0, agreement_weight=1.0)
    # sample 1: d/dz1 of sum (p1 - p2) g, g = log p1 - log p2 = (1, -1, 0) log 2, is
    # p1 - p2 + p1 (g - E_p1 g); p1 = (1/2, 1/4, 1/4), E_p1 g = log 2 / 4. Mean over 4 samples.
    expected = [
        1 / 4 + 1 / 2 * (1 - 1 / 4) * LOG2,
        -1 / 4 + 1 / 4 * (-1 - 1 / 4) * LOG2,
        1 / 4 * (-1 / 4) * LOG2,
    ]
    assert (4 * grad1[1]).tolist() == pytest.approx(expected)
    # network 2 is network 1 with the first two classes exchanged
    assert (4 * grad2[1]).tolist() == pytest.approx([expected[1], expected[0], expected[2]])


def test_the_dropped_share_rises_over_the_warm_up_from_nothing():
    losses = [run(epoch, forget_rate=rate)[0] for epoch, rate in ((1, 0.0), (1, 0.5), (2, 0.5))]
    assert losses[0] == losses[1]
    assert losses[2]["total"] < losses[1]["total"]
    method = make_method("jocor", jocor={"forget_rate": 0.4}, training={"warmup_epochs": 4})
    rates = [method.start_epoch(epoch)["drop_rate"] for epoch in (1, 2, 3, 5, 9)]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.4, 0.4])
