"""All scores as one tidy frame, a row a cell; and over its seeds, a row a setting. Every number of the
report, in a table, a figure or a sentence, is read from these two.

A setting is what cells share that differ only in the seed. Of what a cell changes, the `regime` is its
training and optimiser (how well the networks fit their labels), the `rule` the rest (how a method mines).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from asm.report import names
from asm.report.cells import CONTROL, ONE_SCHEDULE, PRINTED, Cell, Grid, canonical, load_grid, paper
from asm.report.estimates import Estimate, estimate
from asm.scores.schema import Scores

REGIME = ("training.", "optimizer.")
WARMUP = "training.warmup_epochs"
NONE = canonical({})
AXES = ["dataset", "noise", "init", "schedule", "method", "regime", "rule"]
# measure of a cell -> what its accuracy (or its networks') is compared with: method, its rule, same regime
DIFFERENCES = {
    "lead": ("accuracy", "baseline"),
    "nets_lead": ("nets", "baseline"),
    "over_control": ("accuracy", CONTROL),
    "over_asm": ("accuracy", "asm"),
}


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def measures(scores: Scores) -> dict[str, float | None]:
    """The scalars of one run: shares and accuracies in percent, correlations, AUROC and thresholds as they
    are, parameters in millions."""
    test, mined, curves = scores.test, scores.mining, scores.curves
    nets = [_percent(net.last5) for net in test.networks] if len(test.networks) > 1 else [None, None]
    found: dict[str, float | None] = {
        "accuracy": _percent(test.accuracy.last5),
        "best": _percent(test.accuracy.best),
        "last": _percent(test.accuracy.last),
        "net1": nets[0],
        "net2": nets[1],
        "nets": None if nets[0] is None else sum(nets) / 2,
        "balanced_accuracy": _percent(test.balanced_accuracy),
        "macro_f1": _percent(test.macro_f1),
        "ece": test.ece,
        "valid": _percent(test.valid_accuracy),
        "unambiguous": _percent(test.unambiguous_accuracy),
        "fit_right": _percent(scores.fit.right),
        "fit_wrong": _percent(scores.fit.wrong),
        "wrong_labels": _percent(scores.noise.realised),
        "forward_passes": scores.cost.forward_passes,
        "parameters": scores.cost.parameters / 1e6,
    }
    # how much of its labels a run has learned: of the wrong ones; where none is wrong, of all
    found["fit"] = found["fit_right"] if scores.noise.wrong == 0 else found["fit_wrong"]
    if mined is None:
        return found
    for key in ("noisy_precision", "noisy_recall", "noisy_f1", "right_noisy"):
        found[key] = _percent(getattr(mined, key)[-1])
    for name in names.SUBSETS:
        share = getattr(curves, f"subset_{name}")
        found[f"share_{name}"] = _percent(share[-1]) if share else None
        found[f"wrong_{name}"] = _percent(mined.wrong_share[name][-1])
    ambiguity = mined.ambiguity.model_dump() if mined.ambiguity else {}
    found |= {f"ambiguity_{key}": value for key, value in ambiguity.items()}
    return found | {
        "clean_start": mined.clean_threshold_start,
        "auroc_wrong": mined.auroc_wrong,
        "vote_spearman": mined.vote_entropy_spearman,
    }


def _row(cell: Cell) -> dict[str, Any]:
    regime = {k: v for k, v in cell.changed.items() if k.startswith(REGIME)}
    rule = {k: v for k, v in cell.changed.items() if not k.startswith(REGIME)}
    row = cell.model_dump(include={"cell", "seed", *AXES})
    row |= {"regime": canonical(regime), "rule": canonical(rule)}
    return row | (measures(cell.scores) if cell.scores else {}) | {"seconds": cell.seconds}


def without_warmup(regime: str) -> str:
    """A regime but for the warm-up, which is nothing to the baseline."""
    return canonical({k: v for k, v in json.loads(regime).items() if k != WARMUP})


class Results:
    """`cells`: a row a cell of the grid, in its order. `settings`: a row a setting by its AXES, in the order
    of data sets, noises and methods; each measure an Estimate or None, `scores` those of its evaluated cells,
    `n` how many, `out_of_sample` the LabelQuality of the first that was trained by folds."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.cells = pd.DataFrame([_row(cell) for cell in grid.cells])
        for name in ("accuracy", "nets"):
            if name not in self.cells:
                self.cells[name] = None
        for name, (of, method) in DIFFERENCES.items():
            self.cells[name] = self._less(of, method)
        self.measures = [c for c in self.cells if c not in ("cell", "seed", *AXES)]
        self.settings = self._settings()

    def _less(self, of: str, method: str) -> list[float | None]:
        """`of` each cell less the accuracy of this method's, as it is by default, at the same place, regime
        and seed; the baseline's of a longer warm-up is the one without."""
        axes = ["dataset", "noise", "init", "schedule", "regime", "seed"]
        known = self.cells[(self.cells["method"] == method) & (self.cells["rule"] == NONE)]
        accuracy = {tuple(row[axes]): row["accuracy"] for _, row in known.iterrows()}
        other = {"fair": "published", "published": "fair"}
        found = []
        for row in self.cells.to_dict("records"):
            schedules = [row["schedule"], *([other[row["schedule"]]] if method in ONE_SCHEDULE else [])]
            keys = [
                (row["dataset"], row["noise"], row["init"], schedule, regime, row["seed"])
                for schedule in schedules
                for regime in dict.fromkeys([row["regime"], *([without_warmup(row["regime"])]
                                                             if method == "baseline" else [])])
            ]  # fmt: skip
            against = next((accuracy[key] for key in keys if key in accuracy), None)
            itself = (row["method"], row["rule"]) == (method, NONE)
            missing = against is None or pd.isna(against) or pd.isna(row[of])
            found.append(None if itself or missing else row[of] - against)
        return found

    def _settings(self) -> dict[tuple, dict[str, Any]]:
        grid, rows = self.grid, []
        scores = {cell.cell: cell.scores for cell in grid.cells}
        by_folds = {cell.cell: cell.out_of_sample for cell in grid.cells}
        for key, cells in self.cells.groupby(AXES, sort=False):
            row = dict(zip(AXES, key, strict=True))
            done = [scores[name] for name in cells["cell"] if scores[name] is not None]
            row |= {"n": len(done), "scores": done, "cells": list(cells["cell"])}
            row["out_of_sample"] = next((q for name in row["cells"] if (q := by_folds[name])), None)
            row |= {m: estimate(cells[m].astype(float), m in DIFFERENCES) for m in self.measures}
            row["seconds"] = row["seconds"] and float(cells["seconds"].astype(float).median())
            rows.append(row)
        orders = {
            "dataset": list(grid.datasets),
            "noise": grid.ordered_noises,
            "method": names.in_order(cell.method for cell in grid.cells),
        }
        rows.sort(key=lambda row: [order.index(row[axis]) for axis, order in orders.items()])
        return {tuple(row[axis] for axis in AXES): row for row in rows}

    def get(
        self, dataset: str, noise: str | None, method: str, init: str, rule: str = NONE, regime: str = NONE,
        schedule: str | None = None,
    ) -> dict[str, Any] | None:  # fmt: skip
        """The row of `settings`, None when the grid has none; without a schedule the one in the common
        schedule, else the one in the own paper's."""
        for option in [schedule] if schedule else self.grid.schedules:
            if (row := self.settings.get((dataset, noise, init, option, method, regime, rule))) is not None:
                return row
        return None

    def rows(self, keep: Callable[[dict[str, Any]], bool] = lambda row: True) -> list[dict[str, Any]]:
        """The settings that were evaluated, in order, and that `keep` accepts."""
        return [row for row in self.settings.values() if row["n"] and keep(row)]

    @property
    def done(self) -> list[Scores]:
        """Scores of all evaluated cells."""
        return [cell.scores for cell in self.grid.cells if cell.scores is not None]

    @property
    def regimes(self) -> list[str]:
        """The regimes of the cells, in the grid's order; none, if no cell changes any."""
        found = list(dict.fromkeys(self.cells["regime"]))
        return found if set(found) != {NONE} else []

    @property
    def has_printed(self) -> bool:
        """Whether Eq. 3 as printed is run at several noises: then it has rows among the methods."""
        printed = self.cells[(self.cells["rule"] == canonical(PRINTED)) & (self.cells["regime"] == NONE)]
        return len(printed[["dataset", "noise"]].drop_duplicates()) > 1

    @property
    def focuses(self) -> list["Focus"]:
        """One per data set that has evaluated ASM cells as they are by default: what its figures show."""
        found = [_focus(self, dataset) for dataset in self.grid.datasets]
        return [focus for focus in found if focus]


