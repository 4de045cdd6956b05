"""How many times faster one series of laps is than another, and how sure that is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from solo_rt.bench.laps import student


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times the first rate the second is, with its 95 % confidence interval where there are laps enough."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def verdict(self) -> str:
        """What can be said of B."""
        if self.low is None or self.high is None:
            return "not known"
        return "faster" if self.low > 1 else "slower" if self.high < 1 else "no difference shown"


def compare_rates(first: Sequence[float], second: Sequence[float]) -> Ratio:
    """Return the ratio of the geometric means of two series of rates above 0, with Welch's interval of logarithms."""
    a, b = ([math.log(rate) for rate in rates] for rates in (first, second))
    difference = statistics.fmean(b) - statistics.fmean(a)
    if min(len(a), len(b)) < 2:
        return Ratio(math.exp(difference))
    errors = [statistics.variance(values) / len(values) for values in (a, b)]
    parts = sum(error**2 / (len(values) - 1) for error, values in zip(errors, (a, b), strict=True))
    half = student(sum(errors) ** 2 / parts) * math.sqrt(sum(errors)) if parts else 0.0
    return Ratio(*(math.exp(difference + side) for side in (0.0, -half, half)))
