"""Lines and boxes in the planes of a frame."""

from __future__ import annotations

import numpy as np
import pytest
from overlay_twin import make_frame
from test_render import BARE, CLASSES, some_instances

from solo_rt.render import Style, render
from solo_rt.render.palette import PALETTE
from solo_rt.render.shapes import draw_box, draw_polyline, line_thickness
from solo_rt.types import Frame

RED = (255, 0, 0)


def black(size: tuple[int, int], pixel_format: str) -> Frame:
    frame = make_frame(size, pixel_format)
    for plane, level in zip(frame.planes, (0,) if pixel_format == "rgb24" else (16, 128, 128), strict=True):
        plane[...] = level
    return frame


@pytest.mark.parametrize("pixel_format", ["rgb24", "yuv420p"])
def test_a_box_is_drawn_on_its_outermost_pixels(pixel_format):
    frame = black((60, 80), pixel_format)
    draw_box(frame, np.array([10, 20, 50, 40]), RED)
    drawn = (frame.rgb().astype(int) - black((60, 80), pixel_format).rgb()).max(-1) > 40
    rows, columns = np.nonzero(drawn)
    slack = 0 if pixel_format == "rgb24" else 1  # of chroma
    assert abs(rows.min() - 20) <= slack
    assert abs(rows.max() - 39) <= slack
    assert abs(columns.min() - 10) <= slack
    assert abs(columns.max() - 49) <= slack
    assert not drawn[24:36, 14:46].any()
    assert (frame.rgb()[20, 30] > [150, -1, -1]).all()


@pytest.mark.parametrize("pixel_format", ["rgb24", "yuv420p"])
@pytest.mark.parametrize(
    "points", [[], [(5, 5)], [(-1e9, 30), (1e9, 30)], [(np.nan, 1), (2, 2)], [(np.inf, 0), (1, 1)]]
)
def test_any_points_are_drawn_as_far_as_they_reach(pixel_format, points):
    frame = black((60, 80), pixel_format)
    draw_polyline(frame, np.array(points, float).reshape(-1, 2), RED, closed=True)
    is_line = len(points) == 2 and np.isfinite(points).all()
    assert (frame.planes[0] != black((60, 80), pixel_format).planes[0]).any() == is_line
    if is_line:
        assert (frame.rgb()[30, [0, 40, 79], 0] > 150).all()


def test_an_empty_box_and_a_frame_of_one_pixel_are_no_trouble():
    frame = black((1, 1), "yuv420p")
    draw_box(frame, np.array([3, 3, 3, 9]), RED)
    assert frame.planes[0][0, 0] == 16
    draw_box(frame, np.array([0, 0, 1, 1]), RED)
    assert frame.planes[0][0, 0] > 16


def test_lines_are_thicker_on_larger_frames():
    assert line_thickness(black((300, 400), "rgb24")) < line_thickness(black((1080, 1920), "rgb24"))


def test_masks_and_boxes_are_drawn_where_the_style_says_so():
    frame = black((60, 80), "rgb24")
    found = some_instances((60, 80))
    nothing = render(frame, found, CLASSES, style=Style(labels=False, masks=False))
    np.testing.assert_array_equal(nothing.planes[0], frame.planes[0])
    boxes = render(frame, found, CLASSES, style=Style(labels=False, masks=False, boxes=True))
    x0, y0 = (int(v) for v in found.boxes[0, :2])
    assert tuple(boxes.planes[0][y0, x0]) == PALETTE[found.class_ids[0]]
    both = render(frame, found, CLASSES, style=Style(labels=False, boxes=True)).planes[0]
    masks = render(frame, found, CLASSES, style=BARE).planes[0]
    is_box = (boxes.planes[0] != 0).any(-1)
    np.testing.assert_array_equal(both[~is_box], masks[~is_box])
