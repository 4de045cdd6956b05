"""Which frames to keep where more come than are wanted."""

from __future__ import annotations

import math

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
