"""Tables, figures, the page and the site of a profile, from the scores of its cells."""

from pathlib import Path

import pandas as pd

from asm.report import details, figures, page, results, site


def write(grid: Path, scores: Path, timing: Path, tsne: Path, out: Path, faces: Path | None = None) -> None:
    """Write `out`/README.md, details.md and index.html, and the folders tables, figures and plots (DVC's).

    Args:
        grid: configs/report.yaml: which cells exist, and their axes.
        scores: folder of the evaluated cells' <cell>.json.
        timing: folder of their <cell>.csv.
        tsne: folder of <cell>.npz.
        faces: folder of the aligned data sets, whose faces index.html then shows; not to be passed on.

    Raises:
        InputError: a file is missing, damaged, or of another cell or data set.
    """
    loaded = results.load(grid, scores, timing)
    built = page.build(loaded)
    captions = figures.write(loaded, tsne, out / "figures")
    frames = {"cells": details.per_cell(loaded), "per_class": details.per_class(loaded)}
    files: dict[str, str] = {}
    for table in built.values():
        files[f"tables/{table.name}.tex"] = table.latex()
        frames[table.name] = table.numbers()
    files |= {f"tables/{name}.csv": _csv(frame) for name, frame in frames.items()}
    files |= {f"plots/{name}.csv": _csv(frame) for name, frame in details.curves(loaded).items()}
    markdown = page.render(loaded, built, captions)
    files["README.md"], files["details.md"] = markdown
    files["index.html"] = site.render(loaded, markdown, out / "figures", tsne, faces)
    for name, content in files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(content, encoding="utf-8", newline="\n")


def _csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, lineterminator="\n")
