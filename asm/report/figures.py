"""The report's figures: every one from the cells' scores, png and svg."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asm.report import drawing, embeddings, label_quality, regimes, text
from asm.report.ablations import HYPERPARAMETERS, is_hyperparameter_row
from asm.report.cells import Focus, Grid, Group, focuses, paper
from asm.report.estimates import Estimate
from asm.report.glyphs import drawn
from asm.scores.schema import Scores

SYMBOLS = {"losses.beta": "β", "losses.omega": "ω", "losses.gamma": "γ"}
Drawn = tuple[str, str, Figure]  # file stem, caption, figure


def _epoch_axis(axes: Axes, epochs: list[int]) -> None:
    axes.set_xlabel("epoch")
    axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)


def _marker_step(epochs: list[int]) -> int:
    return max(1, len(epochs) // 15)


def _legend_below(axes: Axes) -> None:
    entries = len(axes.get_legend_handles_labels()[0])
    columns = entries if entries <= 4 else (entries + 1) // 2
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14)}
    axes.legend(**below, ncols=columns, columnspacing=1.0, handlelength=1.3)


def thresholds(scores: Scores, warmup: int) -> Figure | None:
    """T_c per class (solid) and T_n = 1 - T_c (dashed), and the subsets' shares, over the epochs."""
    curves = scores.curves
    if not curves.threshold_clean:
        return None
    figure = drawing.canvas(11, 5.4)
    left, right = figure.subplots(1, 2)
    every = _marker_step(curves.epoch)
    named = zip(drawn(list(curves.threshold_clean)), curves.threshold_clean.values(), strict=True)
    for k, (name, values) in enumerate(named):
        colour, clean = drawing.COLOURS[k % len(drawing.COLOURS)], drawing.series(values)
        left.plot(curves.epoch, clean, color=colour, lw=2, marker="o", ms=3, markevery=every, label=name)
        left.plot(curves.epoch, 1 - clean, color=colour, lw=1.4, ls="--")
    left.set(ylim=(0, 1), ylabel="threshold", title="$T_c$ (solid) and $T_n = 1 - T_c$ (dashed)")
    shares = {
        name: drawing.series(getattr(curves, f"subset_{name}"), len(curves.epoch))
        for name in drawing.SUBSET_COLOURS
    }
    mined = ~np.isnan(np.sum(list(shares.values()), axis=0))
    bottom = np.zeros(int(mined.sum()))
    at = np.array(curves.epoch)[mined]
    for name, share in shares.items():
        top = bottom + 100 * share[mined]
        # from half an epoch before the first mined one, so that a run with one mined epoch still shows
        edges = np.r_[at[:1] - 0.5, at, at[-1:] + 0.5]
        low, high = (np.r_[y[:1], y, y[-1:]] for y in (bottom, top))
        right.fill_between(edges, low, high, color=drawing.SUBSET_COLOURS[name], lw=0, label=name)
        bottom = top
    right.set(ylim=(0, 100), ylabel="share of training samples, %", title="Subsets")
    for axes in (left, right):
        _epoch_axis(axes, curves.epoch)
        drawing.shade_warmup(axes, warmup)
        _legend_below(axes)
    return figure


def accuracy(grid: Grid, dataset: str, init: str) -> Figure | None:
    """Test accuracy of the methods of Table 1 over epochs, one panel per noise; thin lines are seeds, thick
    ones their mean."""
    panels = []
    for noise in grid.ordered_noises:
        groups = [grid.group(dataset, noise, method, init) for method in text.paper_methods()]
        groups = [g for g in groups if g is not None and g.done]
        if groups:
            panels.append((noise, groups))
    if not panels:
        return None
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = drawing.canvas(max(3.6 * columns + 0.8, 5.5), 3.5 * rows + 0.7)
    grid_axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    named = {}
    for axes, (noise, groups) in zip(grid_axes.flat, panels, strict=False):
        for group in groups:
            colour = drawing.METHOD_COLOURS[group.method]
            curves = [100 * drawing.series(d.curves.accuracy) for d in group.done]
            epochs = group.done[0].curves.epoch
            for curve, scores in zip(curves, group.done, strict=True):
                axes.plot(scores.curves.epoch, curve, color=colour, lw=0.7, alpha=0.5)
            if len({len(c) for c in curves}) == 1:
                named[group.method] = axes.plot(epochs, np.mean(curves, axis=0), color=colour, lw=1.9)[0]
        name = text.noise_name(grid.noises[noise])
        axes.set_title(name if name == "real labels" else f"label noise {name}")
        _epoch_axis(axes, max((d.curves.epoch for g in groups for d in g.done), key=len))
    for axes in grid_axes.flat[len(panels) :]:
        axes.set_visible(False)
    for axes in grid_axes[:, 0]:
        axes.set_ylabel("test accuracy, %")
    shown = text.in_order(named, first=text.paper_methods())
    figure.legend(
        [named[m] for m in shown],
        [grid.title(m) for m in shown],
        loc="outside lower center",
        ncols=max(len(shown), 1),
    )
    return figure


