"""What a stage's code is: a hash over all that its script imports. Computed, so that no import can be missed.

A comment, a docstring or a line break changes no result and not the hash; anything else does.
"""

import ast
import functools
import hashlib
from pathlib import Path
from typing import Any

from asm.basics.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
# Where a configuration chooses among modules by their names: the value of such a key, at any depth, is a file
# there. It counts for the stages that import the package.
CHOICES = {
    "method": "asm.methods",
    "backbone": "asm.parts.backbones",
    "weights": "asm.parts.weights",
    "source": "asm.datasets",
}


def code_hash(stage: str, config: dict[str, Any], root: Path = ROOT) -> str:
    """Of stages/<stage>.py (or a module, named asm.…), the modules below `root` that it imports, directly or
    not, and those that `config` chooses; SHA-256, the same on all Python versions."""
    digest = hashlib.sha256()
    for name, path in sorted(imported(stage, config, root).items()):
        digest.update(f"{name}\0{_parsed(path).meaning}\0".encode())
    return digest.hexdigest()


def check_code(path: Path, stage: str, config: dict[str, Any]) -> None:
    """Raise InputError if the code is not the one that the configuration at `path` was written for: results
    would be kept under the wrong key."""
    if config.get("code") != code_hash(stage, config):
        raise InputError(
            f"{path}: the code of the stage '{stage}' has changed since this file was written; "
            "start again (dvc repro), which writes it anew"
        )


def imported(stage: str, config: dict[str, Any], root: Path = ROOT) -> dict[str, Path]:
    """Name and file of each module in `code_hash`. Raises InputError where the stage has no file."""
    scripts = root / "stages"
    chosen = _chosen(config)
    waiting, found = [stage], {}
    while waiting:
        name = waiting.pop()
        # an installed package lies beside all others: these are not ours
        path = _file(root if name.partition(".")[0] == "asm" else scripts, name)
        if name in found or path is None:
            continue
        found[name] = path
        package = name.rpartition(".")[0]
        waiting += [package] if package else []
        waiting += _parsed(path).imports
        waiting += [choice for choice in chosen if choice.rpartition(".")[0] == name]
    if stage not in found:
        raise InputError(f"{root}: no code of '{stage}' here; stages run in a clone of the project")
    return found


def _chosen(config: Any) -> list[str]:
    if not isinstance(config, dict):
        return []
    named = [f"{CHOICES[key]}.{value}" for key, value in config.items() if key in CHOICES]
    return named + [name for value in config.values() for name in _chosen(value)]


def _file(root: Path, name: str) -> Path | None:
    """The module's file, None if it is none of ours."""
    path = root.joinpath(*name.split("."))
    candidates = (path.with_name(path.name + ".py"), path / "__init__.py")
    return next((file for file in candidates if file.is_file()), None)


class _Module:
    """What a source file means and which modules it may import (also names that turn out to be none)."""

    def __init__(self, path: Path) -> None:
        tree = ast.parse(path.read_bytes(), str(path))
        self.imports: list[str] = []
        self._collect(tree)
        self.meaning = _dump(tree)

    def _collect(self, node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue  # never executed
            if isinstance(child, ast.Import):
                self.imports += [alias.name for alias in child.names]
            elif isinstance(child, ast.ImportFrom):
                self.imports += [
                    child.module or "",
                    *(f"{child.module}.{alias.name}" for alias in child.names),
                ]
            self._collect(child)


def _parsed(path: Path) -> _Module:
    stat = path.stat()
    return _parse(path, stat.st_mtime_ns, stat.st_size)


@functools.cache
def _parse(path: Path, mtime: int, size: int) -> _Module:
    return _Module(path)


def _dump(node: Any) -> str:
    """The syntax tree as text, without docstrings and what is empty (later Pythons have more fields)."""
    if isinstance(node, list):
        return "[" + ",".join(map(_dump, node)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    body = fields.get("body")
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        first = body[0] if body else None
        if isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str):
            fields["body"] = body[1:]
    if isinstance(node, ast.Constant):
        return repr(node.value)
    if isinstance(node, ast.JoinedStr):  # Python 3.12 adds empty strings to a format's parts
        fields["values"] = [v for v in node.values if not (isinstance(v, ast.Constant) and v.value == "")]
    shown = [f"{name}={_dump(value)}" for name, value in fields.items() if value is not None and value != []]
    return f"{type(node).__name__}({','.join(shown)})"
