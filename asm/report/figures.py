"""The report's figures: every one from the results' frames; png for the pages, svg for print.

Where pointing tells something (charts.py) the interactive chart is the figure, and its png is made of it; the
others are drawn here.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asm.report import charts, drawing, estimates, names, regimes
from asm.report.cells import CONTROL, paper
from asm.report.drawing import COLOURS, MARKERS, PAPER_COLOUR, SUBSET_COLOURS, series
from asm.report.glyphs import drawn
from asm.report.layout import texts
from asm.report.results import MEASURES, Focus, Results, Row, published_lead
from asm.scores.schema import Scores

SYMBOLS = {
    "losses.beta": ("β", 0.65),
    "losses.omega": ("ω", 0.6),
    "losses.gamma": ("γ", 1.0),
}  # the paper's best


def _over_epochs(axes: Axes, epochs: list[int], **more: object) -> None:
    axes.set(xlabel="epoch", xlim=(epochs[0] - 0.5, epochs[-1] + 0.5), **more)
    axes.xaxis.get_major_locator().set_params(integer=True)
    entries = len(axes.get_legend_handles_labels()[0])
    columns = entries if entries <= 4 else (entries + 1) // 2
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14)}
    if entries:
        axes.legend(**place, ncols=columns, columnspacing=1.0, handlelength=1.3)


def thresholds(scores: Scores, warmup: int) -> Figure | None:
    """T_c per class (solid) and T_n = 1 - T_c (dashed), and the subsets' shares, over the epochs."""
    known = scores.curves
    if not known.threshold_clean:
        return None
    figure = drawing.canvas(11, 5.4)
    left, right = figure.subplots(1, 2)
    names_shown = drawn(list(known.threshold_clean))
    for k, (name, values) in enumerate(zip(names_shown, known.threshold_clean.values(), strict=True)):
        colour, clean = COLOURS[k % len(COLOURS)], series(values, 1)
        left.plot(known.epoch, clean, color=colour, lw=2, label=name)
        left.plot(known.epoch, 1 - clean, color=colour, lw=1.4, ls="--")
    lists = [getattr(known, f"subset_{name}") for name in SUBSET_COLOURS]
    shares = np.array([series(values, length=len(known.epoch)) for values in lists])
    mined = ~np.isnan(shares.sum(axis=0))
    if mined.any():  # half an epoch to either side, so that a run with one mined epoch still shows
        at = np.array(known.epoch)[mined]
        edges = np.r_[at[:1] - 0.5, at, at[-1:] + 0.5]
        heights = np.pad(shares[:, mined], ((0, 0), (1, 1)), "edge")
        right.stackplot(
            edges, heights, lw=0, labels=list(SUBSET_COLOURS), colors=list(SUBSET_COLOURS.values())
        )
    for axes in (left, right):
        drawing.shade_warmup(axes, warmup)
    title = "$T_c$ (solid) and $T_n = 1 - T_c$ (dashed)"
    _over_epochs(left, known.epoch, ylim=(0, 1), ylabel="threshold", title=title)
    _over_epochs(right, known.epoch, ylim=(0, 100), ylabel="share of training samples, %", title="Subsets")
    return figure


def mining(scores: Scores) -> Figure | None:
    """Precision, recall and F1 of the noisy subset, and each subset's share of wrong labels."""
    mined = scores.mining
    if mined is None or np.isnan(series(mined.noisy_f1)).all():
        return None
    figure = drawing.canvas(10, 4.6)
    left, right = figure.subplots(1, 2)
    found = {"precision": mined.noisy_precision, "recall": mined.noisy_recall, "F1": mined.noisy_f1}
    for (name, values), colour, mark in zip(
        found.items(), ("#0072B2", "#D55E00", "#333333"), MARKERS, strict=False
    ):
        left.plot(mined.epoch, series(values), color=colour, marker=mark, ms=5, lw=2, label=name)
    for (name, colour), mark in zip(SUBSET_COLOURS.items(), MARKERS, strict=False):
        right.plot(
            mined.epoch, series(mined.wrong_share[name]), color=colour, marker=mark, ms=5, lw=2, label=name
        )
    right.axhline(100 * scores.noise.realised, color="#777777", ls=":", lw=1.8, label="all samples")
    _over_epochs(left, mined.epoch, ylim=(0, 102), title="Noisy subset against wrong labels", ylabel="%")
    title, label = "Wrong labels in each subset", "share of its labels, %"
    _over_epochs(right, mined.epoch, ylim=(0, 102), title=title, ylabel=label)
    return figure