def mining(scores: Scores) -> Figure | None:
    """Precision, recall and F1 of the noisy subset, and each subset's share of wrong labels."""
    mined = scores.mining
    if mined is None or np.isnan(drawing.series(mined.noisy_f1)).all():
        return None
    figure = drawing.canvas(10, 4.6)
    left, right = figure.subplots(1, 2)
    every = _marker_step(mined.epoch)
    for name, colour, mark in (
        ("precision", "#0072B2", "o"),
        ("recall", "#D55E00", "s"),
        ("F1", "#333333", "^"),
    ):
        values = drawing.series(getattr(mined, f"noisy_{name.lower()}"))
        left.plot(
            mined.epoch, 100 * values, color=colour, marker=mark, markevery=every, ms=5, lw=2, label=name
        )
    left.set(title="Noisy subset against wrong labels", ylabel="precision, recall, F1 in %")
    for name, mark in embeddings.MARKERS.items():
        values = drawing.series(mined.wrong_share[name])
        right.plot(
            mined.epoch,
            100 * values,
            color=drawing.SUBSET_COLOURS[name],
            marker=mark,
            markevery=every,
            ms=5,
            lw=2,
            label=name,
        )
    right.axhline(100 * scores.noise.realised, color="#777777", ls=":", lw=1.8, label="all samples")
    right.set(title="Wrong labels in each subset", ylabel="share of the subset's labels, %")
    for axes in (left, right):
        _epoch_axis(axes, mined.epoch)
        axes.set_ylim(0, 102)
        _legend_below(axes)
    return figure


def confusion(grid: Grid, baseline: Group, asm: Group) -> Figure:
    """Confusion matrices (rows: true class, percent of the row) summed over seeds."""
    classes = drawn(asm.done[0].classes)
    side = 0.55 * len(classes) + 1.2
    figure = drawing.canvas(2 * side + 1.0, side + 0.6)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, group in zip(panels, (baseline, asm), strict=True):
        counts = np.sum([d.test.confusion for d in group.done], axis=0)
        share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        image = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
        for row, column in np.ndindex(share.shape):
            value = share[row, column]
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=11,
                      color="white" if value > 55 else "black")  # fmt: skip
        axes.set_xticks(range(len(classes)), classes, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(classes)), classes)
        axes.set(title=grid.title(group.method), xlabel="predicted")
        axes.grid(False)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
    panels[0].set_ylabel("true")
    figure.colorbar(image, ax=panels, label="% of the true class", shrink=0.85)
    return figure


def hyperparameters(grid: Grid) -> Figure | None:
    """Accuracy against β, ω and γ, ours above the paper's; only those the grid varies; None if none."""
    many = len(grid.used_inits) > 1
    varied = {}
    for key, printed in HYPERPARAMETERS.items():
        default = grid.defaults.get(key, printed)
        lines: dict[str, dict[float, Estimate]] = {}
        for group in grid.groups():
            found = group.accuracy()
            if is_hyperparameter_row(group, key) and found is not None:
                name = f"{group.dataset}, {text.noise_name(grid.noises[group.noise])}"
                name += f", {group.init}" if many else ""
                lines.setdefault(name, {})[float(group.changed.get(key, default))] = found
        lines = {name: points for name, points in lines.items() if len(points) > 1}
        if lines:
            varied[key] = lines
    if not varied:
        return None
    names = list(dict.fromkeys(name for lines in varied.values() for name in lines))
    colours = dict(zip(names, np.resize(drawing.COLOURS, len(names)), strict=True))
    figure = drawing.canvas(max(4.1 * len(varied), 5.5), 6.2)
    panels = figure.subplots(2, len(varied), squeeze=False, sharex="col", sharey="row")
    for (key, lines), (upper, lower) in zip(varied.items(), panels.T, strict=True):
        symbol = SYMBOLS[key]
        printed = paper()["fig_s1"][key.split(".")[1]]
        values = sorted({float(v) for v in printed} | {v for points in lines.values() for v in points})
        place = {v: i for i, v in enumerate(values)}  # evenly spaced, as in the paper's figure
        for name, points in lines.items():
            at = sorted(points)
            error = [np.nan if points[v].half is None else points[v].half for v in at]
            x, y = [place[v] for v in at], [points[v].mean for v in at]
            upper.errorbar(
                x, y, error, color=colours[name], marker="o", lw=2, capsize=4, label=f"ours: {name}"
            )
        x, label = [place[float(v)] for v in printed], "paper: RAF-DB, no noise added"
        lower.plot(x, list(printed.values()), color=drawing.PAPER_COLOUR, marker="s", lw=2, label=label)
        lower.set_xticks(range(len(values)), [f"{v:g}" for v in values])
        lower.set_xlim(-0.4, len(values) - 0.6)
        lower.set_xlabel(symbol)
    panels[0, 0].set_ylabel("ours: accuracy, %")
    panels[1, 0].set_ylabel("paper: accuracy, %")
    drawn = [axes.get_legend_handles_labels() for axes in panels.flat]
    entries = {
        label: handle for handles, labels in drawn for handle, label in zip(handles, labels, strict=True)
    }
    columns = min(len(entries), 2) if len(varied) > 1 else 1  # one panel is too narrow for two
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns)
    return figure


