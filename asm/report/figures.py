"""The report's figures: every one from the results' frames, png and svg."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asm.report import drawing, embeddings, label_quality, names, regimes
from asm.report.cells import CONTROL, paper
from asm.report.drawing import COLOURS, SUBSET_COLOURS
from asm.report.glyphs import drawn
from asm.report.results import NONE, Focus, Results, paper_value
from asm.report.tables import HYPERPARAMETERS
from asm.scores.schema import Scores

SYMBOLS = {"losses.beta": "β", "losses.omega": "ω", "losses.gamma": "γ"}
REGIMES = "figR_regimes"
HYPER = "figS1_hyperparameters"
ASIDE = {"ls": "", "mfc": "white"}
Drawn = tuple[str, str, Figure | None]  # file stem, caption, figure


def _finish(axes: Axes, epochs: list[int], **more: object) -> None:
    axes.set(xlabel="epoch", xlim=(epochs[0] - 0.5, epochs[-1] + 0.5), **more)
    axes.xaxis.get_major_locator().set_params(integer=True)
    entries = len(axes.get_legend_handles_labels()[0])
    columns = entries if entries <= 4 else (entries + 1) // 2
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=columns, columnspacing=1.0, handlelength=1.3
    )


def curves(results: Results, dataset: str, init: str, methods: list[str]) -> pd.DataFrame:
    """Test accuracy in percent by epoch of these methods' cells, as they are by default; columns noise,
    method, seed, epoch, accuracy."""
    grid, frames = results.grid, []
    for noise in grid.ordered_noises:
        for method in methods:
            row = results.get(dataset, noise, method, init)
            for scores in row["scores"] if row else []:
                frame = pd.DataFrame(
                    {"epoch": scores.curves.epoch, "accuracy": drawing.series(scores.curves.accuracy)}
                )
                frames.append(frame.assign(
                    noise=names.noise(grid.noises[noise]), method=grid.title(method), seed=scores.seed,
                ))  # fmt: skip
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def accuracy(results: Results, dataset: str, init: str) -> Figure | None:
    """Test accuracy of the methods of Table 1 and the control over epochs, one panel a noise: mean over the
    seeds, the band from the lowest to the highest."""
    grid, compared = results.grid, [*names.table1_methods(), CONTROL]
    methods = [m for m in compared if m in grid.methods]
    data = curves(results, dataset, init, methods)
    if data.empty:
        return None
    colours = {grid.title(m): drawing.METHOD_COLOURS[m] for m in methods}
    colours = {name: c for name, c in colours.items() if name in set(data["method"])}
    panels = sns.relplot(
        data, kind="line", x="epoch", y="accuracy", hue="method", col="noise", errorbar=("pi", 100),
        col_wrap=min(4, data["noise"].nunique()), palette=colours, hue_order=list(colours), height=3.4,
        aspect=0.9 if data["noise"].nunique() > 1 else 1.6, lw=2, facet_kws={"sharex": False},
    )  # fmt: skip
    for label, axes in panels.axes_dict.items():
        axes.set_title(label if label == "real labels" else f"{label} noise")
        axes.xaxis.get_major_locator().set_params(integer=True)
    panels.set_axis_labels("epoch", "test accuracy, %")
    sns.move_legend(panels, "lower center", bbox_to_anchor=(0.45, -0.08), ncols=len(colours), title=None)
    return panels.figure


def thresholds(scores: Scores, warmup: int) -> Figure | None:
    """T_c per class (solid) and T_n = 1 - T_c (dashed), and the subsets' shares, over the epochs."""
    known = scores.curves
    if not known.threshold_clean:
        return None
    figure = drawing.canvas(11, 5.4)
    left, right = figure.subplots(1, 2)
    named = zip(drawn(list(known.threshold_clean)), known.threshold_clean.values(), strict=True)
    for k, (name, values) in enumerate(named):
        colour, clean = COLOURS[k % len(COLOURS)], drawing.series(values, 1)
        left.plot(known.epoch, clean, color=colour, lw=2, label=name)
        left.plot(known.epoch, 1 - clean, color=colour, lw=1.4, ls="--")
    shares = np.array(
        [drawing.series(getattr(known, f"subset_{n}"), length=len(known.epoch)) for n in SUBSET_COLOURS]
    )
    mined = ~np.isnan(shares.sum(axis=0))
    if mined.any():  # half an epoch to either side, so that a run with one mined epoch still shows
        at = np.array(known.epoch)[mined]
        edges = np.r_[at[:1] - 0.5, at, at[-1:] + 0.5]
        right.stackplot(edges, np.pad(shares[:, mined], ((0, 0), (1, 1)), "edge"), lw=0,
                        labels=list(SUBSET_COLOURS), colors=list(SUBSET_COLOURS.values()))  # fmt: skip
    for axes in (left, right):
        drawing.shade_warmup(axes, warmup)
    _finish(
        left, known.epoch, ylim=(0, 1), ylabel="threshold", title="$T_c$ (solid) and $T_n = 1 - T_c$ (dashed)"
    )
    _finish(right, known.epoch, ylim=(0, 100), ylabel="share of training samples, %", title="Subsets")
    return figure


