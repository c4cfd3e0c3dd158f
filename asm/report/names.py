"""How the things of the report are printed: methods, noises, and what a cell changes."""

import json
from collections.abc import Iterable
from typing import Any

from asm.report.cells import CONTROL, Grid, paper
from asm.report.layout import texts
from asm.scores.schema import NoiseKind

SUBSETS = ("clean", "ambiguous", "noisy")
SCHEDULES = {"fair": "common", "published": "own paper's"}


def say(kind: str, key: str, value: Any) -> str:
    """What a cell changes by one key, in words: "λ_max 0"; `kind` is rules or regimes."""
    words = texts()[kind].get(key, {})
    if isinstance(words, str):
        return words.format(value)
    if isinstance(value, list) or value not in words:
        listed = " + ".join(value) if isinstance(value, list) else str(value).lower()
        return f"{key.rsplit('.', 1)[-1].replace('_', ' ')} {listed}"
    return words[value]


def changed(content: str, kind: str = "rules") -> str:
    """A rule or a regime (`results.canonical`) in words: "λ_max 0, Eq. 3 as printed"."""
    values, order = json.loads(content), list(texts()[kind])
    keys = sorted(values, key=lambda key: (order.index(key) if key in order else len(order), key))
    return ", ".join(say(kind, key, values[key]) for key in keys)


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


def compared(grid: Grid) -> list[str]:
    """The methods of the grid that the pages put side by side where there is no room for all: the baseline,
    the control, Co-teaching as the strongest that is told the noise rate, ASM, and what is ours."""
    ours = [name for name, info in grid.methods.items() if info.ours]
    run = {cell.method for cell in grid.cells if cell.scores}
    return [m for m in ("baseline", CONTROL, "coteaching", "asm", *ours) if m in run]


def row_labels(grid: Grid, row: dict[str, Any], method_too: bool = True) -> dict[str, str]:
    """The first columns of a table with one row for each setting. Columns for the data set, the weights and
    the schedule are there only where the grid has several."""
    labels = {"Data set": row["dataset"]} if len(grid.datasets) > 1 else {}
    labels |= {"Noise": noise(grid.noises[row["noise"]])}
    return labels | (method_labels(grid, row) if method_too else variant_labels(grid, row))


def method_labels(grid: Grid, row: dict[str, Any]) -> dict[str, str]:
    """A setting's method with its rule, weights and schedule."""
    return {"Method": method(grid, row)} | variant_labels(grid, row)


def variant_labels(grid: Grid, row: dict[str, Any]) -> dict[str, str]:
    """The columns that tell initial weights and schedules apart, where the grid has several."""
    columns = {"Weights": row["init"]} if len(grid.used_inits) > 1 else {}
    return columns | ({"Schedule": SCHEDULES[row["schedule"]]} if len(grid.schedules) > 1 else {})


def place(grid: Grid, dataset: str, of: str, init: str) -> str:
    """Data set and noise (and weights, where there are several) in a sentence."""
    kind = grid.noises[of]
    label = noise(kind) + ("" if kind.kind == "original" else " noise")
    return ", ".join([dataset, label, *([init] if len(grid.used_inits) > 1 else [])])


def at(kind: NoiseKind) -> str:
    """A noise in a sentence: "at 30 % noise"."""
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
