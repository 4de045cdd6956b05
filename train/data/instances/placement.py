"""Mask targets and centres of mass of resized, mirrored pictures, without ever making a resized mask.

The reference makes every mask as large as its picture, resizes it (OpenCV, nearest), mirrors it, pads it and shrinks it
to the targets by OpenCV's bilinear resize. Each target pixel is decided by four pixels of the resized mask, and each of
those is one pixel of the annotated mask: knowing which, the targets are picked out of the cut-out mask. The numbers are
the same; tests/train/test_instance_training.py does it the long way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solo_rt.train.data.instances.masks import Cutout
from solo_rt.train.data.samples import MASK_STRIDES, central_pixels

Indices = NDArray[np.int64]
NOWHERE = -1


@dataclass(frozen=True, slots=True)
class Axis:
    """Rows or columns of a resized picture, and which of the original picture they show."""

    resized: int  # pixels
    central: dict[int, tuple[Indices, Indices]]  # by stride: the original pixels of each target pixel, or NOWHERE
    moments: NDArray[np.float32]  # [original, 2]: how many resized pixels show a pixel, and the sum of their positions

    @classmethod
    def make(cls, length: int, resized: int, *, mirrored: bool = False) -> Axis:
        """Return the axis of `length` pixels resized by OpenCV's INTER_NEAREST, then mirrored if so."""
        scale = 1 / (resized / length)  # in this order, as OpenCV rounds
        source = np.minimum(np.floor(np.arange(resized) * scale).astype(np.int64), length - 1)
        if mirrored:
            source = source[::-1]
        central = {}
        for stride in MASK_STRIDES:
            padded = np.full(-(-resized // stride) * stride, NOWHERE)
            padded[:resized] = source
            first, second = central_pixels(stride, len(padded))
            central[stride] = padded[first], padded[second]
        counts = np.bincount(source, minlength=length)
        sums = np.bincount(source, np.arange(resized), minlength=length)
        return cls(resized, central, np.stack([counts, sums], axis=1).astype(np.float32))


def place_mask(cutout: Cutout, rows: Axis, columns: Axis, *, stride: int, out: NDArray[np.uint8]) -> None:
    """Write the mask target at 1/`stride` of the resized picture into `out uint8 [h, w]`, which is 0."""
    h, w = cutout.mask.shape
    mask = np.zeros((h + 1, w + 1), np.uint8)  # the last row and column are what lies outside
    mask[:h, :w] = cutout.mask
    upper, lower, y = _inside(rows.central[stride], cutout.y, h)
    left, right, x = _inside(columns.central[stride], cutout.x, w)
    pair = mask[upper] + mask[lower]
    counts = pair[:, left] + pair[:, right]
    np.greater_equal(counts, 2, out=out[y : y + len(upper), x : x + len(left)], casting="unsafe")


def centre_of_mass(cutout: Cutout, rows: Axis, columns: Axis) -> tuple[float, float] | None:
    """Return x and y of the centre of the resized mask, None if nothing is left of it."""
    h, w = cutout.mask.shape
    over_columns = cutout.mask.astype(np.float32) @ columns.moments[cutout.x : cutout.x + w]  # [h, 2], whole numbers
    sums = rows.moments[cutout.y : cutout.y + h].astype(np.float64).T @ over_columns  # [2, 2]
    area = sums[0, 0]
    return (float(sums[0, 1] / area), float(sums[1, 0] / area)) if area else None


def _inside(central: tuple[Indices, Indices], start: int, length: int) -> tuple[Indices, Indices, int]:
    """Return both central pixels within the cut-out for the stretch of target pixels that see any, and its start."""
    first, second = (np.where((p >= start) & (p < start + length), p - start, length) for p in central)
    seen = np.flatnonzero((first < length) | (second < length))
    if not len(seen):
        return first[:0], second[:0], 0
    stretch = slice(int(seen[0]), int(seen[-1]) + 1)
    return first[stretch], second[stretch], int(seen[0])
