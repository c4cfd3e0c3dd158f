"""When mining helps: regimes that memorise more or fewer wrong labels, and in each the rules for the mining.

A regime is what a cell changes of training and optimiser, a rule what it changes of ASM. Every lead is over
the baseline of the same regime, seeds paired.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asm.report import drawing, text
from asm.report.cells import CONTROL, Grid, Group, paper, right_noisy
from asm.report.estimates import Points
from asm.report.layout import Table, frame_of
from asm.report.mining import clean_threshold_start
from asm.scores.schema import Scores

TABLE, FIGURE = "table_regimes", "figR_regimes"
ASM = "ASM"
WARMUP = "training.warmup_epochs"
WORDS: dict[str, Callable[[Any], str]] = {  # how a regime's keys are printed, in this order
    "training.hidden": lambda v: f"{v} hidden units",
    "training.dropout": lambda v: f"dropout {v:g}",
    "training.epochs": lambda v: f"{v} epochs",
    WARMUP: lambda v: f"warm-up {v}",
    "optimizer.weight_decay": lambda v: f"weight decay {v:g}",
    "optimizer.lr_decay": lambda v: f"rate × {v:g} an epoch",
}
MEANT = (
    "Above, below: the 95 % interval over paired seeds does not hold 0; with one seed, the sign alone. "
    "Highest: by the mean."
)


@dataclass(frozen=True)
class Lead(Points):
    """Points over another group; `best`: the highest of its row."""

    best: bool = False

    def __str__(self) -> str:
        shown = f"{round(self.mean, 1) + 0.0:+.1f}" + ("" if self.half is None else f" ± {self.half:.1f}")
        return f"**{shown}**" if self.best else shown

    @property
    def side(self) -> int:
        """1 above and -1 below 0, 0 within chance; the sign where there is no interval."""
        if self.half is not None and not self.excludes_zero:
            return 0
        return (self.mean > 0) - (self.mean < 0)


def lead(group: Group, other: Group) -> Lead | None:
    """Of one group over another, over the seeds that both have."""
    found = group.minus(other)
    return found and Lead(found.mean, found.half, found.n)


def fitted(scores: Scores) -> float | None:
    """The share of a run's wrong labels that it repeats; of all labels where none is wrong."""
    return scores.fit.right if scores.noise.wrong == 0 else scores.fit.wrong


@dataclass(frozen=True)
class Row:
    """One regime on one data set at one noise: its baseline and, by their names, the control, ASM and its
    rules, all evaluated. The baseline of a regime that changes only ASM's warm-up is the one without."""

    letter: str
    regime: dict[str, Any]
    baseline: Group
    others: dict[str, Group]

    @property
    def place(self) -> tuple[str, str, str]:
        """Data set, noise, initial weights."""
        return self.baseline.dataset, self.baseline.noise, self.baseline.init

    @property
    def memorised(self) -> float:
        """`fitted` of the baseline in percent, mean over seeds."""
        return self.baseline.mean(fitted).mean

    @property
    def leads(self) -> dict[str, Lead]:
        """Over the baseline, by name."""
        return {name: found for name, g in self.others.items() if (found := lead(g, self.baseline))}

    @property
    def best(self) -> str | None:
        """The name of the highest lead of ASM and its rules, None if none is above the baseline or there is
        nothing to choose from."""
        means = {name: round(points.mean, 2) for name, points in self.mining.items()} if self.compares else {}
        name = max(means, key=means.get, default=None)
        return name if name is not None and means[name] > 0 else None

    @property
    def compares(self) -> bool:
        """Whether ASM or its rules are several here."""
        return len(self.mining) > 1

    @property
    def mining(self) -> dict[str, Lead]:
        """The leads without the control's."""
        return {name: points for name, points in self.leads.items() if self.others[name].method != CONTROL}


