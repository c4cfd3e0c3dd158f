"""A table of the report and its three written forms."""

import re
from dataclasses import dataclass

import pandas as pd
from tabulate import tabulate

from asm.report.estimates import Estimate

TEX_SYMBOLS = {
    "±": r"$\pm$", "×": r"$\times$", "✓": r"\checkmark{}", "†": r"$\dagger$", "−": "$-$", "“": "``",
    "”": "''",    "ρ": r"$\rho$", ">": "$>$", "β": r"$\beta$", "ω": r"$\omega$", "γ": r"$\gamma$",
    "λ_max": r"$\lambda_{max}$", "λ": r"$\lambda$", "L_mut": "$L_{mut}$", "L_usc": "$L_{usc}$",
    "T_n": "$T_n$", "T_c": "$T_c$",
}  # fmt: skip
TEX_SPECIAL = {**{c: "\\" + c for c in "&%$#_{}"}, "\\": r"\textbackslash{}", "~": r"\textasciitilde{}",
               "^": r"\textasciicircum{}"}  # fmt: skip


BOLD = re.compile(r"\*\*(.+?)\*\*")


@dataclass(frozen=True)
class Table:
    """`frame` holds strings, numbers, None (blank) and Estimates; `notes` are sentences below it."""

    name: str
    title: str
    frame: pd.DataFrame
    notes: list[str]

    def body(self, fmt: str = "github") -> str:
        """The table alone, in one of tabulate's formats."""
        rows = [[_shown(v) for v in row] for row in self.frame.itertuples(index=False)]
        return tabulate(rows, headers=list(self.frame.columns), tablefmt=fmt, disable_numparse=True)

    def markdown(self, settings: list[str]) -> str:
        """Title, table, notes and settings as GitHub Markdown."""
        below = "\n".join(f"- {line}" for line in [*self.notes, *settings])
        return f"**{self.title}**\n\n{self.body()}\n\n{below}\n"

    def latex(self, settings: list[str]) -> str:
        """A table environment; needs the packages booktabs, graphicx and amssymb."""
        head = [tex(str(c)) for c in self.frame.columns]
        rows = [[tex(_shown(v)) for v in row] for row in self.frame.itertuples(index=False)]
        body = tabulate(rows, headers=head, tablefmt="latex_raw", disable_numparse=True)
        for rule in ("toprule", "midrule", "bottomrule"):
            body = body.replace(r"\hline", "\\" + rule, 1)
        caption = tex(" ".join([self.title, *self.notes, *settings]))
        return (
            "% needs \\usepackage{booktabs,graphicx,amssymb}\n\\begin{table}\n\\centering\n"
            f"\\caption{{{caption}}}\n\\resizebox{{\\textwidth}}{{!}}{{%\n{body}}}\n\\end{{table}}\n"
        )

    def numbers(self) -> pd.DataFrame:
        """The table for machines: an Estimate as three columns (mean, half-width of the interval, seeds)."""
        columns = {}
        for name, values in self.frame.items():
            if not any(isinstance(v, Estimate) for v in values):
                columns[name] = list(values)
                continue
            columns[name] = [v and round(v.mean, 4) for v in values]
            columns[f"{name}, half-width of 95 % CI"] = [v and v.half and round(v.half, 4) for v in values]
            columns[f"{name}, seeds"] = pd.array([v and v.n for v in values], dtype="Int64")
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


def frame_of(rows: list[dict], columns: list[str] | None = None) -> pd.DataFrame:
    """Rows as a frame of plain objects, None where a row lacks a value."""
    frame = pd.DataFrame(rows, columns=columns, dtype=object)
    return frame.astype(object).where(frame.notna(), None)
