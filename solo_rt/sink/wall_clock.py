"""When frames of live sources were captured, by the clock on the wall."""

from __future__ import annotations

import time

from solo_rt.source.base import SourceInfo
from solo_rt.types import Frame


class WallClock:
    """The system's clock as it was on creation, and steady from there on: setting the clock makes no frame jump."""

    def __init__(self, info: SourceInfo) -> None:
        self._epoch = time.time() - time.monotonic() if info.live else None  # Unix seconds when that clock was 0

    @property
    def is_running(self) -> bool:
        """Whether the source is live, so that it means something."""
        return self._epoch is not None

    def time_of(self, frame: Frame) -> float | None:
        """Return when the frame was captured in Unix seconds, None where the source is not live."""
        return None if self._epoch is None else round(self._epoch + frame.captured_at, 3)