def confusion(results: Results, focus: Focus) -> Figure | None:
    """Confusion matrices (rows: true class, percent of the row) of the baseline and ASM, over the seeds."""
    if focus.baseline is None:
        return None
    classes = drawn(focus.asm["scores"][0].classes)
    side = 0.55 * len(classes) + 1.2
    figure = drawing.canvas(2 * side + 1.0, side + 0.6)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, row in zip(panels, (focus.baseline, focus.asm), strict=True):
        counts = np.sum([s.test.confusion for s in row["scores"]], axis=0)
        share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        sns.heatmap(share, annot=True, fmt=".0f", cmap="Blues", vmin=0, vmax=100, square=True, ax=axes,
                    cbar=axes is panels[1], cbar_kws={"label": "% of the true class", "shrink": 0.8},
                    xticklabels=classes, yticklabels=classes)  # fmt: skip
        axes.set(title=results.grid.title(row["method"]), xlabel="predicted")
        axes.tick_params(axis="x", rotation=40)
    panels[0].set_ylabel("true")
    return figure


def _compared(results: Results, focus: Focus) -> list[Row]:
    rows = results.default_rows(dataset=focus.dataset, init=focus.init, schedule=focus.asm["schedule"])
    return [row for row in rows if row["method"] in names.compared(results.grid)]


def recall(results: Results, focus: Focus) -> Figure:
    """Recall of every class by the compared methods, a panel for each noise; the classes by their size."""
    rows, sizes = [], {}
    for row in _compared(results, focus):
        where = names.place(results.grid, focus.dataset, row["noise"], focus.init)
        for scores in row["scores"]:
            for name, of in zip(drawn(scores.classes), scores.test.per_class, strict=True):
                sizes[f"{name}\n{of.support:,}"] = of.support
                line = {"class": f"{name}\n{of.support:,}", "recall": 100 * of.recall if of.support else None}
                rows.append(line | {"method": results.grid.title(row["method"]), "where": where})
    palette = drawing.colours(results.grid, names.compared(results.grid))
    grid = sns.catplot(
        pd.DataFrame(rows), kind="point", x="class", y="recall", hue="method", col="where", col_wrap=2,
        order=sorted(sizes, key=sizes.get, reverse=True), hue_order=list(palette), palette=palette,
        markers=list(MARKERS[: len(palette)]), dodge=0.13 * (len(palette) - 1), errorbar=("pi", 100),
        lw=1, ms=6, height=3.7, aspect=1.65,
    )  # fmt: skip
    grid.set_titles("{col_name}").set_axis_labels("", "recall, %").set(ylim=(-3, 103))
    grid.tick_params(axis="x", labelsize=9.5)
    sns.move_legend(
        grid, "lower center", bbox_to_anchor=(0.45, -0.03), ncols=min(5, len(palette)), title=None
    )
    return grid.figure


