"""Objects followed from frame to frame, in the manner of BYTE.

Source: ByteTrack (Zhang et al. 2022): what scores well is matched with all tracks first, what scores badly only with
what is left of those that were just seen. Where we differ:
- masks count as much as boxes;
- an object has the class that it was found as most, by score, and what is of another one comes last: detectors waver;
- duplicates, also of another class, are left out before anything is matched;
- time is that of the video, so that dropped frames and changing rates do no harm.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from solo_rt import _native, defaults
from solo_rt.track.motion import Motion
from solo_rt.track.overlap import Outline, join, outline, outlines, overlap
from solo_rt.types import Instances, Trail

LEAST_SCORE = 0.1  # of an instance that may go on with a track; those below `conf` begin none
_SURE_SCORE = 0.5  # an instance with less must be found twice in a row until it is shown
_LOST_SECONDS = 1.0  # that a track waits for its object, as in ByteTrack; with 0.5 or 2, IDF1 differs by 0.6 at most
_STANDSTILL_SECONDS = 1 / 25  # that a frame at the time of the one before is counted as: hidden tracks must end
_MOST_LOST = 200  # tracks; those that wait for longest go first
_TRAIL_SECONDS, _TRAIL_POINTS = 2.0, 256
# Overlaps that are needed, see `overlap`:
_LEAST_OVERLAP = 0.02  # where class and score speak for it
_LEAST_OVERLAP_OF_WEAK = 0.5  # with an instance that scores below `conf`
_LEAST_OVERLAP_OF_OTHERS = 0.3  # of another class, or with what was seen once
_DUPLICATE = 0.5


@dataclass(slots=True)
class _Track:
    """One object. Its box is in the `Motion` of the tracker."""

    last: Outline
    id: int = 0  # none yet
    hits: int = 0
    hidden: float = 0.0  # seconds since it was last seen
    votes: dict[int, float] = field(default_factory=dict)  # class id to the sum of its scores
    class_id: int = -1
    times: list[float] = field(default_factory=list)  # of the points of the trail, in seconds
    trail: Trail = field(default_factory=lambda: np.zeros((0, 2), np.float32))

    def see(self, found: Instances, i: int, time_s: float) -> None:
        """Take note that instance i is this object."""
        class_id, (x0, _, x1, y1) = int(found.class_ids[i]), found.boxes[i].tolist()
        self.last, self.hits, self.hidden = outline(found, i), self.hits + 1, 0.0
        self.votes[class_id] = self.votes.get(class_id, 0.0) + float(found.scores[i])
        self.class_id = max(self.votes, key=self.votes.__getitem__)
        first = max(bisect_left(self.times, time_s - _TRAIL_SECONDS), len(self.times) + 1 - _TRAIL_POINTS)
        self.times = [*self.times[first:], time_s]
        self.trail = np.concatenate([self.trail[first:], np.array([((x0 + x1) / 2, y1)], np.float32)])


class Tracker:
    """Gives the instances of one source their ids, from 1 on, each for one object and never again.

    The same frames give the same ids, in whatever order the instances of a frame are.
    """

    def __init__(self, *, conf: float = defaults.CONF) -> None:
        """`conf`: instances below it only go on with tracks."""
        self._conf = conf
        self._tracks: list[_Track] = []
        self._motion = Motion()  # of the tracks, in their order
        self._given = 0  # ids
        self._time = -np.inf
        self._grid: object = None  # what coordinates of boxes and masks mean

    def follow(self, found: Instances, time_s: float) -> tuple[Instances, tuple[Trail, ...]]:
        """Return those of the next frame's instances that are tracked, with their ids, and the trail of each.

        They stay in their order, and have the class that most of their track's scores are for. Left out are duplicates,
        what scores below `conf` and goes on with no track, and what scores below 0.5 and was not there in the frame
        before. A trail is where the middle of the object's foot was in the last two seconds, this frame included. Where
        time goes back, or on by more than a second, objects are known by their place alone; where the size of the
        frames changes, all are new.
        """
        seconds = self._advance(found, time_s)
        candidates, numbers = distinct(found)
        tracks = self._match(candidates)
        self._begin(candidates, tracks)
        ids, class_ids, trails = np.zeros(len(candidates), np.int32), candidates.class_ids.copy(), {}
        seen = np.flatnonzero(tracks >= 0).tolist()
        for i in seen:
            track = self._tracks[tracks[i]]
            track.see(candidates, i, time_s)
            if not track.id and (track.hits > 1 or candidates.scores[i] >= _SURE_SCORE):
                self._given += 1
                track.id = self._given
            ids[i], class_ids[i] = track.id, track.class_id
            trails[track.id] = track.trail
        self._end(seconds, seen=set(tracks[seen].tolist()))
        shown = np.flatnonzero(ids)
        shown = shown[np.argsort(numbers[shown])]
        tracked = replace(candidates[shown], class_ids=class_ids[shown], track_ids=ids[shown])
        return tracked, tuple(trails[i] for i in ids[shown].tolist())

    def _advance(self, found: Instances, time_s: float) -> float:
        """Move the tracks to the time of this frame and return how many seconds that are; infinity where it jumps."""
        grid = found.frame_size, found.masks.grid_size, found.masks.step
        if len(found) and grid != self._grid:
            self._tracks, self._motion, self._grid = [], Motion(), grid
        seconds, self._time = time_s - self._time, time_s
        if 0 <= seconds <= _LOST_SECONDS:
            self._motion.advance(seconds, hidden=self._hidden() > 0)
            return seconds
        self._motion.stop()
        for track in self._tracks:
            track.times, track.trail = [], track.trail[:0]
        return np.inf

    def _hidden(self) -> NDArray[np.float64]:
        return np.array([track.hidden for track in self._tracks], np.float64)

    def _match(self, found: Instances) -> NDArray[np.intp]:
        """Return the track of each instance, -1 for none."""
        of_instance, of_track = np.full(len(found), -1), np.full(len(self._tracks), -1)
        overlaps = overlap(join([track.last for track in self._tracks]), self._motion.boxes, found)  # [N, M]
        good = found.scores >= self._conf
        known = np.array([track.id > 0 for track in self._tracks], np.bool_)[:, None]
        present = known & (self._hidden() == 0)[:, None]
        class_ids = np.array([track.class_id for track in self._tracks], np.int32)
        alike = class_ids[:, None] == found.class_ids
        for allowed, least in (
            (alike & known & good, _LEAST_OVERLAP),
            (alike & present & ~good, _LEAST_OVERLAP_OF_WEAK),
            (np.broadcast_to(good, alike.shape), _LEAST_OVERLAP_OF_OTHERS),
        ):
            free = allowed & (of_track < 0)[:, None] & (of_instance < 0)
            columns = _native.assign(np.where(free, (overlaps - least).clip(0), 0.0))
            rows = np.flatnonzero(columns >= 0)
            of_track[rows] = columns[rows]
            of_instance[columns[rows]] = rows
        return of_instance

    def _begin(self, found: Instances, tracks: NDArray[np.intp]) -> None:
        """Correct the tracks of the instances by where these are, and begin those of good ones that have none."""
        matched = np.flatnonzero(tracks >= 0)
        self._motion.correct(tracks[matched], found.boxes[matched])
        begun = np.flatnonzero((tracks < 0) & (found.scores >= self._conf))
        tracks[begun] = len(self._tracks) + np.arange(len(begun))
        self._motion.add(found.boxes[begun])
        self._tracks += [_Track(outline(found, i)) for i in begun.tolist()]

    def _end(self, seconds: float, *, seen: set[int]) -> None:
        """End the tracks that were hidden for too long, or before they were known."""
        for i, track in enumerate(self._tracks):
            if i not in seen:
                track.hidden += seconds or _STANDSTILL_SECONDS
        order = sorted(range(len(self._tracks)), key=lambda i: self._tracks[i].hidden)
        kept = [i for i in order if i in seen or (self._tracks[i].id and self._tracks[i].hidden <= _LOST_SECONDS)]
        kept = sorted(kept[: len(seen) + _MOST_LOST])
        self._motion.keep(np.array(kept, np.intp))
        self._tracks = [self._tracks[i] for i in kept]


def distinct(found: Instances) -> tuple[Instances, NDArray[np.intp]]:
    """Return the instances that are no duplicates of better ones, best first, and their numbers in `found`.

    Of equal scores the class decides, and then the box, so that their order in `found` does not matter.
    """
    order = np.lexsort((*found.boxes.T[::-1], found.class_ids, -found.scores))
    ranked = found[order]
    duplicates = overlap(outlines(ranked), ranked.boxes, ranked) >= _DUPLICATE
    kept = np.ones(len(ranked), np.bool_)
    for i in range(len(ranked)):
        if kept[i]:
            kept[i + 1 :] &= ~duplicates[i, i + 1 :]
    return ranked[kept], order[kept]
