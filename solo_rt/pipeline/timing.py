"""How long things take: a histogram of fixed size and the figures drawn from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

SHORTEST = 1e-6  # seconds; anything shorter counts as this
RATIO = 1.01  # width of a bucket: percentiles are right within 0.5 %
BUCKETS = 1 + math.ceil(math.log(1e4 / SHORTEST) / math.log(RATIO))  # up to 10 000 seconds


class Percentiles(NamedTuple):
    """The median and the 95th percentile, in seconds."""

    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class Stats:
    """A summary of durations in seconds. `busy` is their sum divided by the wall time, 0..1 per worker."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float
    max: float
    busy: float


class Histogram:
    """Durations in logarithmic buckets: constant memory however long a run is. One thread adds, any may read."""

    def __init__(self) -> None:
        self.count = 0
        self.total = self.longest = 0.0  # seconds
        self._buckets = np.zeros(BUCKETS, np.int64)

    def add(self, seconds: float) -> None:
        """Count one duration."""
        bucket = int(math.log(max(seconds, SHORTEST) / SHORTEST) / math.log(RATIO))
        self._buckets[min(bucket, BUCKETS - 1)] += 1
        self.longest = max(self.longest, seconds)
        self.total += seconds
        self.count += 1  # last: what is counted is in its bucket

    def percentile(self, share: float) -> float:
        """Return the duration in seconds that `share` (0..1) of all do not exceed, within 0.5 %; 0 without any."""
        if not self.count:
            return 0.0
        rank = max(1, math.ceil(share * self.count))
        bucket = int(np.searchsorted(np.cumsum(self._buckets), rank))
        return min(float(SHORTEST * RATIO ** (bucket + 0.5)), self.longest)

    def percentiles(self) -> Percentiles:
        """Return the two percentiles that are shown while durations are still being added."""
        return Percentiles(self.percentile(0.50), self.percentile(0.95))

    def stats(self, wall_seconds: float) -> Stats:
        """Return the summary of everything counted during `wall_seconds`."""
        return Stats(
            count=self.count,
            mean=self.total / self.count if self.count else 0.0,
            p50=self.percentile(0.50),
            p95=self.percentile(0.95),
            p99=self.percentile(0.99),
            max=self.longest,
            busy=self.total / wall_seconds if wall_seconds > 0 else 0.0,
        )
