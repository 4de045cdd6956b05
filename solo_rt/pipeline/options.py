"""What to do with the frames of a source."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from solo_rt import defaults
from solo_rt.errors import UsageError
from solo_rt.render import DEFAULT_STYLE, Style
from solo_rt.track.zones import Zone, check_zones

MOST_INSTANCES = 1 << 20  # per frame, more than any network has cells
Policy = Literal["auto", "every-frame", "freshest"]
Interval = int | Literal["auto"]
POLICIES: tuple[Policy, ...] = ("auto", "every-frame", "freshest")


@dataclass(frozen=True, slots=True)
class Options:
    """What to do with the frames of a source."""

    conf: float | None = None  # lowest score of an instance; None is `defaults.CONF`
    max_det: int | None = None  # most instances per frame, best first; None is `defaults.MAX_DET`
    classes: tuple[str, ...] = ()  # names to keep; empty keeps all
    max_frames: int | None = None  # end after this many results
    max_fps: float | None = None  # most results per second, of video time for files and of wall time for live sources
    policy: Policy = "auto"  # see `is_freshest`
    max_staleness: float | None = None  # seconds that a frame may be old when it is begun, else it is dropped
    max_failures: int = 0  # frames in a row that may fail and are left out; one more ends the run
    track: bool = False  # follow objects from frame to frame: see `solo_rt.track`
    zones: tuple[Zone, ...] = ()  # to count objects in, which turns tracking on
    refine: bool = False  # draw the outlines of masks to the edges in the picture: see `solo_rt.decode.refinement`
    keyframe_interval: Interval | None = None  # the model sees one frame in so many; its objects move on to the others
    style: Style = DEFAULT_STYLE  # how outputs show what was found
    sync: bool = False  # one frame at a time on the caller's thread: the reference, and easy to debug

    def __post_init__(self) -> None:
        check_zones(self.zones)
        object.__setattr__(self, "track", self.track or bool(self.zones))
        if self.policy not in POLICIES:
            raise UsageError(f"policy must be one of {', '.join(POLICIES)}, got {self.policy!r}")
        if self.max_staleness is not None and not 0 < self.max_staleness < math.inf:
            raise UsageError(f"max_staleness must be above 0 and finite, got {self.max_staleness}")
        if self.conf is not None and not 0 <= self.conf <= 1:
            raise UsageError(f"conf must be in 0..1, got {self.conf}")
        if self.max_det is not None and not 1 <= self.max_det <= MOST_INSTANCES:
            raise UsageError(f"max_det must be at least 1, and at most {MOST_INSTANCES}, got {self.max_det}")
        interval = self.keyframe_interval
        if interval not in (None, "auto") and not (isinstance(interval, int) and interval >= 1):
            raise UsageError(f"keyframe_interval must be at least 1, or auto, got {interval!r}")
        classes: object = self.classes
        if isinstance(classes, str):  # whose letters would be names
            raise UsageError(f"classes must be a tuple of names, got {classes!r}; one alone is ({classes!r},)")
        if self.max_frames is not None and self.max_frames < 1:
            raise UsageError(f"max_frames must be at least 1, got {self.max_frames}")
        if self.max_fps is not None and not 0 < self.max_fps < math.inf:
            raise UsageError(f"max_fps must be above 0 and finite, got {self.max_fps}")

    def is_freshest(self, *, live: bool) -> bool:
        """Return whether newer frames replace those that wait: auto does so with live sources.

        Otherwise every frame is computed, and the source waits. Files with `freshest` are played at their own pace.
        """
        return live if self.policy == "auto" else self.policy == "freshest"

    def stale_after(self, *, live: bool) -> float:
        """Return the age in seconds from which on a frame is dropped instead of begun."""
        if self.max_staleness is not None:
            return self.max_staleness
        return defaults.MAX_STALENESS if self.is_freshest(live=live) else math.inf


def choose_lanes(lanes: int | None, options: Options, *, live: bool) -> int | None:
    """Return how many frames to compute at once, None to leave that to the engine. Raises: UsageError."""
    if options.sync and lanes not in (None, 1):
        raise UsageError(f"expected 1 lane with sync, which computes one frame at a time, got {lanes}")
    return 1 if lanes is None and (options.sync or live) else lanes
