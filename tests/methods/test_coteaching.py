"""Co-teaching: each network learns from the other's small losses; numbers worked out by hand."""

from math import log

import pytest
import torch
from made_table import Table
from tiny import make_batch, make_config, make_samples
from torch import Tensor

from asm.methods.coteaching import Coteaching

# Probability of the given label, 0, of four samples under each network; the rest goes to class 1.
FIRST = [0.8, 0.5, 0.2, 0.9]
SECOND = [0.1, 0.6, 0.7, 0.5]


def make_coteaching(**options) -> Coteaching:
    """After a warm-up of 2 epochs half of each batch is dropped."""
    config = make_config(
        "coteaching", training={"warmup_epochs": 2}, coteaching={"forget_rate": 0.5, **options}
    )
    method = Coteaching(config, [Table(FIRST), Table(SECOND)], 2, make_samples("train", 4, 0))
    method.weak = lambda batch: batch.rows
    return method


def losses(method: Coteaching, epoch: int) -> dict[str, Tensor]:
    method.samples.labels[:] = 0
    return method.losses(make_batch(method.samples, [0, 1, 2, 3], epoch))


def test_each_network_learns_from_the_others_pick():
    found = losses(make_coteaching(), epoch=3)
    # the largest probabilities: network 1 picks samples 3 and 0, network 2 picks 2 and 1
    assert found["net1"].item() == pytest.approx(-(log(0.2) + log(0.5)) / 2)
    assert found["net2"].item() == pytest.approx(-(log(0.5) + log(0.1)) / 2)
    assert found["total"].item() == pytest.approx(-(log(0.2) + log(0.5) + log(0.5) + log(0.1)) / 2)


def test_the_gradient_reaches_the_picked_samples_of_the_network_itself_alone():
    method = make_coteaching()
    losses(method, epoch=3)["total"].backward()
    first, second = (network.logits.grad for network in method.networks)
    # of cross-entropy: (p - 1) / 2 at the label
    torch.testing.assert_close(first[:, 0], torch.tensor([0.0, -0.25, -0.4, 0.0]))
    torch.testing.assert_close(second[:, 0], torch.tensor([-0.45, 0.0, 0.0, -0.25]))


def test_the_share_dropped_rises_during_warm_up():
    method = make_coteaching()
    # nothing; a quarter: network 1 drops sample 2, network 2 drops sample 0; a half
    assert [method.start_epoch(epoch)["drop_rate"] for epoch in (1, 2, 3, 4)] == [0, 0.25, 0.5, 0.5]
    assert losses(method, 1)["net1"].item() == pytest.approx(-sum(map(log, FIRST)) / 4)
    assert losses(method, 1)["net2"].item() == pytest.approx(-sum(map(log, SECOND)) / 4)
    assert losses(method, 2)["net1"].item() == pytest.approx(-(log(0.5) + log(0.2) + log(0.9)) / 3)
    assert losses(method, 2)["net2"].item() == pytest.approx(-(log(0.1) + log(0.6) + log(0.5)) / 3)


def test_dividing_twice_divides_by_the_size_of_the_pick():
    once, twice = losses(make_coteaching(), 3), losses(make_coteaching(divide_twice=True), 3)
    for name in ("net1", "net2", "total"):
        assert twice[name].item() == pytest.approx(once[name].item() / 2)


def test_one_adam_over_the_sum_takes_the_steps_of_two():
    """Three steps of one optimiser, and of one per network each over its own loss."""
    together, apart = make_coteaching(), make_coteaching()
    optimizer = torch.optim.Adam(together.parameters(), lr=0.1, weight_decay=0.01)
    two = [torch.optim.Adam(network.parameters(), lr=0.1, weight_decay=0.01) for network in apart.networks]
    for _ in range(3):
        optimizer.zero_grad()
        losses(together, 3)["total"].backward()
        optimizer.step()
        found = losses(apart, 3)
        for one, name in zip(two, ("net1", "net2"), strict=True):
            one.zero_grad()
            found[name].backward()
        for one in two:
            one.step()
    for a, b in zip(together.networks, apart.networks, strict=True):
        torch.testing.assert_close(a.logits, b.logits)
