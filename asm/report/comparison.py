"""Sentences that compare methods: with the baseline, with one another, and their order with the paper's.

A difference is taken over the seeds that both have; where methods are put in order, over all seeds, as the
order is, if those would turn it round. It is "within chance" where its 95 % interval
holds 0.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations, pairwise
from typing import Literal

from scipy.stats import kendalltau

from asm.report import text
from asm.report.cells import (
    CONTROL,
    ONE_SCHEDULE,
    PRINTED,
    DatasetInfo,
    Grid,
    Group,
    one_network,
    paper,
    right_noisy,
)
from asm.report.estimates import Points, estimate
from asm.scores.schema import NoiseKind

Level = tuple[float, dict[str, Group], dict[str, float]]  # noise rate, our groups, the paper's figures
Difference = tuple[str, Points]  # its words, ours


def _versus(points: float, other: str = "the baseline") -> str:
    if abs(points) < 0.05:
        return f"level with {other}"
    return f"{abs(points):.1f} points {'above' if points > 0 else 'below'} {other}"


def gaps(grid: Grid) -> list[str]:
    """One sentence per data set, weights and noise that has both methods: ASM against the baseline and, where
    it was run, the control, and what its mining leaves out."""
    lines = []
    for dataset in grid.datasets:
        for init in grid.used_inits:
            for key in grid.ordered_noises:
                found = (grid.group(dataset, key, m, init) for m in ("asm", "baseline", CONTROL))
                asm, base, control = (group if group and group.done else None for group in found)
                if asm is not None and base is not None:
                    where = _where(grid, dataset, init)
                    lines.append(_gap(asm, base, control, grid.noises[key], where))
    return lines


def _where(grid: Grid, dataset: str, init: str, schedule: str | None = None) -> str:
    parts = [dataset, *([init] if len(grid.used_inits) > 1 else [])]
    if schedule and len(grid.schedules) > 1:
        parts.append(f"schedule: {text.SCHEDULES[schedule]}")
    return ", ".join(parts)


def _at(noise: NoiseKind) -> str:
    if noise.kind == "original":
        return "On real labels"
    return "Without label noise" if noise.rate == 0 else f"At {text.noise_name(noise)} noise"


def _gap(asm: Group, base: Group, control: Group | None, noise: NoiseKind, where: str) -> str:
    ours, theirs = asm.by_seed(), base.by_seed()
    shared = ours.keys() & theirs.keys()
    ours, theirs = ({k: v for k, v in d.items() if k in shared or not shared} for d in (ours, theirs))
    a, b = estimate(list(ours.values())), estimate(list(theirs.values()))
    points = asm.minus(base)
    sentence = (
        f"{_at(noise)} ASM is {_versus(a.mean - b.mean)} ({where}: {a.mean:.1f} against {b.mean:.1f} %; "
        f"{_paired(points)})"
    )
    alone = estimate([v for seed, v in asm.by_seed(one_network).items() if seed in ours])
    lead = control and asm.minus(control)
    if lead:
        of_two = control.minus(base)
        gain = f"; that is itself {_versus(of_two.mean)}" if of_two else ""
        sentence += f" and {_versus(lead.mean, 'the control, two networks')} ({_paired(lead)}{gain})."
    elif alone is not None:
        sentence += f". One of its two networks alone: {alone.mean:.1f} %, {_versus(alone.mean - b.mean)}."
    else:
        sentence += "."
    lost = asm.mean(right_noisy)
    return f"{sentence} It calls {lost.mean:.1f} % of the right labels noisy." if lost else sentence


def _paired(points: Points | None) -> str:
    if points is None or not points.interval:
        return "no interval"
    return f"paired over {points.n} seeds, {points.interval} points"


def ranks(grid: Grid, noises: Iterable[str] | None = None) -> list[str]:
    """Where ASM stands among all methods on each data set, at these noises: without, at the highest rate and
    on real labels, unless some are named."""
    shown = [*grid.extremes, *grid.real] if noises is None else list(noises)
    lines = []
    for dataset in grid.datasets:
        for init in grid.used_inits:
            for noise in shown:
                methods = text.in_order(cell.method for cell in grid.cells if cell.method != CONTROL)
                found = {m: grid.group(dataset, noise, m, init) for m in methods}
                found = {m: g for m, g in found.items() if g is not None and g.done}
                if len(found) > 2 and "asm" in found:
                    where = f"{_at(grid.noises[noise])} ({_where(grid, dataset, init)})"
                    lines.append(_rank(grid, found, where))
    return lines


def _rank(grid: Grid, found: dict[str, Group], where: str) -> str:
    means = {m: round(g.accuracy().mean, 2) for m, g in found.items()}  # as the tables show them
    best_first = sorted(means, key=means.get, reverse=True)
    above = [m for m in best_first if means[m] > means["asm"]]
    sentence = f"{where} ASM ranks {len(above) + 1} of {len(found)} methods by mean accuracy"
    if above:
        higher = [(grid.title(m), _apart(found[m], found["asm"])) for m in above]
        return f"{sentence}; above it {_weighed(higher)}."
    following = next(m for m in best_first if m != "asm")
    lead = [(grid.title(following), _apart(found["asm"], found[following]))]
    return f"{sentence}; its lead over the next {_weighed(lead)}."


def _apart(a: Group, b: Group) -> Points:
    """How far `a` is above `b`, with the sign of the tables' order: over the seeds that both have; by the
    tables' means, without an interval, where these are too few, or say the opposite of the order."""
    shared, difference = a.minus(b), a.accuracy().mean - b.accuracy().mean
    same = a.by_seed().keys() == b.by_seed().keys()
    if same or (shared is not None and shared.interval and shared.mean * difference > 0):
        return shared
    return Points(difference, None, 0)


