"""When mining helps: regimes that memorise more or fewer wrong labels, and in each the rules for the mining.

Every lead is over the baseline of the same regime, seeds paired.
"""

import json
from dataclasses import dataclass
from typing import Any

from asm.report import names
from asm.report.cells import CONTROL, Grid
from asm.report.estimates import Estimate, estimate
from asm.report.layout import Table, frame_of, without_blanks
from asm.report.results import NONE, Results, shown, without_warmup

ASM = "ASM as in the paper"


@dataclass(frozen=True)
class Row:
    """One regime on one data set at one noise: its baseline, the control, ASM and its rules by their names,
    all evaluated."""

    letter: str
    regime: str
    place: tuple[str, str, str]  # data set, noise, weights
    baseline: dict[str, Any]
    control: dict[str, Any] | None
    mining: dict[str, dict[str, Any]]

    @property
    def best(self) -> str | None:
        """The rule with the highest lead, None where none is above the baseline or there is no choice."""
        means = {name: row["lead"].mean for name, row in self.mining.items()}
        name = max(means, key=means.get) if len(means) > 1 else None
        return name if name and means[name] > 0 else None


def rows(results: Results) -> list[Row]:
    """Every regime with an evaluated baseline; none where the grid has one regime only."""
    found = []
    letters = {regime: chr(ord("A") + i) for i, regime in enumerate(results.regimes)}
    places = dict.fromkeys((r["dataset"], r["noise"], r["init"]) for r in results.rows())
    for dataset, noise, init in places:
        here = results.rows(lambda r, p=(dataset, noise, init): (r["dataset"], r["noise"], r["init"]) == p)
        for regime, letter in letters.items():
            plain = {r["regime"]: r for r in here if (r["method"], r["rule"]) == ("baseline", NONE)}
            base = plain.get(regime, plain.get(without_warmup(regime)))
            of = [r for r in here if r["regime"] == regime and r["lead"] is not None]
            control = next((r for r in of if r["method"] == CONTROL), None)
            mining = {names.changed(r["rule"]) or ASM: r for r in of if r["method"] == "asm"}
            if base is not None and base["fit"] and (mining or control):
                found.append(Row(letter, regime, (dataset, noise, init), base, control, mining))
    return found


def legend(grid: Grid, results: Results) -> str:
    """What the letters stand for."""
    parts = []
    for i, regime in enumerate(results.regimes):
        own = json.loads(regime)
        known = {key: getattr(grid, key.split(".")[1], None) for key in names.REGIMES}
        usual = [say(known[k]) for k, say in names.REGIMES.items() if known[k] is not None]
        words = names.changed(regime, names.REGIMES) if own else f"as in the settings ({', '.join(usual)})"
        parts.append(f"{chr(ord('A') + i)}: {words}")
    return f"Regimes: {'; '.join(parts)}. What a regime does not name is as in the settings."


def table_regimes(results: Results) -> Table:
    """A row per data set, noise and regime: the baseline, what it fits, ASM's mining, and the leads."""
    lines = []
    for row in rows(results):
        asm = row.mining.get(ASM)
        line = {"Data set": row.place[0], "Noise": names.noise(results.grid.noises[row.place[1]])}
        line |= {"Weights": row.place[2]} if len(results.grid.used_inits) > 1 else {}
        line |= {"Regime": row.letter, "baseline %": shown(row.baseline["accuracy"])}
        line |= {
            "it fits %": shown(row.baseline["fit"], 0),
            "T_c at the start": asm and shown(asm.get("clean_start"), 2),
        }
        line |= {"right labels called noisy %": asm and shown(asm.get("right_noisy"))}
        line |= {results.grid.title(CONTROL): row.control and row.control["lead"].shown(1)}
        for name, found in row.mining.items():
            lead = found["lead"].shown(1)
            line[name] = f"**{lead}**" if name == row.best else lead
        lines.append(line)
    notes = [
        legend(results.grid, results),
        "“It fits”: the share of its wrong labels that the baseline repeats, at 0 % noise of all labels. "
        "Then "
        "points over the baseline of the same regime, ± half of the 95 % interval over paired seeds; "
        "bold: the "
        "highest of ASM and its rules, where it is above the baseline.",
    ]
    return Table("table_regimes", "When mining helps, by regime", without_blanks(frame_of(lines)), notes)


