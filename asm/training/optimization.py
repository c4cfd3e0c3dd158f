"""The optimiser of a cell and its learning rate by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from asm.methods.base import Method

if TYPE_CHECKING:
    from asm.methods.config import Optimizer


def build_optimizer(method: Method, options: Optimizer) -> torch.optim.Optimizer:
    """Adam or SGD over all parameters; classifiers (modules named `head`) have their own rate, `head_lr`."""
    heads, others = [], []
    for name, parameter in method.named_parameters():
        (heads if "head" in name.split(".") else others).append(parameter)
    groups = [{"params": others, "initial_lr": options.lr}]
    if heads:
        groups.append({"params": heads, "initial_lr": options.head_lr or options.lr})
    common = {"lr": options.lr, "weight_decay": options.weight_decay}
    if options.kind == "sgd":  # the fused one fails where parameters get their first gradient after others
        return torch.optim.SGD(groups, momentum=options.momentum, **common)
    return torch.optim.Adam(groups, betas=(options.momentum, 0.999), fused=True, **common)


def set_rates(optimizer: torch.optim.Optimizer, options: Optimizer, epoch: int, epochs: int) -> float:
    """Set every group's rate (and late momentum) for `epoch`, counted from 1; returns the backbones' rate."""
    groups = optimizer.param_groups
    if options.schedule == "table":
        _, *rates = next((row for row in options.lr_table if epoch <= row[0]), options.lr_table[-1])
    else:
        factor = rate_factor(options, epoch, epochs)
        rates = [group["initial_lr"] * factor for group in groups]
    for group, rate in zip(groups, rates, strict=False):  # no second group where there is no classifier
        group["lr"] = rate
        if options.late_momentum is not None and epoch > _poly_start(options):
            if options.kind == "sgd":
                group["momentum"] = options.late_momentum
            else:
                group["betas"] = (options.late_momentum, 0.999)
    return groups[0]["lr"]


def _poly_start(options: Optimizer) -> int:
    return options.lr_steps[0] if options.lr_steps else 0


def rate_factor(options: Optimizer, epoch: int, epochs: int) -> float:
    """What the rate is multiplied by in `epoch` (from 1) of `epochs`."""
    done = epoch - 1
    if options.schedule == "exponential":
        return options.lr_decay**done
    if options.schedule == "steps":
        return options.lr_decay ** sum(done >= step for step in options.lr_steps)
    start = _poly_start(options)
    if done < start or start >= epochs:
        return 1.0
    return (1 - (done - start) / (epochs - start)) ** options.lr_decay
