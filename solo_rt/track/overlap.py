"""How much objects of two frames overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solo_rt import _native
from solo_rt.types import Instances, UInt8

Float64 = NDArray[np.float64]
_FARTHEST = 1 << 16  # cells that a mask is moved; no grid is as large


class Outline(NamedTuple):
    """One object as it was found: its box `[4]` xyxy, and its mask on the grid as in `Masks`."""

    box: NDArray[np.float32]
    mask: UInt8
    region: NDArray[np.int32]


class Outlines(NamedTuple):
    """Several of them."""

    boxes: NDArray[np.float32]  # [N, 4]
    data: UInt8  # with offsets and regions as in `Masks`
    offsets: NDArray[np.int64]
    regions: NDArray[np.int32]


def outline(found: Instances, i: int) -> Outline:
    """Return that of instance i, as views."""
    masks = found.masks
    return Outline(found.boxes[i], masks.data[masks.offsets[i] : masks.offsets[i + 1]], masks.regions[i])


def outlines(found: Instances) -> Outlines:
    """Return those of all instances, as views."""
    return Outlines(found.boxes, found.masks.data, found.masks.offsets, found.masks.regions)


def join(parts: Sequence[Outline]) -> Outlines:
    """Return single ones together."""
    if not parts:
        return Outlines(
            np.zeros((0, 4), np.float32), np.zeros(0, np.uint8), np.zeros(1, np.int64), np.zeros((0, 4), np.int32)
        )
    boxes, masks, regions = zip(*parts, strict=True)
    offsets = np.cumsum([0, *map(len, masks)], dtype=np.int64)
    return Outlines(np.array(boxes), np.concatenate(masks), offsets, np.array(regions))


def overlap(before: Outlines, boxes: NDArray[np.floating], found: Instances) -> Float64:
    """Return how much each of N outlines, moved to its box `[N, 4]`, overlaps each instance: `float64 [N, M]` in 0..1.

    It is the mean of the intersection over union of boxes and of that of masks on the grid: boxes forgive a shape that
    turns, masks tell objects apart that pass each other. The masks must lie on the grid of those of `found`.
    """
    if not len(boxes) or not len(found):
        return np.zeros((len(boxes), len(found)))
    way = (boxes[:, :2] + boxes[:, 2:] - before.boxes[:, :2] - before.boxes[:, 2:]) / 2
    shifts = np.rint(way * found.masks.step[::-1]).clip(-_FARTHEST, _FARTHEST).astype(np.int32)
    masks = _native.mask_overlap(
        *before[1:], shifts, found.masks.data, found.masks.offsets, found.masks.regions, found.masks.grid_size
    )
    return (box_overlap(boxes, found.boxes) + masks) / 2


def box_overlap(first: NDArray[np.floating], second: NDArray[np.floating]) -> Float64:
    """Return the intersection over union of boxes `[N, 4]` and `[M, 4]` xyxy, `float64 [N, M]`; 0 for empty ones."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = _area(np.maximum(high - low, 0))  # [N, M]
    either = _area(first[:, 2:] - first[:, :2])[:, None] + _area(second[:, 2:] - second[:, :2]) - shared
    return np.divide(shared, either, out=np.zeros_like(shared), where=either > 0)


def _area(size: Float64) -> Float64:
    return size[..., 0] * size[..., 1]
