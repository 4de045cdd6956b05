"""Instances that move with the picture: points in their masks are followed, and each mask goes where its own go."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from solo_rt import _native
from solo_rt.decode.limits import drop_unseen
from solo_rt.track.scene import SmallPicture
from solo_rt.types import Instances, Masks, UInt8

_POINTS = 48  # of a mask
_WINDOW, _LEVELS = (13, 13), 3  # around a point, in pixels of the small picture, and how often it is halved
_FEW = 8  # points of a mask that can say no more than how far it has gone
_ROUNDS = 3  # of fitting, in which points that go elsewhere count less and less
_OFF = 0.5  # pixels that a point may be off and count in full

Points = NDArray[np.float64]  # [N, 2] xy in pixels of the small picture
Affine = NDArray[np.float64]  # [2, 3]


class Displacement:
    """The instances of a key frame on their way through later ones. For one thread.

    Source: pyramidal Lucas-Kanade, as OpenCV has it (Bouguet 2000).
    """

    def __init__(self, picture: SmallPicture, found: Instances) -> None:
        self._found = found
        self._first = self._last = picture.luma
        self._pixels_per_cell = 1 / (picture.factor * np.array(found.masks.step[::-1]))  # xy
        chosen = [_places_in(found.masks, i) for i in range(len(found))]
        self._owner = np.repeat(np.arange(len(found)), [len(points) for points in chosen])
        cells = np.concatenate([np.zeros((0, 2)), *chosen])
        self._start = (cells + 0.5) * self._pixels_per_cell - 0.5
        self._now = self._start.copy()
        self._is_seen = np.ones(len(cells), np.bool_)
        self._maps = [np.eye(2, 3)] * len(found)  # of each mask, in pixels; one whose points are lost keeps its last

    def stay(self) -> Instances:
        """Return the instances of a frame that is as the key frame was."""
        self._last, self._now = self._first, self._start.copy()
        self._is_seen[:] = True
        return self._found

    def move(self, picture: SmallPicture) -> Instances:
        """Return the instances where they are in the next frame; those that have left it are left out.

        Scores, classes, order and the grid of the masks stay. The picture has the size of the key frame's.
        """
        luma, last = picture.luma, self._last
        self._last = luma
        if self._is_seen.any():
            before = self._now[self._is_seen].astype(np.float32)[:, None]
            after, status, _ = cv2.calcOpticalFlowPyrLK(last, luma, before, None, winSize=_WINDOW, maxLevel=_LEVELS)
            self._now[self._is_seen] = after[:, 0]
            self._is_seen[self._is_seen] = status[:, 0] == 1
        masks = self._found.masks
        crops: list[UInt8] = [np.zeros(0, np.uint8)]
        regions = np.zeros((len(masks), 4), np.int32)
        for i in range(len(masks)):
            own = self._is_seen & (self._owner == i)
            if own.any():
                self._maps[i] = _fit(self._start[own], self._now[own] - self._start[own])
            crop, regions[i] = _moved(masks, i, _in_cells(self._maps[i], self._pixels_per_cell))
            crops.append(crop.ravel())
        data, offsets = np.concatenate(crops), np.cumsum([len(crop) for crop in crops], dtype=np.int64)
        size = self._found.frame_size
        boxes = _native.mask_boxes(data, offsets, regions, masks.grid_size, masks.step, size, 1)
        moved = replace(masks, data=data, offsets=offsets, regions=regions)
        return drop_unseen(replace(self._found, boxes=boxes, masks=moved))


def _places_in(masks: Masks, i: int) -> Points:
    """Return cells inside a mask, spread all over it, and off its outline if it is thick enough."""
    inside = (masks.crop(i) > 127).astype(np.uint8)
    inner = cv2.erode(inside, np.ones((3, 3), np.uint8), borderValue=0) if inside.size else inside
    cells = np.argwhere(inner if np.count_nonzero(inner) >= _FEW else inside)[:, ::-1]
    spread = cells[np.linspace(0, len(cells) - 1, min(len(cells), _POINTS)).astype(int)]
    return np.asarray(spread + masks.regions[i, :2], np.float64)


def _fit(points: Points, steps: Points) -> Affine:
    """Return the map that most of the points follow, at least one, which go by `steps`; few points keep their shape."""
    if len(points) < _FEW:
        return np.column_stack([np.eye(2), np.median(steps, axis=0)])
    centre = points.mean(0)
    design = np.column_stack([points - centre, np.ones(len(points))])  # [N, 3]
    reluctance = np.diag([1.0, 1.0, 0.0]) * len(points)  # of shapes to change
    weights = np.ones((len(points), 1))
    for _ in range(_ROUNDS):
        weighted = design * weights
        solved = np.linalg.solve(weighted.T @ design + reluctance, weighted.T @ steps)  # [3, 2]: a step by its place
        off = np.linalg.norm(steps - design @ solved, axis=1, keepdims=True)
        weights = np.minimum(1, (_OFF / np.maximum(off, 1e-6)) ** 2)
    turn = solved[:2].T
    return np.column_stack([np.eye(2) + turn, solved[2] - turn @ centre])


def _in_cells(affine: Affine, pixels_per_cell: Points) -> Affine:
    """Return a map of pixels as one of grid cells, in both of which the first one's centre is 0."""
    to_pixels = np.diag(pixels_per_cell)
    origin = 0.5 * pixels_per_cell - 0.5  # the first cell's centre
    linear = np.linalg.solve(to_pixels, affine[:, :2] @ to_pixels)
    return np.column_stack([linear, (affine[:, :2] @ origin + affine[:, 2] - origin) / pixels_per_cell])


def _moved(masks: Masks, i: int, affine: Affine) -> tuple[UInt8, tuple[int, int, int, int]]:
    """Return mask i where its cells go, and its region; empty ones where it leaves the grid."""
    x0, y0, x1, y1 = masks.regions[i].tolist()
    corners = np.array([(x0 - 1, y0 - 1), (x1, y0 - 1), (x0 - 1, y1), (x1, y1)]) @ affine[:, :2].T + affine[:, 2]
    left, top = np.maximum(np.floor(corners.min(0)), 0).astype(int).tolist()
    right, bottom = np.minimum(np.ceil(corners.max(0)) + 1, masks.grid_size[::-1]).astype(int).tolist()
    if left >= right or top >= bottom:
        return np.zeros(0, np.uint8), (0, 0, 0, 0)
    local = affine.copy()
    local[:, 2] += affine[:, :2] @ (x0, y0) - (left, top)
    return np.asarray(cv2.warpAffine(masks.crop(i), local, (right - left, bottom - top))), (left, top, right, bottom)
