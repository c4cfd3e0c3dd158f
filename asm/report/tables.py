"""The tables of the page: the paper's, ours beside its numbers; leads over the baseline; rare classes."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from asm.report import names
from asm.report.cells import CONTROL, canonical, paper
from asm.report.layout import Beside, Table, frame_of
from asm.report.results import MEASURES, NONE, PRINTED, Place, Results, Row, published, published_lead, shown

REPLACED = "losses.replace_with_ce"
# the paper's, to begin with
START = {"thresholds.adaptive": True, "thresholds.init_noisy": 0.2, "thresholds.init_clean": 0.8}
RARE = 3  # so many of a data set's rarest classes


def unique(anchors: Iterable[str]) -> list[str]:
    """Link targets that occur once: the second of a name is numbered."""
    found: list[str] = []
    for name in anchors:
        earlier = sum(name == a or a.startswith(f"{name}~") for a in found)
        found.append(f"{name}~{earlier + 1}" if earlier else name)
    return found


def _lines(results: Results) -> list[Row]:
    """The rows of Tables 1 and 3: every method as it is by default, ASM also by Eq. 3 as printed where that
    is run throughout, each with all weights and schedules."""
    grid = results.grid
    order = names.in_order([*names.table1_methods(), *(c.method for c in grid.cells if not c.changed)])
    rules = {"asm": [NONE, *([PRINTED] if results.has_printed else [])]}
    return [
        {"method": method, "rule": rule, "init": init, "schedule": schedule}
        for method in order
        for rule in rules.get(method, [NONE])
        for init in grid.used_inits
        for schedule in grid.schedules
    ]


def _bold(rows: list[Row], columns: Iterable[str]) -> None:
    """Marks the highest of each column, in place."""
    for column in columns:
        entries = [row[column] for row in rows if row.get(column) and row[column].ours]
        highest = max((round(entry.ours.mean, 1) for entry in entries), default=None)
        for row in rows:
            entry = row.get(column)
            if len(entries) > 1 and entry in entries and round(entry.ours.mean, 1) == highest:
                row[column] = Beside(entry.ours, entry.paper, best=True)


def _by_noise(results: Results, dataset: str, line: Row, measure: str, column: str | None) -> Row:
    """One row's entries by noise; beside our accuracy the paper's at that noise."""
    entries, has_paper = {}, measure == "accuracy" and line["rule"] == NONE
    for noise in results.grid.ordered_noises:
        kind = results.grid.noises[noise]
        if (row := results.get(dataset, noise, **line)) is not None:
            theirs = published(line["method"], column, kind) if has_paper and kind.rate else None
            entries[names.noise(kind)] = Beside(row[measure], theirs)
    return entries


def table1(results: Results, measure: str = "accuracy", name: str = "table1") -> Table:
    """A row for each method, a column for each noise; in accuracy with the paper's Table 1 in brackets."""
    grid, rows, anchors = results.grid, [], []
    columns = list(dict.fromkeys(info.paper for info in grid.datasets.values() if info.paper))
    labels = [names.noise(grid.noises[noise]) for noise in grid.ordered_noises]
    for dataset, info in grid.datasets.items():
        here = []
        for line in _lines(results):
            # where no data set is the paper's, its RAF-DB column stands in
            entries = _by_noise(results, dataset, line, measure, info.paper if columns else "rafdb")
            if any(entry.ours for entry in entries.values()):
                where = {"Data set": dataset} if len(grid.datasets) > 1 else {}
                here.append(where | names.method_labels(grid, line) | entries)
                printed = "" if line["rule"] == NONE else "-printed"
                anchors.append(f"{name}-{dataset}-{line['method']}{printed}")
        _bold(here, labels)
        rows += here
    leading = list(dict.fromkeys(key for row in rows for key in row if key not in labels))
    where = f"on {names.joined(paper()['columns'][c] for c in columns or ['rafdb'])}."
    frame = frame_of(rows, [*leading, *(label for label in labels if any(label in row for row in rows))])
    return Table(name, frame, where if measure == "accuracy" else "", unique(anchors))