def _weighed(differences: Sequence[Difference]) -> str:
    """Differences sorted by what their intervals say."""
    kinds: dict[str, list[str]] = {"beyond chance": [], "within chance": [], "without an interval": []}
    for words, points in differences:
        if points.interval is None:
            seeds = "one seed" if points.n == 1 else "not the same seeds"
            kinds["without an interval"].append(f"{words} by {points.mean:.1f} points ({seeds})")
        else:
            kind = "beyond chance" if points.excludes_zero else "within chance"
            shown = f"{words} by {points.mean:.1f} points ({points.interval}, {points.n} seeds)"
            kinds[kind].append(shown)
    return "; ".join(f"{kind}: {', '.join(found)}" for kind, found in kinds.items() if found)


def leads(grid: Grid) -> list[str]:
    """Per data set that the paper has: ASM's lead over the baseline by noise rate, ours and the paper's."""
    lines = []
    for dataset in grid.datasets:
        for init in grid.used_inits:
            base, asm = (_beside(grid, dataset, method, init) for method in ONE_SCHEDULE)
            rates = [rate for rate in base if rate in asm]
            if rates:
                ours, theirs = ([asm[r][i] - base[r][i] for r in rates] for i in (0, 1))
                where = f"({_where(grid, dataset, init)}) at {_percent(rates)} noise"
                lines.append(
                    f"ASM's lead over the baseline {where}: ours {_joined(ours, '+.1f')} points, the paper's "
                    f"{_joined(theirs, '+.1f')}."
                )
    return lines


def levels(grid: Grid) -> list[str]:
    """Per data set that the paper has, for the baseline and ASM: our accuracies and the paper's at the noise
    rates that both have, and what the highest rate costs."""
    lines = []
    for dataset in grid.datasets:
        for init in grid.used_inits:
            for method in ONE_SCHEDULE:
                found = _beside(grid, dataset, method, init)
                if len(found) > 1:
                    ours, theirs = zip(*found.values(), strict=True)
                    name = grid.title(method)
                    lines.append(
                        f"{name} ({_where(grid, dataset, init)}) at {_percent(found)} noise: "
                        f"ours {_joined(ours)} %, the paper's {_joined(theirs)} %; from the least to "
                        f"the most of this noise ours loses {ours[0] - ours[-1]:.1f} points, the paper's "
                        f"{theirs[0] - theirs[-1]:.1f}."
                    )
    return lines


def _beside(grid: Grid, dataset: str, method: str, init: str) -> dict[float, tuple[float, float]]:
    """Noise rate -> our accuracy and the paper's, where both exist, percent."""
    found, column = {}, text.paper_column(grid.datasets[dataset])
    for key in grid.ordered_noises:
        group, rate = grid.group(dataset, key, method, init), grid.noises[key].rate
        printed = paper()["table1"][method].get(rate, {}).get(column)
        if group is not None and group.done and printed is not None:
            found[rate] = (group.accuracy().mean, printed)
    return found


def _percent(rates: Iterable[float]) -> str:
    return f"{text.joined([f'{100 * rate:.4g}' for rate in rates])} %"


def _joined(values: Iterable[float], spec: str = ".1f") -> str:
    return text.joined([f"{value:{spec}}" for value in values])


def weights(grid: Grid) -> list[str]:
    """What other initial weights change, for every setting that was run with several: the first of the grid
    against each other one."""
    first, *others = grid.used_inits
    lines = []
    for group in text.by_place(grid):
        if group.init != first or not group.done:
            continue
        for init in others:
            other = grid.group(*_setting(group), init, group.schedule, group.changed)
            if other is not None and (gain := group.minus(other)) is not None:
                name = text.reading_name(grid, group.method, group.changed)
                lines.append(
                    f"Weights {first} instead of {init}: {name} {_points(gain)} ({text.place(grid, group)})."
                )
    return lines


def readings(grid: Grid) -> list[str]:
    """Eq. 3 by the given label's probability against Eq. 3 as printed, for every setting that has both."""
    lines = []
    for group in text.by_place(grid):
        printed = grid.group(*_setting(group), group.init, group.schedule, PRINTED)
        if group.method == "asm" and not group.changed and printed is not None:
            gain = group.minus(printed)
            if gain is not None:
                where = text.place(grid, group)
                lines.append(
                    f"ASM by the given label instead of Eq. 3 as printed: {_points(gain)} ({where})."
                )
    return lines


def _setting(group: Group) -> tuple[str, str, str]:
    return group.dataset, group.noise, group.method


