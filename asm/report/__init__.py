"""Tables, figures, the page and the site of a profile, from the scores of its cells."""

import json
from pathlib import Path

import pandas as pd

from asm.report import charts, details, figures, page, results, site


def write(grid: Path, scores: Path, timing: Path, tsne: Path, out: Path) -> None:
    """Write the report into `out`: README.md, details.md, index.html, metrics.json (DVC's: two numbers a
    cell), and the folders tables (csv), figures (png), print (svg and tex) and plots (DVC's).

    Args:
        grid: configs/report.yaml: which cells exist, and their axes.
        scores: folder of the evaluated cells' <cell>.json.
        timing: folder of their <cell>.csv.
        tsne: folder of <cell>.npz.

    Raises:
        InputError: a file is missing, damaged, or of another cell or data set.
    """
    loaded = results.load(grid, scores, timing)
    built, interactive = page.build(loaded), charts.build(loaded, tsne)
    captions = figures.write(loaded, interactive, out / "figures", out / "print")
    markdown = page.render(loaded, built, captions)
    frames = {"cells": details.per_cell(loaded), "per_class": details.per_class(loaded)}
    frames |= {name: table.numbers() for name, table in built.items()}
    files = {f"tables/{name}.csv": _csv(frame) for name, frame in frames.items()}
    files |= {f"plots/{name}.csv": _csv(frame) for name, frame in details.curves(loaded).items()}
    files |= {f"print/{name}.tex": table.latex() for name, table in built.items()}
    files["README.md"], files["details.md"] = markdown
    files["metrics.json"] = json.dumps(_metrics(loaded), indent=1, sort_keys=True) + "\n"
    files["index.html"] = site.render(loaded, markdown, out / "figures", interactive)
    for name, content in files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(content, encoding="utf-8", newline="\n")


def _metrics(loaded: results.Results) -> dict[str, dict[str, float]]:
    """The two measures of every evaluated cell, fractions."""
    return {
        scores.cell: {
            "accuracy": scores.test.accuracy.last5,
            "mean_class_accuracy": scores.test.mean_class_accuracy.headline,
        }
        for scores in loaded.done
    }


def _csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, lineterminator="\n")
