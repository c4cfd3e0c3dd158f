"""The paper's tables with our numbers beside the published ones, as Markdown, CSV and LaTeX."""

import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from asm.report import text
from asm.report.cells import SUBSETS, Details, Estimate, Grid, Group, load, paper
from asm.report.layout import Table, frame_of

REPLACED = "losses.replace_with_ce"
ADAPTIVE, CLEAN, NOISY = "thresholds.adaptive", "thresholds.init_clean", "thresholds.init_noisy"
PAPER_INITIAL = {CLEAN: 0.8, NOISY: 0.2}
HYPERPARAMETERS = {"losses.beta": 0.65, "losses.omega": 0.6, "losses.gamma": 1.0}


def _methods(grid: Grid) -> list[str]:
    """The paper's order, then our further methods in the order of the grid; only those of the grid."""
    present = dict.fromkeys(cell.method for cell in grid.cells)
    order = list(text.METHOD_NAMES)
    return sorted(present, key=lambda m: order.index(m) if m in order else len(order))


def _inits(grid: Grid) -> list[str]:
    return list(dict.fromkeys(cell.init for cell in grid.cells))


def _ours(grid: Grid, noise: str | None, method: str, init: str) -> dict[str, Estimate | None]:
    row: dict[str, Estimate | None] = {}
    groups = {d: grid.group(d, noise, method, init) for d in grid.datasets}
    row |= {f"ours: {d}": g and g.accuracy() for d, g in groups.items()}
    return row | {f"ours: {d}, {text.BEST}": g and g.best() for d, g in groups.items()}


def _rows_by_init(grid: Grid, noise: str | None, method: str, lead: dict, published: dict) -> list[dict]:
    """One row per initial weights that the grid has for this noise and method; else one blank row."""
    inits = _inits(grid)
    run = [i for i in inits if any(grid.group(d, noise, method, i) for d in grid.datasets)]
    rows = []
    for init in run or [inits[0] if inits else ""]:
        shown = {"Weights": init if run else None} if len(inits) > 1 else {}
        rows.append(lead | shown | _ours(grid, noise, method, init) | published)
    return rows


def table1(grid: Grid) -> Table:
    """Methods against noise rates: ours per data set, the paper's columns beside."""
    published = paper()["table1"]
    levels: dict[tuple[float | None, str], str | None] = {}  # (symmetric rate, label) -> the grid's noise
    for key in grid.ordered_noises():
        noise = grid.noises[key]
        levels[noise.rate if noise.kind == "symmetric" else None, text.noise_name(noise)] = key
    levels = {(rate, text.percent(rate)): None for rate in text.paper_rates()} | levels
    rows = []
    for (rate, label), key in sorted(
        levels.items(), key=lambda level: math.inf if level[0][0] is None else level[0][0]
    ):
        used = {c.method for c in grid.cells if c.noise == key and not c.changed}
        methods = [m for m in _methods(grid) if m in used]
        if rate in text.paper_rates():
            methods = [*text.paper_methods(), *(m for m in methods if m not in text.paper_methods())]
        for method in methods:
            theirs = published.get(method, {}).get(rate, {})
            columns = {text.PAPER_COLUMNS[d]: theirs.get(d) for d in ("rafdb", "ferplus", "affectnet8")}
            lead = {"Noise": label, "Method": text.method_name(method)}
            rows += _rows_by_init(grid, key, method, lead, columns)
    notes = [
        *text.gaps(grid),
        *text.realised(grid),
        "Columns headed “paper” are the paper's published figures (mean of the last 5 epochs); it does not "
        "say whether its AffectNet column has 7 or 8 classes, 8 is our reading.",
    ]
    return Table("table1", "Table 1. Accuracy under label noise.", frame_of(rows), notes)


def table1_networks(grid: Grid) -> Table:
    """Each network of the two-network methods alone, beside the pair."""
    gain = "pair − mean of nets (points)"
    columns = ["Data set", "Noise", "Method", "Weights", "pair", "net 1", "net 2", gain]
    rows = []
    for group in sorted(grid.groups(), key=lambda g: grid.ordered_noises().index(g.noise)):
        if group.changed or not any(len(d.test.networks) > 1 for d in group.done):
            continue
        pair, nets = group.accuracy(), [group.network(0), group.network(1)]
        row = _lead(grid, group) | {"Method": text.method_name(group.method), "Weights": group.init}
        points = pair.mean - (nets[0].mean + nets[1].mean) / 2
        rows.append(row | {"pair": pair, "net 1": nets[0], "net 2": nets[1], gain: round(points, 2)})
    note = (
        "The pair predicts by the mean probability of its two networks; the last column is what averaging "
        "two networks gives by itself, which a one-network method such as the baseline does not have."
    )
    return Table("table1_networks", "Table 1, networks. Each network alone.", frame_of(rows, columns), [note])


