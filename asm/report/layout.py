"""A table of the report and its three written forms."""

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from asm.basics.yaml import read_yaml
from asm.report.estimates import Estimate

BOLD = re.compile(r"\*\*(.+?)\*\*")


@cache
def texts() -> dict[str, Any]:
    """templates/texts.yaml: title and note of each of the `tables`, the caption of each of the `figures`."""
    return read_yaml(Path(__file__).parent / "templates" / "texts.yaml")


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
        """A table environment for XeLaTeX or LuaLaTeX, which know the report's symbols, with booktabs."""
        body = self.shown.rename(columns=_tex).map(_tex).to_latex(index=False, escape=False)
        return (
            "% xelatex or lualatex; needs \\usepackage{booktabs,graphicx}\n\\begin{table}\n\\centering\n"
            f"\\caption{{{_tex(f'{self.title}. {self.note}')}}}\n"
            f"\\resizebox{{\\textwidth}}{{!}}{{%\n{body}}}\n\\end{{table}}\n"
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


def _tex(text: str) -> str:
    """Escaped for LaTeX, bold as bold."""
    escaped = (
        re.sub(r"([&%$#_{}])", r"\\\1", text.replace("\\", "/")).replace("~", "\\~{}").replace("^", "\\^{}")
    )
    return BOLD.sub(r"\\textbf{\1}", escaped)


def _shown(value: object) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def frame_of(rows: list[dict[str, Any]], columns: list[str] | None = None) -> pd.DataFrame:
    """Rows as a frame of plain objects, None where a row lacks a value, without columns of None alone."""
    frame = pd.DataFrame(rows, columns=columns if rows else None, dtype=object)
    frame = frame.astype(object).where(frame.notna(), None)
    return frame.loc[:, frame.notna().any()] if len(frame) else frame
