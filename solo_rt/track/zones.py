"""Polygons and lines on the picture of a source."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from solo_rt.errors import UsageError
from solo_rt.track.sides import Float64, find_meeting, signed_area

Anchor = Literal["bottom", "centre", "mask"]
ANCHORS: tuple[Anchor, ...] = get_args(Anchor)
MOST_ZONES, MOST_POINTS, MOST_LETTERS = 64, 100, 40
LEAST_AREA = 1e-6  # of the picture: two pixels of 1080p


@dataclass(frozen=True, slots=True)
class Zone:
    """A polygon or a line on the picture of a source, and which objects count there."""

    name: str
    points: tuple[tuple[float, float], ...]  # xy: corners of a polygon, or of a line in its order
    is_line: bool = False
    size: tuple[int, int] | None = None  # width, height that points are pixels of; None: shares of both, 0..1
    classes: tuple[str, ...] = ()  # that count; empty is all
    source: str = ""  # name of the one it belongs to; empty is all
    anchor: Anchor = "bottom"  # which point of an object is where it is: see Note [Anchor]
    dwell: float | None = None  # seconds in the polygon until an event says so
    origin: str = field(default="", compare=False)  # where it is written, for messages

    def __post_init__(self) -> None:
        if not is_name(self.name):
            raise self.error(f"expected a name of 1 to {MOST_LETTERS} letters, got {self.name[: 2 * MOST_LETTERS]!r}")
        if self.anchor not in ANCHORS:
            raise self.error(f"expected the anchor {', '.join(ANCHORS[:-1])} or {ANCHORS[-1]}, got {self.anchor!r}")
        if self.dwell is not None and not 0 < self.dwell < math.inf:
            raise self.error(f"expected dwell as seconds above 0, got {self.dwell}")
        if self.dwell is not None and self.is_line:
            raise self.error("expected no dwell: nothing is in a line")
        if self.size is not None and not (len(self.size) == 2 and all(0 < length < 1 << 16 for length in self.size)):
            raise self.error(f"expected size = [width, height] in pixels, got {list(self.size)}")
        classes: object = self.classes
        if isinstance(classes, str):  # whose letters would be names
            raise self.error(f"expected classes as a tuple of names, got {classes!r}; one alone is ({classes!r},)")
        self._check_points()

    @property
    def shown(self) -> str:
        """The zone as messages name it."""
        name = self.name if is_name(self.name) else ""
        return f"{self.origin} ({name})" if self.origin and name else self.origin or f"zone {name}"

    def error(self, what: str) -> UsageError:
        """Return the error that says what is wrong with it."""
        return UsageError(f"{self.shown}: {what}")

    def points_on(self, frame_size: tuple[int, int]) -> Float64:
        """Return the points `[K, 2]` xy in pixels of a frame of this height and width."""
        height, width = frame_size
        return np.array(self.points, np.float64) / (self.size or (1, 1)) * (width, height)

    def _check_points(self) -> None:
        least, what = (2, "points") if self.is_line else (3, "corners")
        if not least <= len(self.points) <= MOST_POINTS:
            raise self.error(f"expected {least} to {MOST_POINTS} {what}, got {len(self.points)}")
        for number, pair in enumerate(self.points, 1):
            if np.shape(pair) != (2,):
                raise self.error(f"expected point {number} as two numbers, x and y, got {pair!r:.60}")
        points, picture = np.array(self.points, np.float64), np.array(self.size or (1, 1))
        for number, point in enumerate(points, 1):
            if not ((point >= 0) & (point <= picture)).all():
                hint = "" if self.size else "; pixels need size = [width, height]"
                limits = f"x in 0..{picture[0]} and y in 0..{picture[1]}"
                raise self.error(f"point {number} is not in the picture: expected {limits}, got {_list(point)}{hint}")
            other = number % len(points)
            if (point == points[other]).all():
                raise self.error(f"points {number} and {other + 1} are the same, {_list(point)}; leave one of them out")
        meeting = find_meeting(points, closed=not self.is_line)
        if meeting is not None:
            raise self.error(f"sides {meeting[0]} and {meeting[1]} cross or touch; give the {what} in order")
        if not self.is_line and abs(signed_area(points / picture)) < LEAST_AREA:
            raise self.error("it has no area; its corners are as good as on a line")


def is_name(text: str) -> bool:
    """Return whether a zone can be called so, on the picture and in a line of a message."""
    return 0 < len(text) <= MOST_LETTERS and text.isprintable() and bool(text.strip())


def zones_of(zones: Sequence[Zone], source: str) -> tuple[Zone, ...]:
    """Return those on the source of this name: its own, and those that are on all."""
    return tuple(zone for zone in zones if zone.source in ("", source))


def check_zones(zones: Sequence[Zone]) -> None:
    """Raise UsageError for more than can be, or for two of one name on one source."""
    for number, zone in enumerate(zones):
        if number == MOST_ZONES:
            raise zone.error(f"expected at most {MOST_ZONES} zones and lines in all, got {len(zones)}")
        for other in zones[:number]:
            if zone.name == other.name and (zone.source == other.source or not zone.source or not other.source):
                raise zone.error(f"the name is that of {other.shown} already; give each its own")


def check_sources(zones: Sequence[Zone], sources: Collection[str]) -> None:
    """Raise UsageError for a zone of a source that there is not."""
    for zone in zones:
        if zone.source and zone.source not in sources:
            known = f"there are {', '.join(sources)}" if sources else "there is one without a name"
            raise zone.error(f"no source is called {zone.source!r}; {known}")


def check_classes(zones: Sequence[Zone], classes: Collection[str]) -> None:
    """Raise UsageError for a zone of a class that the model does not know."""
    for zone in zones:
        unknown = [name for name in zone.classes if name not in classes]
        if unknown:
            raise zone.error(f"unknown class {', '.join(map(repr, unknown))}; the model knows {', '.join(classes)}")


def _list(point: Float64) -> str:
    return f"[{', '.join(f'{value:g}' for value in point)}]"
