"""The tables of the page: the paper's, ours beside its numbers, and what the mining finds."""

from collections.abc import Callable
from typing import Any

from asm.report import names
from asm.report.cells import CONTROL, PRINTED, canonical, paper
from asm.report.estimates import Estimate
from asm.report.label_quality import RIVALS, assessed, out_of_sample_note
from asm.report.layout import Beside, Table, frame_of, without_blanks
from asm.report.results import NONE, Results, paper_value, shown

REPLACED = "losses.replace_with_ce"
ADAPTIVE, CLEAN, NOISY = "thresholds.adaptive", "thresholds.init_clean", "thresholds.init_noisy"
PAPER_INITIAL = {CLEAN: 0.8, NOISY: 0.2}
HYPERPARAMETERS = {"losses.beta": 0.65, "losses.omega": 0.6, "losses.gamma": 1.0}


def anchor(kind: str, *parts: str) -> str:
    """The link target of a row."""
    return "-".join([kind, *parts])


def methods_of(results: Results) -> list[tuple[str, str]]:
    """Method and rule of the rows of Tables 1 and 3: every method as it is by default, ASM also by Eq. 3 as
    printed where that is run throughout."""
    run = [c.method for c in results.grid.cells if not c.changed]
    found = [(m, NONE) for m in names.in_order([*names.table1_methods(), *run])]
    if results.has_printed:
        found.insert(found.index(("asm", NONE)) + 1, ("asm", canonical(PRINTED)))
    return found


def _variants(results: Results) -> list[tuple[str, str]]:
    return [(init, schedule) for init in results.grid.used_inits for schedule in results.grid.schedules]


def _best(rows: list[dict[str, Any]], columns: list[str]) -> None:
    """Marks the highest of each column, in place."""
    for column in columns:
        ours = [r[column].ours.mean for r in rows if r.get(column) and r[column].ours]
        for row in rows:
            entry = row.get(column)
            if len(ours) > 1 and entry and entry.ours and round(entry.ours.mean, 1) == round(max(ours), 1):
                row[column] = Beside(entry.ours, entry.paper, best=True)


def table1(results: Results) -> Table:
    """A row a method, a column a noise; the paper's Table 1 in brackets."""
    grid, rows, anchors = results.grid, [], []
    noises = [n for n in grid.ordered_noises if any(c.noise == n and not c.changed for c in grid.cells)]
    own = [c for d in grid.datasets.values() if (c := names.paper_column(d))]
    for dataset in grid.datasets:
        # where no data set is the paper's, its RAF-DB column stands in
        column, here = names.paper_column(grid.datasets[dataset]) if own else "rafdb", []
        for method, rule in methods_of(results):
            for init, schedule in _variants(results):
                entries: dict[str, Beside | None] = {}
                for noise in noises:
                    row = results.get(dataset, noise, method, init, rule, schedule=schedule)
                    rate = grid.noises[noise].rate if grid.noises[noise].kind == "symmetric" else None
                    if row is not None:
                        theirs = paper_value("table1", method, column, rate) if rule == NONE else None
                        entries[names.noise(grid.noises[noise])] = Beside(row["accuracy"], theirs)
                if any(entry.ours for entry in entries.values()):
                    named = {"init": init, "schedule": schedule}
                    title = names.method(grid, {"method": method, "rule": rule})
                    first = {"Data set": dataset} if len(grid.datasets) > 1 else {}
                    here.append(first | {"Method": title} | names.setting(grid, named) | entries)
                    anchors.append(anchor("t1", dataset, method if rule == NONE else f"{method}-printed"))
        _best(here, [names.noise(grid.noises[n]) for n in noises])
        rows += here
    columns = list(dict.fromkeys(key for row in rows for key in row if not isinstance(row[key], Beside)))
    labels = [names.noise(grid.noises[n]) for n in noises]
    columns += [label for label in labels if any(row.get(label) for row in rows)]
    frame = without_blanks(frame_of(rows, columns)) if rows else frame_of([])
    notes = ["Test accuracy, %, mean of the last epochs and of the seeds; bold: the highest."]
    if own:
        shared = dict.fromkeys(names.PAPER_COLUMNS[c] for c in own)
        notes.append(f"In brackets the paper's, on {names.joined(shared)}.")
    else:
        notes.append("In brackets the paper's, on RAF-DB: compare the order of the methods, not the level.")
    return Table("table1", "Table 1. Accuracy under label noise", frame, notes, _unique(anchors))


