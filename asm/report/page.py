"""The page of a profile and its details: Markdown, and both as a site, from templates/ and the frames."""

import base64
import json
import re
from collections.abc import Callable
from functools import reduce
from pathlib import Path

import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt

from asm.report import details, names, regimes, tables
from asm.report.cells import CONTROL, ONE_SCHEDULE, paper
from asm.report.charts import VEGALITE, Charts
from asm.report.drawing import undrawable
from asm.report.layout import Table, frame_of
from asm.report.results import MEASURES, Focus, Results, Row, difference, published_lead

ON_PAGE = ("fig_recall", "fig1_tsne", "fig_mining")
PAPER_TABLES = ("table1", "table2", "table3", "table_s1")  # shown even without a cell of ours
IMAGE = re.compile(r'<p><img src="figures/([\w-]+)\.png" alt="[^"]*" /></p>')
LINKS = (  # between the two pages, which become links inside the one
    ('href="details.md#', 'href="#'),
    *(('href="details.md"', 'href="#details"'), ('href="README.md"', 'href="#top"')),
    ("<h2>Not run yet</h2>", '<h2 id="not-run-yet">Not run yet</h2>'),
)


def table_departures(results: Results) -> Table:
    """What differs from the paper."""
    rows = [row for row in settings(results) if row["in the paper"] not in (None, row["here"])]
    return Table("table_departures", frame_of(rows))


def table_settings(results: Results) -> Table:
    """Data, backbone, training, noise and versions."""
    return Table("table_settings", frame_of(settings(results), ["Setting", "here"]))


PAGE: tuple[Callable[[Results], Table], ...] = (
    *(tables.table1, tables.table1_classes, tables.table_leads, tables.table_rare, regimes.table_rules),
    *(tables.table2, tables.table3, details.table_found, table_departures),
)
DETAILS: tuple[Callable[[Results], Table], ...] = (
    *(table_settings, regimes.table_regimes, regimes.table_regimes_classes, details.table_accuracy),
    *(details.table_changes, tables.table_s1, details.table_mining, details.table_cost),
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
    context = {"grid": results.grid, "tables": built, "figures": figures, "on_page": on_page}
    context |= {"detailed": detailed, "verdict": verdict(results), "blank": results.blank}
    pages = (environment().get_template(name).render(context) for name in ("page.md", "details.md"))
    page, more = (re.sub(r"\n{3,}", "\n\n", text).strip() + "\n" for text in pages)
    return page, more


def site(results: Results, markdown: tuple[str, str], figures: Path, charts: Charts) -> str:
    """Both as one self-contained HTML file, with charts that answer to the mouse and tables to sort; the
    scripts are inlined. `charts` by the stem of their figure; the others are inlined from `figures`."""

    def shown(match: re.Match[str]) -> str:
        if match[1] in charts:
            return f'<div class="chart" id="{match[1]}"></div>'
        data = base64.b64encode((figures / f"{match[1]}.png").read_bytes()).decode()
        return f'<p><img class="figure" alt="" src="data:image/png;base64,{data}"></p>'

    to_html = MarkdownIt("commonmark", {"html": True}).enable("table").render
    html = (to_html(text) for text in markdown)
    first, more = (IMAGE.sub(shown, reduce(lambda t, link: t.replace(*link), LINKS, text)) for text in html)
    return environment().get_template("site.html").render(
        title=f"Results: {results.grid.profile}", page=first, details=more,
        scripts=_in_script(vl_convert.javascript_bundle(vl_version=VEGALITE)),
        specs=_in_script(json.dumps(charts, ensure_ascii=False, sort_keys=True)),
    )  # fmt: skip


def _in_script(text: str) -> str:
    """Without what would end the script's element; it can only stand in a string."""
    return re.sub("</(?=script)", r"<\\/", text, flags=re.IGNORECASE)


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


def _lead(results: Results, asm: Row, baseline: Row) -> str:
    parts = []
    for measure, words in MEASURES.items():
        lead = asm[f"{measure}_over_baseline"]
        by = f"{lead.mean:+.1f} points, {lead.interval}" if lead else "they share no seed"
        parts.append(f"{asm[measure].mean:.1f} % {words} (the baseline {baseline[measure].mean:.1f} %: {by})")
    dataset, noise = asm["dataset"], results.grid.noises[asm["noise"]]
    theirs = published_lead(results.grid.datasets[dataset].paper, noise)
    beside = f" In the paper ASM leads by {theirs:.1f} points of accuracy." if theirs else ""
    at = f"[{names.at(noise).capitalize()}](#lead-{dataset}-{asm['noise']}) ({dataset})"
    return f"{at} ASM reaches {' and '.join(parts)}.{beside}"


def _rare(results: Results, focus: Focus) -> list[str]:
    parts = [
        f"{tables.recalled(focus.asm, name).mean():.1f} of {size} test images of {name} (the baseline "
        f"{tables.recalled(focus.baseline, name).mean():.1f})"
        for name, size in reversed(tables.rarest(focus.asm).items())
    ]
    at = names.at(results.grid.noises[focus.noise]).capitalize()
    return [f"{at} ASM recognises {names.joined(parts)} ([table](#table_rare))."] if parts else []


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
        other = f"{results.grid.title(best)}, {'the next' if rank == 1 else 'the first'}"
        beside = f"{other}, differs from it by {over[best].mean:+.1f} points, {over[best].interval}"
        parts.append(f"number {rank} in {words} ({beside})")
    at, link = names.at(results.grid.noises[focus.noise]), f"(#table1-{focus.dataset}-asm)"
    return [f"{at.capitalize()} ASM is, [of {len(over) + 1} methods]{link}, {' and '.join(parts)}."]


def settings(results: Results) -> list[Row]:
    """A row for each setting: what it is here, and in the paper where the paper says it or lacks it."""
    grid, done, given = results.grid, results.done, {}
    methods = names.in_order(cell.method for cell in grid.cells)
    for scores in [scores for row in results.rows() for scores in row["scores"] if scores.noise.wrong]:
        given.setdefault(f"{scores.dataset}, {names.noise(scores.noise)}", []).append(scores.noise)
    versions = (", ".join(f"{key} {value}" for key, value in s.versions.items()) for s in done)
    used = {cell.noise for cell in grid.cells}
    context = {
        "grid": grid, "paper": paper(), "seen": {s.dataset: s for s in done}, "undrawable": undrawable,
        "noises": [names.noise(grid.noises[name]) for name in grid.ordered_noises if name in used],
        "paper_noises": [names.percent(rate) for rate in (0, *paper()["table1"]["asm"])],
        "given": given,
        "methods": methods, "told": [m for m in methods if grid.methods[m].told_noise_rate],
        "missing": [title for method, title in paper()["methods"].items() if method not in methods],
        "single": sum(row["n"] == 1 for row in results.rows()), "settings": len(results.rows()),
        "blank": results.blank, "versions": list(dict.fromkeys(versions)),
    }  # fmt: skip
    templates = environment()
    templates.filters |= {"title": grid.title, "about": lambda init: grid.inits[init]["about"]}
    lines = templates.get_template("settings.txt").render(context).splitlines()
    rows = []
    for line in filter(str.strip, lines):
        name, here, theirs = (part.strip() for part in f"{line}¦".split("¦")[:3])
        if here:
            beside = paper()["setting"].get(name, theirs)
            rows.append({"Setting": name, "here": here, "in the paper": str(beside) or None})
    return rows
