"""The tables of details.md: every setting with its seeds, the order of the methods, cost, fit, mining."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from asm.report import names
from asm.report.layout import Table, frame_of
from asm.report.results import MEASURES, NONE, PRINTED, Results, Row, difference, shown

Columns = dict[str, Callable[[Row], Any]]


def _mean(key: str, digits: int = 1) -> Callable[[Row], str | None]:
    return lambda row: shown(row.get(key), digits)


def _table(results: Results, name: str, keep: Callable[[Row], bool], columns: Columns) -> Table:
    """A row for each setting that `keep` accepts."""
    rows = results.rows(lambda row: row["regime"] == NONE and keep(row))
    values = [{title: value(row) for title, value in columns.items()} for row in rows]
    labels = [names.row_labels(results.grid, row) for row in rows]
    return Table(name, frame_of([first | rest for first, rest in zip(labels, values, strict=True)]))


def table_accuracy(results: Results) -> Table:
    """Every method at every noise, with its seeds, each network alone, and the best epoch."""
    columns: Columns = {"seeds": lambda row: row["n"]}
    for measure, words in MEASURES.items():
        columns |= {words: lambda row, m=measure: row[m]}
        columns |= {f"{words} − baseline": lambda row, m=measure: row[f"{m}_over_baseline"]}
    columns |= {"best epoch": lambda row: row["best"], "net 1": _mean("net1", 2), "net 2": _mean("net2", 2)}
    columns |= {"a net − baseline": lambda row: row["nets_over_baseline"]}
    return _table(results, "table_accuracy", lambda row: row["rule"] in (NONE, PRINTED), columns)


def table_changes(results: Results) -> Table:
    """What each change of a method is worth against the method as it is by default."""

    def over(row: Row, measure: str) -> Any:
        place = (row[axis] for axis in ("dataset", "noise", "method", "init"))
        usual = results.get(*place, schedule=row["schedule"])
        return difference(results, row, usual, measure) if usual and usual["n"] else None

    columns: Columns = {"seeds": lambda row: row["n"]}
    for measure, words in MEASURES.items():
        columns |= {words: lambda row, m=measure: row[m]}
        columns |= {f"{words} − unchanged": lambda row, m=measure: over(row, m)}
    return _table(results, "table_changes", lambda row: row["rule"] != NONE, columns)


def table_mining(results: Results) -> Table:
    """What each setting has learned of its right and wrong labels, which right ones the mining leaves out,
    and what the subsets of the last epoch hold."""
    columns = {"fit of right labels %": _mean("fit_right"), "fit of wrong labels %": _mean("fit_wrong")}
    columns |= {
        "T_c when mining starts": _mean("clean_start", 2),
        "right labels called noisy %": _mean("right_noisy"),
    }
    columns |= {"most of": most_affected}
    columns |= {f"noisy: {name} %": _mean(f"noisy_{name.lower()}") for name in ("precision", "recall", "F1")}
    columns |= {f"{name}: samples %": _mean(f"share_{name}") for name in names.SUBSETS}
    columns |= {f"{name}: wrong %": _mean(f"wrong_{name}") for name in names.SUBSETS}
    columns |= {
        "AUROC of wrong labels": _mean("auroc_wrong", 3),
        "vote entropy: ρ": _mean("vote_spearman", 3),
    }
    columns |= {f"ambiguous: {k}": _mean(f"ambiguity_{k}", 3) for k in ("precision", "recall", "auroc")}
    return _table(results, "table_mining", lambda row: True, columns)


def most_affected(row: Row) -> str | None:
    """The class of which most right labels are called noisy, and how many, mean over seeds."""
    shares = [s.mining.right_noisy_by_class for s in row["scores"] if s.mining]
    by_class = pd.DataFrame(shares, dtype=float).mean().dropna()
    return f"{by_class.idxmax()} ({100 * by_class.max():.1f} %)" if len(by_class) else None


def table_cost(results: Results) -> Table:
    """What training a method costs, at the highest symmetric noise that it was timed with."""
    grid, rows, found = results.grid, [], {}
    run = {(r["dataset"], r["method"]) for r in results.default_rows()}
    dataset = max(grid.datasets, key=lambda d: sum(of == d for of, _ in run))
    for row in results.default_rows(dataset=dataset):  # the noises in their order: the highest is left
        key = (row["method"], row["init"], row["schedule"])
        timed = row["seconds"] or not (key in found and found[key]["seconds"])
        if grid.noises[row["noise"]].kind == "symmetric" and timed:
            found[key] = row
    for row in found.values():
        base = results.get(dataset, row["noise"], "baseline", row["init"])
        usual, seconds = base and base["seconds"], row["seconds"]
        line: Row = {"Method": grid.title(row["method"])} | names.variant_labels(grid, row)
        line |= {"networks": 1 if row["net1"] is None else 2, "seconds per epoch": seconds}
        line |= {"× baseline": seconds / usual if seconds and usual else None}
        line |= {"forward passes per sample": shown(row["forward_passes"], 2)}
        rows.append(line | {"parameters, millions": shown(row["parameters"], 2)})
    return Table("table_cost", frame_of(rows), f"Measured on {dataset}.")


def per_class(results: Results) -> pd.DataFrame:
    """Recall, precision and F1 (fractions, mean over seeds) of each setting and class."""
    frames = []
    for row in results.rows():
        scores = pd.DataFrame([c.model_dump() for s in row["scores"] for c in s.test.per_class])
        mean = scores.groupby("name", sort=False).mean().round(4).reset_index(names="class")
        axes = {k: row[k] for k in ("dataset", "noise", "method", "init", "schedule")}
        words = (names.changed(row["regime"], "regimes"), names.changed(row["rule"]))
        frames.append(mean.assign(**axes, changed=", ".join(filter(None, words)), seeds=row["n"]))
    return pd.concat(frames) if frames else pd.DataFrame()


def per_cell(results: Results) -> pd.DataFrame:
    """The tidy frame of all cells (shares in percent), what was not measured blank."""
    frame = results.cells.copy()
    numeric = frame[results.measures].astype(float).round(4)
    return pd.concat([frame.drop(columns=results.measures), numeric], axis=1)


def curves(results: Results) -> dict[str, pd.DataFrame]:
    """Test accuracy in percent by epoch of every cell, for each data set and noise, for `dvc plots`."""
    found: dict[str, list[pd.DataFrame]] = {}
    for cell in results.grid.cells:
        if cell.scores:
            known = cell.scores.curves
            accuracy = pd.Series(known.accuracy, dtype=float).mul(100).round(3)
            frame = pd.DataFrame({"cell": cell.cell, "epoch": known.epoch, "accuracy": accuracy})
            found.setdefault(f"{cell.dataset}_{cell.noise}", []).append(frame)
    return {name: pd.concat(frames) for name, frames in found.items()}
