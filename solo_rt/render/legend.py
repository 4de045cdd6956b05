"""Which colour is which class: a panel in the corner of a frame."""

from __future__ import annotations

from collections.abc import Sequence

from solo_rt.decoders import Rgb
from solo_rt.render.lettering import Label, label_height, text_coverage
from solo_rt.types import Frame

PAPER = (24, 24, 24)
LETTERS = 3  # least width of the names, in heights of a row: narrower ones say nothing


def legend_rows(frame: Frame) -> int:
    """Return how many rows a legend has at most, 0 for a frame in which nothing could be read."""
    height = label_height(frame)
    if _most_width(frame) < LETTERS * height:
        return 0
    return max(0, (frame.height // 2 - _margin(height)) // height)


def lay_out_legend(frame: Frame, entries: Sequence[tuple[str, Rgb]]) -> list[Label]:
    """Return the labels of a legend in the top-left corner, one row per entry of name and colour, in their order.

    It takes at most half the width and half the height of the frame: names are cut off, and so are the entries behind
    `legend_rows`.
    """
    shown = entries[: legend_rows(frame)]
    if not shown:
        return []
    height = label_height(frame)
    margin, most = _margin(height), _most_width(frame)
    width = min(most, max(text_coverage(name, height)[0].shape[1] for name, _ in shown))
    labels: list[Label] = []
    for row, (name, colour) in enumerate(shown):
        y = margin + row * height
        labels += [
            Label(margin, y, *text_coverage("", height, height), PAPER),
            Label(margin + 2, y + 2, *text_coverage("", height - 4, height - 4), colour),
            Label(margin + height, y, *text_coverage(name, height, width), PAPER),
        ]
    return labels


def _margin(height: int) -> int:
    return height // 4 * 2


def _most_width(frame: Frame) -> int:
    """Return how wide names may be."""
    height = label_height(frame)
    return (frame.width // 2 - _margin(height) - height) // 2 * 2
