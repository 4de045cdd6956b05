"""Key frames: the network computes some of the frames, and in those between, its instances move with the picture."""

from __future__ import annotations

from dataclasses import dataclass

from solo_rt.errors import EngineError
from solo_rt.pipeline.options import Interval
from solo_rt.track.displacement import Displacement
from solo_rt.track.scene import Change, Scene, SmallPicture
from solo_rt.types import Frame, Instances

# With auto, frames between two key frames:
_FAR = 0.01  # until something has moved by this share of the picture's diagonal
_MOST_MOVED, _MOST_STILL = 8, 300  # at most, while something moves, and while nothing does


@dataclass(frozen=True, slots=True)
class Place:
    """What a frame is: a key frame, or one that comes after it."""

    key: int  # number of the key frame, from 1 on
    change: Change | None  # of the picture since; None for the key frame itself
    picture: SmallPicture


class Keyframes:
    """Chooses the key frames of one run, and moves what was found in them; each method is for one thread."""

    def __init__(self, interval: Interval) -> None:
        self._interval = interval
        self._scene = Scene()
        self._key = self._frames = 0  # number of the last key frame, and of frames from it on
        self._found: tuple[int, Displacement] | None = None  # in which key frame, and its instances on their way
        self._is_lost = False  # set by `follow` and read by `choose`, for which a frame later is early enough

    def choose(self, frame: Frame) -> Place:
        """Return what the next frame is. Raises: UsageError for a frame on a GPU."""
        is_due = self._key == 0 or self._is_lost or self._frames == self._interval
        picture = SmallPicture.of(frame)
        change = None if is_due else self._scene.change(picture)
        if change is not None and self._interval == "auto":
            most = _MOST_STILL if change.is_still else _MOST_MOVED
            change = None if self._frames >= most or change.farthest > _FAR else change
        if change is None:
            self._scene.begin(picture)
            self._key, self._frames, self._is_lost = self._key + 1, 0, False
        self._frames += 1
        return Place(self._key, change, picture)

    def follow(self, place: Place, found: Instances | None) -> Instances:
        """Return the instances of a frame; `found` are those of a key frame.

        Raises: EngineError where the key frame has failed, so that nothing is there to move.
        """
        if found is not None:
            self._found = place.key, Displacement(place.picture, found)
            return found
        if self._found is None or place.change is None or self._found[0] != place.key:
            self._is_lost = True
            raise EngineError("nothing is known of the key frame, which has failed; the next frame will be one")
        return self._found[1].stay() if place.change.is_still else self._found[1].move(place.picture)
