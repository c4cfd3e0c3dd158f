"""Tables of every setting: with its seeds, cost, fit, mining, and what the mining finds where the truth is
known."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from asm.report import names
from asm.report.layout import Table, frame_of
from asm.report.results import MEASURES, NONE, PRINTED, Results, Row, difference, shown
from asm.report.tables import unique
from asm.scores.schema import LabelQuality, Score

RIVALS = ("entropy", "margin", "loss", "normalized_margin", "confidence_weighted_entropy")


def _table(results: Results, name: str, keep: Callable[[Row], bool], line: Callable[[Row], Row]) -> Table:
    """A line for each setting that `keep` accepts."""
    rows = results.rows(lambda row: row["regime"] == NONE and keep(row))
    return Table(name, frame_of([names.row_labels(results.grid, row) | line(row) for row in rows]))


def table_accuracy(results: Results) -> Table:
    """Every method at every noise, with its seeds, each network alone, and the best epoch."""

    def line(row: Row) -> Row:
        found: Row = {"seeds": row["n"]}
        for measure, words in MEASURES.items():
            found |= {words: row[measure], f"{words} − baseline": row[f"{measure}_over_baseline"]}
        found |= {"best epoch": row["best"]} | {f"net {k}": shown(row[f"net{k}"], 2) for k in (1, 2)}
        return found | {"a net − baseline": row["nets_over_baseline"]}

    return _table(results, "table_accuracy", lambda row: row["rule"] in (NONE, PRINTED), line)


def table_changes(results: Results) -> Table:
    """What each change of a method is worth against the method as it is by default."""

    def line(row: Row) -> Row:
        place = (row[axis] for axis in ("dataset", "noise", "method", "init"))
        usual = results.get(*place, schedule=row["schedule"])
        found: Row = {"seeds": row["n"]}
        for measure, words in MEASURES.items():
            over = difference(results, row, usual, measure) if usual and usual["n"] else None
            found |= {words: row[measure], f"{words} − unchanged": over}
        return found

    return _table(results, "table_changes", lambda row: row["rule"] != NONE, line)


def table_mining(results: Results) -> Table:
    """What each setting has learned of its right and wrong labels, which right ones the mining leaves out,
    and what the subsets of the last epoch hold."""

    def line(row: Row) -> Row:
        def mean(key: str, digits: int = 1) -> str | None:
            return shown(row.get(key), digits)

        found = {f"fit of {labels} labels %": mean(f"fit_{labels}") for labels in ("right", "wrong")}
        found |= {"T_c when mining starts": mean("clean_start", 2)}
        found |= {"right labels called noisy %": mean("right_noisy"), "most of": most_affected(row)}
        found |= {f"noisy: {key} %": mean(f"noisy_{key.lower()}") for key in ("precision", "recall", "F1")}
        found |= {f"{name}: samples %": mean(f"share_{name}") for name in names.SUBSETS}
        found |= {f"{name}: wrong %": mean(f"wrong_{name}") for name in names.SUBSETS}
        found |= {"AUROC of wrong labels": mean("auroc_wrong", 3)}
        found |= {"vote entropy: ρ": mean("vote_spearman", 3)}
        return found | {
            f"ambiguous: {key}": mean(f"ambiguity_{key}", 3) for key in ("precision", "recall", "auroc")
        }

    return _table(results, "table_mining", lambda row: True, line)


def most_affected(row: Row) -> str | None:
    """The class of which most right labels are called noisy, and how many, mean over seeds."""
    shares = [s.mining.right_noisy_by_class for s in row["scores"] if s.mining]
    by_class = pd.DataFrame(shares, dtype=float).mean().dropna()
    return f"{by_class.idxmax()} ({100 * by_class.max():.1f} %)" if len(by_class) else None


def table_found(results: Results) -> Table:
    """Does "noisy" mean wrong, "ambiguous" ambiguous, where the truth is known? ASM and what is ours, one run
    a row, that of the first seed; below it the same of networks that were not trained on the images."""
    grid, rows, anchors = results.grid, [], []
    settings = [r for r in results.default_rows() if r["method"] == "asm" or grid.methods[r["method"]].ours]
    told_apart = any(row["out_of_sample"] for row in settings)
    for row in settings:
        own = next((s.label_quality for s in row["scores"] if s.label_quality), None)
        for quality, words in ((own, "in sample"), (row["out_of_sample"], "out of sample")):
            if quality is not None:
                asked = {"Predictions": words} if told_apart else {}
                rows.append(names.row_labels(grid, row) | asked | _found(quality))
                anchors.append(f"found-{row['dataset']}-{row['noise']}")
    return Table("table_found", frame_of(rows), anchors=unique(anchors))


def _found(quality: LabelQuality) -> Row:
    line: Row = {}
    if wrong := quality.wrong:
        line |= {"wrong, %": f"{100 * wrong.share:.1f}"}
        line |= {"called noisy, %": f"{100 * wrong.subset.samples / wrong.samples:.1f}"}
        precision = "–" if wrong.subset.precision is None else f"{100 * wrong.subset.precision:.1f}"
        both = f"{precision} / {100 * wrong.subset.recall:.1f}"
        line |= {"of these wrong / of the wrong found, %": both}
        line |= {"AUROC, wrong": _beside_best_rival(wrong.scores)}
    if known := quality.ambiguous:
        held = [known.by_subset[name] for name in names.SUBSETS]
        shares = ("–" if of.ambiguous is None else f"{100 * of.ambiguous:.0f}" for of in held)
        line |= {"ambiguous among clean / ambiguous / noisy, %": " / ".join(shares)}
        if known.truth == "votes":
            means = (np.average(of.vote_entropy, weights=of.counts) if of.counts else None for of in held)
            entropies = ("–" if mean is None else f"{mean:.2f}" for mean in means)
            line |= {"vote entropy of clean / ambiguous / noisy": " / ".join(entropies)}
        line |= {"AUROC, ambiguous": _beside_best_rival(known.scores)}
    return line


def _beside_best_rival(scores: dict[str, Score]) -> str:
    rival = max(RIVALS, key=lambda name: scores[name].auroc[0])
    best = f"{rival.replace('_', ' ')} {scores[rival].auroc[0]:.3f}"
    return f"{scores['asm_depth'].auroc[0]:.3f}; {best}"


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
        line: Row = names.method_labels(grid, row)
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
    numeric = results.cells[results.measures].astype(float).round(4)
    return results.cells.drop(columns=results.measures).join(numeric)


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
