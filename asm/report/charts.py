"""The figures that answer to the mouse: accuracy over the epochs and the t-SNE, as Vega-Lite's charts for the
site and as their picture for the pages. A click in a legend hides what was not clicked."""

import json
import warnings
from pathlib import Path
from typing import Any

import altair as alt
import matplotlib
import numpy as np
import vl_convert

from asm.basics.errors import InputError
from asm.report import drawing, names
from asm.report.results import MEASURES, Focus, Results, Row

VEGALITE = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
DIGITS = 2  # of percentages and coordinates
SIDE = 400  # of a panel of points, pixels
PICTURE: dict[str, Any] = {"font": drawing.FONT, "background": "white"}
PICTURE |= {part: {"labelFontSize": 12, "titleFontSize": 12} for part in ("axis", "header")}
PICTURE |= {"legend": {"labelFontSize": 12, "symbolSize": 90}, "title": {"fontSize": 13}}
Spec = dict[str, Any]
Charts = dict[str, Spec]  # by the stem of their figure
Embedding = dict[str, Any]
PARTS = {  # of an embedding: xy [n, 2], the others [n]; the subset is -1 where none was mined
    "test": ("test_ids", "test_xy", "test_true", "test_predicted", "test_subset"),
    "train": ("train_ids", "train_xy", "train_given", "train_true", "train_subset"),
}


def build(results: Results, focus: Focus, tsne: Path) -> Charts:
    """The charts of a data set by their stems; `tsne`: folder of <cell>.npz. Raises InputError for a damaged
    one."""
    asm, baseline = (read_embedding(row, tsne) for row in (focus.asm, focus.baseline))
    with warnings.catch_warnings():  # that panels with one legend share the click in it, as they are to
        warnings.filterwarnings("ignore", "Automatically deduplicated selection parameter")
        made = {
            "fig1_tsne": asm and subsets(asm),
            "figS2_tsne": asm and baseline and comparison(baseline, asm),
            "fig_accuracy": accuracy(results, focus),
        }
    return {stem: chart.to_dict() for stem, chart in made.items() if chart is not None}


def save(spec: Spec, out: Path, stem: str, printed: Path) -> None:
    """Writes a picture of the chart: `stem`.png into `out` and `stem`.svg into `printed`."""
    vl_convert.register_font_directory(f"{matplotlib.get_data_path()}/fonts/ttf")
    still = spec | {"config": spec.get("config", {}) | PICTURE}
    (out / f"{stem}.png").write_bytes(vl_convert.vegalite_to_png(still, VEGALITE, scale=1.1))
    (printed / f"{stem}.svg").write_text(vl_convert.vegalite_to_svg(still, VEGALITE), encoding="utf-8")


def _numbers(values: Any) -> list[float | None]:
    return [None if np.isnan(v) else round(float(v), DIGITS) for v in values]


def _chosen(field: str) -> alt.Parameter:
    """What was clicked in the legend of a field."""
    return alt.selection_point(name=f"chosen_{field}", fields=[field], bind="legend")


def _if_chosen(chosen: alt.Parameter, opacity: float) -> Any:
    """This opacity for what was clicked in the legend, or for all; next to none for the others."""
    return alt.condition(chosen, alt.value(opacity), alt.value(0.05))


def accuracy(results: Results, focus: Focus) -> alt.TopLevelMixin | None:
    """Accuracy and mean class accuracy by epoch, mean and span over the seeds, of the methods of the paper's
    Table 1 and of those compared; a column for each noise, a row for each measure."""
    grid, rows = results.grid, []
    methods = names.in_order([*names.table1_methods(), *names.compared(grid)])
    methods = [method for method in methods if method in grid.methods]
    for row in results.default_rows(dataset=focus.dataset, init=focus.init, schedule=focus.asm["schedule"]):
        if row["method"] not in methods:
            continue
        longest = max((s.curves.epoch for s in row["scores"]), key=len)
        place = names.place(grid, row["dataset"], row["noise"], row["init"])
        for measure, words in MEASURES.items():
            of = {"method": grid.title(row["method"]), "noise": place, "measure": f"{words}, %"}
            known = [getattr(s.curves, measure) for s in row["scores"] if s.curves.epoch == longest]
            if runs := [drawing.series(values) for values in known if values]:
                ends = [_numbers(end) for end in (np.mean(runs, 0), np.min(runs, 0), np.max(runs, 0))]
                for values in zip(longest, *ends, strict=True):
                    rows.append(of | dict(zip(("epoch", "mean", "low", "high"), values, strict=True)))
    if not rows:
        return None
    keys = ("method", "measure", "noise")
    titles, measures, noises = (list(dict.fromkeys(row[key] for row in rows)) for key in keys)
    look = {title: colour for title, colour in drawing.colours(grid, methods).items() if title in titles}
    chosen = _chosen("method")
    base = alt.Chart().encode(
        x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1), scale=alt.Scale(nice=False, zero=False)),
        color=alt.Color("method:N", title=None, scale=alt.Scale(domain=list(look), range=list(look.values())),
                        legend=alt.Legend(orient="bottom", columns=5, symbolOpacity=1)),
    )  # fmt: skip
    scale = alt.Scale(zero=False)
    band = base.mark_area().encode(
        y=alt.Y("low:Q", title=None, scale=scale), y2="high:Q", opacity=_if_chosen(chosen, 0.16)
    )
    line = base.mark_line(point={"size": 22}).encode(
        y=alt.Y("mean:Q", title=None, scale=scale), opacity=_if_chosen(chosen, 1),
        tooltip=["method:N", "noise:N", "epoch:Q", "mean:Q", "low:Q", "high:Q"],
    )  # fmt: skip
    panel = alt.layer(band, line.add_params(chosen), data=alt.Data(values=rows))
    return panel.properties(width=215, height=215).facet(
        column=alt.Column("noise:N", title=None, sort=noises),
        row=alt.Row("measure:N", title=None, sort=measures, header=alt.Header(labelOrient="left")),
    )


