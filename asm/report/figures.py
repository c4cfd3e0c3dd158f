"""The report's figures, from the results' frames: png for the pages, svg for print. Those in which pointing
tells something are charts (charts.py), the others are drawn here."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asm.report import charts, drawing, names, regimes
from asm.report.cells import CONTROL, paper
from asm.report.charts import Charts, Spec
from asm.report.drawing import COLOURS, MARKERS, PAPER_COLOUR, SUBSET_COLOURS, drawn, series
from asm.report.layout import interval, texts
from asm.report.results import MEASURES, Focus, Results, Row, published_lead
from asm.scores.schema import Scores

# with the paper's best
SYMBOLS = {"losses.beta": ("β", 0.65), "losses.omega": ("ω", 0.6), "losses.gamma": ("γ", 1.0)}


def _over_epochs(axes: Axes, epochs: list[int], **more: object) -> None:
    axes.set(xlabel="epoch", xlim=(epochs[0] - 0.5, epochs[-1] + 0.5), **more)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if entries := len(axes.get_legend_handles_labels()[0]):
        look = {"ncols": entries if entries <= 4 else (entries + 1) // 2, "columnspacing": 1.0}
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), handlelength=1.3, **look)


def _legend_below(grid: sns.FacetGrid, at: float, columns: int) -> Figure:
    sns.move_legend(grid, "lower center", bbox_to_anchor=(0.45, at), ncols=columns, title=None)
    return grid.figure


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
    lists = [getattr(known, f"subset_{name}") or [None] * len(known.epoch) for name in SUBSET_COLOURS]
    shares = np.array([series(values) for values in lists])
    mined = ~np.isnan(shares.sum(axis=0))
    if mined.any():  # half an epoch to either side, so that a run with one mined epoch still shows
        at = np.array(known.epoch)[mined]
        edges = np.r_[at[:1] - 0.5, at, at[-1:] + 0.5]
        heights = np.pad(shares[:, mined], ((0, 0), (1, 1)), "edge")
        right.stackplot(edges, heights, lw=0, labels=[*SUBSET_COLOURS], colors=[*SUBSET_COLOURS.values()])
    for axes in (left, right) if warmup else ():
        axes.axvspan(0.5, warmup + 0.5, color="#EEEEEE", zorder=0)
        look = {"rotation": 90, "ha": "center", "va": "center", "color": "#777777", "fontsize": 11}
        axes.text((warmup + 1) / 2, 0.5, "warm-up", transform=axes.get_xaxis_transform(), **look)
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
    colours = {"precision": "#0072B2", "recall": "#D55E00", "F1": "#333333"}
    for axes, curves, look in ((left, found, colours), (right, mined.wrong_share, SUBSET_COLOURS)):
        for (name, colour), mark in zip(look.items(), MARKERS, strict=False):
            axes.plot(mined.epoch, series(curves[name]), color=colour, marker=mark, ms=5, lw=2, label=name)
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
                label, share = f"{name}\n{of.support:,}", 100 * of.recall if of.support else None
                sizes[label] = of.support
                of_method = {"method": results.grid.title(row["method"]), "where": where}
                rows.append({"class": label, "recall": share} | of_method)
    palette = drawing.colours(results.grid, names.compared(results.grid))
    grid = sns.catplot(
        pd.DataFrame(rows), kind="point", x="class", y="recall", hue="method", col="where", col_wrap=2,
        order=sorted(sizes, key=sizes.get, reverse=True), hue_order=list(palette), palette=palette,
        markers=list(MARKERS[: len(palette)]), dodge=0.13 * (len(palette) - 1), errorbar=("pi", 100),
        lw=1, ms=6, height=3.7, aspect=1.65,
    )  # fmt: skip
    grid.set_titles("{col_name}").set_axis_labels("", "recall, %").set(ylim=(-3, 103))
    grid.tick_params(axis="x", labelsize=9.5)
    return _legend_below(grid, -0.03, min(5, len(palette)))


def right_noisy(results: Results, focus: Focus) -> Figure | None:
    """Share of each class's right labels called noisy over the epochs: a panel for each noise and method that
    mines, of those compared; None where no run has recorded it."""
    rows = []
    for row in _compared(results, focus):
        where = f"{results.grid.title(row['method'])}, {names.noise(results.grid.noises[row['noise']])}"
        for mined in [scores.mining for scores in row["scores"] if scores.mining]:
            of_classes = mined.right_noisy_by_class_epoch or {}
            for name, values in zip(drawn(list(of_classes)), of_classes.values(), strict=True):
                curve = pd.DataFrame({"epoch": mined.epoch, "share": series(values)})
                rows.append(curve.assign(**{"class": name, "where": where}))
    if not rows:
        return None
    data = pd.concat(rows, ignore_index=True)
    grid = sns.relplot(
        data, kind="line", x="epoch", y="share", hue="class", style="class", col="where",
        col_wrap=3, palette=list(np.resize(COLOURS, data["class"].nunique())), markers=True,
        dashes=False, errorbar=None, height=3.3, aspect=1.25,
    )  # fmt: skip
    grid.set_titles("{col_name}").set_axis_labels("epoch", "right labels called noisy, %").set(ylim=(-3, 103))
    return _legend_below(grid, -0.08, 4)


def hyperparameters(results: Results) -> Figure | None:
    """Accuracy against β, ω and γ, ours above the paper's; only those the grid varies; None if none."""
    cells, rows = results.cells.set_index("cell"), []
    for cell in results.grid.cells:
        for key in [key for key in SYMBOLS if cell.method == "asm" and set(cell.changed) <= {key}]:
            value = cell.changed.get(key, results.grid.defaults.get(key, SYMBOLS[key][1]))
            of = names.place(results.grid, cell.dataset, cell.noise, cell.init)
            rows.append((of, "ours", key, float(value), cells.at[cell.cell, "accuracy"]))
    found = pd.DataFrame(rows, columns=["of", "whose", "key", "value", "accuracy"]).dropna()
    found = found[found.groupby(["of", "key"])["value"].transform("nunique") > 1]
    varied = [key for key in SYMBOLS if key in set(found["key"])]
    if not varied:
        return None
    printed, theirs = paper()["fig_s1"], "paper: RAF-DB, no noise added"
    pairs = [(key, *pair) for key in varied for pair in printed[key.split(".")[1]].items()]
    lines = [(theirs, "paper", key, float(value), accuracy) for key, value, accuracy in pairs]
    data = pd.concat([found, pd.DataFrame(lines, columns=found.columns)]).sort_values("value")
    # the values stand evenly spaced, as in the paper's figure
    data["place"] = data.groupby("key")["value"].rank(method="dense")
    shown = list(dict.fromkeys([*found["of"], theirs]))
    palette = [*np.resize(COLOURS, len(shown) - 1), PAPER_COLOUR]
    grid = sns.relplot(
        data, kind="line", x="place", y="accuracy", row="whose", col="key", hue="of",
        row_order=["ours", "paper"], col_order=varied, hue_order=shown, palette=palette, marker="o", ms=7,
        lw=2, errorbar=interval, err_style="bars", height=3, aspect=1.3,
        facet_kws={"sharex": "col", "sharey": "row"},
    )  # fmt: skip
    grid.set_titles("")
    for (whose, key), axes in grid.axes_dict.items():
        values = sorted(set(data.loc[data["key"] == key, "value"]))
        axes.set_xticks(range(1, len(values) + 1), [f"{value:g}" for value in values])
        axes.set(xlabel=SYMBOLS[key][0], ylabel=f"{whose}: accuracy, %")
    return _legend_below(grid, -0.1, 2)


