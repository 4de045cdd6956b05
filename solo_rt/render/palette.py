"""The colours of classes, the same in every output."""

from __future__ import annotations

from solo_rt.decoders import Rgb

# Note [Palette]
# Colour k has hue 250 + 137.508 k degrees in OKLCH, the golden angle, so that each falls into a gap that the earlier
# ones left; lightness 0.74, 0.66 and 0.84 in turn, so that near hues differ in lightness; and chroma 0.2, or as much as
# sRGB has there. Class ids beyond the table start again. tests/test_render.py derives it.
# fmt: off
PALETTE = (
    (96, 176, 255), (244, 82, 72), (0, 238, 173), (191, 143, 255), (189, 135, 0), (90, 222, 255), (255, 115, 176),
    (99, 168, 0), (182, 201, 255), (255, 132, 60), (0, 169, 156), (245, 171, 255), (194, 172, 0), (0, 157, 224),
    (255, 179, 184), (0, 204, 108), (148, 118, 255), (255, 187, 112), (0, 193, 209), (224, 84, 179), (186, 220, 0),
    (115, 172, 255), (243, 86, 46), (0, 236, 192), (206, 134, 255), (181, 140, 0), (119, 217, 255), (255, 119, 161),
    (62, 174, 31), (189, 198, 255), (255, 133, 0), (0, 168, 165),
)
# fmt: on


def class_colour(class_id: int) -> Rgb:
    """Return the colour of a class."""
    return PALETTE[class_id % len(PALETTE)]


def class_palette(count: int) -> tuple[Rgb, ...]:
    """Return the colours of the first `count` classes."""
    return tuple(map(class_colour, range(count)))
