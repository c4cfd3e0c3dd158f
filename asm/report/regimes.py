"""When mining helps: regimes that memorise more or fewer wrong labels, and in each the rules for the mining.

Every lead is over the baseline of the same regime, seeds paired.
"""

import json
from dataclasses import dataclass
from typing import Any

from asm.report import names
from asm.report.cells import CONTROL, Grid
from asm.report.estimates import Estimate
from asm.report.layout import Table, frame_of, without_blanks
from asm.report.results import NONE, Results, difference, shown, without_warmup

ASM = "ASM as in the paper"
TABLES = {"regimes": "details.md#table_regimes", "suited": "#table_suited", "rules": "#table_rules"}  # links


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
        "“It fits”: the share of its wrong labels that the baseline repeats, at 0 % noise of all labels. "
        "Then points over the baseline of the same regime, ± half of the 95 % interval over paired seeds; "
        "bold: the highest of ASM and its rules, where it is above the baseline.",
    ]
    return Table("table_regimes", "When mining helps, by regime", without_blanks(frame_of(lines)), notes)


def suited(results: Results) -> dict[tuple[str, str, str], dict[str, tuple[str, dict[str, Any]]]]:
    """For each data set and noise where every regime has validation images: of the baseline, the control and
    ASM, by method, the letter and the setting with the highest validation accuracy."""
    found: dict[tuple[str, str, str], dict[str, list]] = {}
    for row in rows(results):
        own = row.baseline if row.baseline["regime"] == row.regime else None
        here = {"baseline": own, CONTROL: row.control, "asm": row.mining.get(ASM)}
        options = found.setdefault(row.place, {method: [] for method in here})
        for method, setting in here.items():
            options[method] += [(row.letter, setting)] if setting else []
    return {
        place: {method: max(of, key=lambda one: one[1]["valid"].mean) for method, of in options.items() if of}
        for place, options in found.items()
        if min(len(options["baseline"]), len(options["asm"])) > 1
        and all(setting["valid"] for of in options.values() for _, setting in of)
    }


def table_suited(results: Results) -> Table:
    """What mining is worth where nobody is held to one regime."""
    lines = []
    for (dataset, noise, init), best in suited(results).items():
        line = {"Data set": dataset, "Noise": names.noise(results.grid.noises[noise])}
        line |= {"Weights": init} if len(results.grid.used_inits) > 1 else {}
        for method, (letter, setting) in best.items():
            line[f"{results.grid.title(method)} %"] = f"{shown(setting['accuracy'])} ({letter})"
        for method, title in (("baseline", "baseline"), (CONTROL, "control")):
            lead = difference(results, best["asm"][1], best[method][1]) if method in best else None
            line[f"ASM − {title}"] = lead
        lines.append(line)
    notes = [
        "Test accuracy in the regime, in brackets (letters: above), with the highest accuracy on the "
        "validation images, which are labelled as the test images are; then points ± half of the 95 % "
        "interval over paired seeds. A network kept from memorising needs no mining for that: this is what "
        "ASM adds.",
    ]
    title = "Each in the regime that suits it"
    return Table("table_suited", title, without_blanks(frame_of(lines)), notes if lines else [])


@dataclass(frozen=True)
class Rule:
    """One rule over the settings (data set, noise, regime) that it was run in: how far it is above ASM as in
    the paper, and above the baseline, in each."""

    name: str
    over: list[Estimate]
    leads: list[Estimate]
    highest: int
    chosen: int | None  # by validation accuracy; None where that is not known

    @property
    def mean(self) -> float:
        """Over ASM, mean over the settings; 0 for ASM itself."""
        return sum(e.mean for e in self.over) / max(len(self.over), 1)


def rules(results: Results) -> list[Rule]:
    """Those run in most settings first, then by what they add to ASM: only rules run in as many settings are
    to be compared."""
    found = rows(results)
    chosen, made = _chosen(found), []
    for name in dict.fromkeys(name for row in found for name in row.mining):
        here = [row for row in found if name in row.mining]
        over = [e for row in here if (e := row.mining[name]["over_asm"])]
        leads, highest = [row.mining[name]["lead"] for row in here], sum(row.best == name for row in here)
        made.append(Rule(name, over, leads, highest, chosen.get(name)))
    return sorted(made, key=lambda rule: (-len(rule.leads), -rule.mean))


