"""What the report is made of: means over seeds with 95 % intervals, and tables in three written forms."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from asm.basics.yaml import read_yaml

BOLD = re.compile(r"\*\*(.+?)\*\*")


@cache
def texts() -> dict[str, Any]:
    """templates/texts.yaml: title and note of each of the `tables`, the caption of each of the `figures`."""
    return read_yaml(Path(__file__).parent / "templates" / "texts.yaml")


@dataclass(frozen=True)
class Estimate:
    """Mean over `n` seeds; `half` is the half-width of the 95 % Student t interval, None for one seed.
    A `signed` one is a difference."""

    mean: float
    half: float | None
    n: int
    signed: bool = False

    def __str__(self) -> str:
        return self.shown(2)

    def shown(self, digits: int) -> str:
        """Mean ± half-width with so many digits."""
        mean = f"{round(self.mean, digits) + 0.0:{'+' * self.signed}.{digits}f}"  # + 0.0: no "-0.0"
        return mean if self.half is None else f"{mean} ± {self.half:.{digits}f}"

    @property
    def interval(self) -> str:
        """Of a difference, in a sentence: its 95 % interval."""
        if self.half is None:
            return "one seed, no interval"
        low, high = (round(end, 1) + 0.0 for end in (self.mean - self.half, self.mean + self.half))
        return f"95 % interval {low:+.1f} to {high:+.1f}, {self.n} seeds"

    @property
    def side(self) -> int:
        """Of a difference: 1 above and -1 below 0; 0 where its interval holds 0. Without one, the sign."""
        if self.half is not None and abs(self.mean) <= self.half:
            return 0
        return (self.mean > 0) - (self.mean < 0)


@cache
def _quantile(freedom: int) -> float:
    return float(stats.t.ppf(0.975, freedom))


def estimate(values: Iterable[float | None], signed: bool = False) -> Estimate | None:
    """Mean and 95 % interval of the values that exist (neither None nor NaN); None when there are none."""
    known = np.array([v for v in values if v is not None and not math.isnan(v)], dtype=float)
    if known.size == 0:
        return None
    n = known.size
    half = float(_quantile(n - 1) * known.std(ddof=1) / math.sqrt(n)) if n > 1 else None
    return Estimate(float(known.mean()), half, n, signed)


def interval(values: Iterable[float]) -> tuple[float, float]:
    """Ends of the 95 % interval of their mean, for seaborn's error bars; the mean itself of one value."""
    found = estimate(values)
    return found.mean - (found.half or 0), found.mean + (found.half or 0)


@dataclass(frozen=True)
class Beside:
    """Our accuracy with the paper's in brackets; the best of its column in bold."""

    ours: Estimate | None
    paper: float | None
    best: bool = False

    def __str__(self) -> str:
        ours = self.ours.shown(1).split(" ")[0] if self.ours else ""
        if self.best:
            ours = f"**{ours}**"
        return " ".join(part for part in (ours, f"({self.paper:.1f})" if self.paper else "") if part)


@dataclass(frozen=True)
class Table:
    """`frame` holds strings, numbers, None (blank), Estimates and Besides; `more` follows the note of
    texts.yaml. `anchors`: a link target for each row, where sentences point at it."""

    name: str
    frame: pd.DataFrame
    more: str = ""
    anchors: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """What stands above it."""
        return texts()["tables"][self.name]["title"]

    @property
    def note(self) -> str:
        """What stands below it."""
        return f"{texts()['tables'][self.name]['note']} {self.more}".strip()

    @property
    def shown(self) -> pd.DataFrame:
        """As it is read: strings."""
        return self.frame.map(_shown).astype(str) if len(self.frame) else self.frame

    def markdown(self) -> str:
        """The table alone, as GitHub Markdown: numbers on the right, anchors in the first column."""
        numeric = (int, float, Estimate, Beside)
        right = [any(isinstance(v, numeric) for v in values) for _, values in self.frame.items()]
        align = ["right" if found else "left" for found in right]
        text = self.shown.to_markdown(index=False, disable_numparse=True, tablefmt="pipe", colalign=align)
        if not self.anchors:
            return text
        # after padding, so that the columns stand in line without them
        head, rule, *rows = text.split("\n")
        rows = [f'| <a id="{a}"></a>{row[2:]}' for a, row in zip(self.anchors, rows, strict=True)]
        return "\n".join([head, rule, *rows])

    def latex(self) -> str:
        """A tabular with booktabs' rules, for XeLaTeX or LuaLaTeX, which know the report's symbols."""
        return BOLD.sub(r"\\textbf{\1}", self.shown.to_latex(index=False, escape=True))

    def numbers(self) -> pd.DataFrame:
        """The table for machines: an Estimate as three columns (mean, half-width of the interval, seeds)."""
        columns: dict[str, Any] = {}
        for name, values in self.frame.items():
            besides = [v for v in values if isinstance(v, Beside)]
            ours = [v.ours if isinstance(v, Beside) else v for v in values]
            if not besides and not any(isinstance(v, Estimate) for v in values):
                columns[name] = list(values)
                continue
            columns[name] = [v and round(v.mean, 4) for v in ours]
            columns[f"{name}, half-width of 95 % CI"] = [v and v.half and round(v.half, 4) for v in ours]
            columns[f"{name}, seeds"] = pd.array([v and v.n for v in ours], dtype="Int64")
            if any(v.paper for v in besides):
                columns[f"{name}, paper"] = [v and v.paper for v in values]
        return pd.DataFrame(columns)


def _shown(value: object) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def frame_of(rows: list[dict[str, Any]], columns: list[str] | None = None) -> pd.DataFrame:
    """Rows as a frame of plain objects, None where a row lacks a value, without columns of None alone."""
    frame = pd.DataFrame(rows, columns=columns if rows else None, dtype=object)
    frame = frame.astype(object).where(frame.notna(), None)
    return frame.loc[:, frame.notna().any()] if len(frame) else frame