def rows(grid: Grid) -> list[Row]:
    """Every regime with an evaluated baseline, by data set, noise and weights; none without several."""
    lettered = [(chr(ord("A") + i), regime) for i, regime in enumerate(grid.regimes)]
    names = dict.fromkeys([grid.title(CONTROL), ASM] if lettered else [])
    names |= dict.fromkeys(name for group in grid.groups() if (name := _name(grid, group)))
    found = []
    for dataset in grid.datasets:
        for noise in grid.ordered_noises:
            for init in grid.used_inits:
                for letter, regime in lettered:
                    base = grid.group(dataset, noise, "baseline", init, changed=regime)
                    if base is None:  # the warm-up is nothing to the baseline
                        same = _without_warmup(regime)
                        base = grid.group(dataset, noise, "baseline", init, changed=same)
                    if base is None or base.mean(fitted) is None:
                        continue
                    place = (dataset, noise, init, base.schedule, regime)
                    here = {
                        _name(grid, g): g
                        for g in grid.groups()
                        if g.done and (g.dataset, g.noise, g.init, g.schedule, g.regime) == place
                    }
                    others = {name: here[name] for name in names if name in here}
                    found += [Row(letter, regime, base, others)] if others else []
    return found


def _name(grid: Grid, group: Group) -> str | None:
    """The column of the control, of ASM or of one of its rules; None for other methods."""
    if group.method == CONTROL and not group.rule:
        return grid.title(CONTROL)
    if group.method == "asm":
        return text.rule_name(group.rule) if group.rule else ASM
    return None


def legend(grid: Grid) -> str:
    """What the letters stand for."""
    varied = [key for key in WORDS if any(key in regime for regime in grid.regimes)]
    known = {key: getattr(grid, key.split(".")[1], None) for key in varied}  # the optimiser's are not
    of_profile = {key: value for key, value in known.items() if value is not None}
    parts = []
    for i, regime in enumerate(grid.regimes):
        words = [say(regime[key]) for key, say in WORDS.items() if key in regime]
        rest = {key: value for key, value in regime.items() if key not in WORDS}
        words += [text.changed_name(rest)] if rest else []
        if not regime:
            words = [f"as in the settings ({', '.join(WORDS[k](v) for k, v in of_profile.items())})"]
        parts.append(f"{chr(ord('A') + i)}: {', '.join(words)}")
    return f"Regimes: {'; '.join(parts)}. What a regime does not name is as in the settings."


def table_regimes(grid: Grid) -> Table:
    """A row per data set, noise and regime: the baseline, what it memorises, ASM's mining, and the leads."""
    found, lines = rows(grid), []
    for row in found:
        asm = row.others.get(ASM)
        start, lost = (asm and asm.mean(of, s) for of, s in ((clean_threshold_start, 1), (right_noisy, 100)))
        line = {"Data set": row.place[0], "Noise": text.noise_name(grid.noises[row.place[1]])}
        line |= {"Weights": row.place[2]} if len(grid.used_inits) > 1 else {}
        line |= {"Regime": row.letter, "baseline %": f"{row.baseline.accuracy().mean:.1f}"}
        line |= {"its fit of wrong (0 %: all) labels %": f"{row.memorised:.1f}"}
        line |= {"T_c at the start": start and f"{start.mean:.2f}"}
        line |= {"right labels called noisy %": lost and f"{lost.mean:.1f}"}
        lines.append(line | {n: replace(p, best=n == row.best) for n, p in row.leads.items()})
    notes = [
        legend(grid),
        "From the control on: points over the baseline of the same regime, ± half of the 95 % interval over "
        "paired seeds; bold: the highest of ASM and its rules, where it is above the baseline. T_c and right "
        "labels: ASM's, in the first mined and in the last epoch.",
    ]
    return Table(TABLE, "When mining helps. Leads over the baseline.", frame_of(lines), notes)


def findings(grid: Grid) -> list[str]:
    """Where ASM leads and loses, which rule is best where, and whether one is as good everywhere."""
    found = rows(grid)
    if not found:
        return []
    lines = [MEANT]
    for _, group in groupby(found, key=lambda row: row.place):
        lines.append(_of_place(grid, list(group)))
    lines += _everywhere(grid, found)
    compared = [row for row in found if row.compares]
    return [*lines, _chosen(compared)] if compared else lines


def _of_place(grid: Grid, found: list[Row]) -> str:
    noise = grid.noises[found[0].place[1]]
    of_what = "all labels" if noise.rate == 0 else "the wrong labels"
    parts = []
    for side, words in ((1, "above"), (-1, "below"), (0, "within chance of")):
        here = [row for row in found if ASM in row.leads and row.leads[ASM].side == side]
        if here:
            fit, points = (
                [v(row) for row in here] for v in (lambda r: r.memorised, lambda r: r.leads[ASM].mean)
            )
            parts.append(
                f"{words} the baseline in {_letters(here)}, where that fits {_span(fit, '.0f')} % of "
                f"{of_what} ({_span(points, '+.1f')} points)"
            )
    sentence = f"{text.place(grid, found[0].baseline)}: ASM as in the paper is {'; '.join(parts)}."
    best: dict[str | None, list[Row]] = {}
    for row in found:
        if row.compares:
            best.setdefault(row.best, []).append(row)
    named = [f"{name} in {_letters(at)}" for name, at in best.items() if name is not None]
    if None in best:
        named.append(f"none above the baseline in {_letters(best[None])}")
    return f"{sentence} Highest: {'; '.join(named)}." if named else sentence


