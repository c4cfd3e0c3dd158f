"""Optimiser groups and the three schedules, against rates worked out by hand."""

import pytest
import torch
from tiny import PARAMS, make_method

from asm.methods.config import Optimizer
from asm.training.optimization import build_optimizer, rate_factor, set_rates


def optimizer_options(**changed) -> Optimizer:
    return Optimizer(**PARAMS.optimizer.model_dump() | changed)


def rates(epochs: int, **options) -> list[float]:
    return [rate_factor(optimizer_options(**options), epoch, epochs) for epoch in range(1, epochs + 1)]


def test_exponential_decay_starts_after_the_first_epoch():
    assert rates(4, schedule="exponential", lr_decay=0.5) == [1, 0.5, 0.25, 0.125]


def test_steps_lower_the_rate_after_the_named_epochs():
    found = rates(6, schedule="steps", lr_decay=0.1, lr_steps=[2, 4])
    assert found == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_poly_keeps_the_rate_and_then_lets_it_fall_to_zero():
    # linear from epoch 2 on: progress 0/4, 1/4, 2/4, 3/4; it would reach 0 after the last epoch
    found = rates(6, schedule="poly", lr_decay=1.0, lr_steps=[2])
    assert found == pytest.approx([1, 1, 1, 0.75, 0.5, 0.25])
    assert rates(4, schedule="poly", lr_decay=0.5) == pytest.approx([1, 0.75**0.5, 0.5**0.5, 0.25**0.5])
    assert rates(3, schedule="poly", lr_decay=1.0, lr_steps=[8]) == [1, 1, 1]


def test_classifiers_have_their_own_rate_and_every_parameter_is_in_one_group():
    method = make_method("asm")
    options = optimizer_options(lr=0.001, head_lr=0.01, lr_decay=0.5)
    optimizer = build_optimizer(method, options)
    assert set_rates(optimizer, options, 2, 10) == pytest.approx(0.0005)
    backbones, heads = optimizer.param_groups
    assert (backbones["lr"], heads["lr"]) == pytest.approx((0.0005, 0.005))
    assert {id(p) for p in heads["params"]} == {id(p) for n in method.networks for p in n.head.parameters()}
    assert len(backbones["params"]) + len(heads["params"]) == len(list(method.parameters()))


@pytest.mark.parametrize(("kind", "expected"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam)])
def test_momentum_changes_once_the_rate_falls(kind, expected):
    options = optimizer_options(
        kind=kind, momentum=0.8, late_momentum=0.1, schedule="poly", lr_decay=1.0, lr_steps=[1]
    )
    optimizer = build_optimizer(make_method("baseline"), options)
    assert isinstance(optimizer, expected)

    def momentum(epoch: int) -> float:
        set_rates(optimizer, options, epoch, 4)
        group = optimizer.param_groups[0]
        return group["momentum"] if kind == "sgd" else group["betas"][0]

    assert [momentum(e) for e in (1, 2, 3)] == [0.8, 0.8, 0.1]


def test_one_step_of_sgd_is_the_formula():
    """v = g + wd w; w <- w - lr v in the first step."""
    method = make_method("baseline")
    options = optimizer_options(kind="sgd", lr=0.1, weight_decay=0.01)
    optimizer = build_optimizer(method, options)
    weight = method.networks[0].head.weight
    before = weight.detach().clone()
    for parameter in method.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    torch.testing.assert_close(weight, before - 0.1 * (1 + 0.01 * before))
