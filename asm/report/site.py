"""The page and its details as one self-contained HTML file: figures that answer to the mouse, tables to sort.

Charts are Vega-Lite's, their scripts are inlined, so that the file opens without a network.
"""

import base64
import json
import re
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import vl_convert
from markdown_it import MarkdownIt

from asm.faces import store, thumbnail
from asm.faces.store import AlignedFaces
from asm.report import drawing, embeddings, names, page, regimes
from asm.report.cells import CONTROL
from asm.report.results import NONE, Focus, Results
from asm.scores.run import rows_of

VEGALITE = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
IMAGE = re.compile(r'<p><img src="figures/([\w-]+)\.png" alt="[^"]*" /></p>')
DIGITS = 2  # of percentages and coordinates
THUMBNAIL = 64  # pixels of a face in a tooltip
Spec = dict[str, Any]


def render(
    results: Results, markdown: tuple[str, str], figures: Path, tsne: Path, faces: Path | None = None
) -> str:
    """The site.

    Args:
        markdown: the page and its details.
        figures: folder of the written figures; those without a chart are inlined as they are.
        tsne: folder of <cell>.npz.
        faces: folder of the aligned data sets; the t-SNE's points then show their face. Faces of licensed
            data sets may not be passed on.
    """
    specs = charts(results, tsne, faces)
    used: dict[str, Spec] = {}

    def shown(match: re.Match[str]) -> str:
        here = [key for key in specs if key == match[1] or key.startswith(f"{match[1]}.")]
        used.update({key: specs[key] for key in here})
        return "".join(f'<div class="chart" id="{key}"></div>' for key in here) or _inlined(
            figures / match[1]
        )

    to_html = MarkdownIt("commonmark", {"html": True}).enable("table").render
    first, more = (IMAGE.sub(shown, _linked(to_html(text))) for text in markdown)
    scripts = vl_convert.javascript_bundle(vl_version=VEGALITE)
    return page.environment().get_template("site.html").render(
        title=f"Results: {results.grid.profile}", page=first, details=more, scripts=_in_script(scripts),
        specs=_in_script(json.dumps(used, ensure_ascii=False, sort_keys=True)),
    )  # fmt: skip


def _linked(html: str) -> str:
    """Links between the two pages become links inside the one."""
    html = html.replace('href="details.md#', 'href="#').replace('href="details.md"', 'href="#details"')
    return html.replace('href="README.md"', 'href="#top"').replace(
        "<h2>Not run yet</h2>", '<h2 id="not-run-yet">Not run yet</h2>'
    )


def _in_script(text: str) -> str:
    """Without what would end the script's element; it can only stand in a string."""
    return re.sub("</(?=script)", r"<\\/", text, flags=re.IGNORECASE)


def _inlined(figure: Path) -> str:
    """The smaller of a figure's two files."""
    kinds = {figure.with_suffix(".svg"): "svg+xml", figure.with_suffix(".png"): "png"}
    path = min(kinds, key=lambda p: p.stat().st_size)
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<p><img class="figure" alt="" src="data:image/{kinds[path]};base64,{data}"></p>'


def charts(results: Results, tsne: Path, faces: Path | None = None) -> dict[str, Spec]:
    """Vega-Lite specifications by the figure that each stands for; several for one have a dot and a name."""
    found: dict[str, alt.TopLevelMixin | None] = {}
    for position, focus in enumerate(results.focuses):
        end = "" if position == 0 else f"_{focus.dataset}"
        found[f"fig_accuracy{end}"] = accuracy(results, focus)
        found[f"fig_thresholds{end}"] = thresholds(results, focus)
        found[f"fig_confusion{end}"] = confusion(results, focus.dataset)
        aligned = faces and store.load(faces / focus.dataset)
        for part in ("test", "train"):
            found[f"fig1_tsne{end}.{part}"] = points(focus.asm, tsne, part, "ASM", aligned)
        found[f"figS2_tsne{end}.baseline"] = points(focus.baseline, tsne, "test", "Baseline", aligned)
    found["figR_regimes"] = leads(results)
    return {key: chart.to_dict() for key, chart in found.items() if chart is not None}


def _numbers(values: Any, digits: int = DIGITS) -> list[float | None]:
    return [None if np.isnan(v) else round(float(v), digits) for v in values]


def _legend(field: str, title: str | None = None) -> tuple[alt.Parameter, dict[str, Any]]:
    """A selection that a click in the legend makes, and the opacity that hides the others."""
    chosen = alt.selection_point(name="chosen", fields=[field], bind="legend")
    return chosen, {"opacity": alt.condition(chosen, alt.value(1), alt.value(0.06))}


def _epochs(rows: list[dict[str, Any]], *fields: str) -> alt.Chart:
    """Rows with a list of values by epoch, as one row an epoch."""
    chart = alt.Chart(alt.Data(values=rows))
    return chart.transform_flatten(["epoch", *fields])