def mining(scores: Scores) -> Figure | None:
    """Precision, recall and F1 of the noisy subset, and each subset's share of wrong labels."""
    mined = scores.mining
    if mined is None or np.isnan(drawing.series(mined.noisy_f1)).all():
        return None
    figure = drawing.canvas(10, 4.6)
    left, right = figure.subplots(1, 2)
    for name, colour, mark in (
        ("precision", "#0072B2", "o"),
        ("recall", "#D55E00", "s"),
        ("F1", "#333333", "^"),
    ):
        values = drawing.series(getattr(mined, f"noisy_{name.lower()}"))
        left.plot(mined.epoch, values, color=colour, marker=mark, ms=5, lw=2, label=name)
    for name, mark in embeddings.MARKERS.items():
        values = drawing.series(mined.wrong_share[name])
        right.plot(mined.epoch, values, color=SUBSET_COLOURS[name], marker=mark, ms=5, lw=2, label=name)
    right.axhline(100 * scores.noise.realised, color="#777777", ls=":", lw=1.8, label="all samples")
    _finish(left, mined.epoch, ylim=(0, 102), title="Noisy subset against wrong labels", ylabel="%")
    _finish(
        right,
        mined.epoch,
        ylim=(0, 102),
        title="Wrong labels in each subset",
        ylabel="share of its labels, %",
    )
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


def vote_entropy(results: Results) -> Figure | None:
    """Distribution of the votes' entropy in ASM's subsets, as cumulative shares; None without votes."""
    frames = []
    for row, quality, asked in label_quality.assessed(results):
        known = quality.ambiguous
        if row["method"] == "asm" and row["rule"] == NONE and known and known.truth == "votes":
            where = names.place(results.grid, row["dataset"], row["noise"], row["init"])
            where = ", ".join([where, *asked.values()])
            for name, held in known.by_subset.items():
                frame = pd.DataFrame({"entropy": held.vote_entropy, "n": held.counts})
                frames.append(frame.assign(subset=name, where=where))
    if not frames:
        return None
    data = pd.concat(frames, ignore_index=True)
    panels = sns.displot(data, kind="ecdf", x="entropy", weights="n", hue="subset", col="where", col_wrap=3,
                         palette=SUBSET_COLOURS, stat="percent", height=3.2, lw=2)  # fmt: skip
    panels.set_titles("{col_name}")
    panels.set_axis_labels("entropy of the ten votes, nats", "share of the subset, %")
    return panels.figure


