"""Pictures of a live playlist (HLS), which come a whole file at a time, and again after connecting again."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from fractions import Fraction

from solo_rt.types import Frame

MOST_LATE = 0.5  # seconds; what the next file takes to come. A picture that is later is not made up for.
LONGEST_STEP = 1.0  # seconds from one picture to the next; a longer one is a file that the list held no more
LONGEST_LIST = 60.0  # seconds of pictures that come again: FFmpeg begins three files before the end of the list
LONGEST_FILE = 10.0  # seconds; who waits longer for the next one waits for the server


class Playlist:
    """Gives every picture of a live playlist once, and when it is due by its time stamp.

    A connection's first one is due at once, and so is one behind which there was nothing to give for a while.
    """

    def __init__(self, stop: threading.Event) -> None:
        """Wait no longer once `stop` is set."""
        self._stop = stop
        self._last: Fraction | None = None  # time stamp of the last picture that was given, in seconds
        self._is_again = False  # connected again, and none was given since
        self._start = 0.0  # when time 0 of the stream was, in seconds of the monotonic clock
        self._longest_wait = 0.0  # seconds, for a picture

    @property
    def patience(self) -> float:
        """Seconds within which there is a picture if the stream goes on, by how long it took so far."""
        return 3 * min(self._longest_wait, LONGEST_FILE)

    def reconnect(self) -> None:
        """Take the next frame for the first one of a new connection."""
        self._is_again = self._last is not None

    def was_given(self, frame: Frame, *, is_whole: bool) -> bool:
        """Return whether the picture came over an earlier connection; `is_whole` if the list has an end by now.

        Then it begins with the first picture of all, else with one of the last.
        """
        if not self._is_again or self._last is None:
            return False
        behind = self._last - frame.pts * frame.time_base
        return behind >= 0 and (is_whole or behind < LONGEST_LIST)

    def keep(self, frame: Frame, *, waited: float) -> Frame:
        """Wait until the frame is due and return it as one that was captured now; it was `waited` for, in seconds."""
        now, stamp = time.monotonic(), frame.pts * frame.time_base
        due = self._start + float(stamp)
        is_next = self._last is not None and not self._is_again and 0 <= stamp - self._last <= LONGEST_STEP
        if is_next and now <= due + MOST_LATE:
            self._stop.wait(due - now)
        else:
            self._start = now - float(stamp)
        self._longest_wait = max(self._longest_wait, waited)
        self._last, self._is_again = stamp, False
        return replace(frame, captured_at=time.monotonic())