def accuracy(results: Results, focus: Focus) -> alt.TopLevelMixin | None:
    """Mean accuracy by epoch of every method as it is by default; a panel a noise."""
    grid, rows = results.grid, []
    for row in results.rows(
        lambda r: (r["dataset"], r["init"]) == (focus.dataset, focus.init) and r["rule"] == NONE
    ):
        if row["regime"] != NONE or row["schedule"] != focus.asm["schedule"]:
            continue
        curves = [s.curves for s in row["scores"]]
        longest = max(curves, key=lambda c: len(c.epoch)).epoch
        same = [drawing.series(c.accuracy) for c in curves if c.epoch == longest]
        rows.append({"method": grid.title(row["method"]), "noise": names.noise(grid.noises[row["noise"]]),
                     "epoch": longest, "accuracy": _numbers(np.mean(same, axis=0))})  # fmt: skip
    if not rows:
        return None
    chosen, opacity = _legend("method")
    order = list(dict.fromkeys(row["noise"] for row in rows))
    chart = _epochs(rows, "accuracy").mark_line(point={"size": 24}).encode(
        x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1)),
        y=alt.Y("accuracy:Q", title="test accuracy, %", scale=alt.Scale(zero=False)),
        color=alt.Color("method:N", title=None, sort=list(dict.fromkeys(row["method"] for row in rows)),
                        scale=_method_colours(results, rows), legend=alt.Legend(orient="bottom")),
        tooltip=["method:N", "noise:N", "epoch:Q", "accuracy:Q"], **opacity,
    )  # fmt: skip
    chart = chart.properties(width=230, height=210).add_params(chosen)
    return chart.facet(facet=alt.Facet("noise:N", title=None, sort=order), columns=4)


def _method_colours(results: Results, rows: list[dict[str, Any]]) -> alt.Scale:
    """Those of the figures; the other methods' from the rest of the palette."""
    known = {results.grid.title(m): c for m, c in drawing.METHOD_COLOURS.items() if m in results.grid.methods}
    shown = list(dict.fromkeys(row["method"] for row in rows))
    rest = iter(np.resize(drawing.OTHERS, len(shown)).tolist())
    return alt.Scale(domain=shown, range=[known.get(name) or next(rest) for name in shown])


def thresholds(results: Results, focus: Focus) -> alt.TopLevelMixin | None:
    """T_c of each class by epoch, of any noise's first ASM run; T_n = 1 - T_c is in the tooltip."""
    rows, shown = [], []
    for row in results.rows(
        lambda r: (r["dataset"], r["method"], r["regime"]) == (focus.dataset, "asm", NONE)
    ):
        scores = row["scores"][0]
        for name, values in (scores.curves.threshold_clean or {}).items():
            rows.append({"cell": scores.cell, "class": name, "epoch": scores.curves.epoch,
                         "T_c": _numbers(drawing.series(values, 1), 3)})  # fmt: skip
            shown.append(scores.cell)
    if not rows:
        return None
    first = next((c for c in shown if c in focus.asm["cells"]), shown[0])
    cell = alt.param(name="cell", value=first,
                     bind=alt.binding_select(options=list(dict.fromkeys(shown)), name="cell "))  # fmt: skip
    chosen, opacity = _legend("class")
    chart = _epochs(rows, "T_c").transform_filter("datum.cell == cell && isValid(datum.T_c)")
    chart = chart.transform_calculate(T_n="round(1000 * (1 - datum.T_c)) / 1000").mark_line(
        point={"size": 24}
    )
    return chart.encode(
        x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1)),
        y=alt.Y("T_c:Q", title="T_c", scale=alt.Scale(domain=[0, 1])),
        color=alt.Color("class:N", title=None, legend=alt.Legend(orient="bottom"),
                        scale=alt.Scale(range=list(drawing.COLOURS))),
        tooltip=["class:N", "epoch:Q", "T_c:Q", "T_n:Q"], **opacity,
    ).properties(width="container", height=300).add_params(cell, chosen)  # fmt: skip


def confusion(results: Results, dataset: str) -> alt.TopLevelMixin | None:
    """The confusion matrix of any cell of a data set, percent of the true class."""
    found = [c.scores for c in results.grid.cells if c.dataset == dataset and c.scores]
    if not found:
        return None
    classes, size = found[0].classes, len(found[0].classes)
    rows = [{"cell": s.cell, "n": np.ravel(s.test.confusion).tolist()} for s in found]
    options = [row["cell"] for row in rows]
    asm = results.rows(lambda r: r["dataset"] == dataset and r["method"] == "asm" and r["rule"] == NONE)
    first = asm[0]["scores"][0].cell if asm else options[0]
    cell = alt.param(name="cell", value=first, bind=alt.binding_select(options=options, name="cell "))
    chart = alt.Chart(alt.Data(values=rows)).transform_filter("datum.cell == cell").transform_flatten(["n"])
    chart = chart.transform_window(at="row_number()", sort=[]).transform_calculate(
        true=f"{json.dumps(classes)}[floor((datum.at - 1) / {size})]",
        predicted=f"{json.dumps(classes)}[(datum.at - 1) % {size}]",
    ).transform_joinaggregate(total="sum(n)", groupby=["true"])  # fmt: skip
    chart = chart.transform_calculate(share="round(1000 * datum.n / max(datum.total, 1)) / 10").encode(
        x=alt.X("predicted:N", sort=classes, title="predicted", axis=alt.Axis(labelAngle=-40)),
        y=alt.Y("true:N", sort=classes, title="true"),
        tooltip=["true:N", "predicted:N", "n:Q", alt.Tooltip("share:Q", title="% of the true class")],
    )
    boxes = chart.mark_rect().encode(
        color=alt.Color("share:Q", scale=alt.Scale(scheme="blues", domain=[0, 100]), legend=None)
    )
    text = chart.mark_text().encode(
        text=alt.Text("share:Q", format=".0f"),
        color=alt.condition("datum.share > 55", alt.value("white"), alt.value("black")),
    )
    return alt.layer(boxes, text).properties(width="container", height=330).add_params(cell)


