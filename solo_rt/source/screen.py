"""The screen of this machine: `screen:`."""

from __future__ import annotations

import os

from solo_rt.errors import SourceError
from solo_rt.source.address import Address, parse_settings

SETTINGS = {"size": "video_size", "fps": "framerate", "x": "grab_x", "y": "grab_y", "cursor": "draw_mouse"}


def screen_address(uri: str) -> Address:
    """Return the address of `screen:` or, on another X display than `$DISPLAY`, `screen::1`.

    It may set `?size=1280x720&x=100&y=50&fps=15&cursor=0`; without a size it is the whole screen.
    Raises: UsageError; SourceError where there is no display.
    """
    place, _, query = uri.partition("?")
    display = place.removeprefix("screen:") or os.environ.get("DISPLAY", "")
    if not display:
        raise SourceError(f"source {uri}: there is no X display; set DISPLAY, or name one as in screen::0")
    return Address(uri, "screen", display, format="x11grab", options=parse_settings(uri, query, SETTINGS))
