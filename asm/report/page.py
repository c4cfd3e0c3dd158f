"""The page of a profile and its details: Markdown, from templates/ and the results' frames."""

import math
import re
from collections.abc import Callable

from jinja2 import Environment, PackageLoader, StrictUndefined

from asm.report import details, label_quality, names, regimes, tables
from asm.report.cells import CONTROL, ONE_SCHEDULE, paper
from asm.report.glyphs import undrawable
from asm.report.layout import Table
from asm.report.results import NONE, Focus, Results, difference

Builder = Callable[[Results], Table]
PAPER_TABLES = ("table1", "table2", "table3", "table_s1")  # shown even without a cell of ours
PAGE: dict[str, Builder] = {
    build.__name__: build
    for build in (
        *(tables.table1, tables.table_leads, tables.table2, tables.table3, tables.table_found),
        *(regimes.table_rules, regimes.table_suited),
    )
}
DETAILS: dict[str, Builder] = {
    build.__name__: build
    for build in (
        *(
            regimes.table_regimes,
            details.table_accuracy,
            details.table_order,
            details.table_changes,
            details.table_weights,
        ),
        *(tables.table_s1, details.table_fit, details.table_mining, details.table_cost),
        *(label_quality.table_subsets, label_quality.table_ambiguous),
        *(label_quality.table_wrong, label_quality.table_wrong_sets),
    )
}
PAPER_SETTING = {"backbone": "resnet18", "width": 64, "image_size": 224, "epochs": 100, "batch_size": 128}
WEIGHTS = {
    "synthetic": "pre-training on the action units of rendered faces, not the analogue of the paper's "
    "pre-training on MS-Celeb-1M",
    "dlib": "dlib's face-recognition network (CC0; 3 million faces of 7,485 people), the analogue of the "
    "paper's pre-training on MS-Celeb-1M, not those weights",
    "none": "random; the paper starts from MS-Celeb-1M weights",
    "imagenet": "ImageNet pre-training; the paper starts from MS-Celeb-1M weights",
    "msceleb": "MS-Celeb-1M, from the user's file",
}
ON_PAGE = ("fig_accuracy", "figR_regimes", "fig1_tsne", "fig_mining")


def build(results: Results) -> dict[str, Table]:
    """All tables by name, those of the page first; of the empty ones only the paper's."""
    built = {name: make(results) for name, make in (PAGE | DETAILS).items()}
    return {name: table for name, table in built.items() if len(table.frame) or name in PAPER_TABLES}


def render(results: Results, built: dict[str, Table], figures: dict[str, str]) -> tuple[str, str]:
    """The page and its details as Markdown; `figures`: caption of each stem in figures/."""
    context = {
        "results": results, "grid": results.grid, "tables": built, "figures": figures, "on_page": ON_PAGE,
        "detailed": [built[name] for name in DETAILS if name in built],
        "verdict": verdict(results), "departures": departures(results), "settings": settings(results),
        "blank": blank(results),
    }  # fmt: skip
    pages = (environment().get_template(name).render(context) for name in ("page.md", "details.md"))
    page, more = (re.sub(r"\n{3,}", "\n\n", text).strip() + "\n" for text in pages)
    return page, more


