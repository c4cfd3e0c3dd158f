"""Does "ambiguous" mean ambiguous, "noisy" wrong? ASM's mining beside its rivals: tables and sentences.

A row is one run, that of the setting's first seed; an interval is over its training images, not over seeds.
"""

from collections.abc import Callable, Iterator

import numpy as np
from matplotlib.figure import Figure

from asm.report import drawing, text
from asm.report.cells import Grid, Group
from asm.report.layout import Table, frame_of
from asm.scores.schema import AmbiguousFaces, Hits, Measured, Score, Scores, WrongLabels

ASM_SCORES = ("asm_subset", "asm_depth")
RIVALS = {
    "entropy": "entropy",
    "margin": "margin",
    "loss": "loss",
    "normalized_margin": "cleanlab, normalized margin",
    "confidence_weighted_entropy": "cleanlab, confidence-weighted entropy",
}
RULE = (
    "The rule of Eq. 1–6 is applied to the run's own mean probabilities after its last epoch, and so are the "
    "rivals; for the baseline, which does not mine, it shows what the rule makes of a network trained "
    "without it."
)
ONE_RUN = (
    "One run each, the first seed's, on the images that it was trained on; in brackets the 95 % bootstrap "
    "interval over these images."
)
SCORES = (
    "Entropy: of the mean prediction; margin: of its two largest probabilities; both ignore the label. Loss: "
    "of the given label, which ranks as cleanlab's self-confidence does."
)


def assessed(grid: Grid) -> list[tuple[Group, Scores]]:
    """Each setting with an assessment, and the run that stands for it."""
    found = []
    for group in text.by_place(grid):
        first = next((d for d in group.done if d.label_quality), None)
        if first is not None:
            found.append((group, first))
    return found


def table_subsets(grid: Grid) -> Table:
    """How ambiguous the images of each of ASM's subsets are."""
    rows = []
    for group, scores in assessed(grid):
        known = scores.label_quality.ambiguous
        if known is None:
            continue
        row = _lead(grid, group) | {"all: ambiguous %": 100 * known.share}
        total = sum(held.samples for held in known.by_subset.values())
        for name in drawing.SUBSET_COLOURS:
            held = known.by_subset[name]
            row[f"{name}: samples %"] = 100 * held.samples / total
            row[f"{name}: ambiguous %"] = None if held.ambiguous is None else 100 * held.ambiguous
            if known.truth == "votes":
                row[f"{name}: vote entropy"] = mean_entropy(known, name)
        rows.append(row | {"ambiguous subset: recall %": 100 * known.subset.recall})
    notes = [
        *_truth(grid),
        RULE,
        "Vote entropy: mean over the subset's images, in nats. One run each, the first seed's.",
    ]
    return Table("table_subsets", "Does “ambiguous” mean ambiguous? The subsets.", frame_of(rows), notes)


def table_ambiguous(grid: Grid) -> Table:
    """AUROC and rank correlation of ASM's scores and its rivals with known ambiguity."""
    rows = []
    names = {"asm_subset": "ASM, in the subset", "asm_depth": "ASM, depth in the band"} | RIVALS
    for group, scores in assessed(grid):
        known = scores.label_quality.ambiguous
        if known is None:
            continue
        rows.append(
            _lead(grid, group) | {"Measure": "AUROC"} | _cells(known.scores, names, lambda s: s.auroc)
        )
        if known.truth == "votes":
            measure = {"Measure": "rank correlation with the vote entropy"}
            rows.append(_lead(grid, group) | measure | _cells(known.scores, names, lambda s: s.spearman))
    notes = [
        *_truth(grid),
        "ASM, in the subset: 1 or 0; depth in the band: how far the confidence lies inside T_n to T_c; "
        "negative outside.",
        SCORES,
        RULE,
        ONE_RUN,
    ]
    return Table(
        "table_ambiguous", "Does “ambiguous” mean ambiguous? ASM and its rivals.", frame_of(rows), notes
    )


