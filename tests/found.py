"""Results with objects whose masks are known, for the tests of data formats."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from clips import yuv_frame

from solo_rt.result import Result
from solo_rt.types import Frame, Instances, Masks

CLASSES = ("cat", "big dog")


def found(*boxes: Sequence[int], tracks: Sequence[int] | None = None, size: tuple[int, int] = (48, 64)) -> Instances:
    """Return rectangles `x0, y0, x1, y1`, with falling scores and classes by turns, that fill their boxes."""
    height, width = size
    data, regions = [], []
    for x0, y0, x1, y1 in boxes:
        crop = np.zeros((y1 - y0 + 2, x1 - x0 + 2), np.uint8)  # on a grid that is the frame, with one cell around
        crop[1:-1, 1:-1] = 255
        region = (max(0, x0 - 1), max(0, y0 - 1), min(width, x1 + 1), min(height, y1 + 1))
        crop = crop[region[1] - y0 + 1 :, region[0] - x0 + 1 :][: region[3] - region[1], : region[2] - region[0]]
        data.append(crop.ravel())
        regions.append(region)
    masks = Masks(
        np.concatenate(data) if data else np.zeros(0, np.uint8),
        np.cumsum([0, *map(len, data)], dtype=np.int64),
        np.array(regions, np.int32).reshape(-1, 4),
        size,
        (1.0, 1.0),
    )
    n = len(boxes)
    return Instances(
        size,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.linspace(0.9, 0.5, n, dtype=np.float32),
        np.arange(n, dtype=np.int32) % 2,
        masks,
        None if tracks is None else np.array(tracks, np.int32),
    )


def result(
    index: int, *boxes: Sequence[int], tracks: Sequence[int] | None = None, frame: Frame | None = None
) -> Result:
    """Return the objects of frame `index`."""
    return Result(frame or yuv_frame(index), found(*boxes, tracks=tracks), CLASSES)
