"""Whether a decoder keeps up with what it is sent."""

from __future__ import annotations

import time

from solo_rt.source.stream_clock import MOST_BEHIND

IDLE_SHARE = 0.25  # of the time: whoever waits for data that long is not behind, whatever the stream's clock says
SEVERAL, SHARE_OF_SEVERAL = 3, 0.1  # that many waits in a second show it sooner: one may be for a server's next file
WAIT_SECONDS = 0.002  # to be seen among what reading takes anyway, which is 3 % of the time on a busy machine
PAUSE_SECONDS = 0.5  # after such a wait all may come at once, from a network that hung, or not, from a slow camera
# Of the time: what falls back by no more has a slow clock, for a decoder that is too slow is so by more. A crystal is
# wrong by up to 0.0001, which is seconds in a day, and a camera of 30 pictures a second that sends 29.97 by 0.001.
CLOCK_ERROR = 0.002


class Lateness:
    """How far behind the clock a stream is, measured against the best it was since it was last waited for.

    Only who is always busy can be behind: many a camera's clock is slow, stands still for a while, or begins again.
    """

    def __init__(self) -> None:
        self._least: float | None = None
        self._last_seconds = 0.0  # of the stream
        self._since = time.monotonic()
        self._idle, self._waits = 0.0, 0  # since then: seconds without anything to read, and how often that was seen

    def of(self, stream_seconds: float, *, idle: float) -> float:
        """Return how many seconds later than it could what has this time comes; it was waited for for `idle`."""
        now = time.monotonic()
        behind = now * (1 - CLOCK_ERROR) - stream_seconds
        was_set = stream_seconds < self._last_seconds - MOST_BEHIND
        self._last_seconds = stream_seconds
        if idle > PAUSE_SECONDS:
            self._since, self._idle, self._waits = now, 0.0, 0
            return 0.0
        is_wait = idle > WAIT_SECONDS
        self._idle, self._waits = self._idle + idle, self._waits + is_wait
        share = SHARE_OF_SEVERAL if self._waits >= SEVERAL else IDLE_SHARE
        is_idle = is_wait and self._idle > share * max(1.0, now - self._since)
        if self._least is None or was_set or is_idle:
            self._least = behind
        if now - self._since > 1:
            self._since, self._idle, self._waits = now, 0.0, 0
        self._least = min(behind, self._least)
        return behind - self._least
