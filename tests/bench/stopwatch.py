"""How the benchmarks time a call."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence


def least_ms(call: Callable[[], object], repeats: int) -> float:
    """Return the least time of a call in milliseconds, after one call to warm up."""
    return least_ms_each([call], repeats)[0]


def least_ms_each(calls: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Return the least time of each call in milliseconds; they take turns, so that a busy machine slows all alike."""
    for call in calls:
        call()
    times = [math.inf] * len(calls)
    for _ in range(repeats):
        for number, call in enumerate(calls):
            start = time.perf_counter()
            call()
            times[number] = min(times[number], time.perf_counter() - start)
    return [seconds * 1e3 for seconds in times]
