"""A table of the report and its three written forms."""

import re
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from asm.report.estimates import Estimate

TEX_SYMBOLS = {
    "±": r"$\pm$", "×": r"$\times$", "✓": r"\checkmark{}", "†": r"$\dagger$", "−": "$-$", "“": "``",
    "”": "''", "ρ": r"$\rho$", ">": "$>$", "β": r"$\beta$", "ω": r"$\omega$", "γ": r"$\gamma$", "–": "--",
    "λ_max": r"$\lambda_{max}$", "λ": r"$\lambda$", "L_mut": "$L_{mut}$", "L_usc": "$L_{usc}$",
    "T_n": "$T_n$", "T_c": "$T_c$",
}  # fmt: skip
TEX_SPECIAL = {**{c: "\\" + c for c in "&%$#_{}"}, "\\": r"\textbackslash{}", "~": r"\textasciitilde{}",
               "^": r"\textasciicircum{}"}  # fmt: skip
BOLD = re.compile(r"\*\*(.+?)\*\*")


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
    """`frame` holds strings, numbers, None (blank), Estimates and Besides; `notes` are sentences below it.
    `anchors`: a link target for each row, where sentences point at it."""

    name: str
    title: str
    frame: pd.DataFrame
    notes: list[str]
    anchors: list[str] = field(default_factory=list)

    @property
    def shown(self) -> pd.DataFrame:
        """As it is read: strings."""
        return self.frame.map(_shown).astype(str) if len(self.frame) else self.frame

    def markdown(self) -> str:
        """The table alone, as GitHub Markdown, its rows' anchors in the first column."""
        text = self.shown.to_markdown(
            index=False, disable_numparse=True, tablefmt="pipe", colalign=self._align()
        )
        if not self.anchors:
            return text
        # after padding, so that the columns stand in line without them
        head, rule, *rows = text.split("\n")
        rows = [f'| <a id="{a}"></a>{row[2:]}' for a, row in zip(self.anchors, rows, strict=True)]
        return "\n".join([head, rule, *rows])

    def _align(self) -> list[str]:
        """Numbers on the right."""
        numeric = (int, float, Estimate, Beside)
        return [
            "right" if any(isinstance(v, numeric) for v in values) else "left"
            for _, values in self.frame.items()
        ]

    def latex(self) -> str:
        """A table environment; needs the packages booktabs, graphicx and amssymb."""
        escaped = self.shown.map(tex).rename(columns=tex)
        body = escaped.style.hide(axis="index").to_latex(hrules=True)
        caption = tex(" ".join([f"{self.title}.", *self.notes]))
        return (
            "% needs \\usepackage{booktabs,graphicx,amssymb}\n\\begin{table}\n\\centering\n"
            f"\\caption{{{caption}}}\n\\resizebox{{\\textwidth}}{{!}}{{%\n{body}}}\n\\end{{table}}\n"
        )

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


def tex(line: str) -> str:
    """Text escaped for LaTeX, with the report's symbols as commands."""
    symbols = {symbol: f"\x00{i}\x00" for i, symbol in enumerate(TEX_SYMBOLS)}
    for symbol, mark in symbols.items():
        line = line.replace(symbol, mark)
    line = "".join(TEX_SPECIAL.get(c, c) for c in line)
    for symbol, mark in symbols.items():
        line = line.replace(mark, TEX_SYMBOLS[symbol])
    return BOLD.sub(r"\\textbf{\1}", line)


def _shown(value: object) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def frame_of(rows: list[dict[str, Any]], columns: list[str] | None = None) -> pd.DataFrame:
    """Rows as a frame of plain objects, None where a row lacks a value."""
    frame = pd.DataFrame(rows, columns=columns, dtype=object)
    return frame.astype(object).where(frame.notna(), None)


def without_blanks(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns that have any value."""
    return frame.loc[:, frame.notna().any()] if len(frame) else frame