def hyperparameters(results: Results) -> Figure | None:
    """Accuracy against β, ω and γ, ours above the paper's; only those the grid varies; None if none."""
    varied = {}
    for key, printed in HYPERPARAMETERS.items():
        default, lines = results.grid.defaults.get(key, printed), {}
        for row in results.rows(lambda r: r["method"] == "asm" and r["regime"] == NONE):
            changed = next(c.changed for c in results.grid.cells if c.cell == row["cells"][0])
            if set(changed) <= {key}:
                where = names.place(results.grid, row["dataset"], row["noise"], row["init"])
                lines.setdefault(where, {})[float(changed.get(key, default))] = row["accuracy"]
        lines = {name: points for name, points in lines.items() if len(points) > 1}
        if lines:
            varied[key] = lines
    if not varied:
        return None
    shown = list(dict.fromkeys(name for lines in varied.values() for name in lines))
    colours = dict(zip(shown, np.resize(COLOURS, len(shown)), strict=True))
    figure = drawing.canvas(max(4.1 * len(varied), 5.5), 6.2)
    panels = figure.subplots(2, len(varied), squeeze=False, sharex="col", sharey="row")
    for (key, lines), (upper, lower) in zip(varied.items(), panels.T, strict=True):
        printed = paper()["fig_s1"][key.split(".")[1]]
        values = sorted({float(v) for v in printed} | {v for points in lines.values() for v in points})
        place = {v: i for i, v in enumerate(values)}  # evenly spaced, as in the paper's figure
        for name, points in lines.items():
            at = sorted(points)
            look = {"color": colours[name], "marker": "o", "lw": 2, "label": f"ours: {name}"}
            drawing.errorbar(upper, [place[v] for v in at], [points[v] for v in at], **look)
        lower.plot([place[float(v)] for v in printed], list(printed.values()), color=drawing.PAPER_COLOUR,
                   marker="s", lw=2, label="paper: RAF-DB, no noise added")  # fmt: skip
        lower.set_xticks(range(len(values)), [f"{v:g}" for v in values])
        lower.set(xlim=(-0.4, len(values) - 0.6), xlabel=SYMBOLS[key])
    panels[0, 0].set_ylabel("ours: accuracy, %")
    panels[1, 0].set_ylabel("paper: accuracy, %")
    drawing.legend_below(figure, columns=min(2, len(varied)))
    return figure


