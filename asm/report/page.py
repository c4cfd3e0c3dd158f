"""The report page: every table and figure of a profile in one Markdown file that GitHub renders."""

import json
import os
from pathlib import Path

from asm.errors import InputError
from asm.report import comparison, figures, label_quality, tables, text
from asm.report.cells import Grid, load

SUPPLEMENT_FIGURE = "figS1_hyperparameters"
GALLERY = (
    "Example faces of each subset stay on your machine: `python -m asm.gallery runs/<profile>/<cell> "
    "data/<profile>/aligned/<dataset> gallery/`."
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
            f"Two networks, averaged at test: {text.joined([text.method_name(m) for m in pairs])}; all "
            "others have one. “Table 1, networks” shows what each network does alone."
        )
    return lines


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _index(path: Path, remedy: str) -> list[dict]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); {remedy}") from error


def write(grid: Path | dict, details_dir: Path, tables_dir: Path, figures_dir: Path, out: Path) -> Path:
    """Writes `out`/README.md, with the tables inline and links to their files and the figures'.

    `tables_dir` and `figures_dir` are the directories that tables.write_all and figures.write_all filled.
    Returns the page's path. Raises InputError where `cells.load` does, and when an index is missing.
    """
    loaded = load(grid, details_dir)
    out = Path(out)

    def link(path: Path) -> str:
        return Path(os.path.relpath(path, out)).as_posix()

    other = [n for n in loaded.ordered_noises if loaded.noises[n].kind != "symmetric"]
    shown = [*loaded.extremes, *other]
    discussed = [
        *(comparison.leads(loaded) + comparison.levels(loaded)),
        *(comparison.weights(loaded) + comparison.readings(loaded) + label_quality.right_labels_lost(loaded)),
    ]
    mined = label_quality.findings(loaded)
    parts = [
        f"# Results: profile {loaded.profile}",
        _list([*comparison.gaps(loaded, shown), *comparison.ranks(loaded)]),
        *(["## Beside the paper, and why", _list(discussed)] if discussed else []),
        *(["## What the mining finds", _list(mined), GALLERY] if mined else []),
        "## How to read this page",
        _list(_how_to_read(loaded)),
        "## Settings",
        _list([*text.settings(loaded, warn=False), *text.realised(loaded)]),
        "## Shortcomings",
        _list(text.shortcomings(loaded)),
        "## Tables",
    ]
    for table in _index(Path(tables_dir) / tables.INDEX, "write the tables first"):
        stem = Path(tables_dir) / table["name"]
        links = ", ".join(f"[{kind}]({link(stem.with_suffix(f'.{kind}'))})" for kind in ("csv", "tex"))
        rows = table["body"] or "No cell of this profile belongs here."
        parts += [f"### {table['title'].rstrip('.')}", rows, _list(table["notes"]), f"As {links}."]
    more = ("cells.csv", "per_class.csv", "cost.csv")
    listed = ", ".join(f"[{name}]({link(Path(tables_dir) / name)})" for name in more)
    parts += [f"Every cell's measures, every class's scores and every cell's cost: {listed}.", "## Figures"]
    drawn = _index(Path(figures_dir) / figures.INDEX, "draw the figures first")
    for entry in drawn:
        stem, caption = entry["stem"], entry["caption"]
        png, svg = (link(Path(figures_dir) / f"{stem}.{kind}") for kind in ("png", "svg"))
        parts += [f"![{caption}]({png})", f"{caption} ([svg]({svg}))"]
    if SUPPLEMENT_FIGURE not in {entry["stem"] for entry in drawn}:
        parts.append(
            "Supplement, Fig. 1 (β, ω, γ): cells with other hyper-parameters are not part of this profile, "
            "or not evaluated yet."
        )
    out.mkdir(parents=True, exist_ok=True)
    path = out / "README.md"
    path.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8", newline="\n")
    return path
