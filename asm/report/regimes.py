"""When mining helps: regimes that memorise more or fewer wrong labels, and in each the rules for mining: ASM
with some keys changed, or a method of ours. Leads are over the baseline of the same regime, paired."""

from dataclasses import dataclass

from asm.report import names
from asm.report.cells import CONTROL
from asm.report.layout import Estimate, Table, frame_of, texts
from asm.report.results import MEASURES, NONE, Place, Results, Row, shown, without_warmup

ASM = "ASM as in the paper"


@dataclass(frozen=True)
class Regime:
    """One regime on one data set at one noise: its baseline, and by their names ASM and the rules (`mining`)
    and these with the control (`all`), evaluated."""

    letter: str
    regime: str
    place: Place
    baseline: Row
    mining: dict[str, Row]
    all: dict[str, Row]


def rows(results: Results) -> list[Regime]:
    """Every regime with an evaluated baseline; none where the grid has one regime only."""
    grid, found = results.grid, []
    for place in dict.fromkeys((r["dataset"], r["noise"], r["init"]) for r in results.rows()):
        here = results.rows(lambda r, p=place: (r["dataset"], r["noise"], r["init"]) == p)
        plain = {r["regime"]: r for r in here if (r["method"], r["rule"]) == ("baseline", NONE)}
        for letter, regime in _letters(results).items():
            base = plain.get(regime, plain.get(without_warmup(regime)))
            of = [r for r in here if r["regime"] == regime and r["accuracy_over_baseline"]]
            control = {names.method(grid, r): r for r in of if r["method"] == CONTROL}
            mining = {names.changed(r["rule"]) or ASM: r for r in of if r["method"] == "asm"}
            mining |= {names.method(grid, r): r for r in of if grid.methods[r["method"]].ours}
            if base is not None and base["fit"] and (mining or control):
                found.append(Regime(letter, regime, place, base, mining, control | mining))
    return found


def _letters(results: Results) -> dict[str, str]:
    return {chr(ord("A") + i): regime for i, regime in enumerate(results.regimes)}


def _legend(results: Results) -> str:
    """What the letters stand for."""
    known = {key: getattr(results.grid, key.split(".")[1], None) for key in texts()["regimes"]}
    usual = ", ".join(names.say("regimes", key, value) for key, value in known.items() if value is not None)
    words = {letter: names.changed(of, "regimes") for letter, of in _letters(results).items()}
    parts = [f"{letter}: {said or f'as in the settings ({usual})'}" for letter, said in words.items()]
    return f"Regimes: {'; '.join(parts)}. What a regime does not name is as in the settings."


def table_regimes(results: Results, measure: str = "accuracy", name: str = "table_regimes") -> Table:
    """A row for each data set, noise and regime: the baseline, what it fits, and the leads over it."""
    lines = []
    for row in rows(results):
        asm = row.mining.get(ASM, {})
        line = names.row_labels(results.grid, row.baseline, method_too=False)
        line |= {"Regime": row.letter, "baseline %": shown(row.baseline[measure])}
        line |= {"it fits %": shown(row.baseline["fit"], 0)}
        line |= {"T_c at the start": shown(asm.get("clean_start"), 2)} if measure == "accuracy" else {}
        line |= {"right labels called noisy %": shown(asm.get("right_noisy"))}
        lines.append(line | {name: r[f"{measure}_over_baseline"].shown(1) for name, r in row.all.items()})
    return Table(name, frame_of(lines))


def table_regimes_classes(results: Results) -> Table:
    """The same in mean class accuracy."""
    return table_regimes(results, "mean_class_accuracy", "table_regimes_classes")


def rules(results: Results) -> dict[str, list[Row]]:
    """The settings (data set, noise, regime) that each rule was run in. Those run in most come first, then
    those that add most to ASM's accuracy: only rules run in as many settings are to be compared."""
    found: dict[str, list[Row]] = {}
    for row in rows(results):
        for name, setting in row.mining.items():
            found.setdefault(name, []).append(setting)
    order = {name: (-len(of), -_mean(_over(of, "accuracy", "asm"))) for name, of in found.items()}
    return {name: found[name] for name in sorted(found, key=order.get)}


def _over(settings: list[Row], measure: str, method: str) -> list[Estimate]:
    return [above for row in settings if (above := row[f"{measure}_over_{method}"])]


def table_rules(results: Results) -> Table:
    """Each rule over all settings that it was run in, and how often validation would choose it."""
    chosen, lines = _chosen(rows(results)), []
    for name, of in rules(results).items():
        line = {"Rule": name, "settings": len(of)}
        for method, title in (("asm", "ASM"), ("baseline", "baseline")):
            for measure, words in MEASURES.items():
                line[f"− {title}: {words}"] = summed(_over(of, measure, method))
        lines.append(line | {"chosen by validation in": chosen.get(name)})
    return Table("table_rules", frame_of(lines), _legend(results))


def _mean(estimates: list[Estimate]) -> float:
    return sum(e.mean for e in estimates) / max(len(estimates), 1)


def summed(estimates: list[Estimate], form: str = "{:+.1f} ({:+.1f} to {:+.1f}), {} / {}") -> str | None:
    """Mean, range, and in how many settings above / below."""
    if not estimates:
        return None
    means = [e.mean for e in estimates]
    span = (round(v, 1) + 0.0 for v in (_mean(estimates), min(means), max(means)))
    return form.format(*span, *(sum(e.side == side for e in estimates) for side in (1, -1)))


def _chosen(found: list[Regime]) -> dict[str, int]:
    """In how many settings each rule has the highest validation accuracy; empty where that is not known."""
    counts = dict.fromkeys((name for row in found for name in row.mining), 0)
    compared = [row for row in found if len(row.mining) > 1]
    for row in compared:
        valid = {name: setting["valid"] for name, setting in row.mining.items()}
        if None in valid.values():
            return {}
        counts[max(valid, key=lambda name: valid[name].mean)] += 1
    return counts if compared else {}


def findings(results: Results) -> list[str]:
    """The verdict: over all settings, how ASM as in the paper and the rule that adds most to it stand."""
    made = rules(results)
    best = [name for name, of in made.items() if _over(of, "accuracy", "asm")][:1]
    compared = [(ASM, "baseline", "the baseline")] if ASM in made else []
    lines = []
    for name, method, words in [*compared, *((name, "asm", "ASM") for name in best)]:
        known = [
            summed(
                _over(made[name], measure, method),
                f"{{:+.1f}} points of {said} ({{:+.1f}} to {{:+.1f}}; above it in {{}}, below it in {{}})",
            )
            for measure, said in MEASURES.items()
        ]
        over = " and ".join(points for points in known if points)
        said = f"Over {len(made[name])} settings {name} differs from {words} by {over}"
        lines.append(f"{said} ([table](#table_rules)).")
    return lines
