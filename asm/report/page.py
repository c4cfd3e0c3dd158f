"""The page of a profile and its details: Markdown, from templates/ and the results' frames."""

import re
from collections.abc import Callable, Iterable

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from asm.report import details, label_quality, names, regimes, tables
from asm.report.cells import CONTROL, ONE_SCHEDULE, paper
from asm.report.glyphs import undrawable
from asm.report.layout import Table, frame_of
from asm.report.results import MEASURES, Focus, Results, Row, difference, published_lead

ON_PAGE = ("fig_recall", "fig1_tsne", "fig_mining")
PAPER_TABLES = ("table1", "table2", "table3", "table_s1")  # shown even without a cell of ours


def table_departures(results: Results) -> Table:
    """What differs from the paper."""
    rows = [row for row in settings(results) if row["in the paper"] not in (None, row["here"])]
    return Table("table_departures", frame_of(rows))


def table_settings(results: Results) -> Table:
    """Data, backbone, training, noise and versions."""
    return Table("table_settings", frame_of(settings(results), ["Setting", "here"]))


PAGE: tuple[Callable[[Results], Table], ...] = (
    *(tables.table1, tables.table1_classes, tables.table_leads, tables.table_rare, regimes.table_rules),
    *(regimes.table_suited, tables.table2, tables.table3, label_quality.table_found, table_departures),
)
DETAILS: tuple[Callable[[Results], Table], ...] = (
    *(table_settings, regimes.table_regimes, regimes.table_regimes_classes, details.table_accuracy),
    *(details.table_changes, tables.table_s1, details.table_mining, details.table_cost),
    label_quality.table_rivals,
)


def build(results: Results) -> dict[str, Table]:
    """All tables by name, those of the page first; of the empty ones only the paper's."""
    made = [make(results) for make in (*PAGE, *DETAILS)]
    return {table.name: table for table in made if len(table.frame) or table.name in PAPER_TABLES}


def render(results: Results, built: dict[str, Table], figures: dict[str, str]) -> tuple[str, str]:
    """The page and its details as Markdown; `figures`: caption of each stem in figures/."""
    detailed = [built[make.__name__] for make in DETAILS if make.__name__ in built]
    first = "figR_regimes" if "figR_regimes" in figures else "fig_accuracy"
    on_page = [stem for of in (first, *ON_PAGE) for stem in figures if stem.startswith(of)]
    context = {
        "grid": results.grid,
        "tables": built,
        "figures": figures,
        "on_page": on_page,
        "detailed": detailed,
    }
    context |= {"verdict": verdict(results), "blank": blank(results)}
    pages = (environment().get_template(name).render(context) for name in ("page.md", "details.md"))
    page, more = (re.sub(r"\n{3,}", "\n\n", text).strip() + "\n" for text in pages)
    return page, more


def environment() -> Environment:
    """The templates'; an unknown name in one is an error."""
    loader = PackageLoader("asm.report")
    return Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def verdict(results: Results) -> list[str]:
    """A few sentences, in accuracy and in mean class accuracy: ASM beside the baseline, what it does to rare
    classes, its rank; or what the regimes tell."""
    found = [focus for focus in results.focuses if focus.baseline]
    if not found:
        return ["ASM and the baseline have not been run on the same data yet."]
    lines = [_lead(results, focus.asm, focus.baseline) for focus in found[:1]]
    if told := regimes.findings(results):
        return [*lines, *told]
    first = found[0]
    where = {"dataset": first.dataset, "init": first.init, "noise": results.grid.ordered_noises[0]}
    clean = {row["method"]: row for row in results.default_rows(**where)}
    if first.noise != where["noise"] and {"asm", "baseline"} <= set(clean):
        lines.append(_lead(results, clean["asm"], clean["baseline"]))
    lines += [_lead(results, focus.asm, focus.baseline) for focus in found[1:2]]
    return [*lines, *_rare(results, first), *_rank(results, first)]


def _at(results: Results, row: Row) -> str:
    said = names.at(results.grid.noises[row["noise"]])
    return f"[{said[0].upper()}{said[1:]}](#lead-{row['dataset']}-{row['noise']}) ({row['dataset']})"


def _lead(results: Results, asm: Row, baseline: Row) -> str:
    parts = []
    for measure, words in MEASURES.items():
        lead = asm[f"{measure}_over_baseline"]
        by = f"{lead.mean:+.1f} points ({lead.interval})" if lead else "they share no seed"
        parts.append(f"{asm[measure].mean:.1f} % {words}, the baseline {baseline[measure].mean:.1f} %: {by}")
    column = results.grid.datasets[asm["dataset"]].paper
    theirs = published_lead(column, results.grid.noises[asm["noise"]])
    beside = f" The paper's lead in accuracy is {theirs:+.1f}." if theirs else ""
    return f"{_at(results, asm)} ASM reaches {'; and '.join(parts)}.{beside}"


def _rare(results: Results, focus: Focus) -> list[str]:
    parts = [
        f"{tables.recalled(focus.asm, name).mean():.1f} of {size} {name} (the baseline "
        f"{tables.recalled(focus.baseline, name).mean():.1f})"
        for name, size in reversed(tables.rarest(focus.asm).items())
    ]
    at = names.at(results.grid.noises[focus.noise])
    return [f"ASM recognises {names.joined(parts)} {at} ([table](#table_rare))."] if parts else []


