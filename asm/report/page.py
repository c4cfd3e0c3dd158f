"""The report page: every table and figure of a profile in one Markdown file that GitHub renders."""

from pathlib import Path

from asm.report import comparison, label_quality, regimes, text
from asm.report.cells import Grid
from asm.report.layout import Table

SUPPLEMENT_FIGURE = "figS1_hyperparameters"
GALLERY = (
    "Example faces of each subset stay on your machine: `python -m asm gallery runs/<cell> "
    "data/aligned/<dataset> gallery/`."
)


def _how_to_read(grid: Grid) -> list[str]:
    measured = text.done(grid)
    images = sorted({d.test.images for d in measured})
    pairs = text.in_order(d.method for d in measured if len(d.test.networks) > 1)
    lines = [
        "“ours” is what this pipeline measured; “paper” is what the paper published. Blank: not run.",
        "The headline is the mean accuracy of the last epochs"
        + (f" on {' / '.join(map(str, images))} test images" if images else "")
        + "; “best epoch” was chosen by looking at the test set, so it flatters every method.",
        "“± x (n seeds)” is a 95 % interval over training seeds, not over the choice of test images. A "
        "difference is “within chance” where its 95 % interval over the seeds of both methods holds 0; each "
        "interval stands by itself, so that among many pairs some are “beyond chance” by chance.",
        "Compare methods with one another inside a column; compare with the paper only for the same data "
        "set, weights, image size and schedule.",
    ]
    if pairs:
        lines.append(
            f"Two networks, averaged at test: {text.joined([grid.title(m) for m in pairs])}; all "
            "others have one. “Table 1, networks” shows what each network does alone."
        )
    return lines


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(table: Table) -> list[str]:
    links = ", ".join(f"[{kind}](tables/{table.name}.{kind})" for kind in ("csv", "tex"))
    rows = table.body() if len(table.frame) else "No cell of this profile belongs here."
    return [f"### {table.title.rstrip('.')}", rows, _list(table.notes), f"As {links}."]


def _figure(stem: str, caption: str) -> list[str]:
    return [f"![{caption}](figures/{stem}.png)", f"{caption} ([svg](figures/{stem}.svg))"]


def _of_regimes(grid: Grid, tables: list[Table], figures: dict[str, str]) -> list[str]:
    """The section on when mining helps, with its table and figure; empty without regimes."""
    said = regimes.findings(grid)
    if not said:
        return []
    parts = ["## When mining helps", _list(said)]
    parts += _figure(regimes.FIGURE, figures[regimes.FIGURE]) if regimes.FIGURE in figures else []
    return parts + [part for table in tables if table.name == regimes.TABLE for part in _table(table)]


def write(grid: Grid, tables: list[Table], figures: list[tuple[str, str]], out: Path) -> None:
    """Writes `out`/README.md, with the tables inline and links to their files and the figures' in
    `out`/tables and `out`/figures.

    Args:
        figures: stem and caption of each.
    """
    discussed = [
        *(comparison.leads(grid) + comparison.levels(grid)),
        *(comparison.weights(grid) + comparison.readings(grid)),
    ]
    mined = label_quality.findings(grid)
    parts = [
        f"# Results: profile {grid.profile}",
        _list([*comparison.gaps(grid), *comparison.ranks(grid)]),
        *_of_regimes(grid, tables, dict(figures)),
        *(["## Beside the paper, and why", _list(discussed)] if discussed else []),
        *(["## What the mining finds", _list(mined), GALLERY] if mined else []),
        "## How to read this page",
        _list(_how_to_read(grid)),
        "## Settings",
        _list([*text.settings(grid, warn=False), *text.realised(grid)]),
        "## Shortcomings",
        _list(text.shortcomings(grid)),
        "## Tables",
    ]
    for table in tables:
        parts += _table(table) if table.name != regimes.TABLE else []
    more = ("cells.csv", "per_class.csv", "cost.csv")
    listed = ", ".join(f"[{name}](tables/{name})" for name in more)
    parts += [f"Every cell's measures, every class's scores and every cell's cost: {listed}.", "## Figures"]
    for stem, caption in figures:
        parts += _figure(stem, caption) if stem != regimes.FIGURE else []
    if SUPPLEMENT_FIGURE not in dict(figures):
        parts.append(
            "Supplement, Fig. 1 (β, ω, γ): cells with other hyper-parameters are not part of this profile, "
            "or not evaluated yet."
        )
    out.mkdir(parents=True, exist_ok=True)
    content = "\n\n".join(part for part in parts if part) + "\n"
    (out / "README.md").write_text(content, encoding="utf-8", newline="\n")
