"""Which frames to keep where more come than are wanted, and when those of a file are due."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace

from solo_rt.types import Frame


class FrameRateLimit:
    """Says which frames to keep so that at most `max_fps` per second remain, without drift.

    Time is cut into slots of 1 / max_fps seconds and the first frame of each is kept. A frame may come a little before
    its slot: half a millisecond in files, because Matroska rounds time stamps to one, a quarter of a slot in live
    sources, because they jitter. Time that runs backwards starts a new slot.
    """

    def __init__(self, max_fps: float | None, *, live: bool) -> None:
        self._max_fps = max_fps
        self._live = live
        self._first: float | None = None
        self._slot: int | None = None

    def __call__(self, frame: Frame) -> bool:
        """Return whether to keep this frame; each frame is asked about once, in order."""
        if self._max_fps is None:
            return True
        now = frame.captured_at if self._live else frame.time_s
        if self._first is None:
            self._first = now
        early = 0.25 if self._live else 0.0005 * self._max_fps
        slot = math.floor((now - self._first) * self._max_fps + early)
        if slot == self._slot:
            return False
        self._slot = slot
        return True


class Pace:
    """Gives the frames of a file on when they are due, as if they were live. One that comes late is not made up for."""

    def __init__(self, stop: threading.Event) -> None:
        """Wait no longer once `stop` is set."""
        self._stop = stop
        self._start: float | None = None  # when time 0 of the file was, in seconds of the monotonic clock

    def keep(self, frame: Frame) -> Frame:
        """Wait until the frame is due and return it as one that was captured now."""
        now = time.monotonic()
        if self._start is None or now > self._start + frame.time_s:
            self._start = now - frame.time_s
        self._stop.wait(self._start + frame.time_s - now)
        return replace(frame, captured_at=time.monotonic())
