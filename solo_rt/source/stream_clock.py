"""Times of live frames: the stream's own, as long as they agree with the clock."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

from solo_rt.types import Frame

MOST_AHEAD = 10.0  # seconds by which a step may exceed the time that passed: more is a clock that was set
MOST_BEHIND = 0.1  # seconds that a time may be before the last one: more is a clock that was set, or a film that loops
SETTLING_SECONDS = 2.0  # after connecting again: what the server had kept comes at once


class StreamClock:
    """Numbers the frames of one connection after another, and gives them times that strictly increase.

    The first connection's times are kept. A frame after an outage, or after the stream's clock was set, comes as long
    after the last one as it did by our own clock, and those behind it keep their distance from it; what a server had
    kept for those who connect again does not run ahead of the clock. A time that is a little too early alone is moved.
    """

    def __init__(self) -> None:
        self._count = 0
        self._time = Fraction(0)  # of the last frame, in seconds
        self._captured_at = 0.0  # the last frame
        self._shift: int | None = 0  # ticks of the connection's time base; None until its first frame
        self._settled_at = -math.inf  # by time.monotonic(), seconds

    def reconnect(self) -> None:
        """Take the next frame for the first one of a new connection."""
        self._shift = None if self._count else 0

    def place(self, frame: Frame) -> Frame:
        """Return the frame with its number and its time."""
        passed = frame.captured_at - self._captured_at
        last = self._time / frame.time_base  # ticks
        shift, pts = self._shift, frame.pts
        if self._count:
            if shift is None:
                self._settled_at = frame.captured_at + SETTLING_SECONDS
            else:
                step = float((pts + shift - last) * frame.time_base)
                ahead = MOST_AHEAD if frame.captured_at > self._settled_at else 0
                shift = shift if -MOST_BEHIND < step <= passed + ahead else None
            if shift is None:
                shift = round(last + Fraction(passed) / frame.time_base) - pts
            self._shift = shift
            pts = max(pts + shift, math.floor(last) + 1)
        placed = replace(frame, index=self._count, pts=pts)
        self._count += 1
        self._time, self._captured_at = pts * frame.time_base, frame.captured_at
        return placed