def read_embedding(setting: Row | None, tsne: Path) -> Embedding | None:
    """Features in two dimensions of the setting's first cell that has them (PARTS, with the names of the
    `classes` and `subsets`); None when none has. Raises InputError naming the file when it lacks an array or
    its arrays do not fit together."""
    paths = [tsne / f"{cell}.npz" for cell in (setting["cells"] if setting else [])]
    path = next((p for p in paths if p.exists()), None)
    if path is None:
        return None
    try:
        with np.load(path) as stored:
            found = {name: stored[name] for name in (*PARTS["test"], *PARTS["train"], "classes", "subsets")}
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise InputError(f"{path}: not as the t-SNE stage writes it ({error}); run that again") from error
    for arrays in PARTS.values():
        if len(lengths := {len(found[name]) for name in arrays}) > 1:
            raise InputError(f"{path}: {sorted(lengths)} samples in one part; run the t-SNE stage again")
    return found | {name: found[name].astype(str).tolist() for name in ("classes", "subsets")}


def _points(features: Embedding, part: str) -> alt.Chart:
    """The test or the training samples, with what the tooltip says of them."""
    xy, true = features[f"{part}_xy"], features[f"{part}_true"]
    given = true if part == "test" else features["train_given"]
    row = {"x": _numbers(xy[:, 0]), "y": _numbers(xy[:, 1]), "id": features[f"{part}_ids"].tolist()}
    row |= {"g": given.tolist(), "t": true.tolist(), "s": features[f"{part}_subset"].tolist()}
    classes, subsets = json.dumps(features["classes"]), json.dumps(features["subsets"])
    said = {"given": f"{classes}[datum.g]", "true": f"{classes}[datum.t]"}
    said |= {"subset": f"datum.s < 0 ? 'not mined' : {subsets}[datum.s]"}
    if part == "test":
        row["p"], said["predicted"] = features["test_predicted"].tolist(), f"{classes}[datum.p]"
    hidden = alt.Axis(labels=False, ticks=False, grid=False, title=None)
    chart = alt.Chart(alt.Data(values=[row])).transform_flatten(list(row)).transform_calculate(**said)
    told = [f"{name}:N" for name in ("id", *said)]
    return chart.encode(x=alt.X("x:Q", axis=hidden), y=alt.Y("y:Q", axis=hidden), tooltip=told)


def _coloured(points: alt.Chart, features: Embedding, field: str, title: str) -> alt.Chart:
    """The points by class (`given`) or by `subset`."""
    chosen, classes = _chosen(field), features["classes"]
    by_class = dict(zip(classes, np.resize(drawing.COLOURS, len(classes)).tolist(), strict=True))
    colours = by_class if field == "given" else drawing.SUBSET_COLOURS
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    legend = alt.Legend(orient="bottom", columns=4, symbolOpacity=1)
    marks = points.mark_point(filled=True, size=18).encode(
        color=alt.Color(f"{field}:N", title=None, legend=legend, scale=scale), opacity=_if_chosen(chosen, 0.8)
    )  # fmt: skip
    return marks.properties(width=SIDE, height=SIDE, title=title).add_params(chosen)


def subsets(features: Embedding) -> alt.TopLevelMixin:
    """Fig. 1: test and training samples, by expression on the left and by mined subset on the right.
    Outlined: a wrong label outside the noisy subset (circle), and a noisy one with a right one (square)."""
    test, train = (_points(features, part) for part in ("test", "train"))
    black = {"color": alt.value("black"), "opacity": alt.value(0.8)}
    wrong, noisy = "datum.g != datum.t", "datum.subset == 'noisy'"
    outlines = [
        train.transform_filter(which).mark_point(size=60, shape=shape).encode(**black)
        for which, shape in ((f"{wrong} && !({noisy})", "circle"), (f"!({wrong}) && {noisy}", "square"))
    ]
    left = alt.vconcat(
        _coloured(test, features, "given", "Test samples by expression"),
        _coloured(train, features, "given", "Training samples by given label"),
    )
    title = "Training by subset; ○ wrong, not noisy; □ noisy, not wrong"
    right = alt.vconcat(
        _coloured(test, features, "subset", "Test samples by subset"),
        alt.layer(_coloured(train, features, "subset", title), *outlines),
    )
    return alt.hconcat(left, right).resolve_scale(color="independent")


def comparison(baseline: Embedding, asm: Embedding) -> alt.TopLevelMixin:
    """Supplement, Fig. 2: test samples under the baseline (a) and ASM (b), by expression."""
    panels = ((baseline, "(a) Baseline"), (asm, "(b) ASM"))
    return alt.hconcat(*(_coloured(_points(of, "test"), of, "given", title) for of, title in panels))