def table_rules(results: Results) -> Table:
    """Each rule over all settings that it was run in, and how often validation would choose it."""
    lines, made = [], rules(results)
    for rule in made:
        line: dict[str, Any] = {"Rule": rule.name, "settings": len(rule.leads)}
        line |= {"over ASM, points": _spread(rule.over), "above / below ASM in": _sides(rule.over)}
        line |= {"over the baseline, points": _spread(rule.leads)}
        line |= {"above / below the baseline in": _sides(rule.leads), "highest in": rule.highest}
        lines.append(line | {"chosen by validation in": rule.chosen})
    notes = [
        "Mean (lowest to highest) over the settings: data set, noise, regime; compare rules of as many "
        "settings. Above, below: the 95 % interval over paired seeds does not hold 0; with one seed the "
        "sign alone.",
        "Chosen: by accuracy on the validation images, never the test images."
        if any(rule.chosen is not None for rule in made)
        else "Without validation images the best rule is read off the test set, which flatters it.",
        legend(results.grid, results),
    ]
    return Table(
        "table_rules", "The rules, over all regimes", without_blanks(frame_of(lines)), notes if lines else []
    )


def _spread(estimates: list[Estimate]) -> str | None:
    if not estimates:
        return None
    means = [round(e.mean, 1) + 0.0 for e in estimates]
    mean = sum(e.mean for e in estimates) / len(estimates)
    return f"{round(mean, 1) + 0.0:+.1f} ({min(means):+.1f} to {max(means):+.1f})"


def _sides(estimates: list[Estimate]) -> str | None:
    return f"{_count(estimates, 1)} / {_count(estimates, -1)}" if estimates else None


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
    """The verdict, each sentence with its table: where ASM as in the paper leads and loses, what is left of
    its lead where nobody is held to one regime, and which rule holds everywhere."""
    found = [row for row in rows(results) if ASM in row.mining]
    if not found:
        return []
    lines, parts = [], []
    for side, words in ((1, "above"), (-1, "below")):
        if here := [row for row in found if row.mining[ASM]["lead"].side == side]:
            fits = _span([row.baseline["fit"].mean for row in here], ".0f")
            leads = _span([row.mining[ASM]["lead"].mean for row in here], "+.1f")
            above = f"{words} the baseline in {len(here)} ({leads} points)"
            parts.append(f"{above}, where that fits {fits} % of the labels")
    total = f"In {len(found)} settings (data, noise, regime) ASM as in the paper is"
    lines.append((f"{total} {', and '.join(parts) or 'within chance of the baseline'}.", "regimes"))
    leads = []
    for (dataset, noise, _), best in suited(results).items():
        if lead := difference(results, best["asm"][1], best["baseline"][1]):
            leads.append(f"{lead.shown(1)} ({dataset}, {names.noise(results.grid.noises[noise])})")
    if leads:
        said = f"ASM less the baseline, each in the regime that suits it: {names.joined(leads)} points."
        lines.append((said, "suited"))
    compared = [rule for rule in rules(results) if rule.over]
    if compared:
        best = compared[0]
        choice = "" if best.chosen is None else f"; validation chooses it in {best.chosen}"
        said = (
            f"The best of the rules run in most settings ({len(best.leads)}), {best.name}, is "
            f"{_spread(best.over)} points over ASM, above / below it in {_sides(best.over)}, the baseline "
            f"in {_sides(best.leads)}{choice}."
        )
        holding = [rule.name for rule in compared if not _count(rule.over, -1)]
        never = f"Never below ASM: {'; '.join(holding)}."
        lines += [
            (said, "rules"),
            (never if holding else "Every rule is below ASM in some setting.", "rules"),
        ]
    return [f"{said} ([table]({TABLES[table]}))" for said, table in lines]


def _span(values: list[float], spec: str) -> str:
    low, high = (f"{round(v, 1) + 0.0:{spec}}" for v in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
