"""The table of real label noise: trained on other annotators' labels, tested on the majority of the votes."""

from asm.report import text
from asm.report.cells import PRINTED, Grid
from asm.report.layout import Table, frame_of


def table_real(grid: Grid) -> Table:
    """Accuracy of every method trained on real labels, beside the same trained on the votes' labels."""
    without = next((n for n in grid.ordered_noises if grid.noises[n].rate == 0), None)
    rows, counts = [], {}
    for group in text.by_place(grid):
        if group.noise not in grid.real or group.changed not in ({}, PRINTED):
            continue
        if group.done:
            counts[group.dataset] = text.real_labels(group.dataset, group.done[0])
        setting = (group.init, group.schedule)
        own = grid.group(group.dataset, without, group.method, *setting, group.changed)
        row = {"Data set": group.dataset, "Method": text.reading_name(grid, group.method, group.changed)}
        row |= text.setting(grid, *setting) | {"on real labels": group.accuracy()}
        row |= {f"on real labels, {text.BEST}": group.best(), "on the votes' labels": own and own.accuracy()}
        rows.append(row | {"real − votes' (points)": own and group.minus(own)})
    notes = [
        *counts.values(),
        "Trained on other annotators' labels or on the majority of the votes; tested on the latter. The "
        "paper has no such table.",
    ]
    return Table("table_real", "Real label noise.", frame_of(rows), notes if rows else [])
