"""Zones and lines drawn onto frames, with what they have counted."""

from __future__ import annotations

import numpy as np
import pytest
from test_shapes import black

from solo_rt.events import ZoneState
from solo_rt.render.lettering import label_height
from solo_rt.render.zones import BUSY, COLOUR, draw_zones

BOX = np.array([(20, 60), (120, 60), (120, 160), (20, 160)], np.float32)
DOWN = np.array([(150, 40), (150, 160)], np.float32)
both_formats = pytest.mark.parametrize("pixel_format", ["rgb24", "yuv420p"])


def drawn(*zones: ZoneState, pixel_format: str = "rgb24", size: tuple[int, int] = (200, 300)):
    """Return where something was drawn onto black, and the picture."""
    frame = black(size, pixel_format)
    before = frame.rgb().astype(int)
    draw_zones(frame, zones)
    return np.abs(frame.rgb() - before).max(-1) > 60, frame.rgb()


@both_formats
def test_an_outline_is_drawn_and_the_inside_stays(pixel_format):
    marks, picture = drawn(ZoneState("z", BOX), pixel_format=pixel_format)
    assert marks[110, [20, 120]].all()
    assert marks[160, 30:110].all()
    assert not marks[65:155, 25:115].any()
    assert (picture[110, 20] > 200).all()


@both_formats
def test_a_zone_with_something_in_it_has_another_colour(pixel_format):
    _, picture = drawn(ZoneState("z", BOX, inside={0: 1}), pixel_format=pixel_format)
    np.testing.assert_allclose(picture[160, 70], BUSY, atol=40)
    np.testing.assert_allclose(picture[60 - label_height(black((200, 300), "rgb24")) + 2, 23], BUSY, atol=40)
    assert BUSY != COLOUR


def test_a_line_is_not_closed_and_its_arrow_points_forward():
    corner = np.array([(50, 20), (50, 160), (90, 160)], np.float32)
    marks, _ = drawn(ZoneState("z", corner, is_line=True))
    assert marks[150, 50]
    assert not marks[90, 70]
    across = marks[70:110]
    assert across[:, 30:48].any()  # downwards, the right is the left of the picture
    assert not across[:, 52:70].any()


def test_a_label_stands_above_the_highest_corner():
    height = label_height(black((200, 300), "rgb24"))
    marks, picture = drawn(ZoneState("z", BOX))
    assert marks[60 - height : 59, 20:60].mean() > 0.5
    assert tuple(picture[60 - height + 1, 21]) == COLOUR
    assert not marks[: 60 - height].any()


@pytest.mark.parametrize("points", [BOX - np.array([60, 100]), BOX + np.array([200, 100]), BOX * 10])
def test_labels_stay_in_the_picture(points, monkeypatch):
    labels = []
    monkeypatch.setattr("solo_rt.render.zones.draw_label", lambda frame, planes, label: labels.append(label))
    draw_zones(black((200, 300), "rgb24"), [ZoneState("a long name of a zone", points.astype(np.float32))])
    (label,) = labels
    height, width = label.coverage.shape
    assert width > 100
    assert (label.x % 2, label.y % 2) == (0, 0)
    assert 0 <= label.x <= 300 - width
    assert 0 <= label.y <= 200 - height


def test_what_was_counted_is_on_the_label(monkeypatch):
    written = []
    monkeypatch.setattr("solo_rt.render.zones.text_coverage", lambda text, height: (written.append(text), blank())[1])
    draw_zones(black((200, 300), "rgb24"), [
        ZoneState("door", BOX, False, {0: 2, 1: 1}, {0: 4, 1: 3}, {0: 2, 1: 2}),
        ZoneState("gate", DOWN, True, {}, {0: 5, 1: 1}, {1: 2}),
    ])  # fmt: skip
    assert written == ["door 3  +7 -4", "gate  +6 -2"]


def blank():
    return np.zeros((14, 20), np.uint8), np.zeros((7, 10), np.uint8)


@both_formats
def test_tiny_frames_get_no_labels_and_no_trouble(pixel_format):
    for size in ((1, 1), (8, 9), (41, 60)):
        points = np.array([(0, 0), (size[1], 0), (size[1], size[0])], np.float32)
        drawn(ZoneState("z", points), ZoneState("g", points[:2], is_line=True), pixel_format=pixel_format, size=size)
    marks, _ = drawn(ZoneState("z", BOX[:1] / 10, is_line=False), pixel_format=pixel_format, size=(41, 60))
    assert not marks.any()


@both_formats
def test_no_zones_leave_a_frame_as_it_is(pixel_format):
    marks, _ = drawn(pixel_format=pixel_format)
    assert not marks.any()