def _of_focus(grid: Grid, focus: Focus, tsne_dir: Path) -> Iterator[Drawn]:
    """The figures of one data set, at the noise in focus."""
    noise = text.noise_name(grid.noises[focus.noise])
    where = f"{focus.dataset}, {noise if noise == 'real labels' else f'{noise} label noise'}"
    scores = focus.asm.done[0]
    seed = f"ASM, {where}, seed {scores.seed}"
    features = embeddings.read_embedding(focus.asm, tsne_dir)
    others = embeddings.read_embedding(focus.baseline, tsne_dir)
    if features is not None:
        yield (
            "fig1_tsne",
            f"Fig. 1. t-SNE of the features ({seed.rsplit(',', 1)[0]}): left by expression, right by the "
            "subset that the final thresholds give; black outlines mark what the mining got wrong.",
            embeddings.subsets_figure(features, where.split(", ", 1)[1]),
        )
    if features is not None and others is not None:
        caption = f"Supplement, Fig. 2. t-SNE of the test set: baseline (a) beside ASM (b) ({where})."
        yield "figS2_tsne", caption, embeddings.comparison_figure(others, features)
    made: list[tuple[str, str, Callable[[], Figure | None]]] = [
        (
            "fig_accuracy",
            f"Test accuracy of the methods of Table 1 over epochs, {focus.dataset}; thin lines are single "
            "seeds, thick ones their mean.",
            lambda: accuracy(grid, focus.dataset, focus.init),
        ),
        (
            "fig_thresholds",
            f"Clean and noisy thresholds of each class, and the size of the subsets ({seed}).",
            lambda: thresholds(scores, grid.warmup_epochs),
        ),
        (
            "fig_mining",
            "How well the noisy subset finds the wrong labels, and the share of wrong labels in each subset "
            f"({seed}).",
            lambda: mining(scores),
        ),
        (
            "fig_confusion",
            f"Confusion matrices on the test set, summed over seeds ({where}).",
            lambda: confusion(grid, focus.baseline, focus.asm) if focus.baseline else None,
        ),
    ]
    for stem, caption, draw in made:
        figure = draw()
        if figure is not None:
            yield stem, caption, figure


def _all(grid: Grid, tsne_dir: Path) -> Iterator[Drawn]:
    for position, focus in enumerate(focuses(grid)):
        for stem, caption, figure in _of_focus(grid, focus, tsne_dir):
            yield (stem if position == 0 else f"{stem}_{focus.dataset}"), caption, figure
    figure = regimes.figure(grid)
    if figure is not None:
        caption = (
            "When mining helps: lead over the baseline of the same regime (letters as in the table; hollow: "
            "another warm-up alone) against what that baseline fits; bars are 95 % intervals over seeds. "
            "Dotted: the paper's leads; it does not say how much its networks memorise."
        )
        yield regimes.FIGURE, caption, figure
    figure = label_quality.entropy_figure(grid)
    if figure is not None:
        caption = (
            "How much the annotators of each subset's images disagree: share of the images whose votes have "
            "at most this entropy (ASM by default, first seed, training images; further right: more "
            "disagreement)."
        )
        yield "fig_vote_entropy", caption, figure
    figure = hyperparameters(grid)
    if figure is not None:
        caption = (
            "Supplement, Fig. 1. Accuracy against one hyper-parameter, the others at their defaults: ours "
            "above, the paper's curve (RAF-DB, no noise added) below; bars are 95 % intervals over seeds "
            "where there are several."
        )
        yield "figS1_hyperparameters", caption, figure


def write(grid: Grid, tsne_dir: Path, out: Path) -> list[tuple[str, str]]:
    """Writes the figures that the evaluated cells allow as .png and .svg into `out`; returns the stem of each
    and its caption. A data set after the first has its name at the end of the file's.

    Raises InputError where `embeddings.read_embedding` does.
    """
    out.mkdir(parents=True, exist_ok=True)
    drawn = []
    with drawing.style():
        for stem, caption, figure in _all(grid, tsne_dir):
            drawing.save(figure, out, stem)
            drawn.append((stem, caption))
    return drawn