def table3(grid: Grid) -> Table:
    """Methods without added noise: ours per data set, the paper's columns beside."""
    published = paper()["table3"]
    clean = [k for k in grid.ordered_noises() if grid.noises[k].rate == 0]
    noise = clean[0] if clean else None
    ran = {c.method for c in grid.cells if c.noise == noise and not c.changed}
    order = ["baseline", *published]
    rows = []
    for method in [*order, *(m for m in _methods(grid) if m in ran and m not in order)]:
        theirs = published.get(method, {})
        name = text.method_name(method) + ("†" if "note" in theirs else "")
        columns = {label: theirs.get(d) for d, label in text.PAPER_COLUMNS.items()}
        rows += _rows_by_init(grid, noise, method, {"Method": name}, columns)
    marks = [f"† {v['note']} (paper)." for v in published.values() if "note" in v]
    notes = [
        *text.gaps(grid, clean_only=True),
        "Columns headed “paper” are the paper's published figures.",
        *marks,
    ]
    if noise is None:
        notes.insert(0, "This profile has no cell without added label noise.")
    return Table("table3", "Table 3. Accuracy without added label noise.", frame_of(rows), notes)


def _lead(grid: Grid, group: Group) -> dict:
    return {"Data set": group.dataset, "Noise": text.noise_name(grid.noises[group.noise])}


def _is_threshold_row(group: Group) -> bool:
    return group.method == "asm" and set(group.changed) <= {ADAPTIVE, CLEAN, NOISY}


def is_hyperparameter_row(group: Group, key: str) -> bool:
    """Whether a group differs from the default ASM at most in this one hyper-parameter."""
    return group.method == "asm" and set(group.changed) <= {key}


def _is_ablation_row(group: Group) -> bool:
    if not group.changed or _is_threshold_row(group):
        return False
    return not any(is_hyperparameter_row(group, key) for key in HYPERPARAMETERS)


def _sections(grid: Grid, belongs: Callable[[Group], bool]) -> list[tuple[str, str, str]]:
    """(data set, noise, initial weights) for which some group belongs to a table."""
    return list(dict.fromkeys((g.dataset, g.noise, g.init) for g in grid.groups() if belongs(g)))


def _marks(adaptive: bool, mutual: bool, consistency: bool) -> dict:
    names = ("AT", "L_mut", "L_usc")
    return {n: "✓" if on else "×" for n, on in zip(names, (adaptive, mutual, consistency), strict=True)}


def table2(grid: Grid) -> Table:
    """The paper's five rows of the ablation, then our own, per data set and noise that has any."""
    names = ["baseline", "AT", "AT + L_mut", "AT + L_usc", "AT + L_mut + L_usc (ASM)"]
    extra_names = {
        "thresholds.confidence = max": "ASM, confidence of Eq. 3 as printed (max)",
        "losses.drop_noisy = true": "ASM, noisy samples dropped",
    }
    label = f"{text.PAPER_COLUMNS['rafdb']}, no noise added"
    rows = []
    sections = _sections(grid, _is_ablation_row)
    for section in sections or [None]:
        groups = [g for g in grid.groups() if section == (g.dataset, g.noise, g.init)]
        lead = _lead(grid, groups[0]) if section else {"Data set": None, "Noise": None}
        if len(_inits(grid)) > 1:
            lead["Weights"] = section and section[2]
        printed = []
        for name, row in zip(names, paper()["table2"], strict=True):
            marks = (row["adaptive_threshold"], row["mutual"], row["consistency"])
            group = next((g for g in groups if _matches(g, *marks)), None)
            printed.append(group)
            rows.append(lead | {"Setting": name} | _marks(*marks) | _measures(group) | {label: row["rafdb"]})
        for group in groups:
            if not _is_ablation_row(group) or group in printed:
                continue
            pairs = [f"{k} = {str(v).lower()}" for k, v in group.changed.items()]
            name = f"{text.method_name(group.method)}, {text.changed_name(group.changed)}"
            if group.method == "asm" and len(pairs) == 1:
                name = extra_names.get(pairs[0], name)
            replaced = group.changed.get(REPLACED, [])
            consistency = "consistency" not in replaced and not group.changed.get("losses.drop_noisy", False)
            marks = (group.changed.get(ADAPTIVE, True), "mutual" not in replaced, consistency)
            shown = _marks(*marks) if group.method == "asm" else {}
            rows.append(lead | {"Setting": name} | shown | _measures(group) | {label: None})
    kind = grid.defaults.get("thresholds.confidence", "label")
    notes = [
        "AT: adaptive thresholds. Each loss left out is replaced by cross-entropy, with its weight kept.",
        "The confidence of a sample in the default ASM is "
        + ("the largest mean probability, Eq. 3 as printed." if kind == "max" else
           "the mean probability of its given label; Eq. 3 as printed takes the largest one, which does not "
           "see the label."),
        "The column headed “paper” holds the paper's published figures: RAF-DB, no noise added.",
    ]  # fmt: skip
    if not sections:
        notes.insert(0, "Ablation cells are not part of this profile.")
    return Table("table2", "Table 2. Ablation of the modules.", frame_of(rows), notes)


