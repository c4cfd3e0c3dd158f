"""Tables 1 and 3 with our numbers beside the published ones; every table as Markdown, CSV and LaTeX."""

import math
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from asm.report import comparison, label_quality, regimes, text
from asm.report.ablations import table2, table_s1
from asm.report.cells import PRINTED, Grid, paper
from asm.report.layout import Table, frame_of
from asm.report.mining import table_fit, table_mining
from asm.report.real_noise import table_real
from asm.report.related import per_cell_cost, table1_networks, table_related

PAPER_TABLES = ("table1", "table2", "table3", "table_s1")
AFFECTNET_NOTE = " It does not say whether its AffectNet column has 7 or 8 classes, 8 is our reading."


def _run_on(grid: Grid, noises: Iterable[str]) -> list[str]:
    """The data sets with a default cell at one of these noises; all, if none has one."""
    found = {g.dataset for g in grid.groups() if g.noise in set(noises) and not g.changed}
    return [d for d in grid.datasets if d in found] or list(grid.datasets)


def _rows(grid: Grid, datasets: list[str], noise: str | None, method: str, row: dict) -> list[dict]:
    """`row` with our accuracies, once per initial weights and schedule that the grid has for this noise and
    method, ASM also by Eq. 3 as printed where the grid has that throughout; else once, blank."""
    found = []
    readings = [{}, PRINTED] if method == "asm" and grid.has_printed else [{}]
    for changed in readings:
        for init in grid.used_inits:
            for schedule in grid.schedules:
                groups = {d: grid.group(d, noise, method, init, schedule, changed) for d in datasets}
                if any(groups.values()):
                    ours = {f"ours: {d}": g and g.accuracy() for d, g in groups.items()}
                    ours |= {f"ours: {d}, {text.BEST}": g and g.best() for d, g in groups.items()}
                    named = {"Method": text.reading_name(grid, method, changed)} if changed else {}
                    theirs = {} if changed else row  # the paper's figures stand beside the default
                    lead = {k: v for k, v in row.items() if not k.startswith("paper: ")}
                    found.append(lead | theirs | named | text.setting(grid, init, schedule) | ours)
    return found or [row]


def _paper_columns(grid: Grid, datasets: list[str], columns: Iterable[str]) -> list[str]:
    """Of the paper's columns those of the table's data sets; all, if one of these has none."""
    ours = {text.paper_column(grid.datasets[d]) for d in datasets}
    return [c for c in columns if None in ours or c in ours]


def _framed(rows: list[dict], lead: list[str], datasets: list[str]) -> pd.DataFrame:
    """The rows with our columns, blank ones too, before the paper's."""
    several = [name for name in ("Weights", "Schedule") if any(name in row for row in rows)]
    ours = [f"ours: {d}" for d in datasets]
    published = [c for c in text.PAPER_COLUMNS.values() if any(c in row for row in rows)]
    return frame_of(rows, [*lead, *several, *ours, *(f"{c}, {text.BEST}" for c in ours), *published])


def table1(grid: Grid) -> Table:
    """Methods against noise rates: ours per data set, the paper's columns beside."""
    published = paper()["table1"]
    noisy = [n for n, noise in grid.noises.items() if noise.rate != 0 and noise.kind != "original"]
    datasets = _run_on(grid, noisy)
    columns = _paper_columns(grid, datasets, ("rafdb", "ferplus", "affectnet8"))
    levels: dict[tuple[float | None, str], str | None] = {}  # (symmetric rate, label) -> the grid's noise
    for key in grid.ordered_noises:
        noise = grid.noises[key]
        if noise.kind != "original":  # those have a table of their own
            levels[noise.rate if noise.kind == "symmetric" else None, text.noise_name(noise)] = key
    levels = {(rate, text.percent(rate)): None for rate in text.paper_rates()} | levels
    rows = []
    for (rate, label), key in sorted(
        levels.items(), key=lambda level: math.inf if level[0][0] is None else level[0][0]
    ):
        used = [c.method for c in grid.cells if c.noise == key and c.dataset in datasets and not c.changed]
        if rate in text.paper_rates():
            used += text.paper_methods()
        for method in text.in_order(text.in_order(used), first=text.paper_methods()):
            theirs = published.get(method, {}).get(rate, {})
            row = {"Noise": label, "Method": grid.title(method)}
            row |= {text.PAPER_COLUMNS[d]: theirs.get(d) for d in columns}
            rows += _rows(grid, datasets, key, method, row)
    notes = [
        *comparison.order(grid, "table1"),
        *text.control(grid),
        text.schedule(grid),
        *text.realised(grid, levels.values()),
        "Columns headed “paper” are the paper's published figures (mean of the last 5 epochs)."
        + AFFECTNET_NOTE * ("affectnet8" in columns),
    ]
    frame = _framed(rows, ["Noise", "Method"], datasets)
    return Table("table1", "Table 1. Accuracy under label noise.", frame, notes)