def _unique(anchors: list[str]) -> list[str]:
    """Link targets that occur once: the second of a name is numbered."""
    seen: dict[str, int] = {}
    found = []
    for name in anchors:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return found


def table_leads(results: Results) -> Table:
    """ASM and the control against the baseline, with what each repeats of its wrong labels."""
    rows, anchors, grid = [], [], results.grid
    for row in results.rows(lambda r: r["method"] == "asm" and r["lead"] and _default(r)):
        key = (row["dataset"], row["noise"])
        base, control = (
            results.get(*key, m, row["init"], schedule=s)
            for m, s in (("baseline", None), (CONTROL, row["schedule"]))
        )
        kind = grid.noises[row["noise"]]
        column = names.paper_column(grid.datasets[row["dataset"]])
        theirs = [paper_value("table1", m, column, kind.rate) for m in ("asm", "baseline")]
        line = {**names.lead(grid, row, method_too=False), "ASM − baseline": row["lead"]}
        line["the paper's"] = f"{theirs[0] - theirs[1]:+.1f}" if None not in theirs else None
        line |= {"control − baseline": control and control["lead"], "ASM − control": row["over_control"]}
        line |= {"baseline repeats, %": base and shown(base["fit_wrong"], 0)}
        line |= {"ASM repeats, %": shown(row["fit_wrong"], 0)}
        rows.append(line | {"right called noisy, %": shown(row["right_noisy"])})
        anchors.append(anchor("lead", *key))
    frame = without_blanks(frame_of(rows))
    notes = ["Points, ± half of the 95 % interval over paired seeds."]
    if "control − baseline" in frame:
        notes.append("Control: two networks with cross-entropy, what ASM owes to having two.")
    if {"baseline repeats, %", "ASM repeats, %"} & set(frame):
        notes.append("Repeats: the share of the wrong training labels that it predicts.")
    return Table("table_leads", "Leads over the baseline", frame, notes, _unique(anchors))


def _default(row: dict[str, Any]) -> bool:
    return row["rule"] == row["regime"] == NONE


def is_threshold_row(rule: dict[str, Any]) -> bool:
    """Whether ASM with this rule belongs to the supplement's Table 1."""
    return set(rule) <= {ADAPTIVE, CLEAN, NOISY}


def _sections(results: Results, belongs: Callable[[dict[str, Any]], bool]) -> list[tuple[str, str, str]]:
    """(data set, noise, weights) for which some cell's rule belongs to a table."""
    return list(
        dict.fromkeys(
            (c.dataset, c.noise, c.init)
            for c in results.grid.cells
            if c.method == "asm" and c.changed and belongs(c.changed)
        )
    )


def _is_module(changed: dict[str, Any]) -> bool:
    return set(changed) <= {REPLACED, "losses.drop_noisy"}