def _matches(group: Group, adaptive: bool, mutual: bool, consistency: bool) -> bool:
    """Whether a group is one of the paper's five rows; the first, without any module, is the baseline."""
    if not adaptive:
        return group.method == "baseline" and not group.changed
    wanted = {name for name, kept in (("mutual", mutual), ("consistency", consistency)) if not kept}
    rest = {k: v for k, v in group.changed.items() if k != REPLACED}
    return group.method == "asm" and not rest and set(group.changed.get(REPLACED, [])) == wanted


def _measures(group: Group | None) -> dict:
    return {
        "ours": group and group.accuracy(),
        "net 1": group and group.network(0),
        "net 2": group and group.network(1),
        text.BEST: group and group.best(),
    }


def table_s1(grid: Grid) -> Table:
    """Fixed against adaptive thresholds from several initial values (supplement, Table 1)."""
    initial = PAPER_INITIAL | {k: v for k, v in grid.defaults.items() if k in PAPER_INITIAL}
    adaptive = grid.defaults.get(ADAPTIVE, True)

    def setting(group: Group) -> tuple[bool, float, float]:
        values = {ADAPTIVE: adaptive} | initial | group.changed
        return bool(values[ADAPTIVE]), float(values[NOISY]), float(values[CLEAN])

    published = {(r["adaptive"], r["init_noisy"], r["init_clean"]): r for r in paper()["s1"]}
    sections = _sections(grid, lambda g: _is_threshold_row(g) and bool(g.changed))
    members = [g for g in grid.groups() if _is_threshold_row(g) and (g.dataset, g.noise, g.init) in sections]
    settings = [*published, *sorted({setting(g) for g in members} - set(published))]
    many = len(_inits(grid)) > 1
    rows = []
    for wanted in settings:
        kind, noisy, clean = wanted
        row = {
            "[T_n, T_c] at the start": f"[{noisy:g}, {clean:g}]",
            "Thresholds": "adaptive" if kind else "fixed",
        }
        for section in sections:
            found = [g for g in members if (g.dataset, g.noise, g.init) == section and setting(g) == wanted]
            name = f"ours: {section[0]}, {text.noise_name(grid.noises[section[1]])}"
            group = found[0] if found else None
            name += f", {section[2]}" if many else ""
            row |= {name: group and group.accuracy(), f"{name}, {text.BEST}": group and group.best()}
        theirs = published.get(wanted, {})
        rows.append(row | {text.PAPER_COLUMNS[d]: theirs.get(d) for d in ("rafdb", "ferplus")})
    notes = ["Columns headed “paper” are the paper's published figures, without added noise."]
    if not sections:
        notes.insert(0, "Cells with other thresholds are not part of this profile.")
    title = "Supplement, Table 1. Fixed and adaptive thresholds."
    return Table("table_s1", title, frame_of(rows), notes)


def _last(values: list[float | None] | None) -> float | None:
    return values[-1] if values else None


