"""Lines and boxes in a frame's own pixel format."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from solo_rt.decoders import Rgb
from solo_rt.render.lettering import plane_colours
from solo_rt.types import Frame, UInt8

_FRACTION_BITS = 4  # of the coordinates that OpenCV draws at


def line_thickness(frame: Frame) -> int:
    """Return how thick lines are on frames of this size, in pixels."""
    return max(1, round(min(frame.height, frame.width) / 300))


def draw_polyline(painted: Frame, points: NDArray[np.floating], colour: Rgb, *, closed: bool = False) -> None:
    """Draw smooth lines from point to point, `[K, 2]` xy in pixels, into the planes of a frame, where they reach it."""
    if len(points) > 1 and np.isfinite(points).all():
        _draw(painted, points.astype(np.float64), colour, cv2.LINE_AA, closed=closed)


def draw_box(painted: Frame, box: NDArray[np.floating], colour: Rgb) -> None:
    """Draw the outline of a box, xyxy in pixels and half-open, into the planes of a frame."""
    x0, y0, x1, y1 = (float(v) for v in box)
    if x1 > x0 and y1 > y0:
        corners = np.array([(x0, y0), (x1 - 1, y0), (x1 - 1, y1 - 1), (x0, y1 - 1)])
        _draw(painted, corners, colour, cv2.LINE_8, closed=True)


def _draw(painted: Frame, points: NDArray[np.float64], colour: Rgb, kind: int, *, closed: bool) -> None:
    channels = [int(c) for c in plane_colours(painted, np.array([colour], np.uint8))[0]]
    thickness = line_thickness(painted)
    # Far outside, where OpenCV's fixed-point numbers would overflow, the direction of a line no longer shows.
    reach = 4.0 * max(painted.height, painted.width)
    points = points.clip(-reach, 2 * reach)
    if painted.pixel_format == "rgb24":
        _draw_on(painted.planes[0], points, channels, thickness, kind, closed=closed)
        return
    _draw_on(painted.planes[0], points, channels[:1], thickness, kind, closed=closed)
    for plane, channel in zip(painted.planes[1:], channels[1:], strict=True):
        # A chroma sample covers two pixels: at half the size its centre lies a quarter of a sample further.
        _draw_on(plane, points / 2 - 0.25, [channel], (thickness + 1) // 2, kind, closed=closed)


def _draw_on(
    plane: UInt8, points: NDArray[np.float64], colour: list[int], thickness: int, kind: int, *, closed: bool
) -> None:
    fixed = np.rint(points * (1 << _FRACTION_BITS)).astype(np.int32)
    cv2.polylines(plane, [fixed], closed, colour, thickness, kind, _FRACTION_BITS)