def table_wrong(grid: Grid) -> Table:
    """AUROC of ASM's scores and its rivals for wrong labels."""
    names = {"asm_subset": "ASM, in the subset", "asm_depth": "ASM, depth below T_n"} | RIVALS
    rows = [
        _lead(grid, group)
        | {"wrong labels %": 100 * known.share}
        | _cells(known.scores, names, lambda s: s.auroc)
        for group, known in _with_wrong(grid)
    ]
    notes = [
        "AUROC for the wrong labels, those that are not the true ones (“real labels”: not the majority of "
        "the votes).",
        "ASM, in the subset: 1 or 0; depth below T_n: how far the confidence lies below it.",
        SCORES,
        RULE,
        ONE_RUN,
    ]
    return Table("table_wrong", "Does “noisy” mean wrong? ASM and its rivals.", frame_of(rows), notes)


def table_wrong_sets(grid: Grid) -> Table:
    """Precision and recall of ASM's noisy subset, of as many samples by each rival, of cleanlab's list."""
    rows = []
    for group, known in _with_wrong(grid):
        sizes = {"wrong labels": round(known.share * known.samples), "noisy": known.subset.samples}
        same = {name: _precision_recall(known.scores[key].at_asm_size) for key, name in RIVALS.items()}
        listed = {"cleanlab's list": known.cleanlab.samples, "its P / R": _precision_recall(known.cleanlab)}
        rows.append(_lead(grid, group) | sizes | {"ASM": _precision_recall(known.subset)} | same | listed)
    notes = [
        "Precision / recall in percent: of ASM's noisy subset; of as many samples, those that each rival "
        "ranks highest; and of the list that cleanlab makes by itself (find_label_issues), of its own size.",
        "cleanlab expects probabilities of networks that have not seen a sample's label; these have.",
        RULE,
    ]
    return Table("table_wrong_sets", "Does “noisy” mean wrong? Precision / recall.", frame_of(rows), notes)


def findings(grid: Grid) -> list[str]:
    """For ASM as it is by default, per data set and noise: its subsets and the best rivals, in numbers."""
    lines = []
    for group, scores in assessed(grid):
        if group.method == "asm" and not group.changed:
            where, quality = text.place(grid, group), scores.label_quality
            lines += [_of_ambiguous(where, quality.ambiguous)] if quality.ambiguous else []
            lines += [_of_noisy(where, quality.wrong)] if quality.wrong else []
    return lines


def _of_ambiguous(where: str, known: AmbiguousFaces) -> str:
    shares = [f"{100 * known.share:.1f} % of all images"]
    for name, held in known.by_subset.items():
        if held.ambiguous is not None:
            shares.append(f"{100 * held.ambiguous:.1f} % of the {name} ones")
    judge = "their votes" if known.truth == "votes" else "construction"
    ranked = _ranked(known.scores, "depth inside its band")
    return f"“Ambiguous” ({where}): {text.joined(shares)} are ambiguous by {judge}. {ranked}"


def _of_noisy(where: str, known: WrongLabels) -> str:
    subset = known.subset
    called = f"ASM calls {100 * subset.samples / known.samples:.1f} % noisy"
    if subset.precision is not None:
        called += f", {100 * subset.precision:.1f} % of these are"
    rival = max(RIVALS, key=lambda name: known.scores[name].at_asm_size.recall)
    more = known.scores[rival].at_asm_size.recall - subset.recall
    return (
        f"“Noisy” ({where}): {100 * known.share:.1f} % of the labels are wrong; {called}, and it finds "
        f"{100 * subset.recall:.1f} % of the wrong ones. As many samples by the best rival, {RIVALS[rival]}, "
        f"{_compared(more)}. {_ranked(known.scores, 'depth below its threshold')}"
    )


