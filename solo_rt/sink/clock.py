"""Output time stamps: the source's own, as long as they make sense."""

from __future__ import annotations

from fractions import Fraction

MAX_STEP = Fraction(60)  # seconds between frames; more is a clock that was set, not a picture that stood still


class OutputClock:
    """Turns any sequence of source times into strictly increasing ticks of `time_base`.

    Muxers reject or corrupt the whole file on one backward, repeated or far-off time stamp, and sources have them:
    cameras whose clock is set, joined files, wrapped counters. The rule, for times in seconds:

    - a time later than the last, by 60 s or less, is kept exactly (rounded only where `time_base` is coarser);
    - a time at or up to two frames behind the last is a stutter: that frame alone comes one tick later than the last;
    - anything else is a new start: the frame comes one frame period after the last, and the following keep their
      distance from it. The same holds for a first time below 0 or above 60 s, which becomes 0.
    """

    def __init__(self, time_base: Fraction, *, frame_rate: Fraction) -> None:
        self.time_base = time_base
        self.period = 1 / frame_rate  # of one frame, in seconds
        self._shift = Fraction(0)
        self._last: Fraction | None = None  # in seconds, shifted
        self._last_tick = -1
        self._step = Fraction(0)  # from the frame before to the last, in seconds

    @property
    def shift(self) -> Fraction:
        """How far the last frame was moved, in seconds, by new starts; a stutter is no such thing."""
        return self._shift

    @property
    def end(self) -> Fraction:
        """When the last frame ends, in seconds: one period after it."""
        return self._last_tick * self.time_base + self.period

    @property
    def last_end(self) -> Fraction:
        """When the last frame ends if none is to come: it lasts as long as the one before, a second at most."""
        return self.end + max(Fraction(0), min(self._step, Fraction(1)) - self.period)

    def tick(self, pts: int, time_base: Fraction) -> int:
        """Return the output time of the next frame in units of `self.time_base`."""
        time = pts * time_base + self._shift
        if self._last is None:
            if not 0 <= time <= MAX_STEP:
                time = self._restart(time, at=Fraction(0))
            self._last = time
        elif self._last < time <= self._last + MAX_STEP:
            self._last = time
        elif not self._last - 2 * self.period <= time <= self._last:
            self._last = self._restart(time, at=self._last + self.period)
        tick = max(round(self._last / self.time_base), self._last_tick + 1)
        self._step = (tick - self._last_tick) * self.time_base if self._last_tick >= 0 else Fraction(0)
        self._last_tick = tick
        return tick

    def _restart(self, time: Fraction, *, at: Fraction) -> Fraction:
        self._shift += at - time
        return at