def table1_classes(results: Results) -> Table:
    """The same in mean class accuracy, which the paper does not report."""
    return table1(results, "mean_class_accuracy", "table1_classes")


def table_leads(results: Results) -> Table:
    """ASM, the control and what is ours against the baseline and the control, in both measures, with what
    each repeats of its wrong labels."""
    grid, rows, anchors = results.grid, [], []
    for row in results.default_rows():
        dataset, noise, method = row["dataset"], row["noise"], row["method"]
        repeated = shown(row["fit_wrong"], 0)
        told = row["accuracy_over_baseline"] or (method == "baseline" and repeated)
        if method not in names.compared(grid) or not told:
            continue
        theirs = published_lead(grid.datasets[dataset].paper, grid.noises[noise]) if method == "asm" else None
        line: Row = names.row_labels(grid, row)
        for measure, words in MEASURES.items():
            line[f"− baseline: {words}"] = row[f"{measure}_over_baseline"]
        line |= {"the paper's: accuracy": theirs and f"{theirs:+.1f}"}
        for measure, words in MEASURES.items() if method != "baseline" else ():
            line[f"− control: {words}"] = row[f"{measure}_over_{CONTROL}"]
        line |= {"wrong labels repeated, %": repeated}
        rows.append(line | {"right labels called noisy, %": shown(row.get("right_noisy"))})
        anchors.append(f"lead-{dataset}-{noise}" + ("" if method == "asm" else f"-{method}"))
    return Table("table_leads", frame_of(rows), anchors=unique(anchors))


def rarest(row: Row) -> dict[str, int]:
    """The rarest classes of a setting's test set, the rarest last, and how many images they have; none where
    the classes are of about the same size."""
    sizes = {c.name: c.support for c in row["scores"][0].test.per_class if c.support}
    if not sizes or 2 * min(sizes.values()) > max(sizes.values()):
        return {}
    return dict(sorted(sizes.items(), key=lambda item: -item[1])[-RARE:])


def recalled(row: Row, name: str) -> np.ndarray:
    """How many images of a class each run of a setting recognises."""
    at = row["scores"][0].classes.index(name)
    return np.array([scores.test.confusion[at][at] for scores in row["scores"]])


def table_rare(results: Results) -> Table:
    """How many images of the rarest classes the compared methods recognise."""
    rows, sizes, labels = [], {}, {}
    for row in results.default_rows():
        if row["method"] in names.compared(results.grid) and (rare := rarest(row)):
            labels, sizes = names.row_labels(results.grid, row), sizes | rare
            said = {name: _recalled_of(row, name, size) for name, size in rare.items()}
            rows.append(labels | said | {"seeds": row["n"]})
    columns = [*labels, *sorted(sizes, key=sizes.get, reverse=True), "seeds"]
    return Table("table_rare", frame_of(rows, columns))


def _recalled_of(row: Row, name: str, size: int) -> str:
    found = recalled(row, name)
    span = f" ({found.min()}–{found.max()})" if len(found) > 1 else ""
    return f"{found.mean():.1f} of {size:,}{span}"


def _rules(results: Results, belongs: Callable[[str], bool]) -> dict[str, list[Place]]:
    """What ASM's cells change, if it belongs to a table, and where."""
    found: dict[str, list[Place]] = {}
    for cell in results.grid.cells:
        if cell.method == "asm" and belongs(rule := canonical(cell.changed)):
            found.setdefault(rule, []).append((cell.dataset, cell.noise, cell.init))
    return found


def _in_sections(results: Results, sections: Iterable[Place], method: str, rule: str | None) -> Row:
    """The accuracy of one method and rule in each section, by its name."""
    found = {section: results.get(*section[:2], method, section[2], rule or "") for section in sections}
    return {names.place(results.grid, *section): row and row["accuracy"] for section, row in found.items()}