def _points(points: Points) -> str:
    interval = f"{points.interval}, {points.n} seeds" if points.interval else "one seed"
    return f"{points.mean:+.1f} points, {interval}"


def order(grid: Grid, table: Literal["table1", "table3"]) -> list[str]:
    """A paragraph per data set (and weights and schedule): our order of the methods, the paper's, Kendall's
    tau, and the pairs that stand the other way round. Only methods that both have; the data sets that the
    paper does not have are compared with its RAF-DB column."""
    paragraphs = []
    for dataset in grid.datasets:
        for init in grid.used_inits:
            for schedule in grid.schedules:
                column, levels = _levels(grid, dataset, init, schedule, table)
                if levels:
                    where = _where(grid, dataset, init, schedule)
                    paragraphs.append(_paragraph(grid, where, column, levels, grid.datasets[dataset]))
    return paragraphs


def _published(table: str) -> dict[float, dict[str, dict]]:
    """Noise rate -> method -> column -> the paper's accuracy."""
    rows = {m: row for m, row in paper()[table].items() if m != "protocol"}
    if table == "table3":
        return {0.0: rows}
    return {rate: {m: row[rate] for m, row in rows.items()} for rate in text.paper_rates()}


def _levels(grid: Grid, dataset: str, init: str, schedule: str, table: str) -> tuple[str, list[Level]]:
    column = text.paper_column(grid.datasets[dataset])
    published = _published(table)
    if not any(column in row for rows in published.values() for row in rows.values()):
        column = "rafdb"
    levels = []
    for key in grid.ordered_noises:
        noise = grid.noises[key]
        rows = published.get(noise.rate, {}) if noise.kind == "symmetric" else {}
        theirs = {m: row[column] for m, row in rows.items() if row.get(column) is not None}
        ours = {m: grid.counterpart(dataset, key, m, init, schedule) for m in theirs}
        ours = {m: g for m, g in ours.items() if g is not None and g.done}
        own = any(g.schedule == schedule and m not in ONE_SCHEDULE for m, g in ours.items())
        if len(ours) > 1 and (own or len(grid.schedules) == 1):
            levels.append((noise.rate, ours, {m: theirs[m] for m in ours}))
    return column, levels


def _ordered(grid: Grid, accuracy: dict[str, float]) -> str:
    best_first = sorted(accuracy, key=accuracy.get, reverse=True)
    parts = [grid.title(best_first[0])]
    for better, worse in pairwise(best_first):
        parts += [">" if accuracy[better] > accuracy[worse] else "=", grid.title(worse)]
    return " ".join(parts)


def _paragraph(grid: Grid, where: str, column: str, levels: list[Level], info: DatasetInfo) -> str:
    orders: dict[str, list[float]] = {}
    for rate, _, published in levels:
        orders.setdefault(_ordered(grid, published), []).append(rate)
    name = text.column_name(column)
    start = f"the paper's order on {name} is"
    if text.paper_column(info) != column:
        start = f"this table of the paper has no such data; its order on {name} stands in:"
    theirs = [f"{shown}{_rates(levels, at)}" for shown, at in orders.items()]
    found: dict[str, list[float]] = {}
    for rate, groups, published in levels:
        found.setdefault(_ours(grid, groups, published), []).append(rate)
    ours = [f"Ours{_rates(levels, at)} is {shown}." for shown, at in found.items()]
    return " ".join([f"Order on {where}: {start} {'; '.join(theirs)}.", *ours])


def _rates(levels: list[Level], rates: list[float]) -> str:
    """The words for some of the levels' rates; none for Table 3, which has one level, without noise."""
    shown = text.joined([f"{100 * rate:.4g}" for rate in rates])
    return "" if [level[0] for level in levels] == [0.0] else f" at {shown} % noise"


def _ours(grid: Grid, groups: dict[str, Group], theirs: dict[str, float]) -> str:
    """Our order at one noise and how it departs from the paper's."""
    ours = {m: round(g.accuracy().mean, 2) for m, g in groups.items()}  # as the table shows them
    pairs = list(combinations(sorted(theirs, key=theirs.get, reverse=True), 2))
    agreeing = [(a, b) for a, b in pairs if ours[a] > ours[b]]
    turned = [(b, a) for a, b in pairs if ours[a] < ours[b]]
    sentence = "the same" if len(agreeing) == len(pairs) else _ordered(grid, ours)
    if len(ours) > 2 and len(set(ours.values())) > 1:
        tau = kendalltau(list(ours.values()), list(theirs.values())).statistic
        found = [points for a, b in agreeing if (points := _apart(groups[a], groups[b])).interval]
        clear = sum(points.excludes_zero for points in found)
        chance = f"{clear} of them beyond chance" if found else "no intervals"
        sentence += (
            f" (Kendall's tau {tau:.2f}; {len(agreeing)} of {len(pairs)} pairs as in the paper, {chance})"
        )
    if not turned:
        return sentence
    words = [(f"{grid.title(a)} above {grid.title(b)}", _apart(groups[a], groups[b])) for a, b in turned]
    return f"{sentence}; the other way round {_weighed(words)}"
