"""What a source's frames took lately: rates and times of the last seconds and the last minute."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping

import numpy as np

RATE_SECONDS = 3.0
MINUTE = 60.0
SPACING = 1 / 30  # seconds between two frames whose times are kept, so that a minute of them is not many


class Recent:
    """Notes frames as they come; used by one thread at a time."""

    def __init__(self) -> None:
        self._arrivals: deque[float] = deque()  # of the last RATE_SECONDS, by time.monotonic()
        self._times: deque[tuple[float, Mapping[str, float]]] = deque()  # of the last minute: when, seconds by stage

    def copy(self) -> Recent:
        """Return one that stays as this one is now."""
        same = Recent()
        same._arrivals, same._times = self._arrivals.copy(), self._times.copy()
        return same

    def add(self, times: Mapping[str, float]) -> None:
        """Note a frame and its seconds by stage."""
        now = time.monotonic()
        self._arrivals.append(now)
        while self._arrivals[0] < now - RATE_SECONDS:
            self._arrivals.popleft()
        if not self._times or now >= self._times[-1][0] + SPACING:
            self._times.append((now, times))
        while self._times and self._times[0][0] < now - MINUTE:
            self._times.popleft()

    def fps(self) -> float:
        """Return the frames per second of the last seconds; 0 once they have stopped."""
        now = time.monotonic()
        fresh = [at for at in self._arrivals if at >= now - RATE_SECONDS]
        if len(fresh) < 2:
            return 0.0
        return (len(fresh) - 1) / max(fresh[-1] - fresh[0], now - fresh[-1])

    def percentiles(self, *, within: float = MINUTE) -> dict[str, tuple[float, float]]:
        """Return by stage what half and 95 % of the frames of the last seconds took, in seconds."""
        since = time.monotonic() - within
        kept = [times for at, times in self._times if at >= since]
        names = dict.fromkeys(name for times in kept for name in times)
        found = {}
        for name in names:
            p50, p95 = np.percentile([times[name] for times in kept if name in times], (50, 95))
            found[name] = float(p50), float(p95)
        return found
