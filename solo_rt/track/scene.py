"""How much a picture has changed since a key frame, seen on a small, grey copy of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from solo_rt.types import Frame, UInt8

Float32 = NDArray[np.float32]
Value = TypeVar("Value", np.uint8, np.float32)

_LONG_SIDE = 480  # most pixels of a side of the small picture
_FINER = 3  # times than that in which the scene is looked at
_BLOCK = 4  # small pixels a side, whose noise averages out
_NOISE = 3.0  # levels that the mean of a block differs by when nothing has moved
_UNEXPLAINED = 0.5  # of a picture's contrast that the frame before does not explain when the scene is another


@dataclass(frozen=True, slots=True)
class SmallPicture:
    """The brightness of a frame, averaged over squares of `factor` pixels a side; what is left over is cut off."""

    frame_size: tuple[int, int]  # height, width in pixels
    luma: UInt8  # [h, w]
    factor: int

    @classmethod
    def of(cls, frame: Frame) -> SmallPicture:
        """Return that of a frame. Raises: UsageError for a frame on a GPU."""
        frame.require_planes()
        factor = -(-max(frame.height, frame.width) // _LONG_SIDE)
        small = _smaller(frame.planes[0], factor)
        luma = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY) if small.ndim == 3 else small)
        return cls((frame.height, frame.width), luma, factor)


@dataclass(frozen=True, slots=True)
class Change:
    """What has changed since the key frame."""

    is_still: bool  # nothing but noise
    farthest: float  # that anything has moved, as a share of the picture's diagonal


class Scene:
    """Looks at a picture from a key frame on. For one thread.

    What moves is found by DIS (Kroeger et al. 2016), as OpenCV has it, from frame to frame, where steps are small.
    """

    def __init__(self) -> None:
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._size: tuple[int, int] | None = None  # of the frames
        self._key = self._last = np.zeros((1, 1), np.uint8)
        self._moved: Float32 | None = None  # [h, w, 2] since the key frame, by where things were in it

    def begin(self, picture: SmallPicture) -> None:
        """Take a picture for the key frame."""
        self._size, self._moved = picture.frame_size, None
        self._key = self._last = _smaller(picture.luma, _FINER)

    def change(self, picture: SmallPicture) -> Change | None:
        """Return what has changed up to this picture; None if it is another one: of another size, after a cut."""
        if self._size != picture.frame_size:
            return None
        luma, last = _smaller(picture.luma, _FINER), self._last
        self._last = luma
        if np.abs(_blocks(luma) - _blocks(self._key)).max() < _NOISE:
            self._moved = None
            return Change(is_still=True, farthest=0.0)
        step = (
            self._search.calc(last, luma, None)
            if min(luma.shape) > 2 * _BLOCK
            else np.zeros((*luma.shape, 2), np.float32)
        )
        unexplained = cv2.mean(cv2.absdiff(_taken(luma, step), last))[0]
        contrast = cv2.mean(cv2.absdiff(luma, np.full_like(luma, round(cv2.mean(luma)[0]))))[0]
        if unexplained > _UNEXPLAINED * contrast + _NOISE:
            return None
        self._moved = step if self._moved is None else self._moved + _taken(step, self._moved)
        farthest = np.hypot(*cv2.split(_blocks(self._moved))).max() / np.hypot(*luma.shape)
        return Change(is_still=False, farthest=float(farthest))


def _smaller(plane: UInt8, factor: int) -> UInt8:
    """Return the means of squares of a plane, at least of one."""
    h, w = (max(1, side // factor) for side in plane.shape[:2])
    return np.asarray(cv2.resize(plane[: h * factor, : w * factor], (w, h), interpolation=cv2.INTER_AREA))


def _blocks(values: UInt8 | Float32) -> Float32:
    """Return the means of blocks of a picture."""
    h, w = values.shape[:2]
    size = (max(1, w // _BLOCK), max(1, h // _BLOCK))
    return np.asarray(cv2.resize(values.astype(np.float32), size, interpolation=cv2.INTER_AREA))


def _taken(values: NDArray[Value], moved: Float32) -> NDArray[Value]:
    """Return the values from where each place has moved to."""
    y, x = np.mgrid[: moved.shape[0], : moved.shape[1]].astype(np.float32)
    places = moved + np.dstack([x, y])
    taken = cv2.remap(values, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(taken, values.dtype)
