"""Counts the objects that enter and leave zones, stay in them, and cross lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
from numpy.typing import NDArray

from solo_rt.errors import UsageError
from solo_rt.events import Event, ZoneState
from solo_rt.track.anchors import find_anchors
from solo_rt.track.sides import Bools, Float64, Sides
from solo_rt.track.zones import ANCHORS, Zone
from solo_rt.types import Instances

# Note [Hysteresis]
# Boxes tremble by some percent of their size, so an object on a border would enter and leave all the time. It enters a
# polygon as soon as its anchor is in it, but leaves it only when that is out by a margin; and it has crossed a line
# when the way of its anchor did so and the anchor is a margin away from it: until then ways back cancel. The margin is
# a distance, not a number of frames, because that costs no delay, holds at any frame rate, and misses nobody who is
# inside for a single frame; it goes with the size of the object, as the trembling does. Entering needs none, so that
# zones narrower than a margin, or at the edge of the picture, work as well.
MARGIN = 0.1  # of the mean side of an object's box
GONE_SECONDS, GONE_FRAMES = 2.0, 1000  # unseen for longer than either, an object has left; trackers give up before
ROUNDING = 1e-6  # seconds


class ZoneCounter:
    """Follows tracked objects through zones. Fed with all frames of one source, in order.

    What it keeps and what a frame costs depend on the objects of the last two seconds, not on how long it runs.
    """

    def __init__(self, zones: Sequence[Zone], classes: Sequence[str]) -> None:
        """`classes` are the names by class id."""
        self._tallies = [_Tally(zone) for zone in zones]
        self._areas = [i for i, zone in enumerate(zones) if not zone.is_line]  # positions in `zones`
        self._lines = [i for i, zone in enumerate(zones) if zone.is_line]
        self._anchors = np.array([ANCHORS.index(zone.anchor) for zone in zones], np.intp)  # [Z]
        self._counts = np.array([[not z.classes or name in z.classes for z in zones] for name in classes], np.bool_)
        self._dwell = np.array([np.inf if z.dwell is None else z.dwell - ROUNDING for z in zones])[self._areas]
        self._order = {zone.name: position for position, zone in enumerate(zones)}
        self._needs_masks = any(zone.anchor == "mask" for zone in zones)
        self._frame_size = (0, 0)
        self._now = self._last_time = 0.0  # seconds; the first goes on where the other goes back
        self._frames = 0
        self._row: dict[int, int] = {}  # in the table, by track id
        areas, lines = (len(self._areas),), (len(self._lines),)
        self._table = np.zeros(
            0,
            [
                ("track", np.int64),
                ("class", np.int32),  # when it was seen last, as are:
                ("seen", np.float64),  # seconds
                ("frame", np.int64),  # from 1
                ("anchors", np.float64, (len(ANCHORS), 2)),
                ("inside", np.bool_, areas),
                ("since", np.float64, areas),  # when it entered
                ("as", np.int32, areas),  # the class it entered as, which leaves again
                ("dwelt", np.bool_, areas),  # and the event was given
                ("crossed", np.int64, lines),  # to the right less to the left, and not yet counted
            ],
        )

    def update(self, found: Instances, time_s: float) -> tuple[tuple[ZoneState, ...], tuple[Event, ...]]:
        """Return the state of every zone after this frame, and what happened in it, by zone and then by track.

        `found` are tracked objects; one without a pixel, or whose track id is not above 0, is as if it were not there.
        Raises: UsageError for objects without track ids.
        """
        self._frames += 1
        self._now += max(0.0, time_s - self._last_time)
        self._last_time = time_s
        self._fit(found.frame_size)
        events = [*self._follow(found), *self._forget()]
        events.sort(key=lambda event: (self._order[event.zone], event.track_id))
        for event in events:
            self._tallies[self._order[event.zone]].take(event)
        return tuple(tally.state for tally in self._tallies), tuple(events)

    def _fit(self, frame_size: tuple[int, int]) -> None:
        """Take the sizes of frames as they come: what was known of the one before is stretched."""
        if frame_size == self._frame_size:
            return
        if len(self._table):
            self._table["anchors"] *= np.divide(frame_size[::-1], self._frame_size[::-1])
        self._frame_size = frame_size
        for tally in self._tallies:
            tally.points = tally.zone.points_on(frame_size)
        self._polygons = Sides([self._tallies[z].points for z in self._areas], closed=True)
        self._polylines = Sides([self._tallies[z].points for z in self._lines], closed=False)

    def _follow(self, found: Instances) -> Iterator[Event]:
        """Yield what the objects of this frame do, and note where they are."""
        positions = _usable(found)
        if not positions:
            return
        rows, chosen = self._rows(list(positions)), np.array(list(positions.values()), np.intp)
        anchors = find_anchors(found, chosen, with_masks=self._needs_masks)
        table, boxes = self._table, found.boxes[chosen].astype(np.float64)
        known = table["frame"][rows] > 0
        before = np.where(known[:, None, None], table["anchors"][rows], anchors)
        table["anchors"][rows], table["class"][rows] = anchors, found.class_ids[chosen]
        table["seen"][rows], table["frame"][rows] = self._now, self._frames
        margins = MARGIN * np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1))[:, None]  # [N, 1]
        if self._areas:
            yield from self._enter_and_leave(rows, anchors, margins)
        if self._lines:
            yield from self._cross(rows, before, anchors, margins)

    def _enter_and_leave(self, rows: NDArray[np.intp], anchors: Float64, margins: Float64) -> Iterator[Event]:
        table, points = self._table, anchors[:, self._anchors[self._areas]]  # [N, Z, 2]
        was_inside, counts = table["inside"][rows], self._counts[table["class"][rows]][:, self._areas]
        within = self._polygons.contain(points)
        stays = within
        if (was_inside & ~within).any():
            stays = within | (self._polygons.distances(points) <= margins)
        inside: Bools = np.where(was_inside, stays, within & counts)
        for n, z in _where(was_inside & ~inside):
            yield self._leave(table[rows[n]], z, self._now)
        for n, z in _where(inside & ~was_inside):
            row = table[rows[n]]
            row["since"][z], row["as"][z], row["dwelt"][z] = self._now, row["class"], False
            yield Event("enter", self._name(self._areas, z), int(row["track"]), int(row["class"]))
        table["inside"][rows] = inside
        is_long = self._now - table["since"][rows] >= self._dwell
        for n, z in _where(inside & is_long & ~table["dwelt"][rows]):
            row = table[rows[n]]
            row["dwelt"][z] = True
            seconds = float(self._now - row["since"][z])
            yield Event("dwell", self._name(self._areas, z), int(row["track"]), int(row["as"][z]), seconds)

    def _cross(self, rows: NDArray[np.intp], before: Float64, anchors: Float64, margins: Float64) -> Iterator[Event]:
        table, kinds = self._table, self._anchors[self._lines]
        crossed = table["crossed"][rows] + self._polylines.crossings(before[:, kinds], anchors[:, kinds])  # [N, L]
        table["crossed"][rows] = crossed
        if crossed.any():
            is_clear = self._polylines.distances(anchors[:, kinds]) > margins
            for n, line in _where((crossed != 0) & is_clear):
                yield from self._count_crossing(table[rows[n]], line)

    def _forget(self) -> Iterator[Event]:
        """Yield what objects did that are gone, and drop them."""
        table = self._table
        gone = (self._now - table["seen"] > GONE_SECONDS) | (self._frames - table["frame"] > GONE_FRAMES)
        if not gone.any():
            return
        for row in table[gone]:
            for z in np.flatnonzero(row["inside"]).tolist():
                yield self._leave(row, z, row["seen"])
            for line in np.flatnonzero(row["crossed"]).tolist():
                yield from self._count_crossing(row, line)
        self._table = table[~gone]
        self._row = {track: row for row, track in enumerate(self._table["track"].tolist())}

    def _leave(self, row: np.void, z: int, at: float) -> Event:
        seconds = float(at - row["since"][z])
        return Event("leave", self._name(self._areas, z), int(row["track"]), int(row["as"][z]), seconds)

    def _count_crossing(self, row: np.void, line: int) -> Iterator[Event]:
        crossed, class_id = int(row["crossed"][line]), int(row["class"])
        row["crossed"][line] = 0
        if self._counts[class_id, self._lines[line]]:
            event = Event("cross", self._name(self._lines, line), int(row["track"]), class_id, forward=crossed > 0)
            yield from [event] * abs(crossed)  # a line that turns can be crossed twice in one way

    def _rows(self, tracks: list[int]) -> NDArray[np.intp]:
        """Return the rows of tracks in the table, with new ones for those that are not in it."""
        new = [track for track in tracks if track not in self._row]
        if new:
            self._row.update(zip(new, count(len(self._table)), strict=False))
            self._table = np.concatenate([self._table, np.zeros(len(new), self._table.dtype)])
            self._table["track"][-len(new) :] = new
        return np.array([self._row[track] for track in tracks], np.intp)

    def _name(self, positions: Sequence[int], index: int) -> str:
        return self._tallies[positions[index]].zone.name


class _Tally:
    """What a zone has counted."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self._inside: Counter[int] = Counter()
        self._entered: Counter[int] = Counter()
        self._left: Counter[int] = Counter()
        self._state: ZoneState | None = None  # until something changes; whoever has got it may keep it
        self._points = np.zeros((0, 2))

    @property
    def points(self) -> Float64:
        """In pixels of the present frames."""
        return self._points

    @points.setter
    def points(self, points: Float64) -> None:
        self._points, self._state = points, None

    @property
    def state(self) -> ZoneState:
        """What is known of it now."""
        if self._state is None:
            points = self._points.astype(np.float32)
            inside = {class_id: number for class_id, number in self._inside.items() if number}
            counts = inside, dict(self._entered), dict(self._left)
            self._state = ZoneState(self.zone.name, points, self.zone.is_line, *counts)
        return self._state

    def take(self, event: Event) -> None:
        """Count what happened."""
        if event.kind == "dwell":
            return
        came = event.kind == "enter" or event.forward is True
        (self._entered if came else self._left)[event.class_id] += 1
        if not self.zone.is_line:
            self._inside[event.class_id] += 1 if came else -1
        self._state = None


def _usable(found: Instances) -> dict[int, int]:
    """Return the positions of tracked objects with pixels, by track id; of doubles, the best."""
    if found.track_ids is None:
        if len(found):
            raise UsageError("zones: expected objects with track ids, got none; switch tracking on")
        return {}
    boxes = found.boxes
    usable = (boxes[:, 2:] > boxes[:, :2]).all(1) & np.isfinite(boxes).all(1) & (found.track_ids > 0)
    positions = np.flatnonzero(usable)[::-1]  # the best last, which stays in a dictionary
    return dict(zip(found.track_ids[positions].tolist(), positions.tolist(), strict=True))


def _where(mask: Bools) -> Iterator[tuple[int, int]]:
    """Return the rows and columns of what is true, as `np.argwhere` does in three times the time."""
    rows, columns = np.nonzero(mask)
    return zip(rows.tolist(), columns.tolist(), strict=True)
