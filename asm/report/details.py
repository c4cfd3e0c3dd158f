"""The tables of details.md: every setting with its seeds, the order of the methods, cost, fit, mining."""

from itertools import combinations
from typing import Any

import pandas as pd
from scipy.stats import kendalltau

from asm.report import names
from asm.report.cells import ONE_SCHEDULE, paper
from asm.report.layout import Table, frame_of, without_blanks
from asm.report.results import NONE, Results, difference, paper_value, shown

BEST = "best epoch (selected on test)"


def table_accuracy(results: Results) -> Table:
    """Every method at every noise, with its seeds, each network alone, and the best epoch."""
    rows = []
    for row in results.rows(lambda r: r["regime"] == NONE and (r["rule"] == NONE or names.is_printed(r))):
        line = names.lead(results.grid, row) | {"seeds": row["n"], "accuracy": row["accuracy"]}
        line |= {BEST: row["best"], "net 1": shown(row["net1"], 2), "net 2": shown(row["net2"], 2)}
        line |= {"− baseline (points)": row["lead"], "a net − baseline (points)": row["nets_lead"]}
        rows.append(line)
    notes = [
        "Test accuracy, %, mean of the last epochs; ± half of the 95 % interval over seeds (Student t). "
        "“Best epoch” was chosen by looking at the test set, which flatters every method. Two networks "
        "predict by their mean probability; “a net”: the mean of both, each alone, which tells the method "
        "from ensembling.",
    ]
    return Table("table_accuracy", "Accuracy, with seeds", without_blanks(frame_of(rows)), notes)


def table_order(results: Results) -> Table:
    """Our order of the methods of the paper's Tables 1 and 3 beside the paper's: Kendall's tau."""
    grid, rows = results.grid, []
    for dataset in grid.datasets:
        for noise in grid.ordered_noises:
            for init in grid.used_inits:
                for schedule in grid.schedules:
                    rows += _ordered(results, dataset, noise, init, schedule)
    notes = [
        "Methods that both have, by mean accuracy. Data that a table of the paper lacks stand beside its "
        "RAF-DB column. Beyond chance: pairs in the paper's order whose difference over paired seeds has "
        "a 95 % interval without 0; each interval stands by itself.",
    ]
    return Table("table_order", "The order of the methods, and the paper's", frame_of(rows), notes)


def _ordered(results: Results, dataset: str, noise: str, init: str, schedule: str) -> list[dict[str, Any]]:
    grid, kind = results.grid, results.grid.noises[noise]
    if kind.kind != "symmetric":
        return []
    table = "table3" if kind.rate == 0 else "table1"
    column = names.paper_column(grid.datasets[dataset])
    compared = [m for m in names.in_order(paper()[table]) if m != "protocol"]
    if not any(paper_value(table, m, column, kind.rate) for m in compared):
        column = "rafdb"
    theirs, ours = {}, {}
    for method in compared:
        row = results.get(dataset, noise, method, init, schedule=schedule)
        if row is None and method in ONE_SCHEDULE:
            row = results.get(dataset, noise, method, init)
        printed = paper_value(table, method, column, kind.rate)
        if row is not None and row["n"] and printed is not None:
            theirs[method], ours[method] = printed, row
    if len(ours) < 3 or not any(r["schedule"] == schedule for r in ours.values()):
        return []
    means = {m: round(row["accuracy"].mean, 2) for m, row in ours.items()}
    pairs = list(combinations(sorted(theirs, key=theirs.get, reverse=True), 2))
    agreeing = [(a, b) for a, b in pairs if means[a] > means[b]]
    apart = [difference(results, ours[a], ours[b]) for a, b in agreeing]
    clear = sum(points is not None and points.half is not None and points.side > 0 for points in apart)
    tau = kendalltau(list(means.values()), list(theirs.values())).statistic
    line = {"Data set": dataset, "Noise": names.noise(kind)}
    line |= names.setting(grid, {"init": init, "schedule": schedule})
    line |= {"ours": _chain(grid.title, means)}
    line |= {"the paper's": f"{_chain(grid.title, theirs)} ({names.PAPER_COLUMNS[column]})"}
    line |= {"Kendall's tau": None if pd.isna(tau) else float(tau)}
    return [line | {"pairs as in the paper": f"{len(agreeing)} of {len(pairs)}, {clear} beyond chance"}]