def table2(results: Results) -> Table:
    """The paper's five rows of the ablation, and ours: Eq. 3 as printed, noisy samples dropped."""
    grid = results.grid
    sections = _sections(results, lambda c: _is_module(c) or (c == PRINTED and not results.has_printed))
    label = "paper: RAF-DB, no noise"
    wanted: list[tuple[str, str, str]] = []
    for row in paper()["table2"]:
        kept = {"mutual": row["mutual"], "consistency": row["consistency"]}
        without = [name for name, on in kept.items() if not on]
        named = "AT" + "".join(
            f" + {s}" for s, on in zip(("L_mut", "L_usc"), kept.values(), strict=True) if on
        )
        if not row["adaptive_threshold"]:
            wanted.append(("baseline", NONE, "baseline"))
        else:
            full = " (ASM)" if not without else ""
            wanted.append(("asm", canonical({REPLACED: without} if without else {}), named + full))
    rules = dict.fromkeys(
        canonical(c.changed)
        for c in grid.cells
        if c.method == "asm" and (c.changed == PRINTED or _is_module(c.changed)) and c.changed
    )
    rest = [("asm", r, f"ASM, {names.changed(r)}") for r in rules if r not in {w[1] for w in wanted}]
    lines = []
    for i, (method, rule, title) in enumerate([*wanted, *(rest if sections else [])]):
        line: dict[str, Any] = {"Setting": title}
        for dataset, noise, init in sections:
            row = results.get(dataset, noise, method, init, rule)
            line[names.place(grid, dataset, noise, init)] = row and row["accuracy"]
        lines.append(line | {label: paper()["table2"][i]["rafdb"] if i < len(wanted) else None})
    notes = ["AT: adaptive thresholds; a loss left out is replaced by cross-entropy, its weight kept."]
    if not sections:
        notes.append("This profile has none of these cells but the first and the fifth (Table 1).")
    return Table("table2", "Table 2. Ablation of the modules", frame_of(lines), notes)


def table3(results: Results) -> Table:
    """Methods without added noise: ours, the paper's in brackets; without such data, the paper's alone."""
    grid, published = results.grid, paper()["table3"]
    noise = next((k for k in grid.ordered_noises if grid.noises[k].rate == 0), None)
    run = {c.dataset for c in grid.cells if c.noise == noise and not c.changed}
    datasets = [d for d in grid.datasets if d in run]
    columns = {d: names.paper_column(grid.datasets[d]) for d in datasets}
    alone = [c for c in names.PAPER_COLUMNS if c not in columns.values()] if None in columns.values() else []
    rows = []
    ours = [(m, r) for m, r in methods_of(results)]
    known = names.in_order([*(m for m, _ in ours), *published])
    order = [*((m, NONE) for m in known), *(pair for pair in ours if pair[1] != NONE)]
    order.sort(key=lambda pair: known.index(pair[0]))
    for method, rule in order:
        theirs = published.get(method, {}) if rule == NONE else {}
        for init, schedule in _variants(results):
            line = {"Method": names.method(grid, {"method": method, "rule": rule})}
            line["Method"] += "†" if "note" in theirs else ""
            line |= names.setting(grid, {"init": init, "schedule": schedule})
            for dataset, column in columns.items():
                row = results.get(dataset, noise, method, init, rule, schedule=schedule)
                first_of_column = dataset == next(d for d, c in columns.items() if c == column)
                printed = theirs.get(column) if row or first_of_column else None
                entry = Beside(row and row["accuracy"], printed)
                line[f"ours: {dataset}"] = entry if entry.ours or entry.paper else None
            line |= {f"paper: {names.PAPER_COLUMNS[c]}": theirs.get(c) for c in alone}
            values = [v for k, v in line.items() if k.startswith(("ours: ", "paper: "))]
            first = (init, schedule) == _variants(results)[0]
            if any(isinstance(v, Beside) and v.ours for v in values) or (first and any(values)):
                rows.append(line)
    _best(rows, [f"ours: {d}" for d in datasets])
    marked = any(line["Method"].endswith("†") for line in rows)
    notes = [f"† {v['note']} (paper)." for v in published.values() if "note" in v and marked]
    if any(columns.values()):
        notes.insert(0, "In brackets the paper's.")
    title = "Table 3. Accuracy without added label noise"
    return Table("table3", title, without_blanks(frame_of(rows)), notes)