def _rank(results: Results, focus: Focus) -> list[str]:
    """Where ASM stands among the methods of its schedule, over the seeds that two methods share."""
    here = results.default_rows(dataset=focus.dataset, noise=focus.noise, init=focus.init)
    others = [row for row in here if row["method"] not in ("asm", CONTROL)]
    own = [row for row in others if row["schedule"] == focus.asm["schedule"] or row["method"] in ONE_SCHEDULE]
    parts = []
    for measure, words in MEASURES.items():
        over = {r["method"]: e for r in own if (e := difference(results, r, focus.asm, measure))}
        if len(over) < 2:
            return []
        rank = 1 + sum(round(e.mean, 2) > 0 for e in over.values())
        best = max(over, key=lambda method: over[method].mean)
        beside = f"{'the next' if rank == 1 else 'the first'}, {results.grid.title(best)},"
        parts.append(
            f"number {rank} in {words} ({beside} less ASM {over[best].mean:+.1f}: {over[best].interval})"
        )
    at, link = names.at(results.grid.noises[focus.noise]), f"(#table1-{focus.dataset}-asm)"
    return [f"[Of {len(over) + 1} methods]{link} {at} ASM is {' and '.join(parts)}."]


def blank(results: Results) -> list[str]:
    """The cells that were not evaluated."""
    return [cell.cell for cell in results.grid.cells if cell.scores is None]


def _listed(values: Iterable[object]) -> str:
    return ", ".join(dict.fromkeys(map(str, values)))


def settings(results: Results) -> list[Row]:
    """A row for each setting: what it is here, and in the paper where the paper says it or lacks it."""
    grid, done, theirs = results.grid, results.done, paper()["setting"]
    found = _data(results)
    weights = dict.fromkeys(grid.inits[init].about for init in grid.used_inits)
    averaged = max((s.test.averaged_epochs for s in done), default=5)
    words = {"fair": "ASM's for every method", "published": "each method's own paper's"}
    run = names.in_order(cell.method for cell in grid.cells)
    missing = [title for method, title in paper()["methods"].items() if method not in run]
    told = [grid.title(method) for method in run if grid.methods[method].told_noise_rate]
    heads = f"heads of {grid.hidden} hidden units on the frozen features"
    single, unrun = sum(row["n"] == 1 for row in results.rows()), len(blank(results))
    found |= {
        "methods": (_listed(grid.title(method) for method in run), missing and f"also {_listed(missing)}"),
        "told the noise rate": (_listed(told), told and "none"),
        "trained": (heads if grid.input == "features" else "all layers", None),
        "initial weights": (_listed(weights), None),
        "backbone": (grid.backbone, None),
        # the width of another backbone is no narrower or wider one
        "width": (grid.width if grid.backbone == theirs["backbone"] else "", None),
        "image size": (f"{grid.image_size} px", None),
        "epochs": (grid.epochs, None),
        "warm-up epochs": (grid.warmup_epochs, None),
        "batch size": (grid.batch_size, None),
        "precision": (grid.precision, None),
        "dropout": (grid.dropout or "", None),
        "headline": (f"mean of the last {averaged} epochs", None),
        "schedule": (_listed(words[name] for name in grid.schedules), "not said"),
        "seeds": (_listed(sorted({cell.seed for cell in grid.cells})), None),
        "settings with one seed": (
            f"{single} of {len(results.rows())}: may be chance" if single else "",
            "not said",
        ),
        "not run yet": (
            unrun and f"{unrun} of {len(grid.cells)} cells ([which](details.md#not-run-yet))",
            "–",
        ),
        "versions": (
            "; ".join(dict.fromkeys(_listed(f"{k} {v}" for k, v in s.versions.items()) for s in done)),
            None,
        ),
    }
    return [
        {"Setting": name, "here": str(here), "in the paper": str(theirs.get(name, beside) or "") or None}
        for name, (here, beside) in found.items()
        if here
    ]


def _data(results: Results) -> dict[str, tuple[str, str | None]]:
    """The data sets, their faces and class names, the noises and the wrong labels."""
    grid, seen = results.grid, {s.dataset: s for s in results.done}
    columns, found = _listed(paper()["columns"].values()), {}
    for name, info in grid.datasets.items():
        here = info.title
        if s := seen.get(name):
            here += "" if "classes" in here else f", {len(s.classes)} classes"
            here += f", {s.faces.images:,} images, {s.test.images:,} of them test"
            share = s.faces.fallback_share
            here += (
                f"; {100 * share:.1f} % without a detected face (the whole frame is used)" if share else ""
            )
            here += f"; {s.faces.unreadable:,} more unreadable" if s.faces.unreadable else ""
            here += f"; {s.faces.corrected:,} labels corrected by a review" if s.faces.corrected else ""
        found[f"data: {name}"] = (here, None if info.paper else columns)
        unwritten = undrawable(s.classes) if s else []
        numbered = _listed(f"{c} = class {s.classes.index(c) + 1}" for c in unwritten)
        found[f"names that no font of the figures has: {name}"] = (numbered, None)
    ours = [
        names.noise(grid.noises[noise])
        for noise in grid.ordered_noises
        if any(c.noise == noise for c in grid.cells)
    ]
    theirs = [names.percent(rate) for rate in (0, *paper()["table1"]["asm"])]
    found["label noise"] = (_listed(ours), None if set(theirs) <= set(ours) else _listed(theirs))
    for dataset in grid.datasets:
        for noise in grid.ordered_noises:
            cells = [c for c in grid.cells if (c.dataset, c.noise) == (dataset, noise) and c.scores]
            given = [c.scores.noise for c in cells]
            if given and given[0].wrong:
                share = f"{100 * np.mean([labels.realised for labels in given]):.1f} %"
                left_out = f", {given[0].excluded:,} images left out" if given[0].excluded else ""
                found[f"wrong labels: {dataset}, {names.noise(given[0])}"] = (share + left_out, None)
    return found