def right_noisy(results: Results, focus: Focus) -> Figure | None:
    """Share of each class's right labels called noisy over the epochs: a panel for each noise and method that
    mines, of those compared; None where no run has recorded it."""
    rows = [
        {"epoch": epoch, "share": share, "class": name, "seed": scores.seed, "where": where}
        for row in _compared(results, focus)
        for where in [
            f"{results.grid.title(row['method'])}, {names.noise(results.grid.noises[row['noise']])}"
        ]
        for scores in row["scores"]
        if scores.mining
        for key, values in (scores.mining.right_noisy_by_class_epoch or {}).items()
        for name in drawn([key])
        for epoch, share in zip(scores.mining.epoch, series(values), strict=True)
    ]
    if not rows:
        return None
    grid = sns.relplot(
        pd.DataFrame(rows), kind="line", x="epoch", y="share", hue="class", style="class", col="where",
        col_wrap=3, palette=list(np.resize(COLOURS, len({row["class"] for row in rows}))), markers=True,
        dashes=False, errorbar=None, height=3.3, aspect=1.25,
    )  # fmt: skip
    grid.set_titles("{col_name}").set_axis_labels("epoch", "right labels called noisy, %").set(ylim=(-3, 103))
    sns.move_legend(grid, "lower center", bbox_to_anchor=(0.45, -0.08), ncols=4, title=None)
    return grid.figure


def hyperparameters(results: Results) -> Figure | None:
    """Accuracy against β, ω and γ, ours above the paper's; only those the grid varies; None if none."""
    cells, rows = results.cells.set_index("cell"), []
    for cell in results.grid.cells:
        for key in [key for key in SYMBOLS if cell.method == "asm" and set(cell.changed) <= {key}]:
            value = cell.changed.get(key, results.grid.defaults.get(key, SYMBOLS[key][1]))
            line = {"of": names.place(results.grid, cell.dataset, cell.noise, cell.init), "whose": "ours"}
            rows.append(
                line | {"key": key, "value": float(value), "accuracy": cells.at[cell.cell, "accuracy"]}
            )
    found = pd.DataFrame(rows, columns=["of", "whose", "key", "value", "accuracy"]).dropna()
    found = found[found.groupby(["of", "key"])["value"].transform("nunique") > 1]
    varied = [key for key in SYMBOLS if key in set(found["key"])]
    if not varied:
        return None
    printed = {key: paper()["fig_s1"][key.split(".")[1]] for key in varied}
    theirs = {"of": "paper: RAF-DB, no noise added", "whose": "paper"}
    lines = [
        theirs | {"key": k, "value": float(v), "accuracy": a} for k in varied for v, a in printed[k].items()
    ]
    data = pd.concat([found, pd.DataFrame(lines)]).sort_values("value")
    # the values stand evenly spaced, as in the paper's figure
    data["place"] = data.groupby("key")["value"].rank(method="dense")
    shown = list(dict.fromkeys([*found["of"], theirs["of"]]))
    palette = [*np.resize(COLOURS, len(shown) - 1), PAPER_COLOUR]
    grid = sns.relplot(
        data, kind="line", x="place", y="accuracy", row="whose", col="key", hue="of",
        row_order=["ours", "paper"], col_order=varied, hue_order=shown, palette=palette, marker="o", ms=7,
        lw=2, errorbar=estimates.interval, err_style="bars", height=3, aspect=1.3,
        facet_kws={"sharex": "col", "sharey": "row"},
    )  # fmt: skip
    grid.set_titles("")
    for (whose, key), axes in grid.axes_dict.items():
        values = sorted(set(data.loc[data["key"] == key, "value"]))
        axes.set_xticks(range(1, len(values) + 1), [f"{value:g}" for value in values])
        axes.set(xlabel=SYMBOLS[key][0], ylabel=f"{whose}: accuracy, %")
    sns.move_legend(grid, "lower center", bbox_to_anchor=(0.45, -0.1), ncols=2, title=None)
    return grid.figure