def table2(results: Results) -> Table:
    """The paper's five rows of the ablation, and ours: Eq. 3 as printed, noisy samples dropped."""

    def is_module(rule: str) -> bool:
        return set(json.loads(rule)) <= {REPLACED, "losses.drop_noisy"}

    found = _rules(results, lambda rule: rule == PRINTED or is_module(rule))
    own = [rule for rule in found if rule != NONE and not (rule == PRINTED and results.has_printed)]
    sections = dict.fromkeys(place for rule in own for place in found[rule])
    lines: list[tuple[str, str, str, float | None]] = []  # title, method, rule, the paper's
    for row in paper()["table2"]:
        on = {loss: symbol for loss, symbol in (("mutual", "L_mut"), ("consistency", "L_usc")) if row[loss]}
        off = [loss for loss in ("mutual", "consistency") if loss not in on]
        title = " + ".join(["AT", *on.values()]) + ("" if off else " (ASM)")
        of = (title, "asm", canonical({REPLACED: off} if off else {}))
        lines.append((*(of if row["adaptive_threshold"] else ("baseline", "baseline", NONE)), row["rafdb"]))
    for rule in found if sections else ():
        if rule not in [line[2] for line in lines]:
            lines.append((f"ASM, {names.changed(rule)}", "asm", rule, None))
    rows = [
        {"Setting": title} | _in_sections(results, sections, *of) | {"paper: RAF-DB, no noise": theirs}
        for title, *of, theirs in lines
    ]
    return Table("table2", frame_of(rows))


def table3(results: Results) -> Table:
    """Methods without added noise: ours, and the paper's on its data sets."""
    grid, printed = results.grid, dict(paper()["table3"])
    columns = {key: f"paper: {words}" for key, words in paper()["columns"].items()}
    noise = next((k for k in grid.ordered_noises if grid.noises[k].rate == 0), None)
    lines = _lines(results)
    missing = set(printed) - {line["method"] for line in lines}
    lines += [lines[0] | {"method": method, "rule": NONE} for method in printed if method in missing]
    order = names.in_order(line["method"] for line in lines)
    rows = []
    for line in sorted(lines, key=lambda line: order.index(line["method"])):
        found = {f"ours: {d}": results.get(d, noise, **line) for d in grid.datasets}
        ours = {d: Beside(row["accuracy"], None) for d, row in found.items() if row and row["accuracy"]}
        theirs = printed.pop(line["method"], {}) if line["rule"] == NONE else {}  # once, in its first row
        if ours or theirs:
            labels = names.method_labels(grid, line)
            labels["Method"] += "†" if "note" in theirs else ""
            rows.append(labels | ours | {words: theirs.get(key) for key, words in columns.items()})
    own = [f"ours: {dataset}" for dataset in grid.datasets]
    _bold(rows, own)
    leading = names.method_labels(grid, lines[0])
    return Table("table3", frame_of(rows, [*leading, *own, *columns.values()]))


def table_s1(results: Results) -> Table:
    """Fixed against adaptive thresholds from several initial values (supplement, Table 1)."""
    default = START | {k: v for k, v in results.grid.defaults.items() if k in START}

    def start(changed: dict[str, Any]) -> tuple[bool, float, float]:
        adaptive, noisy, clean = (default | changed).values()
        return bool(adaptive), float(noisy), float(clean)

    theirs = {(r["adaptive"], r["init_noisy"], r["init_clean"]): r for r in paper()["s1"]}
    found = _rules(results, lambda rule: set(json.loads(rule)) <= set(START))
    sections = dict.fromkeys(place for rule in found if rule != NONE for place in found[rule])
    rules = {start(json.loads(rule)): rule for rule in found} if sections else {}
    rows = []
    for wanted in [*theirs, *sorted(set(rules) - set(theirs))]:
        adaptive, noisy, clean = wanted
        row = {"[T_n, T_c] at the start": f"[{noisy:g}, {clean:g}]"}
        row |= {"Thresholds": "adaptive" if adaptive else "fixed"}
        ours = _in_sections(results, sections, "asm", rules.get(wanted))
        row |= {f"ours: {where}": accuracy for where, accuracy in ours.items()}
        values = theirs.get(wanted, {})
        rows.append(row | {f"paper: {paper()['columns'][d]}": values.get(d) for d in ("rafdb", "ferplus")})
    return Table("table_s1", frame_of(rows))