def table_rules(results: Results) -> Table:
    """Each rule over all settings that it shares with ASM as in the paper, and what validation would choose;
    the best mean first."""
    found = rows(results)
    chosen = _chosen(found)
    lines = []
    for rule in dict.fromkeys(name for row in found for name in row.mining):
        here = [row for row in found if rule in row.mining]
        over = [r.mining[rule]["over_asm"] for r in here]
        leads, over = [r.mining[rule]["lead"] for r in here], [e for e in over if e]
        line: dict[str, Any] = {"Rule": rule, "settings": len(here)}
        line |= {"over ASM, mean": _mean(over), "lowest": _end(over, min), "highest": _end(over, max)}
        line |= {"above / below ASM in": f"{_count(over, 1)} / {_count(over, -1)}" if over else None}
        line |= {"lead, mean": _mean(leads), "lowest lead": _end(leads, min)}
        line |= {"above / below the baseline in": f"{_count(leads, 1)} / {_count(leads, -1)}"}
        lines.append(line | {"highest in": sum(row.best == rule for row in here)})
        lines[-1] |= {"chosen by validation in": chosen[rule]} if chosen else {}
    lines.sort(key=lambda line: -float(line["over ASM, mean"] or 0))
    notes = [
        "Points; a setting is a data set, a noise and a regime. Above, below: the 95 % interval over paired "
        "seeds does not hold 0; with one seed the sign alone.",
        "Chosen by the accuracy on the validation images, never the test images."
        if chosen
        else "Without validation images the best rule is read off the test set, which flatters it.",
    ]
    return Table(
        "table_rules", "The rules, over all regimes", without_blanks(frame_of(lines)), notes if lines else []
    )


def _mean(estimates: list[Estimate]) -> str | None:
    found = estimate([e.mean for e in estimates])
    return found and f"{found.mean:+.1f}"


def _end(estimates: list[Estimate], end: Any) -> str | None:
    return f"{end(e.mean for e in estimates):+.1f}" if estimates else None


def _count(estimates: list[Estimate], side: int) -> int:
    return sum(e.side == side for e in estimates)


def _chosen(found: list[Row]) -> dict[str, int]:
    """In how many settings each rule has the highest validation accuracy; empty where that is not known."""
    compared = [row for row in found if len(row.mining) > 1]
    counts = dict.fromkeys((name for row in found for name in row.mining), 0)
    for row in compared:
        valid = {name: setting["valid"] for name, setting in row.mining.items()}
        if None in valid.values():
            return {}
        counts[max(valid, key=lambda name: valid[name].mean)] += 1
    return counts if compared else {}


def findings(results: Results) -> list[str]:
    """The verdict: where ASM as in the paper leads and loses, and which rule holds everywhere."""
    found = [row for row in rows(results) if ASM in row.mining]
    if not found:
        return []
    lines = []
    sides = {side: [row for row in found if row.mining[ASM]["lead"].side == side] for side in (1, -1)}
    parts = []
    for side, words in ((1, "above"), (-1, "below")):
        if sides[side]:
            fits = _span([row.baseline["fit"].mean for row in sides[side]], ".0f")
            leads = _span([row.mining[ASM]["lead"].mean for row in sides[side]], "+.1f")
            parts.append(
                f"{words} the baseline in {len(sides[side])} ({leads} points), where that fits {fits} % "
                "of the labels"
            )
    total = f"In {len(found)} settings (data, noise, regime) ASM as in the paper is"
    lines.append(f"{total} {', and '.join(parts) or 'within chance of the baseline'}.")
    rules = [line for line in table_rules(results).frame.to_dict("records") if line["Rule"] != ASM]
    rules = [line for line in rules if line.get("over ASM, mean")]
    if rules:
        best = rules[0]
        lines.append(
            f"The best rule by its mean, {best['Rule']}, is {best['over ASM, mean']} points over ASM "
            f"({best['lowest']} to {best['highest']}, {best['settings']} settings), above / below it in "
            f"{best['above / below ASM in']}, above / below the baseline in "
            f"{best['above / below the baseline in']}."
        )
        holding = [line["Rule"] for line in rules if line["above / below ASM in"].endswith("/ 0")]
        lines.append(
            f"Never below ASM: {'; '.join(holding)}."
            if holding
            else "Every rule is below ASM in some setting."
        )
    return lines


def _span(values: list[float], spec: str) -> str:
    low, high = (f"{round(v, 1) + 0.0:{spec}}" for v in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
