"""Optimiser groups and the four schedules, against rates worked out by hand."""

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


def test_a_table_names_both_rates_by_epoch():
    rows = [[2, 0.1, 1.0], [4, 0.2, 0.5]]
    options = optimizer_options(schedule="table", lr_table=rows)
    optimizer = build_optimizer(make_method("baseline"), options)
    found = [(set_rates(optimizer, options, e, 6), optimizer.param_groups[1]["lr"]) for e in (1, 2, 3, 4, 6)]
    assert found == [(0.1, 1.0)] * 2 + [(0.2, 0.5)] * 3
    for wrong in ({"schedule": "table"}, {"lr_table": rows}):
        with pytest.raises(ValueError, match="`lr_table` has rows where `schedule` is table"):
            optimizer_options(**wrong)


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
def test_momentum_changes_in_the_epoch_from_which_the_rate_falls(kind, expected):
    options = optimizer_options(
        kind=kind, momentum=0.8, late_momentum=0.1, schedule="poly", lr_decay=1.0, lr_steps=[1]
    )
    optimizer = build_optimizer(make_method("baseline"), options)
    assert isinstance(optimizer, expected)

    def momentum(epoch: int) -> float:
        set_rates(optimizer, options, epoch, 4)
        group = optimizer.param_groups[0]
        return group["momentum"] if kind == "sgd" else group["betas"][0]

    assert [momentum(e) for e in (1, 2, 3)] == [0.8, 0.1, 0.1]


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


@pytest.mark.parametrize("name", ["coteaching", "jocor"])
def test_co_teachings_own_schedule_is_the_released_plan(name):
    """Plans of 200 entries, the first never trained: from the 80th on (200 - i) / 120, and beta1 is 0.1."""
    own = PARAMS.published[name]
    options, epochs = optimizer_options(**own["optimizer"]), own["training"]["epochs"]
    optimizer = build_optimizer(make_method("baseline"), options)
    for i in (1, 79, 80, 81, 140, 199):
        assert set_rates(optimizer, options, i, epochs) == pytest.approx(0.001 * min(1, (200 - i) / 120))
        assert optimizer.param_groups[0]["betas"][0] == (0.1 if i >= 80 else 0.9)
