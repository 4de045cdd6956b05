"""Pictures of numbers, one number for the pixels of each object, as regions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from solo_rt.train.data.instances.masks import Cutout


class Region(NamedTuple):
    """All pixels of one number."""

    number: int
    box: tuple[int, int, int, int]  # xyxy, pixels, tight
    area: int  # pixels
    mask: Cutout


def find_region(mask: NDArray[np.bool_]) -> Region | None:
    """Return what is set in `mask [H, W]` as the region of number 1, None if nothing is."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    if not width:
        return None
    own = mask[y : y + height, x : x + width].astype(np.uint8)
    return Region(1, (x, y, x + width, y + height), int(own.sum()), Cutout(x, y, own))


def find_regions(numbers: NDArray[np.uint16], wanted: NDArray[np.bool_]) -> Iterator[Region]:
    """Yield the regions of those numbers in `uint16 [H, W]` that are `wanted bool [65536]`, in ascending order.

    One pass over the picture: its wanted pixels are sorted by number, and the smallest and largest coordinates of each
    stretch are its box.
    """
    pixels = np.flatnonzero(wanted[numbers])
    values = numbers.ravel()[pixels]
    order = np.argsort(values, kind="stable")  # radix sort for 16 bits
    pixels, values = pixels[order], values[order]
    if not len(values):
        return
    starts = np.flatnonzero(np.diff(values, prepend=values[0] - 1))
    areas = np.diff(starts, append=len(values))
    ys, xs = np.divmod(pixels, numbers.shape[1])
    boxes = (
        np.minimum.reduceat(xs, starts),
        ys[starts],
        np.maximum.reduceat(xs, starts) + 1,
        ys[starts + areas - 1] + 1,
    )
    for value, area, x0, y0, x1, y1 in zip(
        values[starts].tolist(), areas.tolist(), *(side.tolist() for side in boxes), strict=True
    ):
        mask = (numbers[y0:y1, x0:x1] == value).view(np.uint8)
        yield Region(value, (x0, y0, x1, y1), area, Cutout(x0, y0, mask))
