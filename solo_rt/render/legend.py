"""Which colour is which class: a panel in the corner of a frame."""

from __future__ import annotations

from collections.abc import Sequence

from solo_rt.decoders import Rgb
from solo_rt.render.lettering import Label, label_height, text_coverage
from solo_rt.types import Frame

PAPER = (24, 24, 24)
LETTERS = 3  # least width of the names, in heights of a row: narrower ones say nothing


def lay_out_legend(frame: Frame, entries: Sequence[tuple[str, Rgb]]) -> list[Label]:
    """Return the labels of a legend in the top-left corner, one row per entry of name and colour, in their order.

    It takes at most half the width and half the height of the frame: names are cut off and the last rows are left out.
    A frame in which nothing could be read gets none.
    """
    height = label_height(frame)
    margin = height // 4 * 2
    rows = min(len(entries), (frame.height // 2 - margin) // height)
    most = (frame.width // 2 - margin - height) // 2 * 2
    if rows < 1 or most < LETTERS * height:
        return []
    shown = entries[:rows]
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
