"""How the things of the report are printed: methods, noises, rules, the paper's columns."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from asm.report.cells import PRINTED, DatasetInfo, Grid, canonical, paper
from asm.scores.schema import NoiseKind

SUBSETS = ("clean", "ambiguous", "noisy")
SCHEDULES = {"fair": "common", "published": "own paper's"}
PAPER_COLUMNS = {
    "rafdb": "RAF-DB",
    "ferplus": "FERPlus",
    "affectnet8": "AffectNet (8 classes)",
    "affectnet7": "AffectNet (7 classes)",
}
RELABEL = {True: "with relabelling", False: "without relabelling"}
RULES: dict[str, Callable[[Any], str]] = {  # how what a cell changes of a method is printed, in this order
    "thresholds.confidence": lambda v: "Eq. 3 as printed" if v == "max" else f"Eq. 3 by the {v}",
    "thresholds.noisy": lambda v: "T_n per other class" if v == "per_class" else "T_n = 1 − T_c",
    "thresholds.max_noisy": lambda v: f"at most {percent(v)} noisy per class",
    "thresholds.mine_above": lambda v: f"mining from T_c {v:g}",
    "thresholds.mine_from_gap": lambda v: f"mining from a gap of {v:g}",
    "thresholds.complement_from_gap": lambda v: f"T_n per other class up to a gap of {v:g}",
    "thresholds.calibrated": lambda v: "calibrated" if v else "as predicted",
    "thresholds.held_out": lambda v: f"{percent(v)} held out",
    "losses.lambda_max": lambda v: f"λ_max {v:g}",
    "losses.ramp_from": lambda v: f"λ from the start of {v}",
    "losses.beta": lambda v: f"β {v:g}",
    "losses.omega": lambda v: f"ω {v:g}",
    "losses.gamma": lambda v: f"γ {v:g}",
    "losses.drop_noisy": lambda v: "noisy samples dropped" if v else "noisy samples kept",
    "scn.relabel": RELABEL.__getitem__,
    "rul.relabel": RELABEL.__getitem__,
}
REGIMES: dict[str, Callable[[Any], str]] = {
    "training.hidden": lambda v: f"{v} hidden units",
    "training.dropout": lambda v: f"dropout {v:g}",
    "training.epochs": lambda v: f"{v} epochs",
    "training.warmup_epochs": lambda v: f"warm-up {v}",
    "optimizer.weight_decay": lambda v: f"weight decay {v:g}",
    "optimizer.lr_decay": lambda v: f"rate × {v:g} an epoch",
}


def changed(content: str, known: dict[str, Callable[[Any], str]] = RULES) -> str:
    """A rule or a regime (`results.canonical`) in words: "T_n per other class, λ_max 0"."""
    values = json.loads(content)
    parts = [name(values[key]) for key, name in known.items() if key in values]
    for key, value in sorted(values.items()):
        if key not in known:
            listed = " + ".join(map(str, value)) if isinstance(value, list) else str(value).lower()
            parts.append(f"{key.rsplit('.', 1)[-1].replace('_', ' ')} {listed}")
    return ", ".join(parts)


def method(grid: Grid, row: dict[str, Any]) -> str:
    """A setting's method and, where it has one, its rule."""
    rule = changed(row["rule"])
    return grid.title(row["method"]) + (f", {rule}" if rule else "")


def in_order(methods: Iterable[str]) -> list[str]:
    """`methods` once each: those that the paper compares in its order, then the others as they come."""
    order, found = list(paper()["methods"]), dict.fromkeys(methods)
    return [m for m in order if m in found] + [m for m in found if m not in order]


def table1_methods() -> list[str]:
    """The methods of the paper's Table 1, in its order."""
    return [key for key in paper()["table1"] if key != "protocol"]


def paper_rates() -> list[float]:
    """The noise rates of the paper's Table 1."""
    return list(paper()["table1"]["asm"])


def paper_column(info: DatasetInfo) -> str | None:
    """The key of the paper's column for a data set, None where it has none."""
    key = f"affectnet{info.classes}" if info.source == "affectnet" else info.source
    return key if key in PAPER_COLUMNS else None


def lead(grid: Grid, row: dict[str, Any], method_too: bool = True) -> dict[str, str]:
    """The first columns of a table with one row per setting; data set, weights and schedule where there are
    several."""
    first = {"Data set": row["dataset"]} if len(grid.datasets) > 1 else {}
    first |= {"Noise": noise(grid.noises[row["noise"]])}
    if method_too:
        first["Method"] = method(grid, row)
    return first | setting(grid, row)


def setting(grid: Grid, row: dict[str, Any]) -> dict[str, str]:
    """The columns that tell initial weights and schedules apart, where the grid has several."""
    columns = {"Weights": row["init"]} if len(grid.used_inits) > 1 else {}
    return columns | ({"Schedule": SCHEDULES[row["schedule"]]} if len(grid.schedules) > 1 else {})


def place(grid: Grid, dataset: str, of: str, init: str) -> str:
    """Data set and noise (and weights, where there are several) in a sentence."""
    kind = grid.noises[of]
    label = noise(kind) + ("" if kind.kind == "original" else " noise")
    return ", ".join([dataset, label, *([init] if len(grid.used_inits) > 1 else [])])


def at(kind: NoiseKind) -> str:
    """At a noise, in a sentence: "at 30 % noise"."""
    if kind.kind == "original":
        return "on real labels"
    return "without label noise" if kind.rate == 0 else f"at {noise(kind)} noise"


def percent(rate: float) -> str:
    """A share as a percentage without needless digits: 0.3 -> "30 %"."""
    return f"{100 * rate:.4g} %"


def noise(kind: NoiseKind) -> str:
    """How a kind and rate of label noise is printed: "30 %", "asymmetric 20 %", "real labels"."""
    if kind.kind == "original":
        return "real labels"
    rate = "" if kind.rate is None else percent(kind.rate)
    return rate if kind.kind == "symmetric" and rate else f"{kind.kind} {rate}".strip()


def joined(values: Iterable[object]) -> str:
    """["A", "B", "C"] -> "A, B and C"."""
    *first, last = map(str, values)
    return " and ".join([", ".join(first), last] if first else [last])


def is_printed(row: dict[str, Any]) -> bool:
    """Whether a setting takes Eq. 3 as printed, and changes nothing else."""
    return row["rule"] == canonical(PRINTED)