def table_s1(results: Results) -> Table:
    """Fixed against adaptive thresholds from several initial values (supplement, Table 1)."""
    grid = results.grid
    initial = PAPER_INITIAL | {k: v for k, v in grid.defaults.items() if k in PAPER_INITIAL}
    adaptive = grid.defaults.get(ADAPTIVE, True)

    def of(changed: dict[str, Any]) -> tuple[bool, float, float]:
        values = {ADAPTIVE: adaptive} | initial | changed
        return bool(values[ADAPTIVE]), float(values[NOISY]), float(values[CLEAN])

    published = {(r["adaptive"], r["init_noisy"], r["init_clean"]): r for r in paper()["s1"]}
    sections = _sections(results, is_threshold_row)
    members = [
        c for c in grid.cells
        if c.method == "asm" and is_threshold_row(c.changed) and (c.dataset, c.noise, c.init) in sections
    ]  # fmt: skip
    settings = [*published, *sorted({of(c.changed) for c in members} - set(published))]
    rows = []
    for wanted in settings:
        kind, noisy, clean = wanted
        row = {"[T_n, T_c] at the start": f"[{noisy:g}, {clean:g}]"}
        row |= {"Thresholds": "adaptive" if kind else "fixed"}
        for section in sections:
            cell = next(
                (c for c in members
                 if (c.dataset, c.noise, c.init) == section and of(c.changed) == wanted), None
            )  # fmt: skip
            found = cell and results.get(section[0], section[1], "asm", section[2], canonical(cell.changed))
            row[f"ours: {names.place(grid, *section)}"] = found and found["accuracy"]
        theirs = published.get(wanted, {})
        rows.append(row | {f"paper: {names.PAPER_COLUMNS[d]}": theirs.get(d) for d in ("rafdb", "ferplus")})
    notes = ["“paper”: its published figures, without added noise."]
    if not sections:
        notes.append("Cells with other thresholds are not part of this profile.")
    title = "Supplement, Table 1. Fixed and adaptive thresholds"
    return Table("table_s1", title, frame_of(rows), notes)


def table_found(results: Results) -> Table:
    """What the mining of ASM as it is by default finds, where the truth is known; one run a row."""
    rows, anchors = [], []
    for row, quality, asked in assessed(results):
        if row["method"] != "asm" or not _default(row):
            continue
        line = names.lead(results.grid, row, method_too=False) | asked
        if wrong := quality.wrong:
            line |= {"wrong, %": f"{100 * wrong.share:.1f}"}
            line |= {"called noisy, %": f"{100 * wrong.subset.samples / wrong.samples:.1f}"}
            precision = wrong.subset.precision
            line |= {"of these wrong, %": None if precision is None else f"{100 * precision:.1f}"}
            line |= {"of the wrong found, %": f"{100 * wrong.subset.recall:.1f}"}
            line |= {"AUROC, wrong": _auroc(wrong.scores)}
        if known := quality.ambiguous:
            held = [known.by_subset[name].ambiguous for name in names.SUBSETS]
            parts = " / ".join("–" if v is None else f"{100 * v:.0f}" for v in held)
            line |= {"ambiguous among clean / ambiguous / noisy, %": parts}
            line |= {"AUROC, ambiguous": _auroc(known.scores)}
        rows.append(line)
        anchors.append(anchor("found", row["dataset"], row["noise"]))
    notes = [
        "AUROC: of ASM's depth below T_n or inside its band; then the best rival on the same probabilities.",
        *out_of_sample_note(results),
    ]
    title = "What the mining finds"
    return Table("table_found", title, without_blanks(frame_of(rows)), notes, _unique(anchors))


def _auroc(scores: dict[str, Any]) -> str:
    rival = max(RIVALS, key=lambda name: scores[name].auroc[0])
    return f"{scores['asm_depth'].auroc[0]:.3f}; {RIVALS[rival]} {scores[rival].auroc[0]:.3f}"


def lead_of(results: Results, row: dict[str, Any]) -> Estimate | None:
    """The paper's lead of ASM at a setting's noise."""
    column = names.paper_column(results.grid.datasets[row["dataset"]])
    kind = results.grid.noises[row["noise"]]
    theirs = [paper_value("table1", m, column, kind.rate) for m in ("asm", "baseline")]
    return (
        None if None in theirs or kind.kind != "symmetric" else Estimate(theirs[0] - theirs[1], None, 1, True)
    )
