"""The methods by the name that a profile's cells give them. To add one: a file here, a line here, its section
in params.py and params.yaml, its tests."""

from asm.methods.asm import ASM
from asm.methods.base import Batch, Method
from asm.methods.baseline import Baseline

METHODS: dict[str, type[Method]] = {"baseline": Baseline, "asm": ASM}

__all__ = ["ASM", "METHODS", "Baseline", "Batch", "Method"]