def points(
    setting: dict[str, Any] | None, tsne: Path, part: str, method: str, aligned: AlignedFaces | None = None
) -> alt.TopLevelMixin | None:
    """t-SNE of the test or the training samples of a setting: by expression or by mined subset; with the data
    set's faces, each in its point's tooltip."""
    features = embeddings.read_embedding(setting, tsne)
    if features is None:
        return None
    xy, subset = (getattr(features, f"{part}_{name}") for name in ("xy", "subset"))
    given = features.test_true if part == "test" else features.train_given
    true = getattr(features, f"{part}_true")
    predicted = features.test_predicted if part == "test" else np.full(len(xy), -1)
    ids = getattr(features, f"{part}_ids")
    columns = {"g": given, "t": true, "p": predicted, "s": subset, "id": ids}
    row = {"x": _numbers(xy[:, 0]), "y": _numbers(xy[:, 1])} | {k: v.tolist() for k, v in columns.items()}
    if aligned is not None:
        numbered = aligned.manifest.assign(row=range(len(aligned.manifest)))
        rows = rows_of(numbered, ids, tsne)["row"]
        row["image"] = [thumbnail.data_url(aligned.faces[i], THUMBNAIL) for i in rows]
    classes, subsets = json.dumps(features.classes), json.dumps(features.subsets)
    by = alt.param(name="by", value="expression",
                   bind=alt.binding_select(options=["expression", "subset"], name="colour by "))  # fmt: skip
    chosen, opacity = _legend("shown")
    chart = alt.Chart(alt.Data(values=[row])).transform_flatten(list(row))
    chart = chart.transform_calculate(
        given=f"{classes}[datum.g]",
        true=f"{classes}[datum.t]",
        subset=f"datum.s < 0 ? 'not mined' : {subsets}[datum.s]",
        predicted=f"datum.p < 0 ? '' : {classes}[datum.p]",
    ).transform_calculate(shown="by == 'subset' ? datum.subset : datum.given")  # fmt: skip
    colours = dict(
        zip(features.classes, np.resize(drawing.COLOURS, len(features.classes)).tolist(), strict=True)
    )
    colours |= drawing.SUBSET_COLOURS | {"not mined": "#888888"}
    told = ["id:N", "given:N", "true:N", *(["predicted:N"] if part == "test" else []), "subset:N"]
    told += ["image:N"] if aligned is not None else []
    title = method + {"test": ", test samples", "train": ", training samples by given label"}[part]
    hidden = alt.Axis(labels=False, ticks=False, grid=False, title=None)
    return chart.mark_circle(size=22).encode(
        x=alt.X("x:Q", axis=hidden), y=alt.Y("y:Q", axis=hidden), tooltip=told,
        color=alt.Color("shown:N", title=None, legend=alt.Legend(orient="bottom"),
                        scale=alt.Scale(domain=list(colours), range=list(colours.values()))), **opacity,
    ).properties(width="container", height=420, title=title).add_params(by, chosen)  # fmt: skip


def leads(results: Results) -> alt.TopLevelMixin | None:
    """Leads over the baseline of the same regime against what that fits; a panel per data set and noise."""
    rows = []
    for row in regimes.rows(results):
        shown = row.mining | ({results.grid.title(CONTROL): row.control} if row.control else {})
        for name, found in shown.items():
            lead = found["lead"]
            rows.append({"rule": name, "place": names.place(results.grid, *row.place), "regime": row.letter,
                         "fit": round(row.baseline["fit"].mean, 1), "lead": round(lead.mean, 2),
                         "interval": lead.interval})  # fmt: skip
    if not rows:
        return None
    chosen, opacity = _legend("rule")
    order = list(dict.fromkeys(row["rule"] for row in rows))
    base = alt.Chart(alt.Data(values=rows)).mark_line(point={"size": 36}).encode(
        x=alt.X("fit:Q", title="labels that the baseline fits, %"), y=alt.Y("lead:Q", title="lead, points"),
        color=alt.Color("rule:N", title=None, sort=order, legend=alt.Legend(orient="bottom")),
        tooltip=["rule:N", "regime:N", "fit:Q", "lead:Q", "interval:N"], **opacity,
    ).properties(width=300, height=280).add_params(chosen)  # fmt: skip
    return base.facet(
        facet=alt.Facet("place:N", title=None, sort=list(dict.fromkeys(r["place"] for r in rows))), columns=3
    )
