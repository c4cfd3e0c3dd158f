"""All scores as one tidy frame, a row for each cell; and over its seeds, a row for each setting. Every number
of the report is read from these two.

A setting is what cells share that differ only in the seed. Of what a cell changes, the `regime` is its
training and optimiser (how well the networks fit their labels), the `rule` the rest (how a method mines).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from asm.report import names
from asm.report.cells import CONTROL, ONE_SCHEDULE, Cell, Grid, canonical, paper
from asm.report.layout import Estimate, estimate
from asm.scores.schema import NoiseKind, Scores

REGIME = ("training.", "optimizer.")
NONE = canonical({})
PRINTED = canonical({"thresholds.confidence": "max"})  # the rule that takes Eq. 3 as printed
AXES = ["dataset", "noise", "init", "schedule", "method", "regime", "rule"]
MEASURES = {"accuracy": "accuracy", "mean_class_accuracy": "mean class accuracy"}  # what decides, in words
# Columns "<measure>_over_<method>" in points; two networks' mean accuracy, each alone, is "nets".
DIFFERENCES = {
    f"{of}_over_{method}": (of, "accuracy" if of == "nets" else of, method)
    for of, methods in (*((m, ("baseline", CONTROL, "asm")) for m in MEASURES), ("nets", ("baseline",)))
    for method in methods
}
Row = dict[str, Any]
Place = tuple[str, str, str]  # data set, noise, weights


def measures(scores: Scores) -> dict[str, float | None]:
    """The scalars of one run: shares and accuracies in percent, correlations, AUROC and thresholds as they
    are, parameters in millions."""
    test, mined = scores.test, scores.mining
    nets = [net.last5 for net in test.networks] if len(test.networks) > 1 else [None, None]
    shares = {"accuracy": test.accuracy.last5, "mean_class_accuracy": test.mean_class_accuracy.headline}
    shares |= {"best": test.accuracy.best, "last": test.accuracy.last, "net1": nets[0], "net2": nets[1]}
    shares |= {"nets": None if nets[0] is None else sum(nets) / 2, "macro_f1": test.macro_f1}
    shares |= {"valid": test.valid_accuracy, "unambiguous": test.unambiguous_accuracy}
    shares |= {"fit_right": scores.fit.right, "fit_wrong": scores.fit.wrong}
    # how much of its labels a run has learned: of the wrong ones; where none is wrong, of all
    shares |= {"fit": scores.fit.wrong if scores.noise.wrong else scores.fit.right}
    shares |= {"wrong_labels": scores.noise.realised}
    plain: dict[str, float | None] = {"ece": test.ece, "forward_passes": scores.cost.forward_passes}
    plain["parameters"] = scores.cost.parameters / 1e6
    if mined is not None:
        for key in ("noisy_precision", "noisy_recall", "noisy_f1", "right_noisy"):
            shares[key] = getattr(mined, key)[-1]
        for name in names.SUBSETS:
            shares[f"share_{name}"] = (getattr(scores.curves, f"subset_{name}") or [None])[-1]
            shares[f"wrong_{name}"] = mined.wrong_share[name][-1]
        ambiguity = mined.ambiguity.model_dump() if mined.ambiguity else {}
        plain |= {f"ambiguity_{key}": value for key, value in ambiguity.items()}
        plain |= {"clean_start": mined.clean_threshold_start, "auroc_wrong": mined.auroc_wrong}
        plain |= {"vote_spearman": mined.vote_entropy_spearman}
    return {key: None if value is None else 100 * value for key, value in shares.items()} | plain


def _row(cell: Cell) -> Row:
    regime = {k: v for k, v in cell.changed.items() if k.startswith(REGIME)}
    rule = {k: v for k, v in cell.changed.items() if not k.startswith(REGIME)}
    row = cell.model_dump(include={"cell", "seed", *AXES})
    row |= {"regime": canonical(regime), "rule": canonical(rule)}
    return row | (measures(cell.scores) if cell.scores else {}) | {"seconds": cell.seconds}


def without_warmup(regime: str) -> str:
    """A regime but for the warm-up, which is nothing to the baseline."""
    return canonical({k: v for k, v in json.loads(regime).items() if k != "training.warmup_epochs"})


class Results:
    """`cells`: a row for each cell of the grid, in its order; `done`: scores of the evaluated ones, `blank`:
    the names of the others. `settings`: a row for each setting by its AXES, in the order of data sets, noises
    and methods; each measure is an Estimate or None, `scores` are those of its evaluated cells, `n` their
    number, `out_of_sample` the LabelQuality of the first trained by folds."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.done = [cell.scores for cell in grid.cells if cell.scores]
        self.blank = [cell.cell for cell in grid.cells if not cell.scores]
        self.cells = pd.DataFrame([_row(cell) for cell in grid.cells])
        self.cells = self.cells.reindex(columns=list(dict.fromkeys([*self.cells, *MEASURES, "nets"])))
        for name, compared in DIFFERENCES.items():
            self.cells[name] = self._above(*compared)
        self.measures = [c for c in self.cells if c not in ("cell", "seed", *AXES)]
        self.settings = self._settings()

    def _above(self, of: str, measure: str, method: str) -> list[float | None]:
        """How far `of` is, in each cell, above the `measure` of this method, as it is by default, at the same
        place, regime and seed; the baseline of a longer warm-up is the one without."""
        known = self.cells[(self.cells["method"] == method) & (self.cells["rule"] == NONE)]
        axes = ["dataset", "noise", "init", "seed", "schedule", "regime"]
        theirs = dict(zip(known[axes].itertuples(index=False, name=None), known[measure], strict=True))
        found = []
        for row in self.cells.to_dict("records"):
            schedules = [row["schedule"], *(("fair", "published") if method in ONE_SCHEDULE else ())]
            regimes = [row["regime"], *([without_warmup(row["regime"])] if method == "baseline" else [])]
            keys = [(*(row[a] for a in axes[:4]), s, regime) for s in schedules for regime in regimes]
            against = next((theirs[key] for key in keys if key in theirs), None)
            itself = (row["method"], row["rule"]) == (method, NONE)
            missing = itself or against is None or pd.isna(against) or pd.isna(row[of])
            found.append(None if missing else row[of] - against)
        return found

    def _settings(self) -> dict[tuple, Row]:
        grid, rows = self.grid, []
        by_name = {cell.cell: cell for cell in grid.cells}
        for key, cells in self.cells.groupby(AXES, sort=False):
            members = [by_name[name] for name in cells["cell"]]
            done = [cell.scores for cell in members if cell.scores is not None]
            row = dict(zip(AXES, key, strict=True))
            row |= {"n": len(done), "scores": done, "cells": list(cells["cell"])}
            row["out_of_sample"] = next((c.out_of_sample for c in members if c.out_of_sample), None)
            row |= {m: estimate(cells[m].astype(float), m in DIFFERENCES) for m in self.measures}
            row["seconds"] = row["seconds"] and float(cells["seconds"].astype(float).median())
            rows.append(row)
        methods = names.in_order(cell.method for cell in grid.cells)
        orders = {"dataset": list(grid.datasets), "noise": grid.ordered_noises, "method": methods}
        rows.sort(key=lambda row: [order.index(row[axis]) for axis, order in orders.items()])
        return {tuple(row[axis] for axis in AXES): row for row in rows}

    def get(
        self, dataset: str, noise: str | None, method: str, init: str, rule: str = NONE, schedule: str = ""
    ) -> Row | None:
        """The row of `settings` that changes no regime, None when the grid has none; without a schedule the
        one in the common schedule, else the one in the own paper's."""
        options = [schedule] if schedule else self.grid.schedules
        keys = [(dataset, noise, init, of, method, NONE, rule) for of in options]
        return next((self.settings[key] for key in keys if key in self.settings), None)

    def rows(self, keep: Callable[[Row], bool] = lambda row: True) -> list[Row]:
        """The settings that were evaluated, in order, and that `keep` accepts."""
        return [row for row in self.settings.values() if row["n"] and keep(row)]

    def default_rows(self, **axes: str) -> list[Row]:
        """Of these, the methods as they are by default, at these values of the axes."""
        wanted = {"rule": NONE, "regime": NONE} | axes
        return self.rows(lambda row: all(row[axis] == value for axis, value in wanted.items()))

    @property
    def regimes(self) -> list[str]:
        """The regimes of the cells, in the grid's order; none, if no cell changes any."""
        found = list(dict.fromkeys(self.cells["regime"]))
        return found if set(found) != {NONE} else []

    @property
    def has_printed(self) -> bool:
        """Whether Eq. 3 as printed is run at several noises: then it has rows among the methods."""
        printed = self.cells[(self.cells["rule"] == PRINTED) & (self.cells["regime"] == NONE)]
        return len(printed[["dataset", "noise"]].drop_duplicates()) > 1

    @property
    def focuses(self) -> list["Focus"]:
        """One for each data set that has evaluated ASM cells as they are by default."""
        found = [_focus(self, dataset) for dataset in self.grid.datasets]
        return [focus for focus in found if focus]


