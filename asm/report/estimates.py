"""Means over seeds with their 95 % intervals, and differences of paired seeds."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """Mean over `n` seeds; `half` is the half-width of the 95 % Student t interval, None for one seed.
    A `signed` one is a difference."""

    mean: float
    half: float | None
    n: int
    signed: bool = False

    def __str__(self) -> str:
        return self.shown(2)

    def shown(self, digits: int) -> str:
        """Mean ± half-width with so many digits."""
        mean = f"{round(self.mean, digits) + 0.0:{'+' * self.signed}.{digits}f}"  # + 0.0: no "-0.0"
        return mean if self.half is None else f"{mean} ± {self.half:.{digits}f}"

    @property
    def interval(self) -> str:
        """Of a difference, in a sentence: its 95 % interval."""
        if self.half is None:
            return "one seed, no interval"
        low, high = (round(end, 1) + 0.0 for end in (self.mean - self.half, self.mean + self.half))
        return f"95 % interval {low:+.1f} to {high:+.1f}, {self.n} seeds"

    @property
    def side(self) -> int:
        """Of a difference: 1 above and -1 below 0; 0 where its interval holds 0. Without one, the sign."""
        if self.half is not None and abs(self.mean) <= self.half:
            return 0
        return (self.mean > 0) - (self.mean < 0)


@cache
def _quantile(freedom: int) -> float:
    return float(stats.t.ppf(0.975, freedom))


def estimate(values: Iterable[float | None], signed: bool = False) -> Estimate | None:
    """Mean and 95 % interval of the values that exist (neither None nor NaN); None when there are none."""
    known = np.array([v for v in values if v is not None and not math.isnan(v)], dtype=float)
    if known.size == 0:
        return None
    half = None
    if known.size > 1:
        half = float(_quantile(known.size - 1) * known.std(ddof=1) / math.sqrt(known.size))
    return Estimate(float(known.mean()), half, int(known.size), signed)


def interval(values: Iterable[float]) -> tuple[float, float]:
    """Ends of the 95 % interval of their mean, for seaborn's error bars; the mean itself of one value."""
    found = estimate(values)
    return found.mean - (found.half or 0), found.mean + (found.half or 0)
