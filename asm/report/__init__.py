"""Tables, figures and the page of a profile, from the scores of its cells."""

from pathlib import Path

from asm.report import figures, page, tables
from asm.report.cells import load_grid


def write(grid: Path, scores: Path, timing: Path, tsne: Path, out: Path) -> None:
    """Write `out`/tables, `out`/figures and `out`/README.md.

    Args:
        grid: configs/report.yaml: which cells exist, and their axes.
        scores: folder of the evaluated cells' <cell>.json.
        timing: folder of their <cell>.csv.
        tsne: folder of <cell>.npz.

    Raises:
        InputError: a file is missing, damaged or of another cell.
    """
    loaded = load_grid(grid, scores, timing)
    page.write(
        loaded, tables.write(loaded, out / "tables"), figures.write(loaded, tsne, out / "figures"), out
    )
