"""ASM's own tables: its modules (Table 2) and its thresholds (supplement, Table 1)."""

from collections.abc import Callable

from asm.report import text
from asm.report.cells import PRINTED, Grid, Group, paper
from asm.report.layout import Table, frame_of

REPLACED = "losses.replace_with_ce"
ADAPTIVE, CLEAN, NOISY = "thresholds.adaptive", "thresholds.init_clean", "thresholds.init_noisy"
PAPER_INITIAL = {CLEAN: 0.8, NOISY: 0.2}
HYPERPARAMETERS = {"losses.beta": 0.65, "losses.omega": 0.6, "losses.gamma": 1.0}


def _is_threshold_row(group: Group) -> bool:
    return group.method == "asm" and set(group.changed) <= {ADAPTIVE, CLEAN, NOISY}


def is_hyperparameter_row(group: Group, key: str) -> bool:
    """Whether a group differs from the default ASM at most in this one hyper-parameter."""
    return group.method == "asm" and set(group.changed) <= {key}


def is_ablation_row(grid: Grid, group: Group) -> bool:
    """Whether a group belongs to Table 2: neither to the supplement's tables nor to that of the regimes,
    which also has the rules of this profile's own regime."""
    if not group.changed or grid.regimes or _is_threshold_row(group):
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
    label = f"{text.PAPER_COLUMNS['rafdb']}, no noise added"
    rows = []
    # Eq. 3 as printed alone makes no ablation where it stands in Tables 1 and 3
    elsewhere = PRINTED if grid.has_printed else None
    sections = _sections(grid, lambda group: is_ablation_row(grid, group) and group.changed != elsewhere)
    for section in sections or [None]:
        groups = [g for g in grid.groups() if section == (g.dataset, g.noise, g.init)]
        lead = {"Data set": None, "Noise": None}
        if section:
            lead = {"Data set": section[0], "Noise": text.noise_name(grid.noises[section[1]])}
            lead |= {"Weights": section[2]} if len(grid.used_inits) > 1 else {}
        printed = []
        for name, row in zip(names, paper()["table2"], strict=True):
            marks = (row["adaptive_threshold"], row["mutual"], row["consistency"])
            group = next((g for g in groups if _matches(g, *marks)), None)
            printed.append(group)
            rows.append(lead | {"Setting": name} | _marks(*marks) | _measures(group) | {label: row["rafdb"]})
        for group in groups:
            if not is_ablation_row(grid, group) or group in printed:
                continue
            name = f"{grid.title(group.method)}, {text.rule_name(group.changed)}"
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
    many = len(grid.used_inits) > 1
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
