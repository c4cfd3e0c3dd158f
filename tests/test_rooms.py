"""The house: rooms stand in an order, and a module imports from its own and from those before it only."""

import ast
from pathlib import Path

ASM = Path(__file__).resolve().parents[1] / "asm"
ROOMS = [
    *("basics", "rendered", "datasets", "faces", "parts", "mining", "losses"),
    *("methods", "training", "scores", "report", "grid", "tools"),
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


def test_a_folder_of_choices_is_not_imported_from_its_own_base():
    """Nor is a method, backbone, weights kind or data set by what all of them share: by its name alone."""
    for package in ("methods", "parts/backbones", "parts/weights", "datasets"):
        folder = ASM / package
        kinds = {path.stem for path in folder.glob("*.py")} - {"__init__", "base", "config", "images", "names"}
        name = f"asm.{package.replace('/', '.')}"
        for shared in ("__init__.py", "base.py"):
            chosen = [each for each in imports(folder / shared) if each.startswith(f"{name}.")]
            found = {each.removeprefix(f"{name}.").split(".")[0] for each in chosen} & kinds
            assert found <= {"corrections"}, f"{folder / shared}: {found}"