def _chain(title: Any, accuracy: dict[str, float]) -> str:
    return " > ".join(title(m) for m in sorted(accuracy, key=accuracy.get, reverse=True))


def table_changes(results: Results) -> Table:
    """What each change of a method is worth against the method as it is by default."""
    rows = []
    for row in results.rows(lambda r: r["rule"] != NONE and r["regime"] == NONE):
        place = (row[axis] for axis in ("dataset", "noise", "method", "init"))
        usual = results.get(*place, schedule=row["schedule"])
        line = names.lead(results.grid, row) | {"seeds": row["n"], "accuracy": row["accuracy"]}
        line |= {"− unchanged (points)": difference(results, row, usual) if usual and usual["n"] else None}
        rows.append(line | {"− baseline (points)": row["lead"], BEST: row["best"]})
    notes = ["Unchanged: the method as it is by default. Differences over the seeds that both have."]
    return Table("table_changes", "Changes of a method", without_blanks(frame_of(rows)), notes)


def table_weights(results: Results) -> Table:
    """What other initial weights change, for every setting that was run with several."""
    first, *others = results.grid.used_inits
    rows = []
    for row in results.rows(lambda r: r["init"] == first):
        for init in others:
            axes = ("dataset", "noise", "method")
            key = [row[axis] for axis in axes]
            other = results.get(*key, init, row["rule"], row["regime"], row["schedule"])
            if other is not None and (gain := difference(results, row, other)) is not None:
                line = {k: v for k, v in names.lead(results.grid, row).items() if k != "Weights"}
                rows.append(line | {f"{first} − {init} (points)": gain})
    return Table("table_weights", "Initial weights", frame_of(rows), ["Over the seeds that both have."])


def table_cost(results: Results) -> Table:
    """What training a method costs, at the highest symmetric noise that it was timed with."""
    grid, rows = results.grid, []
    counts = {
        d: len({r["method"] for r in results.rows(lambda r, d=d: r["dataset"] == d)}) for d in grid.datasets
    }
    dataset = max(counts, key=counts.get)
    symmetric = [n for n in reversed(grid.ordered_noises) if grid.noises[n].kind == "symmetric"]
    for method in names.in_order(cell.method for cell in grid.cells):
        for init in grid.used_inits:
            for schedule in grid.schedules:
                found = [results.get(dataset, n, method, init, schedule=schedule) for n in symmetric]
                found = [row for row in found if row and row["n"]]
                if not found:
                    continue
                row = next((row for row in found if row["seconds"]), found[0])
                base = results.get(dataset, row["noise"], "baseline", init)
                usual, seconds = base and base["seconds"], row["seconds"]
                line = {"Method": grid.title(method)} | names.setting(grid, row)
                line |= {"networks": 1 if row["net1"] is None else 2, "seconds per epoch": seconds}
                line |= {"× baseline": seconds / usual if seconds and usual else None}
                line |= {"forward passes per sample": shown(row["forward_passes"], 2)}
                rows.append(line | {"parameters, millions": shown(row["parameters"], 2)})
    of_heads = " of the heads (the frozen backbone ran once, before)" if grid.input == "features" else ""
    told = [m for m in names.in_order(c.method for c in grid.cells) if grid.methods[m].told_noise_rate]
    machines = {f"device {s.versions.get('device', 'unknown')}, torch {s.versions.get('torch', 'unknown')}"
                for s in results.done}  # fmt: skip
    notes = [
        f"Training{of_heads} on {dataset}; seconds: the processor's on a CPU, the clock's on a GPU, mining "
        "included, evaluation not; they depend on the machine "
        f"({'; '.join(sorted(machines)) or 'nothing measured'}). Forward passes: of the backbone, in the "
        "last epoch; parameters: also those that only training uses.",
    ]
    if told:
        notes.append(f"Told the noise rate, which the others are not: {names.joined(map(grid.title, told))}.")
    return Table("table_cost", "Cost of training", without_blanks(frame_of(rows)), notes)


