"""The tables of what the networks learn of their labels, and of what the subsets of those that mine hold."""

from collections.abc import Callable

from asm.report import text
from asm.report.ablations import is_ablation_row
from asm.report.cells import Grid, Group, right_noisy
from asm.report.drawing import SUBSET_COLOURS
from asm.report.layout import Table, frame_of
from asm.scores.schema import Scores


def _last(values: list[float | None] | None) -> float | None:
    return values[-1] if values else None


def table_fit(grid: Grid) -> Table:
    """What each setting has learned of its right and wrong labels, and which right ones the mining leaves
    out; without the cells of the supplement's tables."""
    rows = []
    for group in text.by_place(grid):
        if not group.done or not (not group.changed or is_ablation_row(grid, group)):
            continue
        row = text.lead(grid, group)
        row["Method"] += f", {text.rule_name(group.changed)}" if group.changed else ""
        for name, of, scale in (
            ("fit of right labels %", lambda d: d.fit.right, 100.0),
            ("fit of wrong labels %", lambda d: d.fit.wrong, 100.0),
            ("T_c when mining starts", clean_threshold_start, 1.0),
            ("right labels called noisy %", right_noisy, 100.0),
        ):
            found = group.mean(of, scale)
            row[name] = found and round(found.mean, 2)
        rows.append(row | {"most of": most_affected(group), "seeds": len(group.done)})
    notes = [
        "Fit: share of the training samples whose most probable class after the last epoch is the given "
        "label, among right and among wrong ones; of wrong labels it is what was memorised.",
        "T_c: mean over the classes. Right labels called noisy: in the last epoch; “most of”: the class that "
        "loses most. Means over seeds.",
    ]
    return Table("table_fit", "Fit and mining.", frame_of(rows), notes)


def clean_threshold_start(scores: Scores) -> float | None:
    """Mean T_c in the first mined epoch; None without thresholds."""
    return scores.mining.clean_threshold_start if scores.mining else None


def most_affected(group: Group) -> str | None:
    """The class of which most right labels are called noisy, and how many, mean over seeds."""
    shares = {}
    for name in group.done[0].classes:
        found = group.mean(lambda d, n=name: d.mining and d.mining.right_noisy_by_class[n])
        if found is not None:
            shares[name] = found.mean
    if not shares:
        return None
    name = max(shares, key=shares.get)
    return f"{name} ({shares[name]:.1f} %)"


def table_mining(grid: Grid) -> Table:
    """What the subsets of the last epoch hold, against the wrong labels and the known blends."""
    mining: dict[str, Callable[[Scores], float | None]] = {
        "noisy: precision %": lambda d: _last(d.mining.noisy_precision),
        "noisy: recall %": lambda d: _last(d.mining.noisy_recall),
        "noisy: F1 %": lambda d: _last(d.mining.noisy_f1),
    }
    for subset in SUBSET_COLOURS:
        mining[f"{subset}: share of samples %"] = lambda d, s=subset: _last(getattr(d.curves, f"subset_{s}"))
    for subset in SUBSET_COLOURS:
        mining[f"{subset}: wrong labels %"] = lambda d, s=subset: _last(d.mining.wrong_share[s])
    plain: dict[str, Callable[[Scores], float | None]] = {
        "AUROC of wrong labels": lambda d: d.mining.auroc_wrong,
        "ambiguous: precision": lambda d: d.mining.ambiguity and d.mining.ambiguity.precision,
        "ambiguous: recall": lambda d: d.mining.ambiguity and d.mining.ambiguity.recall,
        "ambiguous: AUROC": lambda d: d.mining.ambiguity and d.mining.ambiguity.auroc,
        "vote entropy: Spearman ρ": lambda d: d.mining.vote_entropy_spearman,
    }
    rows = []
    for group in text.by_place(grid):
        mined = any(d.mining for d in group.done)
        if not mined and group.method != "asm":
            continue
        row = text.lead(grid, group) | {"Changed": text.changed_name(group.changed)}
        for names, scale in ((mining, 100.0), (plain, 1.0)):
            for name, of in names.items():
                found = group.mean(lambda d, of=of: of(d) if d.mining else None, scale)
                row[name] = found and round(found.mean, 2)
        rows.append(row | {"seeds": len(group.done) or None})
    frame = frame_of(rows)
    empty = [c for c in (*mining, *plain, "seeds") if c in frame and frame[c].isna().all()]
    notes = [
        "Last epoch, mean over seeds. “noisy” against the wrong labels, those that are not the true ones; "
        "“wrong labels”: their share of a subset's; AUROC of wrong labels: how well low confidence singles "
        "them out. Without wrong labels these are blank.",
        "“ambiguous” against the known blends (rendered faces); vote entropy: rank correlation of the "
        "networks' uncertainty with the entropy of the annotators' votes (FERPlus).",
    ]
    if empty:
        notes.append(f"Left out, since no cell has them: {', '.join(empty)}.")
    return Table("table_mining", "Sample mining.", frame.drop(columns=empty), notes)
