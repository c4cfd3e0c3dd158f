"""Classes that a configuration chooses by the name of their file in a package."""

import importlib
import importlib.util
import pkgutil
from typing import TypeVar

Base = TypeVar("Base")
_SHARED = ("base", "config")  # what the files of a package have in common


def names(package: str) -> list[str]:
    """All of its files beside base.py and config.py."""
    path = importlib.import_module(package).__path__
    return sorted(module.name for module in pkgutil.iter_modules(path) if module.name not in _SHARED)


def named_class(package: str, name: str, base: type[Base]) -> type[Base]:
    """The one kind of `base` that <name>.py in the package defines. Only that file is imported, so that a
    cell depends on no other's. Raises KeyError for an unknown name."""
    if name in _SHARED or importlib.util.find_spec(f"{package}.{name}") is None:
        raise KeyError(f"no {package}.{name}")
    module = importlib.import_module(f"{package}.{name}")
    (found,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__
    )
    return found