def _everywhere(grid: Grid, found: list[Row]) -> list[str]:
    """Each rule beside ASM as in the paper, over all rows that have both."""
    rules = dict.fromkeys(name for row in found for name in row.mining if name != ASM)
    holds, fails = [], []
    for rule in rules:
        both = [row for row in found if rule in row.others and ASM in row.others]
        beside = [(row, p) for row in both if (p := lead(row.others[rule], row.others[ASM]))]
        if not beside:
            continue
        span = f"{_span([p.mean for _, p in beside], '+.1f')} points"
        below = [(p.mean, row) for row, p in beside if p.side < 0]
        if below:
            worst = min(below, key=lambda pair: pair[0])[1]
            where = f"{text.place(grid, worst.baseline)}, {worst.letter}"
            fails.append(f"{rule} ({span}; below in {len(below)} of {len(beside)}, most in {where})")
        else:
            above = sum(p.side > 0 for _, p in beside)
            holds.append(f"{rule} ({span}; above in {above} of {len(beside)})")
    lines = []
    if holds:
        lines.append(f"Nowhere below ASM as in the paper: {'; '.join(holds)}.")
    if fails:
        start = "Below ASM as in the paper somewhere"
        lines.append(f"{start}{'' if holds else ', as every rule is'}: {'; '.join(fails)}.")
    best = dict.fromkeys(row.best for row in found if row.compares)
    if rules and len(best) == 1 and None not in best:
        lines.append(f"{next(iter(best))} is the highest everywhere.")
    elif rules:
        lines.append("No rule is the highest everywhere.")
    return lines


def _chosen(found: list[Row]) -> str:
    """Which rule accuracy on the validation images would have chosen, and what that is worth on test."""

    def valid(group: Group) -> float | None:
        mean = group.mean(lambda d: d.test.valid_accuracy)
        return mean and mean.mean

    on_valid = [{name: valid(row.others[name]) for name in row.mining} for row in found]
    if any(value is None for values in on_valid for value in values.values()):
        return "Without validation images the best rule is read off the test set, which flatters it."
    pairs = [(row.mining, values) for row, values in zip(found, on_valid, strict=True)]
    lost = [max(p.mean for p in m.values()) - m[max(v, key=v.get)].mean for m, v in pairs]
    right = sum(points < 0.005 for points in lost)
    sentence = (
        f"Chosen by validation accuracy in each setting: the highest on test in {right} of {len(lost)}, at "
        f"most {max(lost):.1f} points below it."
    )
    common = [name for name in pairs[0][0] if all(name in values for _, values in pairs)]
    if ASM not in common or len(common) < 2:
        return sentence
    name = max(common, key=lambda n: np.mean([values[n] for _, values in pairs]))
    over = [mining[name].mean - mining[ASM].mean for mining, _ in pairs]
    beside = (
        ""
        if name == ASM
        else f", on test {_span(over, '+.1f')} points over ASM, {np.mean(over):+.1f} on average"
    )
    return f"{sentence} One for all settings, so chosen: {name}{beside}."


def _letters(found: Iterable[Row]) -> str:
    return text.joined([row.letter for row in found])


