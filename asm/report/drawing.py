"""Style and saving shared by the figures: colour-blind-safe, headless, the same bytes on every run."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from asm.report.cells import Grid

# Okabe and Ito's palette, its yellow darkened to be seen on white; eight classes at most before it repeats
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#B5A900", "#333333")
SUBSET_COLOURS = {"clean": "#0072B2", "ambiguous": "#E69F00", "noisy": "#882255"}
PAPER_COLOUR = "#6E6E6E"
METHOD_COLOURS = dict(zip(("asm", "scn", "rul", "eac", "two_networks"), COLOURS, strict=False))
METHOD_COLOURS |= {"baseline": PAPER_COLOUR, "coteaching": COLOURS[6]}
OURS = ("#882255", "#56B4E9", "#661100", "#44AA99")  # what is ours, in the grid's order
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


def series(values: list[float | None], scale: float = 100) -> np.ndarray:
    """A curve times `scale` (100: in percent), NaN where it has no value."""
    return scale * np.array([np.nan if v is None else v for v in values], dtype=float)


def drawn(classes: Sequence[str]) -> list[str]:
    """The names as matplotlib is to get them, in their order: no formula between dollar signs, none hidden
    from legends; "class k", from 1, in place of a name that the figures' font cannot write."""
    hidden = set(undrawable(classes))
    names = [f"class {k}" if name in hidden else name for k, name in enumerate(classes, start=1)]
    return [(" " if name.startswith("_") else "") + name.replace("$", r"\$") for name in names]


def undrawable(classes: Sequence[str]) -> list[str]:
    """Those of the names with a character that the figures' font lacks."""
    return [name for name in classes if not all(ord(c) in _characters() for c in name)]


@cache
def _characters() -> frozenset[int]:
    font = get_font(findfont(FontProperties(family=STYLE["font.family"])))
    return frozenset(font.get_charmap())
