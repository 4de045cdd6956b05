"""The sides of polygons and lines, and how points lie to all of them at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Sides:
    """The sides of S polygons or lines in a row, E in all.

    Points are `[N, S, 2]` xy, as every shape may be asked about other ones, and lie on no side: see Note [Nudge].
    """

    def __init__(self, shapes: Sequence[Float64], *, closed: bool) -> None:
        """`shapes` are corners `[K, 2]` xy each; `closed` joins the last to the first."""
        sides = [split(shape, closed=closed) for shape in shapes]
        lengths = np.array([len(start) for start, _ in sides], np.intp)
        self._start = np.concatenate([np.zeros((0, 2)), *(start for start, _ in sides)])  # [E, 2]
        self._along = np.concatenate([np.zeros((0, 2)), *(along for _, along in sides)])  # [E, 2]
        self._square = (self._along**2).sum(1)  # [E]
        self._owner = np.repeat(np.arange(len(shapes)), lengths)  # [E]
        self._first = np.cumsum(lengths) - lengths  # [S]

    def contain(self, points: Float64) -> Bools:
        """Return which points are in which polygon, `[N, S]`, by the even-odd rule."""
        x, y, along_x, along_y = self._seen_from(points)
        spans = (y < 0) != (y < along_y)
        is_left = (x * along_y < y * along_x) != (along_y < 0)  # of where the side meets the height of the point
        inside: Bools = np.logical_xor.reduceat(spans & is_left, self._first, axis=1)
        return inside

    def distances(self, points: Float64) -> Float64:
        """Return how far points are from the nearest side of each shape, `[N, S]`."""
        x, y, along_x, along_y = self._seen_from(points)
        share = ((x * along_x + y * along_y) / self._square).clip(0, 1)
        squares = (x - share * along_x) ** 2 + (y - share * along_y) ** 2
        return np.sqrt(np.minimum.reduceat(squares, self._first, axis=1))

    def crossings(self, start: Float64, end: Float64) -> NDArray[np.int64]:
        """Return how often the ways from start to end cross each shape, `[N, S]`: to its right less to its left."""
        x, y, along_x, along_y = self._seen_from(start)
        end_x, end_y, _, _ = self._seen_from(end)
        way_x, way_y = end_x - x, end_y - y
        was_right, is_right = along_x * y > along_y * x, along_x * end_y > along_y * end_x
        from_start = way_x * y > way_y * x  # on which side of the way the side begins, and ends
        from_end = way_x * (y - along_y) > way_y * (x - along_x)
        signs = is_right.astype(np.int64) - was_right
        crossed: NDArray[np.int64] = np.add.reduceat(signs * (from_start != from_end), self._first, axis=1)
        return crossed

    def _seen_from(self, points: Float64) -> tuple[Float64, Float64, Float64, Float64]:
        """Return x and y of points from the starts of the sides, `[N, E]`, and of the ends of these, `[E]`."""
        seen = points[:, self._owner] - self._start
        return seen[..., 0], seen[..., 1], self._along[:, 0], self._along[:, 1]


def split(shape: Float64, *, closed: bool) -> tuple[Float64, Float64]:
    """Return where the sides of a shape start, and how far they go, `[E, 2]` each."""
    along = np.diff(np.concatenate([shape, shape[:1]]) if closed else shape, axis=0)
    return shape[: len(along)], along


def find_meeting(shape: Float64, *, closed: bool) -> tuple[int, int] | None:
    """Return the numbers, from 1, of two sides that meet though they are no neighbours, or lie on each other."""
    start, along = split(shape, closed=closed)
    end, count = start + along, len(start)
    low, high = np.minimum(start, end), np.maximum(start, end)
    boxes_meet = ((low[:, None] <= high) & (low <= high[:, None])).all(-1)  # [E, E]
    straddles = _turns(start, along, start) * _turns(start, along, end) <= 0  # the line through i parts the ends of j
    meet = boxes_meet & straddles & straddles.T
    number = np.arange(count)
    apart = (number[:, None] - number) % count if closed else number[:, None] - number
    meet &= (apart > 1) & (apart < count - 1) if closed else apart > 1
    following = np.roll(along, -1, axis=0)
    folds = (_cross(along, following) == 0) & ((along * following).sum(-1) < 0)
    folds[-1] &= closed
    meet[(number + 1) % count, number] |= folds
    pairs = np.argwhere(meet)
    return None if not len(pairs) else (int(pairs[0].min()) + 1, int(pairs[0].max()) + 1)


def signed_area(shape: Float64) -> float:
    """Return the area of a polygon, negative for one that is drawn against the clock."""
    return float(_cross(shape, np.roll(shape, -1, axis=0)).sum()) / 2


def _turns(start: Float64, along: Float64, points: Float64) -> Float64:
    """Return on which side of line i point j is, `[E, E]`, 0 for on it."""
    return _cross(along[:, None], points - start[:, None])


def _cross(a: Float64, b: Float64) -> Float64:
    product: Float64 = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return product