def _span(values: list[float], spec: str) -> str:
    low, high = (f"{round(v, 1) + 0.0:{spec}}" for v in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def figure(grid: Grid) -> Figure | None:
    """Leads over the baseline against what it memorises, a panel per data set and noise; None without
    regimes."""
    panels = [(place, list(found)) for place, found in groupby(rows(grid), key=lambda row: row.place)]
    names = dict.fromkeys(name for _, found in panels for row in found for name in row.leads)
    if not names:
        return None
    styles = _styles(grid, list(names))
    drawn = drawing.canvas(4.7 * len(panels) + 0.6, 6.2)
    for axes, (place, found) in zip(drawn.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels,
                                    strict=True):  # fmt: skip
        _panel(axes, grid, found, styles)
        axes.set_title(text.place(grid, found[0].baseline))
        noise = grid.noises[place[1]]
        axes.set_xlabel(f"{'all' if noise.rate == 0 else 'wrong'} labels that the baseline fits, %")
    drawn.axes[0].set_ylabel("lead over the baseline, points")
    handles = {
        label: h for axes in drawn.axes for h, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    ordered = [name for name in names if name in handles]
    printed = [
        n.replace("T_n", "$T_n$").replace("T_c", "$T_c$").replace("λ_max", "$λ_{max}$") for n in ordered
    ]
    drawn.legend(
        [handles[n] for n in ordered], printed, loc="outside lower center", ncols=min(4, len(ordered))
    )
    return drawn


def _styles(grid: Grid, names: list[str]) -> dict[str, dict[str, Any]]:
    colours = iter(np.resize([c for c in drawing.COLOURS if c != drawing.METHOD_COLOURS["asm"]], len(names)))
    marks = iter(np.resize(list("s^Dv<>P"), len(names)))
    known = {
        ASM: {"color": drawing.METHOD_COLOURS["asm"], "lw": 3.6, "marker": "o", "ms": 8, "zorder": 4},
        grid.title(CONTROL): {
            "color": drawing.METHOD_COLOURS["baseline"],
            "lw": 2,
            "ls": "--",
            "marker": "o",
        },
    }
    return {n: known.get(n) or {"color": next(colours), "lw": 1.6, "marker": next(marks)} for n in names}


def _panel(axes: Axes, grid: Grid, found: list[Row], styles: dict[str, dict[str, Any]]) -> None:
    # a regime that changes the warm-up alone has the baseline of another: it stands beside the line, hollow
    only_warmup = [
        row for row in found if _without_warmup(row.regime) in grid.regimes and WARMUP in row.regime
    ]
    width = max(np.ptp([row.memorised for row in found]), 1.0)
    for name, style in styles.items():
        line = sorted(
            (r for r in found if name in r.leads and r not in only_warmup), key=lambda r: r.memorised
        )
        aside = [row for row in only_warmup if name in row.leads]
        for shown, more, shift in (
            (line, {"label": name}, 0.0),
            (aside, {"ls": "", "mfc": "white", "label": None if line else name}, 0.025 * width),
        ):
            if shown:
                points = [row.leads[name] for row in shown]
                error = [np.nan if p.half is None else p.half for p in points]
                x = [row.memorised + shift for row in shown]
                axes.errorbar(x, [p.mean for p in points], error, elinewidth=0.9, **style | more)
    noise = grid.noises[found[0].place[1]]
    axes.axhline(0, color="#333333", lw=1)
    means = [p.mean for row in found for p in row.leads.values()]
    printed = _paper_leads(noise.rate) if noise.kind == "symmetric" else {}
    _label_paper(axes, printed, [*means, *printed.values(), 0.0])
    for row in found:
        place = (5, 17) if row in only_warmup else (0, 3)
        axes.annotate(row.letter, (row.memorised, 0), place, xycoords=axes.get_xaxis_transform(),
                      textcoords="offset points", ha="center", color="#555555", fontsize=11)  # fmt: skip
    axes.margins(x=0.08)


def _without_warmup(regime: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in regime.items() if key != WARMUP}


def _paper_leads(rate: float | None) -> dict[str, float]:
    """ASM's over the baseline in the paper's Table 1, by data set."""
    asm, base = (paper()["table1"][method].get(rate, {}) for method in ("asm", "baseline"))
    return {text.column_name(column): asm[column] - base[column] for column in asm}


def _label_paper(axes: Axes, printed: dict[str, float], values: list[float]) -> None:
    """Thin lines at the paper's leads, their names on the left, one above the other."""
    step, at = 0.05 * max(np.ptp(values), 1.0), -np.inf
    for name, value in sorted(printed.items(), key=lambda pair: pair[1]):
        axes.axhline(value, color=drawing.PAPER_COLOUR, lw=0.9, ls=":")
        at = max(value, at + step)
        axes.annotate(f"paper: {name} {value:+.1f}", (0.02, at), xycoords=axes.get_yaxis_transform(),
                      va="bottom", color=drawing.PAPER_COLOUR, fontsize=10)  # fmt: skip
