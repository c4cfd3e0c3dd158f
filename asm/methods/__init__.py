"""The methods, by the name that a profile's cells give them: the name of their file here.

To add one: its file, its section in params.yaml, its tests (docs/methods.md).
"""

from pathlib import Path

from pydantic import create_model

from asm.basics import named
from asm.basics.yaml import parse, read_yaml
from asm.methods.base import Batch, Method
from asm.methods.config import CellConfig

__all__ = ["Batch", "Method", "cell_config", "load_cell", "method_class", "method_names"]


def method_names() -> list[str]:
    """All methods: the files beside base.py."""
    return named.names(__name__)


def method_class(name: str) -> type[Method]:
    """The method that asm/methods/<name>.py defines. Raises KeyError for an unknown name."""
    return named.named_class(__name__, name, Method)


def cell_config(method: type[Method]) -> type[CellConfig]:
    """The type of the configuration of this method's cells."""
    sections = {name: (kind, ...) for name, kind in method.sections.items()}
    return create_model(f"{method.__name__}Config", __base__=CellConfig, **sections)


def load_cell(path: Path) -> CellConfig:
    """Read the resolved configuration of one cell. Raises InputError naming what does not fit."""
    content = read_yaml(path)
    return parse(cell_config(method_class(str(content.get("method")))), content, str(path))