def table3(grid: Grid) -> Table:
    """Methods without added noise: ours per data set, the paper's columns beside."""
    published = paper()["table3"]
    noise = next((k for k in grid.ordered_noises if grid.noises[k].rate == 0), None)
    datasets = _run_on(grid, [noise])
    columns = _paper_columns(grid, datasets, text.PAPER_COLUMNS)
    run = [c.method for c in grid.cells if c.noise == noise and not c.changed]
    rows = []
    for method in text.in_order(["baseline", *published, *text.in_order(run)]):
        theirs = published.get(method, {})
        row = {"Method": grid.title(method) + ("†" if "note" in theirs else "")}
        row |= {text.PAPER_COLUMNS[d]: theirs.get(d) for d in columns}
        rows += _rows(grid, datasets, noise, method, row)
    marks = [f"† {v['note']} (paper)." for v in published.values() if "note" in v]
    notes = [
        *comparison.order(grid, "table3"),
        text.schedule(grid),
        "Columns headed “paper” are the paper's published figures.",
        *marks,
    ]
    if noise is None:
        notes.insert(0, "This profile has no cell without added label noise.")
    frame = _framed(rows, ["Method"], datasets)
    return Table("table3", "Table 3. Accuracy without added label noise.", frame, notes)


def per_class(grid: Grid) -> pd.DataFrame:
    """Recall, precision and F1 (fractions, mean over seeds) per setting and class."""
    rows = []
    for group in grid.groups():
        scores = [s.model_dump() for d in group.done for s in d.test.per_class]
        if scores:
            lead = {k: getattr(group, k) for k in ("dataset", "noise", "method", "init", "schedule")}
            lead["changed"] = text.changed_name(group.changed)
            mean = pd.DataFrame(scores).groupby("name", sort=False).mean().reset_index(names="class")
            rows += [lead | row | {"seeds": len(group.done)} for row in mean.round(4).to_dict("records")]
    columns = ["dataset", "noise", "method", "init", "schedule", "changed"]
    columns += ["class", "recall", "precision", "f1", "support", "seeds"]
    return pd.DataFrame(rows, columns=columns)


def per_cell(grid: Grid) -> pd.DataFrame:
    """Every scalar of every cell (fractions); a cell that was not evaluated has blanks."""
    rows = []
    for cell in grid.cells:
        row = cell.model_dump(exclude={"scores", "changed", "seconds"})
        row["changed"] = text.changed_name(cell.changed)
        if cell.scores is not None:
            on_test = cell.scores.test
            names = ("balanced_accuracy", "macro_f1", "ece", "unambiguous_accuracy")
            row |= on_test.accuracy.model_dump() | {k: getattr(on_test, k) for k in names}
            row["valid_last5"] = on_test.valid_accuracy
            row |= {f"fit_{name}": share for name, share in cell.scores.fit}
            row["realised_noise"] = cell.scores.noise.realised
        rows.append(row)
    return pd.DataFrame(rows)


def build_all(grid: Grid) -> list[Table]:
    """All tables that have Markdown and LaTeX forms, in the order of the page; of the empty ones only the
    paper's."""
    builders = (
        *(table1, table_real, table1_networks, table2, table3, table_related, table_s1),
        *(regimes.table_regimes, table_fit, table_mining),
        *(label_quality.table_subsets, label_quality.table_ambiguous),
        *(label_quality.table_wrong, label_quality.table_wrong_sets),
    )
    built = [builder(grid) for builder in builders]
    return [table for table in built if len(table.frame) or table.name in PAPER_TABLES]


def write(grid: Grid, out: Path) -> list[Table]:
    """Writes every table as .md, .csv and .tex, and per_class.csv, cells.csv and cost.csv, into `out`;
    returns the tables. Only table_related and cost.csv hold timings, which differ from run to run."""
    settings = text.settings(grid)
    out.mkdir(parents=True, exist_ok=True)
    frames = {"per_class": per_class(grid), "cells": per_cell(grid), "cost": per_cell_cost(grid)}
    files, built = {}, build_all(grid)
    for table in built:
        files[f"{table.name}.md"] = table.markdown(settings)
        files[f"{table.name}.tex"] = table.latex(settings)
        frames[table.name] = table.numbers()
    files |= {f"{k}.csv": frame.to_csv(index=False, lineterminator="\n") for k, frame in frames.items()}
    for name, content in files.items():
        (out / name).write_text(content, encoding="utf-8", newline="\n")
    return built
