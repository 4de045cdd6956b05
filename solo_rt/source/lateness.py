"""Whether a decoder keeps up with what it is sent."""

from __future__ import annotations

import time

from solo_rt.source.stream_clock import MOST_BEHIND

IDLE_SHARE = 0.25  # of the time: whoever waits for data that long is not behind, whatever the stream's clock says
WAIT_SECONDS = 0.005  # to be seen among what reading takes anyway
PAUSE_SECONDS = 0.5  # after such a wait all may come at once, from a network that hung, or not, from a slow camera


class Lateness:
    """How far behind the clock a stream is, measured against the best it was since it was last waited for.

    Only who is always busy can be behind: many a camera's clock is slow, stands still for a while, or begins again.
    """

    def __init__(self) -> None:
        self._least: float | None = None
        self._last_seconds = 0.0  # of the stream
        self._since, self._idle = time.monotonic(), 0.0  # seconds of the time since then without anything to read

    def of(self, stream_seconds: float, *, idle: float) -> float:
        """Return how many seconds later than it could what has this time comes; it was waited for for `idle`."""
        now = time.monotonic()
        behind = now - stream_seconds
        was_set = stream_seconds < self._last_seconds - MOST_BEHIND
        self._last_seconds = stream_seconds
        if idle > PAUSE_SECONDS:
            self._since, self._idle = now, 0.0
            return 0.0
        self._idle += idle
        is_idle = idle > WAIT_SECONDS and self._idle > IDLE_SHARE * max(1.0, now - self._since)
        if self._least is None or was_set or is_idle:
            self._least = behind
        if now - self._since > 1:
            self._since, self._idle = now, 0.0
        self._least = min(behind, self._least)
        return behind - self._least
