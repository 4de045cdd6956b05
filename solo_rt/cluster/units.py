"""What of an archive is left to do: videos, and ranges of long ones, which are cut when their turn comes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from solo_rt.cluster.manifest import Entry, Manifest
from solo_rt.cluster.videos import Video
from solo_rt.source.ranges import WHOLE, Range


@dataclass(frozen=True, slots=True)
class Unit:
    """What a worker does at a time."""

    video: Video
    range: Range = WHOLE


class Queue:
    """Units in the order in which they are begun; what the manifest has is not among them."""

    def __init__(self, videos: Iterable[Video], manifest: Manifest, cut: Callable[[Video], list[Range]]) -> None:
        """`cut` returns the ranges of a video."""
        self._manifest, self._cut = manifest, cut
        self._uncut, self._ready = deque(videos), deque[Unit]()
        self._ranges: dict[Video, list[Range]] = {}  # of those that are cut and not done

    def __len__(self) -> int:
        """Return how many units wait; a video that is not cut yet is one."""
        return len(self._uncut) + len(self._ready)

    def prepare(self, count: int) -> None:
        """Cut videos until so many units are ready, or all that there are."""
        while self._uncut and len(self._ready) < count:
            video = self._uncut.popleft()
            ranges = self._cut(video)
            if len(ranges) > 1:
                self._ranges[video] = ranges
                # Of one whose ranges were done when the run was cut off the last one is done once more.
                ranges = [part for part in ranges if self._manifest.range_of(video, part) is None] or ranges[-1:]
            self._ready.extend(Unit(video, part) for part in ranges)

    def take(self) -> Unit:
        """Return the next unit, of which there must be one."""
        self.prepare(1)
        return self._ready.popleft()

    def put_back(self, unit: Unit) -> None:
        """Let a unit be the next once more."""
        self._ready.appendleft(unit)

    def is_wanted(self, unit: Unit) -> bool:
        """Return whether a unit that was taken is still of use."""
        return unit.range == WHOLE or unit.range in self._ranges.get(unit.video, ())

    def drop(self, video: Video) -> None:
        """Forget the ranges of a video."""
        self._ranges[video] = []
        self._ready = deque(unit for unit in self._ready if unit.video != video)

    def complete(self, video: Video) -> list[Entry] | None:
        """Return what the manifest has of the ranges of a video, in order, once that is all."""
        entries = [self._manifest.range_of(video, part) for part in self._ranges[video]]
        return None if None in entries else [entry for entry in entries if entry is not None]
