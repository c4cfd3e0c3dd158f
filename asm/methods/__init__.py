"""The methods, by the name that a profile's cells give them: the name of their file here.

To add one: its file, its section in params.yaml, its tests (docs/methods.md).
"""

import importlib
import importlib.util
import pkgutil

from asm.methods.base import Batch, Method

__all__ = ["Batch", "Method", "method_class", "method_names"]


def method_names() -> list[str]:
    """All methods: the files beside base.py."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "base")


def method_class(name: str) -> type[Method]:
    """The method that asm/methods/<name>.py defines. Only that file is imported, so that a cell depends on no
    other method's. Raises KeyError for an unknown name."""
    if name == "base" or importlib.util.find_spec(f"asm.methods.{name}") is None:
        raise KeyError(f"no method '{name}' in asm/methods")
    module = importlib.import_module(f"asm.methods.{name}")
    (found,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Method) and value.__module__ == module.__name__
    )
    return found
