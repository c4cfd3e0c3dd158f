"""Style and saving shared by the figures: colour-blind-safe, headless, the same bytes on every run."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from asm.report.estimates import Estimate

TEX = re.compile(r"(T|λ)_(n|c|max)\b")
# Okabe and Ito's palette, its yellow darkened to be seen on white; eight classes at most before it repeats
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#B5A900", "#333333")
OTHERS = ("#56B4E9", "#B5A900", "#882255", "#44AA99", "#999933", "#AA4499", "#661100", "#117733", "#88CCEE")
SUBSET_COLOURS = {"clean": "#0072B2", "ambiguous": "#E69F00", "noisy": "#882255"}
METHOD_COLOURS = {
    "baseline": "#6E6E6E",
    "asm": "#0072B2",
    "scn": "#E69F00",
    "rul": "#009E73",
    "eac": "#CC79A7",
    "two_networks": "#D55E00",
}
PAPER_COLOUR = "#6E6E6E"
STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that the figures do not depend on the machine
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#DDDDDD",
    "legend.frameon": False,
    "savefig.dpi": 110,
    "svg.hashsalt": "asm",
}


@contextmanager
def style() -> Iterator[None]:
    """matplotlib's own defaults plus STYLE, whatever the user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        matplotlib.use("agg")
        yield


def canvas(width: float, height: float) -> Figure:
    """An empty figure (inches), laid out so that nothing overlaps, drawn without a display."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(wspace=0.05)
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, out: Path, stem: str) -> list[Path]:
    """Writes `stem`.png and `stem`.svg into `out`, without dates or versions."""
    png, svg = out / f"{stem}.png", out / f"{stem}.svg"
    figure.savefig(png, metadata={"Software": None}, bbox_inches="tight")
    figure.savefig(svg, metadata={"Date": None, "Creator": None}, bbox_inches="tight")
    plt.close(figure)  # those that seaborn made are pyplot's
    return [png, svg]


def series(values: list[float | None] | None, scale: float = 100, length: int = 0) -> np.ndarray:
    """A curve times `scale` (100: in percent), NaN where it has no value; all NaN (`length`) without one."""
    if values is None:
        return np.full(length, np.nan)
    return scale * np.array([np.nan if v is None else v for v in values], dtype=float)


def errorbar(axes: Axes, x: Sequence[float], points: Sequence[Estimate], **look: Any) -> None:
    """A line of estimates; bars are their 95 % intervals, where they have one."""
    halves = [np.nan if p.half is None else p.half for p in points]
    axes.errorbar(x, [p.mean for p in points], halves, capsize=3, elinewidth=0.9, **look)


def legend_below(figure: Figure, columns: int) -> None:
    """One legend for all panels, each label once."""
    drawn = [axes.get_legend_handles_labels() for axes in figure.axes]
    entries = {name: handle for found in drawn for handle, name in zip(*found, strict=True)}
    printed = [TEX.sub(r"$\1_{\2}$", name) for name in entries]
    figure.legend(list(entries.values()), printed, loc="outside lower center", ncols=columns)


def shade_warmup(axes: Axes, warmup: int) -> None:
    """Marks the epochs before mining starts."""
    if warmup > 0:
        axes.axvspan(0.5, warmup + 0.5, color="#EEEEEE", zorder=0)
        axes.text(
            (warmup + 1) / 2, 0.5, "warm-up", transform=axes.get_xaxis_transform(),
            rotation=90, ha="center", va="center", color="#777777", fontsize=11,
        )  # fmt: skip
