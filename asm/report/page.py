"""The report page: every table and figure of a profile in one Markdown file that GitHub renders."""

import json
import os
from pathlib import Path

from asm.errors import InputError
from asm.report import text
from asm.report.cells import Grid, load
from asm.report.figures import INDEX
from asm.report.tables import build_all

SUPPLEMENT_FIGURE = "figS1_hyperparameters"


def _how_to_read(grid: Grid) -> list[str]:
    measured = text.done(grid)
    images = sorted({d.test.images for d in measured})
    return [
        "“ours” is what this pipeline measured; “paper” is what the paper published. Blank: not run.",
        "The headline is the mean accuracy of the last epochs"
        + (f" on {' / '.join(map(str, images))} test images" if images else "")
        + "; “best epoch” was chosen by looking at the test set, so it flatters every method.",
        "“± x (n seeds)” is a 95 % interval over training seeds, not over the choice of test images.",
        "ASM averages two networks and the baseline has one: “net 1” and “net 2” show what each does alone.",
        "Compare methods with one another inside a column; compare with the paper only for the same data "
        "set, weights and image size.",
    ]


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _figures(directory: Path) -> list[dict]:
    path = directory / INDEX
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); draw the figures first") from error


def write(grid: Path | dict, details_dir: Path, tables: Path, figures: Path, out: Path) -> Path:
    """Writes `out`/README.md, with the tables inline and links into `tables` and `figures`.

    `tables` and `figures` are the directories that tables.write_all and figures.write_all filled.
    Returns the page's path. Raises InputError where `cells.load` does, and when the figures'
    index is missing.
    """
    loaded = load(grid, details_dir)
    out = Path(out)

    def link(path: Path) -> str:
        return Path(os.path.relpath(path, out)).as_posix()

    parts = [
        f"# Results: profile {loaded.profile}",
        _list(text.gaps(loaded)),
        "## How to read this page",
        _list(_how_to_read(loaded)),
        "## Settings",
        _list([*text.settings(loaded, warn=False), *text.realised(loaded)]),
        "## Shortcomings",
        _list(text.shortcomings(loaded)),
        "## Tables",
    ]
    for table in build_all(loaded):
        links = ", ".join(
            f"[{kind}]({link(Path(tables) / f'{table.name}.{kind}')})" for kind in ("csv", "tex")
        )
        rows = table.body() if len(table.frame) else "No cell of this profile belongs here."
        parts += [f"### {table.title.rstrip('.')}", rows, _list(table.notes), f"As {links}."]
    more = ", ".join(f"[{name}]({link(Path(tables) / name)})" for name in ("cells.csv", "per_class.csv"))
    parts += [f"Every cell's measures and every class's scores: {more}.", "## Figures"]
    drawn = _figures(Path(figures))
    for entry in drawn:
        stem, caption = entry["stem"], entry["caption"]
        png, svg = (link(Path(figures) / f"{stem}.{kind}") for kind in ("png", "svg"))
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