def leads(results: Results) -> Figure | None:
    """Leads over the baseline against what it fits: a row of panels for each measure, a column for each data
    set and noise; None without regimes. A regime that changes the warm-up alone has the baseline of another:
    it is in the table, not here."""
    found = [row for row in regimes.rows(results) if row.regime == row.baseline["regime"]]
    cells, rows = results.cells.set_index("cell"), []
    for row in found:
        for rule, setting in row.all.items():
            line = {
                "fit": row.baseline["fit"].mean,
                "rule": rule,
                "where": names.place(results.grid, *row.place),
            }
            for measure, words in MEASURES.items():
                points = cells.loc[setting["cells"], f"{measure}_over_baseline"].astype(float)
                rows += [line | {"measure": words, "lead": value} for value in points]
    if not rows:
        return None
    data, control = pd.DataFrame(rows).dropna(), results.grid.title(CONTROL)
    rules = sorted(dict.fromkeys(data["rule"]), key=lambda rule: (rule != regimes.ASM, rule == control))
    colours = {rule: COLOURS[k % 7] for k, rule in enumerate(rules)} | {control: PAPER_COLOUR}
    grid = sns.relplot(
        data, kind="line", x="fit", y="lead", row="measure", col="where", hue="rule", style="rule",
        hue_order=rules, style_order=rules, palette=colours, markers=True, dashes=False, lw=2, ms=8,
        errorbar=estimates.interval, err_style="bars", height=3.6, aspect=1.2,
        facet_kws={"sharex": "col", "sharey": "row"},
    )  # fmt: skip
    for (measure, where), axes in grid.axes_dict.items():
        here = [row for row in found if names.place(results.grid, *row.place) == where]
        kind, column = results.grid.noises[here[0].place[1]], results.grid.datasets[here[0].place[0]].paper
        axes.axhline(0, color="#333333", lw=1)
        for row in here:
            at = (row.baseline["fit"].mean, 0.01)
            axes.text(*at, row.letter, transform=axes.get_xaxis_transform(), ha="center", color="#555555")
        theirs = published_lead(column, kind) if measure == MEASURES["accuracy"] else None
        if theirs is not None:
            axes.axhline(theirs, color=PAPER_COLOUR, lw=1.2, ls=":")
            where_to = {"transform": axes.get_yaxis_transform(), "va": "bottom", "fontsize": 10}
            axes.text(0.01, theirs, f"the paper's: {theirs:+.1f}", color=PAPER_COLOUR, **where_to)
        axes.set(xlabel=f"{'all' if kind.rate == 0 else 'wrong'} labels that the baseline fits, %")
        axes.set(ylabel=f"lead in {measure}, points", title=where if measure == MEASURES["accuracy"] else "")
    sns.move_legend(grid, "lower center", bbox_to_anchor=(0.45, -0.06), ncols=5, title=None)
    return grid.figure


def _drawn_here(results: Results) -> Iterator[tuple[str, Focus | None, Figure | None]]:
    for focus in results.focuses:
        scores = focus.asm["scores"][0]
        yield "fig_recall", focus, recall(results, focus)
        yield "fig_right_noisy", focus, right_noisy(results, focus)
        yield "fig_thresholds", focus, thresholds(scores, results.grid.warmup_epochs)
        yield "fig_mining", focus, mining(scores)
        yield "fig_confusion", focus, confusion(results, focus)
    yield "figR_regimes", None, leads(results)
    yield "figS1_hyperparameters", None, hyperparameters(results)


def _caption(results: Results, stem: str, focus: Focus | None) -> str:
    if focus is None:
        return texts()["figures"][stem]
    noise = results.grid.noises[focus.noise]
    kind = names.noise(noise) + ("" if noise.kind == "original" else " label noise")
    seed = focus.asm["scores"][0].seed
    words = {"where": f"{focus.dataset}, {kind}", "dataset": focus.dataset, "seed": seed}
    return texts()["figures"][stem].format(**words)


def write(results: Results, interactive: charts.Charts, out: Path, printed: Path) -> dict[str, str]:
    """Writes the figures that the evaluated cells allow, as .png into `out` and .svg into `printed`; of the
    charts (`charts.build`) a picture. Returns the caption of each stem."""
    for folder in (out, printed):
        folder.mkdir(parents=True, exist_ok=True)
    captions = {}
    with drawing.style():
        for stem, focus, figure in (*charts.in_order(results, interactive), *_drawn_here(results)):
            if figure is not None:
                name = charts.file_stem(results, stem, focus)
                (charts if isinstance(figure, dict) else drawing).save(figure, out, name, printed)
                captions[name] = _caption(results, stem, focus)
    return captions
