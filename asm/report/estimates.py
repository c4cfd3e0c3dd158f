"""Means over seeds with their 95 % intervals, and differences of paired seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """Mean over seeds; `half` is the half-width of the 95 % Student t interval, None for one seed."""

    mean: float
    half: float | None
    n: int

    def __str__(self) -> str:
        return self._shown(f"{self.mean:.2f}")

    def _shown(self, mean: str) -> str:
        return mean if self.half is None else f"{mean} ± {self.half:.2f} ({self.n} seeds)"


class Points(Estimate):
    """A difference of two accuracies in percentage points, printed with its sign."""

    def __str__(self) -> str:
        return self._shown(_signed(self.mean, 2))

    @property
    def interval(self) -> str | None:
        """The 95 % interval, readable; None for one seed."""
        if self.half is None:
            return None
        low, high = (_signed(end, 1) for end in (self.mean - self.half, self.mean + self.half))
        return f"95 % interval {low} to {high}"

    @property
    def excludes_zero(self) -> bool:
        """Whether the 95 % interval lies on one side of 0; False without an interval."""
        return self.half is not None and abs(self.mean) > self.half


def _signed(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:+.{digits}f}"  # + 0.0: no "-0.0"


Kind = TypeVar("Kind", bound=Estimate)


def estimate(values: Sequence[float | None], kind: type[Kind] = Estimate) -> Kind | None:
    """Mean and 95 % interval of the values that exist; None when there are none."""
    known = np.array([v for v in values if v is not None], dtype=float)
    if known.size == 0:
        return None
    half = None
    if known.size > 1:
        half = float(stats.t.ppf(0.975, known.size - 1) * known.std(ddof=1) / math.sqrt(known.size))
    return kind(float(known.mean()), half, int(known.size))
