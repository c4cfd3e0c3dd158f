"""The methods, by the name that a profile's cells give them: the name of their file here.

To add one: its file, its section in params.yaml, its tests (docs/methods.md).
"""

from asm.methods.base import Batch, Method
from asm.parts import named

__all__ = ["Batch", "Method", "method_class", "method_names"]


def method_names() -> list[str]:
    """All methods: the files beside base.py."""
    return named.names(__name__)


def method_class(name: str) -> type[Method]:
    """The method that asm/methods/<name>.py defines. Raises KeyError for an unknown name."""
    return named.named_class(__name__, name, Method)
