"""The obvious evaluation of soft masks, every pixel of every mask, and masks to try it on."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from solo_rt.types import Instances, Masks, UInt8


def grid_positions(pixels: int, step: float, cells: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return cell and fraction (in 1/2048) of every pixel of an axis, by Note [Soft mask arithmetic]."""
    pitch = math.floor(step * 2**31 + 0.5)
    exact = (2 * np.arange(pixels, dtype=np.int64) + 1) * pitch - 2**31
    position = np.clip((exact + 2**20) >> 21, 0, (cells - 1) << 11)
    return position >> 11, position & 2047


def dense_mask(masks: Masks, i: int, frame_size: tuple[int, int]) -> UInt8:
    """Return mask i as `uint8 [H, W]` of 0 and 1, bilinearly interpolated at every pixel."""
    grid = np.zeros([side + 1 for side in masks.grid_size], np.int64)  # one more, which only gets the weight 0
    x0, y0, x1, y1 = masks.regions[i]
    grid[y0:y1, x0:x1] = masks.crop(i)
    row, f = grid_positions(frame_size[0], masks.step[0], masks.grid_size[0])
    column, g = grid_positions(frame_size[1], masks.step[1], masks.grid_size[1])
    rows = (2048 - f)[:, None] * grid[row] + f[:, None] * grid[row + 1]  # [H, w + 1]
    values = (2048 - g) * rows[:, column] + g * rows[:, column + 1]  # [H, W]
    return (2 * values > 255 << 22).astype(np.uint8)


def on_grid(masks: Masks) -> UInt8:
    """Return the masks `uint8 [N, h, w]` on their whole grid."""
    soft = np.zeros((len(masks), *masks.grid_size), np.uint8)
    for i, (x0, y0, x1, y1) in enumerate(masks.regions):
        soft[i, y0:y1, x0:x1] = masks.crop(i)
    return soft


def make_masks(
    crops: list[UInt8], corners: list[tuple[int, int]], grid_size: tuple[int, int], step: tuple[float, float]
) -> Masks:
    """Return masks from crops and the (x, y) cell of their top-left corners."""
    regions = [[x, y, x + crop.shape[1], y + crop.shape[0]] for crop, (x, y) in zip(crops, corners, strict=True)]
    return Masks(
        data=np.concatenate([crop.reshape(-1) for crop in crops]) if crops else np.empty(0, np.uint8),
        offsets=np.cumsum([0, *(crop.size for crop in crops)], dtype=np.int64),
        regions=np.array(regions, np.int32).reshape(-1, 4),
        grid_size=grid_size,
        step=step,
    )


def random_masks(rng: np.random.Generator, count: int, grid_size: tuple[int, int], step: tuple[float, float]) -> Masks:
    """Return blobs and noise in random regions; some are empty, some full, some touch the edges of the grid."""
    crops, corners = [], []
    for i in range(count):
        h, w = (int(rng.integers(0, side + 1)) for side in grid_size)
        y, x = (int(rng.integers(0, side - length + 1)) for side, length in zip(grid_size, (h, w), strict=True))
        if i % 4 == 0:
            crop = rng.integers(0, 256, (h, w), np.uint8)
        elif i % 4 == 1:
            crop = rng.choice(np.array([0, 127, 128, 255], np.uint8), (h, w))
        else:
            ys, xs = np.mgrid[:h, :w]
            distance = np.hypot((ys - h / 2 + 0.5) / max(h, 1), (xs - w / 2 + 0.5) / max(w, 1))
            crop = np.clip(255 * (1.2 - 2 * distance) + rng.normal(0, 8, (h, w)), 0, 255).astype(np.uint8)
        crops.append(crop)
        corners.append((x, y))
    return make_masks(crops, corners, grid_size, step)


def make_instances(masks: Masks, frame_size: tuple[int, int]) -> Instances:
    """Return instances with these masks, the twin's boxes and made-up classes and scores."""
    n = len(masks)
    boxes = np.zeros((n, 4), np.float32)
    for i in range(n):
        ys, xs = np.nonzero(dense_mask(masks, i, frame_size))
        if len(ys):
            boxes[i] = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
    scores = np.linspace(0.95, 0.3, n, dtype=np.float32)
    return Instances(frame_size, boxes, scores, np.arange(n, dtype=np.int32) % 7, masks)


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Return the intersection of two dense masks over their union."""
    return (a & b).sum() / (a | b).sum()