def entropy_figure(grid: Grid) -> Figure | None:
    """Distribution of the vote entropy in ASM's subsets, as cumulative shares; a panel per setting;
    None without votes."""
    shown = [
        (group, scores.label_quality.ambiguous)
        for group, scores in assessed(grid)
        if group.method == "asm" and not group.changed and scores.label_quality.ambiguous
    ]
    shown = [(group, known) for group, known in shown if known.truth == "votes"]
    if not shown:
        return None
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = drawing.canvas(max(3.8 * columns + 0.6, 5.5), 3.5 * rows + 0.7)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    lines = {}
    for axes, (group, known) in zip(panels.flat, shown, strict=False):
        for name, held in known.by_subset.items():
            if held.samples:
                values = np.r_[0.0, held.vote_entropy]
                share = 100 * np.r_[0.0, np.cumsum(held.counts)] / held.samples
                style = {"where": "post", "color": drawing.SUBSET_COLOURS[name], "lw": 2}
                lines[name] = axes.step(values, share, **style)[0]
        axes.set_title(text.place(grid, group), fontsize=11)
        axes.set_ylim(0, 101)
    for axes in panels.flat[len(shown) :]:
        axes.set_visible(False)
    for axes in panels[:, 0]:
        axes.set_ylabel("share of the subset, %")
    for column in range(columns):
        lowest = max(row for row in range(rows) if row * columns + column < len(shown))
        panels[lowest, column].set_xlabel("entropy of the ten votes, nats")
        panels[lowest, column].tick_params(labelbottom=True)
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=3)
    return figure


def mean_entropy(known: AmbiguousFaces, subset: str) -> float | None:
    """Mean entropy of the votes in one subset, nats; None for an empty one."""
    held = known.by_subset[subset]
    return float(np.average(held.vote_entropy, weights=held.counts)) if held.samples else None


def _compared(difference: float) -> str:
    points = 100 * difference
    if abs(points) < 0.05:
        return "find as many"
    return f"find {abs(points):.1f} points {'more' if points > 0 else 'fewer'}"


def _ranked(scores: dict[str, Score], depth: str) -> str:
    """ASM's graded score against the best rival, by AUROC."""
    ours = scores["asm_depth"].auroc
    key = max(RIVALS, key=lambda name: scores[name].auroc[0])
    theirs = scores[key].auroc
    above = ours[0] > theirs[0]
    apart = ours[1] > theirs[2] if above else ours[2] < theirs[1]
    verdict = f"{'above' if above else 'below'} it, {'beyond' if apart else 'within'} the intervals"
    return (
        f"As a ranking, ASM's {depth} has AUROC {_interval(ours)}, the best rival, {RIVALS[key]}, "
        f"{_interval(theirs)}: ASM is {verdict}."
    )


def _lead(grid: Grid, group: Group) -> dict[str, str]:
    row = text.lead(grid, group)
    if group.changed:
        row["Method"] += f", {text.rule_name(group.changed)}"
    return row


def _with_wrong(grid: Grid) -> Iterator[tuple[Group, WrongLabels]]:
    for group, scores in assessed(grid):
        if scores.label_quality.wrong is not None:
            yield group, scores.label_quality.wrong


def _cells(
    scores: dict[str, Score], names: dict[str, str], of: Callable[[Score], Measured | None]
) -> dict[str, str | None]:
    return {name: _interval(of(scores[key])) for key, name in names.items()}


def _interval(measured: Measured | None) -> str | None:
    if measured is None or measured[0] is None:
        return None
    value, low, high = measured
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _precision_recall(hits: Hits) -> str:
    precision = "–" if hits.precision is None else f"{100 * hits.precision:.1f}"
    return f"{precision} / {100 * hits.recall:.1f}"


def _truth(grid: Grid) -> list[str]:
    kinds = {d.label_quality.ambiguous.truth for _, d in assessed(grid) if d.label_quality.ambiguous}
    said = {
        "votes": "Ambiguous by the annotators' votes: the two entries with most votes are at most two votes "
        "apart; of all ten votes, “unknown” and “no face” included.",
        "blends": "Ambiguous by construction: rendered blends of two expressions.",
    }
    return [said[kind] for kind in sorted(kinds)]
