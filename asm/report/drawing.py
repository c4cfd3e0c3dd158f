"""Style and saving shared by the figures: colour-blind-safe, headless, the same bytes on every run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's palette, its yellow darkened to be seen on white; eight classes at most before it repeats
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#B5A900", "#333333")
SUBSET_COLOURS = {"clean": "#0072B2", "ambiguous": "#E69F00", "noisy": "#882255"}
METHOD_COLOURS = {
    "baseline": "#6E6E6E",
    "asm": "#0072B2",
    "scn": "#E69F00",
    "rul": "#009E73",
    "eac": "#CC79A7",
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
    "savefig.dpi": 160,
    "svg.hashsalt": "asm",
}


@contextmanager
def style() -> Iterator[None]:
    """matplotlib's own defaults plus STYLE, whatever the user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
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
    figure.savefig(png, metadata={"Software": None})
    figure.savefig(svg, metadata={"Date": None, "Creator": None})
    return [png, svg]


def series(values: list[float | None] | None, length: int = 0) -> np.ndarray:
    """A curve as floats, NaN where it has no value; all NaN (`length`) where there is no curve."""
    if values is None:
        return np.full(length, np.nan)
    return np.array([np.nan if v is None else v for v in values], dtype=float)


def shade_warmup(axes: Axes, warmup: int) -> None:
    """Marks the epochs before mining starts."""
    if warmup > 0:
        axes.axvspan(0.5, warmup + 0.5, color="#EEEEEE", zorder=0)
        axes.text(
            (warmup + 1) / 2, 0.5, "warm-up", transform=axes.get_xaxis_transform(),
            rotation=90, ha="center", va="center", color="#777777", fontsize=11,
        )  # fmt: skip
