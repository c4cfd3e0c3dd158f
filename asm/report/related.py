"""All methods side by side: accuracy with its cost, and what averaging two networks adds."""

import pandas as pd

from asm.report import text
from asm.report.cells import Grid, last5, one_network
from asm.report.layout import Table, frame_of

NETWORKS, RATIO = "networks at test", "× baseline"
SECONDS, PASSES = "seconds per epoch", "forward passes per sample"
PARAMETERS = "parameters, millions"


def table_related(grid: Grid) -> Table:
    """One row per method (and weights and schedule): accuracy without noise and at the highest rate, the
    difference to the baseline, and the cost of training."""
    measured = _cost_dataset(grid)
    places = [
        (d, n)
        for d in grid.datasets
        for n in grid.extremes
        if any((g.dataset, g.noise, g.changed) == (d, n, {}) for g in grid.groups())
    ]
    compared = {(g.dataset, g.noise) for g in grid.groups() if g.method == "baseline" and not g.changed}
    rows = []
    for method in text.in_order(cell.method for cell in grid.cells):
        for init in grid.used_inits:
            for schedule in grid.schedules:
                row = {"Method": grid.title(method)} | text.setting(grid, init, schedule)
                groups = {place: grid.group(*place, method, init, schedule) for place in places}
                if not any(groups.values()):
                    continue
                for (dataset, noise), group in groups.items():
                    base = grid.counterpart(dataset, noise, "baseline", init, schedule)
                    name = f"{dataset}, {text.noise_name(grid.noises[noise])}"
                    row |= {name: group and group.accuracy()}
                    if (dataset, noise) in compared:
                        other = group and base and method != "baseline"
                        row |= {f"{name}: − baseline": group.minus(base) if other else None}
                rows.append(row | _cost(grid, measured, method, init, schedule))
    of_heads = " (of the heads; the frozen backbone ran once, before)" if grid.input == "features" else ""
    notes = [
        text.schedule(grid),
        "Accuracy: mean of the last epochs, percent; “− baseline”: the difference in points over the seeds "
        "that both have, ± the half-width of its 95 % interval.",
        f"Cost of training{of_heads}, on {measured}, at the highest noise that a method was timed "
        "with there: seconds per epoch (the processor's on a CPU, the clock's on a GPU; mining "
        "included, evaluation not; mean over the epochs, median over the seeds), the same in "
        "multiples of the baseline's, forward passes of the backbone per training sample in the last "
        "epoch (mining included; DMUE's copies of the last stage are not counted), and parameters, also "
        "those that only training uses.",
        f"Seconds depend on the machine: {_machines(grid)}.",
    ]
    return Table("table_related", "Related work. Accuracy and cost of training.", frame_of(rows), notes)


def _machines(grid: Grid) -> str:
    found = {
        f"device {d.versions.get('device', 'unknown')}, torch {d.versions.get('torch', 'unknown')}"
        for d in text.done(grid)
    }
    return "; ".join(sorted(found)) or "nothing measured"


def _cost_dataset(grid: Grid) -> str:
    """The data set with the most methods evaluated, the first of the grid among equals."""
    methods = {d: {g.method for g in grid.groups() if g.dataset == d and g.done} for d in grid.datasets}
    return max(methods, key=lambda d: len(methods[d]))


def _cost(grid: Grid, dataset: str, method: str, init: str, schedule: str) -> dict[str, object]:
    columns = dict.fromkeys((NETWORKS, SECONDS, RATIO, PASSES, PARAMETERS))
    groups = [grid.group(dataset, noise, method, init, schedule) for noise in reversed(grid.ordered_noises)]
    symmetric = [g for g in groups if g and g.done and grid.noises[g.noise].kind == "symmetric"]
    if not symmetric:
        return columns
    group = next((g for g in symmetric if g.seconds()), symmetric[0])
    base = grid.counterpart(dataset, group.noise, "baseline", init, schedule)
    seconds, usual = group.seconds(), base and base.seconds()
    passes = group.mean(lambda d: d.cost.forward_passes, scale=1)
    parameters = group.mean(lambda d: d.cost.parameters, scale=1e-6)
    return {
        NETWORKS: len(group.done[0].test.networks) or None,
        SECONDS: seconds,
        RATIO: seconds / usual if seconds and usual else None,
        PASSES: passes and passes.mean,
        PARAMETERS: parameters and parameters.mean,
    }


def table1_networks(grid: Grid) -> Table:
    """Each network of the two-network methods alone, beside the pair."""
    gain, alone = "pair − mean of nets (points)", "mean of nets − baseline (points)"
    rows = []
    for group in text.by_place(grid):
        nets = group.mean(one_network)
        if group.changed or nets is None:
            continue
        base = grid.counterpart(group.dataset, group.noise, "baseline", group.init, group.schedule)
        points = base and group.minus(base, one_network)
        row = text.lead(grid, group)
        row |= {"net 1": group.network(0), "net 2": group.network(1), "mean of nets": nets}
        row |= {"pair": group.accuracy(), gain: round(group.accuracy().mean - nets.mean, 2)}
        rows.append(row | {alone: points and round(points.mean, 2)})
    notes = [
        "The pair predicts by the mean probability of its two networks. “Pair − mean of nets” is what "
        "averaging two networks gives by itself; “mean of nets − baseline” is what the method gives to one "
        "network, for the baseline is one.",
    ]
    return Table("table1_networks", "Table 1, networks. Each network alone.", frame_of(rows), notes)


def per_cell_cost(grid: Grid) -> pd.DataFrame:
    """Accuracy (fraction) and cost of every cell; what was not measured is blank."""
    rows = []
    for cell in grid.cells:
        cost = cell.scores and cell.scores.cost
        rows.append(
            {
                "cell": cell.cell,
                "last5": cell.scores and last5(cell.scores),
                "seconds_per_epoch": cell.seconds and round(cell.seconds, 3),
                "forward_passes": cost and round(cost.forward_passes, 4),
                "parameters": cost and cost.parameters,
            }
        )
    return pd.DataFrame(rows).astype({"parameters": "Int64"})
