"""Decoupling: only the samples on which the networks disagree teach; numbers worked out by hand."""

from math import log

import pytest
import torch
from made_table import Table
from tiny import PARAMS, make_batch, make_config, make_samples
from torch import Tensor, nn

from asm.methods.decoupling import Decoupling

# Probability of class 0 of four samples under each network: they disagree on samples 0 and 2.
FIRST = [0.8, 0.7, 0.4, 0.1]
SECOND = [0.3, 0.6, 0.9, 0.2]
LABELS = [0, 0, 1, 1]


def make_decoupling(first=FIRST, second=SECOND, **options) -> Decoupling:
    """After a warm-up of 2 epochs."""
    config = make_config("decoupling", training={"warmup_epochs": 2}, decoupling=options)
    method = Decoupling(config, [Table(first), Table(second)], 2, make_samples("train", len(first), 0))
    method.weak = lambda batch: batch.rows
    return method


def losses(method: Decoupling, epoch: int, rows: tuple[int, ...] = (0, 1, 2, 3)) -> dict[str, Tensor]:
    method.samples.labels[:] = torch.tensor(LABELS)
    return method.losses(make_batch(method.samples, list(rows), epoch))


def test_during_warm_up_all_samples_teach():
    found = losses(make_decoupling(), epoch=2)
    assert found["net1"].item() == pytest.approx(-(log(0.8) + log(0.7) + log(0.6) + log(0.9)) / 4)
    assert found["net2"].item() == pytest.approx(-(log(0.3) + log(0.6) + log(0.1) + log(0.8)) / 4)
    assert found["disagreement"].item() == 0.5


def test_without_a_warm_up_only_disagreement_teaches_from_the_first_epoch_on():
    config = make_config("decoupling", **PARAMS.published["decoupling"])
    assert (config.training.warmup_epochs, config.optimizer.weight_decay) == (0, 0.01 * 0.0005)
    method = Decoupling(config, [Table(FIRST), Table(SECOND)], 2, make_samples("train", 4, 0))
    method.weak = lambda batch: batch.rows
    assert losses(method, epoch=1)["net1"].item() == pytest.approx(-(log(0.8) + log(0.6)) / 2)


def test_then_only_those_on_which_the_networks_disagree():
    found = losses(make_decoupling(), epoch=3)
    assert found["net1"].item() == pytest.approx(-(log(0.8) + log(0.6)) / 2)
    assert found["net2"].item() == pytest.approx(-(log(0.3) + log(0.1)) / 2)
    assert found["total"].item() == pytest.approx(-(log(0.8) + log(0.6) + log(0.3) + log(0.1)) / 2)


def test_the_gradient_reaches_no_other_sample():
    method = make_decoupling()
    losses(method, epoch=3)["total"].backward()
    first, second = (network.logits.grad[:, 0] for network in method.networks)
    # of cross-entropy: (p - 1) / 2 where the label is 0, p / 2 where it is 1
    torch.testing.assert_close(first, torch.tensor([-0.1, 0.0, 0.2, 0.0]))
    torch.testing.assert_close(second, torch.tensor([-0.35, 0.0, 0.45, 0.0]))


@pytest.mark.parametrize("smallest_share", [0.0, 0.1, 1.0])
def test_where_all_agree_loss_and_gradient_are_zero(smallest_share):
    method = make_decoupling(smallest_share=smallest_share)
    found = losses(method, 3, rows=(1, 3))
    assert found["total"].item() == 0
    assert found["disagreement"].item() == 0
    found["total"].backward()
    assert all(p.grad.abs().max() == 0 for p in method.parameters())


def test_disagreement_counts_and_not_being_wrong():
    # both wrong in the same class: no disagreement, though the label is missed
    method = make_decoupling([0.1] * 4, [0.2] * 4)
    assert losses(method, 3)["total"].item() == 0
    # both miss the label, in different classes
    method = make_decoupling()
    for network, wrong in zip(method.networks, (1, 2), strict=True):
        network.logits = nn.Parameter(torch.tensor([[0.25, 0.25, 0.25]] * 4).log())
        network.logits.data[:, wrong] = log(0.5)
    assert losses(method, 3, rows=(0, 1))["total"].item() == pytest.approx(-2 * log(0.25))


def test_the_loss_is_divided_by_at_least_a_share_of_the_batch():
    expected = -(log(0.8) + log(0.6))  # two of four samples
    for share, divisor in ((0.0, 2), (0.25, 2), (0.75, 3), (1.0, 4)):
        found = losses(make_decoupling(smallest_share=share), 3)
        assert found["net1"].item() == pytest.approx(expected / divisor)
    warm = losses(make_decoupling(smallest_share=0.0), 1)["net1"]
    assert losses(make_decoupling(smallest_share=1.0), 1)["net1"].item() == pytest.approx(warm.item())