def table_fit(results: Results) -> Table:
    """What each setting has learned of its right and wrong labels, and which right ones the mining leaves
    out."""
    rows = []
    for row in results.rows(lambda r: r["regime"] == NONE):
        line = names.lead(results.grid, row) | {"fit of right labels %": shown(row["fit_right"])}
        line |= {
            "fit of wrong labels %": shown(row["fit_wrong"]),
            "T_c when mining starts": shown(row.get("clean_start"), 2),
        }
        line |= {"right labels called noisy %": shown(row.get("right_noisy"))}
        rows.append(line | {"most of": most_affected(row)})
    notes = [
        "Fit: share of the training samples whose most probable class after the last epoch is the given "
        "label; of wrong labels it is what was memorised. T_c: mean over the classes. “Most of”: the "
        "class that loses most of its right labels. Means over seeds.",
    ]
    return Table("table_fit", "Fit and mining", without_blanks(frame_of(rows)), notes)


def most_affected(row: dict[str, Any]) -> str | None:
    """The class of which most right labels are called noisy, and how many, mean over seeds."""
    by_class = pd.DataFrame(
        [s.mining.right_noisy_by_class for s in row["scores"] if s.mining], dtype=float
    ).mean()
    by_class = by_class.dropna()
    return f"{by_class.idxmax()} ({100 * by_class.max():.1f} %)" if len(by_class) else None


def table_mining(results: Results) -> Table:
    """What the subsets of the last epoch hold, against the wrong labels and the known blends."""
    columns = {f"noisy: {name} %": f"noisy_{name.lower()}" for name in ("precision", "recall", "F1")}
    columns |= {f"{name}: samples %": f"share_{name}" for name in names.SUBSETS}
    columns |= {f"{name}: wrong %": f"wrong_{name}" for name in names.SUBSETS}
    plain = {"AUROC of wrong labels": "auroc_wrong", "vote entropy: ρ": "vote_spearman"}
    plain |= {f"ambiguous: {k}": f"ambiguity_{k}" for k in ("precision", "recall", "auroc")}
    rows = []
    for row in results.rows(lambda r: r["regime"] == NONE and r.get("share_noisy")):
        line = names.lead(results.grid, row) | {n: shown(row.get(k)) for n, k in columns.items()}
        rows.append(line | {n: shown(row.get(k), 3) for n, k in plain.items()})
    notes = [
        "Last epoch, means over seeds. “Noisy” against the wrong labels; “wrong”: their share of a subset's. "
        "AUROC of wrong labels: by low confidence. “Ambiguous” against known blends (rendered faces). Vote "
        "entropy: rank correlation with the networks' uncertainty.",
    ]
    return Table("table_mining", "Sample mining", without_blanks(frame_of(rows)), notes)


def per_class(results: Results) -> pd.DataFrame:
    """Recall, precision and F1 (fractions, mean over seeds) per setting and class."""
    frames = []
    for row in results.rows():
        scores = pd.DataFrame([c.model_dump() for s in row["scores"] for c in s.test.per_class])
        mean = scores.groupby("name", sort=False).mean().round(4).reset_index(names="class")
        lead = {k: row[k] for k in ("dataset", "noise", "method", "init", "schedule")}
        changed = ", ".join(
            filter(None, (names.changed(row["regime"], names.REGIMES), names.changed(row["rule"])))
        )
        frames.append(mean.assign(**lead, changed=changed, seeds=row["n"]))
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
        frames = found.setdefault(f"{cell.dataset}_{cell.noise}", [])
        if cell.scores:
            known = cell.scores.curves
            accuracy = pd.Series(known.accuracy, dtype=float).mul(100).round(3)
            frames.append(pd.DataFrame({"cell": cell.cell, "epoch": known.epoch, "accuracy": accuracy}))
    return {name: pd.concat(frames) for name, frames in found.items() if frames}