@dataclass(frozen=True)
class Focus:
    """The setting that the figures of a data set show: the highest symmetric noise with both ASM and a
    baseline; failing that, ASM alone; failing that, another kind of noise, and last none."""

    dataset: str
    noise: str
    init: str
    asm: Row
    baseline: Row | None


def _focus(results: Results, dataset: str) -> Focus | None:
    grid, options = results.grid, []
    for row in results.default_rows(dataset=dataset, method="asm"):
        base = results.get(dataset, row["noise"], "baseline", row["init"])
        base = base if base and base["n"] else None
        kind = grid.noises[row["noise"]]
        noisiest = -1 if kind.kind != "symmetric" else kind.rate or -2
        rank = (base is not None, noisiest, -grid.used_inits.index(row["init"]), row["schedule"] == "fair")
        options.append((rank, Focus(dataset, row["noise"], row["init"], row, base)))
    return max(options, key=lambda option: option[0])[1] if options else None


def difference(results: Results, one: Row, other: Row, measure: str = "accuracy") -> Estimate | None:
    """How far one setting is above another, in points, over the seeds that both have; None without any."""
    cells = results.cells.set_index("cell")
    ours, theirs = (cells.loc[row["cells"]].set_index("seed")[measure].astype(float) for row in (one, other))
    return estimate(ours - theirs, signed=True)


def published(method: str, column: str | None, noise: NoiseKind) -> float | None:
    """The paper's accuracy at this noise: Table 1, and Table 3 where no label noise was added. None where it
    has none, as at any noise that is not symmetric."""
    if noise.kind != "symmetric":
        return None
    if noise.rate == 0:
        return paper()["table3"].get(method, {}).get(column)
    return paper()["table1"].get(method, {}).get(noise.rate, {}).get(column)


def published_lead(column: str | None, noise: NoiseKind) -> float | None:
    """The paper's ASM less its baseline at this noise, in points."""
    asm, baseline = (published(method, column, noise) for method in ("asm", "baseline"))
    return None if asm is None or baseline is None else asm - baseline


def shown(measure: Estimate | None, digits: int = 1) -> str | None:
    """An estimate's mean alone."""
    return None if measure is None else f"{round(measure.mean, digits) + 0.0:.{digits}f}"