def environment() -> Environment:
    """Of the templates; an unknown name in one is an error."""
    return Environment(
        loader=PackageLoader("asm.report"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def verdict(results: Results) -> list[str]:
    """At most five sentences: ASM's lead, its course over the noises, what two networks gain, its rank; or
    what the regimes tell. Each links to the row that it rests on."""
    found = results.focuses
    main = next((f for f in found if f.baseline), None)
    if main is None:
        return ["ASM and the baseline have not been run on the same data yet."]
    lines = [_lead(results, main)]
    if told := regimes.findings(results):
        return [*lines, *told]
    lines += _course(results, main)
    lines += [_lead(results, focus) for focus in found if focus is not main and focus.baseline][:1]
    lines += _control(results, main)
    return [*lines[:4], *_rank(results, main)]


def _lead(results: Results, focus: Focus) -> str:
    lead, kind = focus.asm["lead"], results.grid.noises[focus.noise]
    link = f"(#{tables.anchor('lead', focus.dataset, focus.noise)})"
    where = names.at(kind)
    start = f"[{where[0].upper()}{where[1:]}]{link} ({focus.dataset}) ASM reaches "
    reached = f"{focus.asm['accuracy'].mean:.1f} %, the baseline {focus.baseline['accuracy'].mean:.1f} %"
    if lead is None:
        return f"{start}{reached}; they share no seed."
    theirs = tables.lead_of(results, focus.asm)
    beside = f"; the paper's lead is {theirs.mean:+.1f}" if theirs else ""
    return f"{start}{reached}: {lead.mean:+.1f} points ({lead.interval}){beside}."


def _course(results: Results, focus: Focus) -> list[str]:
    rows = [results.get(focus.dataset, n, "asm", focus.init) for n in results.grid.ordered_noises]
    rows = [r for r in rows if r and r["lead"] and r is not focus.asm]
    if not rows:
        return []
    parts = []
    for row in rows:
        theirs = tables.lead_of(results, row)
        beside = f" (the paper: {theirs.mean:+.1f})" if theirs else ""
        link = f"(#{tables.anchor('lead', row['dataset'], row['noise'])})"
        parts.append(f"[{row['lead'].mean:+.1f}]{link} {names.at(results.grid.noises[row['noise']])}{beside}")
    return [f"Its lead is {names.joined(parts)}."]


def _control(results: Results, focus: Focus) -> list[str]:
    control = results.get(focus.dataset, focus.noise, CONTROL, focus.init)
    fits = [row["fit_wrong"] for row in (focus.baseline, focus.asm)]
    parts = []
    where = names.at(results.grid.noises[focus.noise])
    if control and control["lead"]:
        parts.append(
            f"{where[0].upper()}{where[1:]} two networks with cross-entropy, the control, gain "
            f"{control['lead'].mean:+.1f} points ({control['lead'].interval})"
        )
    if None not in fits:
        parts.append(
            f"{'' if parts else where + ' '}the baseline repeats {fits[0].mean:.0f} % of the wrong labels "
            f"that it was given, ASM {fits[1].mean:.0f} %"
        )
    sentence = "; ".join(parts)
    return [f"{sentence[0].upper()}{sentence[1:]}."] if sentence else []


def _rank(results: Results, focus: Focus) -> list[str]:
    """Where ASM stands: order and difference are both over the seeds that two methods share."""
    here = results.rows(
        lambda r: (
            (r["dataset"], r["noise"], r["init"]) == (focus.dataset, focus.noise, focus.init)
            and r["rule"] == r["regime"] == NONE
            and r["method"] not in ("asm", CONTROL)
            and (r["schedule"] == focus.asm["schedule"] or r["method"] in ONE_SCHEDULE)
        )
    )
    over = {r["method"]: points for r in here if (points := difference(results, r, focus.asm))}
    if len(over) < 2:
        return []
    above = sorted((m for m in over if round(over[m].mean, 2) > 0), key=lambda m: -over[m].mean)
    parts = [f"{results.grid.title(m)} by {over[m].mean:.1f} points ({over[m].interval})" for m in above]
    link = f"[Of {len(over) + 1} methods](#{tables.anchor('t1', focus.dataset, 'asm')}) there"
    if not parts:
        next_one = max(over, key=lambda m: over[m].mean)
        lead = difference(results, focus.asm, next(r for r in here if r["method"] == next_one))
        title = results.grid.title(next_one)
        return [
            f"{link} ASM is the first; its lead over the next, {title}, is {lead.mean:+.1f} points "
            f"({lead.interval})."
        ]
    return [f"{link} above ASM: {names.joined(parts)}."]


def departures(results: Results) -> list[str]:
    """What differs from the paper, and why, from the cells."""
    grid, lines = results.grid, []
    used = {grid.inits[cell.init].weights for cell in grid.cells}
    synthetic = any(info.source == "synthetic" for info in grid.datasets.values())
    if synthetic:
        lines.append(
            "**Rendered faces**, which may be passed on: compare the methods with one another, not the "
            "level with the paper's."
        )
    if grid.input == "features":
        lines.append(
            f"**Frozen backbone**: heads of {grid.hidden} hidden units on its features, so that a cell "
            "takes minutes on a processor; the paper trains all layers."
        )
    lines += [f"**Initial weights**: {WEIGHTS.get(weights, weights)}." for weights in sorted(used)]
    ours = {key: getattr(grid, key) for key in PAPER_SETTING if key != "width" or grid.backbone == "resnet18"}
    differing = [
        f"{k.replace('_', ' ')} {v} ({PAPER_SETTING[k]})" for k, v in ours.items() if v != PAPER_SETTING[k]
    ]
    if differing:
        lines.append(f"**Size**, in brackets the paper's: {', '.join(differing)}.")
    corrected = {s.dataset: s.faces.corrected for s in results.done if s.faces.corrected}
    if corrected:
        reviewed = names.joined(f"{count:,} of {name}" for name, count in corrected.items())
        lines.append(f"**Labels corrected** by a review: {reviewed}.")
    sources = {info.source for info in grid.datasets.values()}
    absent = [
        n
        for k, n in (("rafdb", "RAF-DB"), ("ferplus", "FERPlus"), ("affectnet", "AffectNet"))
        if k not in sources
    ]
    compared = dict.fromkeys([*names.table1_methods(), *paper()["methods"]])
    missing = [grid.title(m) for m in compared if m not in {c.method for c in grid.cells}]
    noises = [grid.noises[name] for name in {cell.noise for cell in grid.cells}]
    rates = {noise.rate for noise in noises if noise.kind == "symmetric"}
    missing += [f"{names.percent(r)} noise" for r in names.paper_rates() if r not in rates]
    if absent or missing:
        lines.append(f"**Not here** of what the paper has: {names.joined([*absent, *missing])}.")
    if "fair" in grid.schedules:
        lines.append(
            "**One schedule** for all methods, ASM's, so that only the method differs; another may do "
            "better in its own."
        )
    told = [m for m in names.in_order(c.method for c in grid.cells) if grid.methods[m].told_noise_rate]
    if told:
        lines.append(
            f"**Told the noise rate**, as no other method is: {names.joined(map(grid.title, told))}."
        )
    averaged = max((s.test.averaged_epochs for s in results.done), default=0)
    if averaged > grid.epochs / 2:
        lines.append(
            f"**Short training**: the mean of the last {averaged} of {grid.epochs} epochs favours fast "
            "learners."
        )
    for classes in dict.fromkeys(tuple(s.classes) for s in results.done):
        if unwritten := undrawable(classes):
            numbered = [f"{name} = class {classes.index(name) + 1}" for name in unwritten]
            lines.append(f"**Names** that the figures' font cannot write: {', '.join(numbered)}.")
    single = sum(row["n"] == 1 for row in results.rows())
    if single:
        lines.append(
            f"**One seed** in {single} of {len(results.rows())} settings: their differences may be chance."
        )
    if missing := blank(results):
        lines.append(
            f"**Not run yet**: {len(missing)} of {len(grid.cells)} cells ([which](details.md#not-run-yet))."
        )
    return lines


def blank(results: Results) -> list[str]:
    """The cells that were not evaluated."""
    return [cell.cell for cell in results.grid.cells if cell.scores is None]


def settings(results: Results) -> list[str]:
    """Data, backbone, training, noise and versions, in sentences."""
    grid = results.grid
    counted = {s.dataset: len(s.classes) for s in results.done}
    data = [
        f"{name} ({counted.get(name, info.classes) or 'its own'} classes)"
        for name, info in grid.datasets.items()
    ]
    kinds = [k if k == grid.inits[k].weights else f"{k} = {grid.inits[k].weights}" for k in grid.used_inits]
    frozen = "Frozen backbone" if grid.input == "features" else "Backbone"
    dropout = f", dropout {grid.dropout:g}" if grid.dropout else ""
    heads = f" Trained: heads of {grid.hidden} hidden units{dropout} on its features." if grid.hidden else ""
    seeds = sorted({cell.seed for cell in grid.cells})
    lines = [
        f"Data: {', '.join(data)}; seeds: {', '.join(map(str, seeds))}; {len(results.done)} of "
        f"{len(grid.cells)} cells evaluated.",
        f"{frozen}: {grid.backbone} of width {grid.width}, images {grid.image_size} × {grid.image_size} "
        f"px; initial weights: {', '.join(kinds)}.{heads}",
        f"Common schedule: {grid.epochs} epochs, {grid.warmup_epochs} of them warm-up, batch size "
        f"{grid.batch_size}, {grid.precision}."
        + ("" if grid.schedules == ["fair"] else " “Own paper's”: `published` in params.yaml."),
    ]
    seen = {s.dataset: s for s in results.done}
    lines += [
        f"Faces of {name}: {s.faces.images:,} images, {100 * s.faces.fallback_share:.1f} % of them without "
        f"a detected face (the whole frame is used), {s.faces.unreadable:,} more could not be read; "
        f"{s.test.images:,} test images."
        for name, s in seen.items()
    ]
    shares = []
    for dataset in grid.datasets:
        for noise in grid.ordered_noises:
            found = [s for c in grid.cells if (c.dataset, c.noise) == (dataset, noise) and (s := c.scores)]
            if found and found[0].noise.wrong:
                mean = 100 * math.fsum(s.noise.realised for s in found) / len(found)
                left_out = f", {found[0].noise.excluded:,} images left out" if found[0].noise.excluded else ""
                shares.append(
                    f"{names.place(grid, dataset, noise, found and grid.used_inits[0])}: {mean:.1f} "
                    f"%{left_out}"
                )
    lines += [f"Given labels that are wrong: {'; '.join(shares)}."] if shares else []
    versions = dict.fromkeys(tuple(sorted(s.versions.items())) for s in results.done)
    return lines + [
        f"Versions: {', '.join(f'{k} {v}' for k, v in version)}." for version in versions if version
    ]
