"""The forms in which annotations keep masks, and the mask itself, cut out of its picture.

A mask stays in the form in which it was annotated until it is asked for, and is then made only where it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

DIGITS = 6  # most of a compressed run, 5 bits each


class Rle(TypedDict):
    """COCO's run-length code, compressed, as pycocotools takes and gives it."""

    size: list[int]  # height, width
    counts: bytes


class Cutout(NamedTuple):
    """The part of a mask inside its bounding box; everything outside is 0. Also a segmentation in its own right."""

    x: int  # of the left column, pixels
    y: int  # of the top row
    mask: NDArray[np.uint8]  # [h, w] of 0 and 1; [0, 0] for an empty mask

    def cut_out(self, size: tuple[int, int]) -> Cutout:
        """Return the mask itself."""
        return self

    def dense(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return the mask `uint8 [H, W]` of a picture of `size`."""
        h, w = self.mask.shape
        dense = np.zeros(size, np.uint8, order="F")
        dense[self.y : self.y + h, self.x : self.x + w] = self.mask
        return dense

    def rle(self, size: tuple[int, int]) -> Rle:
        """Return the run-length code of the mask in a picture of `size`."""
        code: Rle = coco_mask.encode(self.dense(size))
        return code


@dataclass(frozen=True, slots=True)
class Polygons:
    """An object of one or more outlines; what lies inside, the rule of pycocotools says. Checked by `records`."""

    rings: tuple[NDArray[np.float64], ...]  # [2K] each: x, y, x, y, ..., pixels, K >= 3

    def rle(self, size: tuple[int, int]) -> Rle:
        """Return the run-length code of the mask in a picture of `size`."""
        code: Rle = coco_mask.merge(coco_mask.frPyObjects(list(self.rings), *size))
        return code

    def cut_out(self, size: tuple[int, int]) -> Cutout:
        """Return the mask in a picture of `size`."""
        return _cut_out(self.rle(size))


@dataclass(frozen=True, slots=True)
class RunLengths:
    """A run-length code of a whole picture. Checked by `records`."""

    counts: bytes  # compressed

    def rle(self, size: tuple[int, int]) -> Rle:
        """Return the run-length code of the mask in a picture of `size`."""
        return {"size": list(size), "counts": self.counts}

    def cut_out(self, size: tuple[int, int]) -> Cutout:
        """Return the mask in a picture of `size`."""
        return _cut_out(self.rle(size))


Segmentation = Polygons | RunLengths | Cutout


def unpack_counts(text: bytes) -> NDArray[np.int64]:
    """Return the run lengths `[N]` that COCO's compressed `text` holds, whatever they are. Raises: ValueError.

    A run is written in digits of 5 bits, lowest first, each plus 48, and plus 32 if another one follows; bit 4 of the
    last one is the sign. From the fourth on, runs are differences to the last but one. Source: maskApi.c of cocoapi.
    """
    digits = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not len(digits) or digits.min() < 0 or digits.max() > 63 or digits[-1] & 32:
        raise ValueError("run-length code that cannot be read")
    ends = np.flatnonzero((digits & 32) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > DIGITS:
        raise ValueError("run-length code that cannot be read")
    places = np.arange(len(digits)) - np.repeat(starts, lengths)
    counts = np.add.reduceat((digits & 31) << (5 * places), starts)
    counts -= ((digits[ends] & 16) >> 4) << (5 * lengths)
    counts[1::2] = np.cumsum(counts[1::2])
    counts[2::2] = np.cumsum(counts[2::2])
    return counts


def _cut_out(code: Rle) -> Cutout:
    """Return the mask of a run-length code; its runs go down the columns, of which only those of the box are made."""
    x, y, w, h = (int(value) for value in coco_mask.toBbox(code))
    height, _ = code["size"]
    counts = unpack_counts(code["counts"])
    ends = np.cumsum(counts).clip(x * height, (x + w) * height)
    pixels = np.repeat(np.arange(len(ends)).astype(np.uint8) & 1, np.diff(ends, prepend=x * height))
    return Cutout(x, y, np.ascontiguousarray(pixels.reshape(w, height).T[y : y + h]))