def leads(results: Results) -> Figure | None:
    """Leads over the baseline against what it fits: a row of panels for each measure, a column for each data
    set and noise; None without regimes. A regime that changes the warm-up alone has the baseline of another:
    it is in the table, not here."""
    found = [row for row in regimes.rows(results) if row.regime == row.baseline["regime"]]
    cells, rows = results.cells.set_index("cell"), []
    for row in found:
        at = {"fit": row.baseline["fit"].mean, "where": names.place(results.grid, *row.place)}
        for rule, setting in row.all.items():
            for measure, words in MEASURES.items():
                points = cells.loc[setting["cells"], f"{measure}_over_baseline"].astype(float)
                rows += [at | {"rule": rule, "measure": words, "lead": value} for value in points]
    if not rows:
        return None
    data, control = pd.DataFrame(rows).dropna(), results.grid.title(CONTROL)
    rules = sorted(dict.fromkeys(data["rule"]), key=lambda rule: (rule != regimes.ASM, rule == control))
    colours = {rule: COLOURS[k % 7] for k, rule in enumerate(rules)} | {control: PAPER_COLOUR}
    grid = sns.relplot(
        data, kind="line", x="fit", y="lead", row="measure", col="where", hue="rule", style="rule",
        hue_order=rules, style_order=rules, palette=colours, markers=True, dashes=False, lw=2, ms=8,
        errorbar=interval, err_style="bars", height=3.6, aspect=1.2,
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
    return _legend_below(grid, -0.06, 5)


def _drawn(results: Results, tsne: Path) -> Iterator[tuple[str, Focus | None, Figure | Spec | None]]:
    for focus in results.focuses:
        yield from ((stem, focus, chart) for stem, chart in charts.build(results, focus, tsne).items())
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


def write(results: Results, tsne: Path, out: Path, printed: Path) -> tuple[dict[str, str], Charts]:
    """Writes the figures that the evaluated cells allow, as .png into `out` and .svg into `printed`. Returns
    by the files' stems the caption of each, and the charts."""
    for folder in (out, printed):
        folder.mkdir(parents=True, exist_ok=True)
    captions, interactive = {}, {}
    with drawing.style():
        for stem, focus, figure in _drawn(results, tsne):
            if figure is None:
                continue
            first = focus is None or focus.dataset == results.focuses[0].dataset
            name = stem if first else f"{stem}_{focus.dataset}"
            captions[name] = _caption(results, stem, focus)
            if isinstance(figure, dict):
                interactive[name] = figure
                charts.save(figure, out, name, printed)
            else:
                drawing.save(figure, out, name, printed)
    return captions, interactive
