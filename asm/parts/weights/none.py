"""Random weights."""

from pathlib import Path
from typing import Any

from asm.parts.weights.base import Network, Weights


class Random(Weights):
    """Each network draws its own, from the cell's seed."""

    about = "random; the paper starts from MS-Celeb-1M weights"
    licence = "random initial weights"

    def make(self, files: Path, network: Network, options: dict[str, Any]) -> tuple[None, dict[str, Any]]:
        return None, {}