@dataclass(frozen=True)
class Focus:
    """The highest symmetric noise of a data set with both ASM and the baseline; without a baseline, with ASM;
    other kinds of noise only where there is no symmetric one, no noise where there is nothing else."""

    dataset: str
    noise: str
    init: str
    asm: dict[str, Any]
    baseline: dict[str, Any] | None


def _focus(results: Results, dataset: str) -> Focus | None:
    options = []
    for position, noise in enumerate(results.grid.ordered_noises):
        for place, init in enumerate(results.grid.inits):
            asm, base = (results.get(dataset, noise, method, init) for method in ("asm", "baseline"))
            if asm is not None and asm["n"]:
                base = base if base is not None and base["n"] else None
                kind = results.grid.noises[noise]
                noisiest = -1 if kind.kind != "symmetric" else position if kind.rate else -2
                rank = (base is not None, noisiest, -place)
                options.append((rank, Focus(dataset, noise, init, asm, base)))
    return max(options, key=lambda option: option[0])[1] if options else None


def difference(results: Results, one: dict[str, Any], other: dict[str, Any]) -> Estimate | None:
    """How far one setting is above another, in points, over the seeds that both have; None without any."""
    cells = results.cells.set_index("cell")
    ours, theirs = (
        cells.loc[row["cells"]].set_index("seed")["accuracy"].astype(float) for row in (one, other)
    )
    return estimate(ours - theirs, signed=True)


def load(grid: Path, scores: Path, timing: Path) -> Results:
    """The results below these paths (`cells.load_grid`)."""
    return Results(load_grid(grid, scores, timing))


def paper_value(table: str, method: str, column: str | None, rate: float | None) -> float | None:
    """The paper's accuracy in Table 1 (at this noise rate) or Table 3, None where it has none."""
    row = paper()[table].get(method, {})
    return (row.get(rate, {}) if table == "table1" else row).get(column)


def shown(measure: Estimate | None, digits: int = 1) -> str | None:
    """An estimate's mean alone."""
    return None if measure is None else f"{round(measure.mean, digits) + 0.0:.{digits}f}"
