"""Zones and lines drawn onto a frame, with what they have counted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from solo_rt.decoders import Rgb
from solo_rt.events import ZoneState
from solo_rt.render.lettering import Label, draw_label, label_height, text_coverage
from solo_rt.render.shapes import draw_polyline
from solo_rt.types import Frame

COLOUR: Rgb = (255, 255, 255)  # which no class has
BUSY: Rgb = (255, 214, 0)  # while something is in it


def draw_zones(painted: Frame, zones: Sequence[ZoneState]) -> None:
    """Draw zones and what they have counted into the planes of a frame: how many are inside, +entered and -left.

    Of a line that is +forward, where its arrow points, and -backward. Frames less than three labels high get no labels.
    """
    for zone in zones:
        colour = BUSY if zone.inside else COLOUR
        draw_polyline(painted, zone.points, colour, closed=not zone.is_line)
        if zone.is_line:
            _draw_arrow(painted, zone, colour)
    height = label_height(painted)
    for zone in zones if painted.height >= 3 * height else ():
        coverage, halves = text_coverage(_describe(zone), height)
        x, y = zone.points[zone.points[:, 1].argmin()]
        x = max(0, min(int(x), painted.width - coverage.shape[1])) // 2 * 2
        y = max(0, min(int(y) - height, painted.height - height)) // 2 * 2
        draw_label(painted, painted.planes, Label(x, y, coverage, halves, BUSY if zone.inside else COLOUR))


def _describe(zone: ZoneState) -> str:
    counts = f"+{sum(zone.entered.values())} -{sum(zone.left.values())}"
    return f"{zone.name}  {counts}" if zone.is_line else f"{zone.name} {sum(zone.inside.values())}  {counts}"


def _draw_arrow(painted: Frame, zone: ZoneState, colour: Rgb) -> None:
    """Draw an arrow across the longest part of a line, from its left to its right."""
    along = np.diff(zone.points.astype(np.float64), axis=0)
    longest = (along**2).sum(1).argmax()
    length = np.hypot(*along[longest])
    ahead = along[longest] / length
    right = np.array([-ahead[1], ahead[0]])
    size = label_height(painted) / 2
    foot = zone.points[longest] + along[longest] / 2
    tip = foot + 2 * size * right
    draw_polyline(painted, np.array([foot, tip]), colour)
    draw_polyline(painted, np.array([tip - size * (right + ahead), tip, tip - size * (right - ahead)]), colour)
