"""The obvious refinement of soft masks, every pixel of every mask, by Note [Refining a mask]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from soft_mask_twin import grid_positions

from solo_rt.types import Frame, Masks

WEIGHT, MOST, NOISE = 0.05 * 255, 127.0, 36.0
Floats = NDArray[np.float64]


def guide(frame: Frame) -> Floats:
    """Return the picture at half size, `[h, w, 3]`: averages of 2 x 2 pixels, in the frame's own channels."""

    def halved(plane: Floats) -> Floats:
        even = np.pad(plane, [(0, side % 2) for side in plane.shape], mode="edge")
        return np.floor((even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2] + 2) / 4)

    if frame.pixel_format == "rgb24":
        return np.stack([halved(frame.planes[0][..., c].astype(float)) for c in range(3)], axis=-1)
    y, u, v = (plane.astype(float) for plane in frame.planes)
    return np.stack([halved(y), u, v], axis=-1)


def refined(frame: Frame, masks: Masks, i: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Return mask i on the grid of 2 x 2 pixels, before it is rounded, and where all samples around are 0 or 255."""
    colours = guide(frame)
    height, width, _ = colours.shape
    rows, columns = masks.grid_size
    soft = np.zeros((rows, columns))
    x0, y0, x1, y1 = masks.regions[i]
    soft[y0:y1, x0:x1] = masks.crop(i)

    (row, f), (column, g) = (
        grid_positions(pixels, 2 * step, cells)
        for pixels, step, cells in zip((height, width), masks.step, masks.grid_size, strict=True)
    )
    nearest = np.ix_((2048 * row + f + 1024) // 2048, (2048 * column + g + 1024) // 2048)
    cell = np.arange(rows * columns).reshape(rows, columns)[nearest].ravel()  # of every pixel

    def per_cell(values: Floats) -> Floats:
        return np.bincount(cell, values.ravel(), rows * columns).reshape(rows, columns)

    def around(values: Floats) -> Floats:
        padded = np.pad(values, 1)
        return sum(padded[y : y + rows, x : x + columns] for y in range(3) for x in range(3))

    count, share = per_cell(np.ones((height, width))), soft / 255
    inside, everywhere = around(share * count), around(count)
    outside, sides = everywhere - inside, around(1.0 * (soft > 127))
    mixed = (sides > 0) & (sides < around(np.ones_like(soft))) & (inside > 0) & (outside > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        coefficients = np.zeros((rows, columns, 4))
        for c in range(3):
            sums, squares = per_cell(colours[..., c]), per_cell(colours[..., c] ** 2)
            f_mean, b_mean = around(share * sums) / inside, around((1 - share) * sums) / outside
            within = around(squares) - f_mean**2 * inside - b_mean**2 * outside
            variance = np.maximum(within / everywhere, 0) + NOISE
            coefficients[..., c] = WEIGHT * 2 * (f_mean - b_mean) / variance
            coefficients[..., 3] += WEIGHT * (b_mean**2 - f_mean**2) / variance
    coefficients[~mixed] = 0

    def enlarged(grid: Floats) -> Floats:
        padded = np.pad(grid, [(0, 1), (0, 1), *[(0, 0)] * (grid.ndim - 2)])
        t, s = (part.reshape(-1, *[1] * (grid.ndim - 1)) / 2048 for part in (f, g))
        lines = padded[row] * (1 - t) + padded[row + 1] * t
        swapped = lines.swapaxes(0, 1)
        return (swapped[column] * (1 - s) + swapped[column + 1] * s).swapaxes(0, 1)

    at_pixels = enlarged(coefficients)
    evidence = (at_pixels[..., :3] * colours).sum(-1) + at_pixels[..., 3]
    plain = enlarged(soft)
    return np.clip(plain + np.clip(evidence, -MOST, MOST), 0, 255), plain
