"""Tables, figures, the page and the site of a profile, from the scores of its cells."""

import json
from pathlib import Path

import pandas as pd

from asm.report import details, figures, page, results
from asm.report.cells import load_grid


def write(grid: Path, scores: Path, timing: Path, tsne: Path, out: Path) -> None:
    """Write the report into `out`: README.md, details.md, index.html, metrics.json (DVC's: two numbers a
    cell), and the folders tables (csv), figures (png), print (svg and tex) and plots (DVC's).

    `grid` is configs/report.yaml; `scores`, `timing` and `tsne` are folders of the cells' <cell>.json, .csv
    and .npz. Raises InputError for a file that is missing, damaged, or of another cell or data set.
    """
    loaded = results.Results(load_grid(grid, scores, timing))
    built = page.build(loaded)
    captions, charts = figures.write(loaded, tsne, out / "figures", out / "print")
    markdown = page.render(loaded, built, captions)
    frames = {"cells": details.per_cell(loaded), "per_class": details.per_class(loaded)}
    frames |= {name: table.numbers() for name, table in built.items()}
    files: dict[str, str | pd.DataFrame] = {f"tables/{name}.csv": frame for name, frame in frames.items()}
    files |= {f"plots/{name}.csv": frame for name, frame in details.curves(loaded).items()}
    files |= {f"print/{name}.tex": table.latex() for name, table in built.items()}
    files["README.md"], files["details.md"] = markdown
    files["metrics.json"] = json.dumps(_metrics(loaded), indent=1, sort_keys=True) + "\n"
    files["index.html"] = page.site(loaded, markdown, out / "figures", charts)
    for name, content in files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else content.to_csv(index=False, lineterminator="\n")
        (out / name).write_text(text, encoding="utf-8", newline="\n")


def _metrics(loaded: results.Results) -> dict[str, dict[str, float]]:
    """The two measures of every evaluated cell, fractions."""
    tests = {scores.cell: scores.test for scores in loaded.done}
    return {
        cell: {"accuracy": of.accuracy.last5, "mean_class_accuracy": of.mean_class_accuracy.headline}
        for cell, of in tests.items()
    }
