"""How the benchmarks time a call."""

from __future__ import annotations

import time
from collections.abc import Callable


def least_ms(call: Callable[[], object], repeats: int) -> float:
    """Return the least time of a call in milliseconds, after one call to warm up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3