def table_mining(grid: Grid) -> Table:
    """What the subsets of the last epoch hold, against the injected flips and the known truth."""
    mining: dict[str, Callable[[Details], float | None]] = {
        "noisy: precision %": lambda d: _last(d.mining.noisy_precision),
        "noisy: recall %": lambda d: _last(d.mining.noisy_recall),
        "noisy: F1 %": lambda d: _last(d.mining.noisy_f1),
    }
    for subset in SUBSETS:
        mining[f"{subset}: share of samples %"] = lambda d, s=subset: _last(getattr(d.curves, f"subset_{s}"))
    for subset in SUBSETS:
        mining[f"{subset}: wrong labels %"] = lambda d, s=subset: _last((d.mining.wrong_share or {}).get(s))
    plain: dict[str, Callable[[Details], float | None]] = {
        "AUROC of flipped": lambda d: d.mining.auroc_flipped,
        "ambiguous: precision": lambda d: d.mining.ambiguity and d.mining.ambiguity.precision,
        "ambiguous: recall": lambda d: d.mining.ambiguity and d.mining.ambiguity.recall,
        "ambiguous: AUROC": lambda d: d.mining.ambiguity and d.mining.ambiguity.auroc,
        "vote entropy: Spearman ρ": lambda d: d.mining.vote_entropy_spearman,
    }
    lead = ["Data set", "Noise", "Method", "Weights", "Changed"]
    rows = []
    for group in sorted(grid.groups(), key=lambda g: grid.ordered_noises().index(g.noise)):
        mined = any(d.mining for d in group.done)
        if not mined and group.method != "asm":
            continue
        row = _lead(grid, group) | {"Method": text.method_name(group.method), "Weights": group.init}
        row["Changed"] = text.changed_name(group.changed)
        for names, scale in ((mining, 100.0), (plain, 1.0)):
            for name, of in names.items():
                found = group.mean(lambda d, of=of: of(d) if d.mining else None, scale)
                row[name] = found and round(found.mean, 2)
        rows.append(row | {"seeds": len(group.done) or None})
    frame = frame_of(rows, [*lead, *mining, *plain, "seeds"])
    if frame["Weights"].nunique() < 2:
        frame = frame.drop(columns="Weights")
    empty = [c for c in frame.columns if c not in lead and frame[c].isna().all()]
    notes = [
        "Last epoch, mean over seeds. “noisy” against the labels that were really changed; “wrong labels”: "
        "the share of a subset's labels that were changed; AUROC of flipped: how well low confidence "
        "singles out changed labels. Without changed labels these are blank.",
        "“ambiguous” against the known blends (rendered faces); vote entropy: rank correlation of the "
        "networks' uncertainty with the entropy of the annotators' votes (FERPlus).",
    ]
    if empty:
        notes.append(f"Left out, since no cell has them: {', '.join(empty)}.")
    return Table("table_mining", "Sample mining.", frame.drop(columns=empty), notes)


def per_class(grid: Grid) -> pd.DataFrame:
    """Recall, precision and F1 (fractions, mean over seeds) per setting and class."""
    rows = []
    for group in grid.groups():
        scores = [s.model_dump() for d in group.done for s in d.test.per_class]
        if scores:
            lead = {
                "dataset": group.dataset,
                "noise": group.noise,
                "method": group.method,
                "init": group.init,
            }
            lead["changed"] = text.changed_name(group.changed)
            mean = pd.DataFrame(scores).groupby("name", sort=False).mean().reset_index(names="class")
            rows += [lead | row | {"seeds": len(group.done)} for row in mean.round(4).to_dict("records")]
    columns = [
        "dataset",
        "noise",
        "method",
        "init",
        "changed",
        "class",
        "recall",
        "precision",
        "f1",
        "support",
        "seeds",
    ]
    return pd.DataFrame(rows, columns=columns)


def per_cell(grid: Grid) -> pd.DataFrame:
    """Every scalar of every cell (fractions); a cell that was not evaluated has blanks."""
    rows = []
    for cell in grid.cells:
        row = cell.model_dump(exclude={"details", "changed"}) | {"changed": text.changed_name(cell.changed)}
        if cell.details is not None:
            on_test = cell.details.test
            names = ("balanced_accuracy", "macro_f1", "ece", "unambiguous_accuracy")
            row |= on_test.accuracy.model_dump() | {k: getattr(on_test, k) for k in names}
            row["valid_last5"] = on_test.valid_accuracy and on_test.valid_accuracy.last5
            row["realised_noise"] = cell.details.noise.realised
        rows.append(row)
    return pd.DataFrame(rows)


def build_all(grid: Grid) -> list[Table]:
    """All tables that have Markdown and LaTeX forms, in the order of the page."""
    builders = (table1, table1_networks, table2, table3, table_s1, table_mining)
    return [builder(grid) for builder in builders]


def write_all(grid: Path | dict, details_dir: Path, out: Path) -> list[Path]:
    """Writes every table as .md, .csv and .tex, and per_class.csv and cells.csv, into `out`.

    Returns the written files. Raises InputError where `cells.load` does.
    """
    loaded = load(grid, details_dir)
    settings = text.settings(loaded)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    files: dict[str, str] = {
        "per_class.csv": per_class(loaded).to_csv(index=False, lineterminator="\n"),
        "cells.csv": per_cell(loaded).to_csv(index=False, lineterminator="\n"),
    }
    for table in build_all(loaded):
        files[f"{table.name}.md"] = table.markdown(settings)
        files[f"{table.name}.tex"] = table.latex(settings)
        files[f"{table.name}.csv"] = table.numbers().to_csv(index=False, lineterminator="\n")
    for name, content in files.items():
        (out / name).write_text(content, encoding="utf-8", newline="\n")
    return [out / name for name in files]
