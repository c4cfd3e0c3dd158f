"""The house: rooms stand in an order, and a module imports from its own and from those before it only."""

import ast
from pathlib import Path

import pytest

from asm.basics import named

ASM = Path(__file__).resolve().parents[1] / "asm"
ROOMS = [
    *("basics", "rendered", "datasets", "faces", "parts", "mining", "losses"),
    *("methods", "training", "scores", "report", "grid", "tools", "library"),
]


def imports(path: Path) -> list[str]:
    """Full names of the modules of asm that a file imports, also where only a type checker does."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in found if name.startswith("asm.")]


def room(name: str) -> str:
    return name.split(".")[1]


def test_every_module_stands_in_a_room_and_imports_none_above_it():
    upward = []
    for path in sorted(ASM.rglob("*.py")):
        here = path.relative_to(ASM).with_suffix("").parts[0]
        if here in ("__init__", "__main__"):
            continue
        assert here in ROOMS, path
        above = ROOMS[ROOMS.index(here) + 1 :]
        upward += [f"{path.relative_to(ASM)} imports {name}" for name in imports(path) if room(name) in above]
    assert not upward


@pytest.mark.parametrize("package", ["methods", "parts/backbones", "parts/weights", "datasets"])
def test_what_all_of_a_kind_share_imports_none_of_them(package):
    """A configuration chooses by name (asm.basics.named), so that a cell depends on no other's file."""
    prefix = f"asm.{package.replace('/', '.')}."
    shared = {"corrections", "images", "names"}  # of datasets, where other files stand beside the sources
    kinds = set(named.names(prefix[:-1])) - shared
    for name in ("__init__.py", "base.py"):
        found = [each for each in imports(ASM / package / name) if each.startswith(prefix)]
        assert not {each.removeprefix(prefix).split(".")[0] for each in found} & kinds
