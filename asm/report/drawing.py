"""Style and saving shared by the figures: colour-blind-safe, headless, the same bytes on every run."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from asm.report.cells import Grid

# Okabe and Ito's palette, its yellow darkened to be seen on white; eight classes at most before it repeats
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#B5A900", "#333333")
SUBSET_COLOURS = {"clean": "#0072B2", "ambiguous": "#E69F00", "noisy": "#882255"}
METHOD_COLOURS = {
    "baseline": "#6E6E6E",
    "asm": "#0072B2",
    "scn": "#E69F00",
    "rul": "#009E73",
    "eac": "#CC79A7",
    "two_networks": "#D55E00",
    "coteaching": "#B5A900",
}
OURS = ("#882255", "#56B4E9", "#661100", "#44AA99")  # what is ours, in the grid's order
PAPER_COLOUR = "#6E6E6E"
MARKERS = "os^DvPX*"
FONT = "DejaVu Sans"  # comes with matplotlib, so that the figures do not depend on the machine
STYLE = {
    "font.family": FONT,
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


def colours(grid: Grid, methods: Iterable[str]) -> dict[str, str]:
    """A colour for each method by its title, the same in every figure."""
    rest = iter(OURS * 9)
    return {grid.title(method): METHOD_COLOURS.get(method) or next(rest) for method in methods}


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


def save(figure: Figure, out: Path, stem: str, printed: Path) -> None:
    """Writes `stem`.png into `out` and `stem`.svg into `printed`, without dates or versions."""
    figure.savefig(out / f"{stem}.png", metadata={"Software": None}, bbox_inches="tight")
    figure.savefig(printed / f"{stem}.svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight")
    plt.close(figure)  # those that seaborn made are pyplot's


def series(values: list[float | None] | None, scale: float = 100, length: int = 0) -> np.ndarray:
    """A curve times `scale` (100: in percent), NaN where it has no value; all NaN (`length`) without one."""
    if values is None:
        return np.full(length, np.nan)
    return scale * np.array([np.nan if v is None else v for v in values], dtype=float)


def shade_warmup(axes: Axes, warmup: int) -> None:
    """Marks the epochs before mining starts."""
    if warmup > 0:
        axes.axvspan(0.5, warmup + 0.5, color="#EEEEEE", zorder=0)
        axes.text(
            (warmup + 1) / 2, 0.5, "warm-up", transform=axes.get_xaxis_transform(),
            rotation=90, ha="center", va="center", color="#777777", fontsize=11,
        )  # fmt: skip
