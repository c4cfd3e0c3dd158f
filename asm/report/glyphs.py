"""Class names as figures can show them."""

import functools
from collections.abc import Sequence

from matplotlib.font_manager import FontProperties, findfont, get_font

from asm.report.drawing import STYLE


def drawn(classes: Sequence[str]) -> list[str]:
    """The names as matplotlib is to get them, in their order: no formula between dollar signs, none hidden
    from legends; "class k", from 1, in place of a name that the figures' font cannot write."""
    hidden = set(undrawable(classes))
    names = [f"class {k}" if name in hidden else name for k, name in enumerate(classes, start=1)]
    return [(" " if name.startswith("_") else "") + name.replace("$", r"\$") for name in names]


def undrawable(classes: Sequence[str]) -> list[str]:
    """Those of the names with a character that the figures' font lacks."""
    return [name for name in classes if not all(ord(c) in _characters() for c in name)]


@functools.cache
def _characters() -> frozenset[int]:
    font = get_font(findfont(FontProperties(family=STYLE["font.family"])))
    return frozenset(font.get_charmap())