def leads(results: Results) -> Figure | None:
    """Leads over the baseline against what it fits, a panel per data set and noise; None without regimes.
    ASM as in the paper is thick, the control dashed; dotted, the paper's leads."""
    found = regimes.rows(results)
    places = list(dict.fromkeys(row.place for row in found))
    rules = list(dict.fromkeys(name for row in found for name in row.mining))
    if not rules:
        return None
    control, columns = results.grid.title(CONTROL), min(3, len(places))
    palette = dict.fromkeys((*COLOURS[1:-1], *drawing.OTHERS))  # each colour once
    colours = dict(
        zip([r for r in rules if r != regimes.ASM], np.resize(list(palette), len(rules)), strict=False)
    )
    style = {r: {"color": colours.get(r, COLOURS[0]), "lw": 3.4 if r == regimes.ASM else 1.5} for r in rules}
    style[control] = {"color": drawing.PAPER_COLOUR, "lw": 2, "ls": "--"}
    figure = drawing.canvas(4.6 * columns + 0.6, 4.4 * -(-len(places) // columns) + 1.4)
    panels = figure.subplots(-(-len(places) // columns), columns, sharey=True, squeeze=False)
    for axes, place in zip(panels.flat, places, strict=False):
        here = sorted((row for row in found if row.place == place), key=lambda row: row.baseline["fit"].mean)
        # a regime that changes the warm-up alone has the baseline of another: it stands by itself, hollow
        aside = [row for row in here if row.regime != row.baseline["regime"]]
        for name, look in style.items():
            for shown, more in (([row for row in here if row not in aside], {"label": name}), (aside, ASIDE)):
                line = [(row.baseline["fit"].mean, setting["lead"]) for row in shown
                        if (setting := row.control if name == control else row.mining.get(name))]  # fmt: skip
                if line:
                    drawing.errorbar(axes, *zip(*line, strict=True), marker="o", ms=5, **look | more)
        kind = results.grid.noises[place[1]]
        for column, label in names.PAPER_COLUMNS.items() if kind.kind == "symmetric" else ():
            theirs = [paper_value("table1", m, column, kind.rate) for m in ("asm", "baseline")]
            if None not in theirs:
                lead = theirs[0] - theirs[1]
                axes.axhline(lead, color=drawing.PAPER_COLOUR, lw=1, ls=":")
                axes.text(0.01, lead, f"paper: {label} {lead:+.1f}", transform=axes.get_yaxis_transform(),
                          va="bottom", fontsize=9, color=drawing.PAPER_COLOUR)  # fmt: skip
        axes.axhline(0, color="#333333", lw=1)
        for row in here:
            at = (row.baseline["fit"].mean, 0.06 if row in aside else 0.01)
            axes.text(*at, row.letter, transform=axes.get_xaxis_transform(), ha="center", color="#555555")
        axes.set_title(names.place(results.grid, *place))
        axes.set_xlabel(f"{'all' if kind.rate == 0 else 'wrong'} labels that the baseline fits, %")
    for axes in panels.flat[len(places) :]:
        axes.set_visible(False)
    panels[0, 0].set_ylabel("lead over the baseline, points")
    drawing.legend_below(figure, columns=3)
    return figure


CAPTIONS = {
    "fig1_tsne": "Fig. 1. t-SNE of ASM's features ({where}): by expression, and by mined subset; "
    "outlined: what the mining got wrong.",
    "figS2_tsne": "Supplement, Fig. 2. t-SNE of the test set, baseline (a) and ASM (b) ({where}).",
    "fig_accuracy": "Test accuracy over the epochs ({dataset}): mean over the seeds, the band from the "
    "lowest to the highest.",
    "fig_thresholds": "Each class's thresholds and the subsets' sizes (ASM, {where}, seed {seed}).",
    "fig_mining": "The noisy subset against the wrong labels, and the wrong labels in each subset (ASM, "
    "{where}, seed {seed}).",
    "fig_confusion": "Confusion matrices on the test set, all seeds ({where}).",
    REGIMES: "Lead over the baseline of the same regime (letters: see the table) against what that "
    "baseline fits; bars: 95 % intervals over seeds. Dotted: the paper's leads; it does not say how much "
    "its networks memorise.",
    "fig_vote_entropy": "How much the annotators of each subset's images disagree: share of the images whose "
    "votes have at most this entropy (ASM, first seed, training images).",
    HYPER: "Supplement, Fig. 1. Accuracy against one hyper-parameter: ours above, the paper's (RAF-DB, no "
    "noise added) below; bars: 95 % intervals over seeds.",
}


def _of_focus(results: Results, focus: Focus, tsne: Path) -> Iterator[Drawn]:
    """The figures of one data set, at the noise in focus."""
    scores, noise = focus.asm["scores"][0], results.grid.noises[focus.noise]
    kind = names.noise(noise) + ("" if noise.kind == "original" else " label noise")
    words = {"where": f"{focus.dataset}, {kind}", "dataset": focus.dataset, "seed": scores.seed}
    features, others = (embeddings.read_embedding(row, tsne) for row in (focus.asm, focus.baseline))
    drawn = {
        "fig1_tsne": features and embeddings.subsets_figure(features, kind),
        "figS2_tsne": features and others and embeddings.comparison_figure(others, features),
        "fig_accuracy": accuracy(results, focus.dataset, focus.init),
        "fig_thresholds": thresholds(scores, results.grid.warmup_epochs),
        "fig_mining": mining(scores),
        "fig_confusion": confusion(results, focus),
    }
    for stem, figure in drawn.items():
        yield stem, CAPTIONS[stem].format(**words), figure


def _all(results: Results, tsne: Path) -> Iterator[Drawn]:
    for position, focus in enumerate(results.focuses):
        for stem, caption, figure in _of_focus(results, focus, tsne):
            yield (stem if position == 0 else f"{stem}_{focus.dataset}"), caption, figure
    for stem, draw in ((REGIMES, leads), ("fig_vote_entropy", vote_entropy), (HYPER, hyperparameters)):
        yield stem, CAPTIONS[stem], draw(results)


def write(results: Results, tsne: Path, out: Path) -> dict[str, str]:
    """Writes the figures that the evaluated cells allow as .png and .svg into `out`; returns the caption of
    each stem. A data set after the first has its name at the end of the file's.

    Raises InputError where `embeddings.read_embedding` does.
    """
    out.mkdir(parents=True, exist_ok=True)
    captions = {}
    with drawing.style():
        for stem, caption, figure in _all(results, tsne):
            if figure is not None:
                drawing.save(figure, out, stem)
                captions[stem] = caption
    return captions
