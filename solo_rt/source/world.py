"""Frames of the procedural world, `test://`: a video with known content on every machine, without a file."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from urllib.parse import parse_qsl, urlsplit

from solo_rt.errors import UsageError
from solo_rt.source.base import Source, SourceInfo
from solo_rt.types import Frame
from solo_rt.world import World

DEFAULTS = {"seed": "0", "size": "1280x720", "frames": "300", "fps": "30", "objects": "8", "live": "0"}


class WorldSource(Source):
    """`frames` frames of the world as rgb24. `__iter__`, `damage`, `stop`, `close`: see `Source`.

    `live=1` delivers each frame when its time has come, as a camera would, and never before.
    """

    damage: str | None = None

    def __init__(self, uri: str, *, max_pixels: int) -> None:
        options = _parse(uri)
        seed, count, objects = (_whole(uri, key, options[key]) for key in ("seed", "frames", "objects"))
        rate = _rate(uri, options["fps"])
        size = re.fullmatch(r"(\d{1,5})x(\d{1,5})", options["size"])
        if size is None:
            raise UsageError(f"{uri}: expected size=WIDTHxHEIGHT, got size={options['size']}")
        if options["live"] not in ("0", "1"):
            raise UsageError(f"{uri}: expected live=0 or live=1, got live={options['live']}")
        width, height = int(size[1]), int(size[2])
        if width * height > max_pixels:
            raise UsageError(f"{uri}: expected at most {max_pixels} pixels, got size={options['size']}")
        try:
            self._world = World(seed, height=height, width=width, frame_rate=float(rate), objects=objects)
        except ValueError as error:
            raise UsageError(f"{uri}: {error}") from error
        self._is_stopped = threading.Event()
        self._indices = iter(range(count))
        self._started_at: float | None = None
        self.info = SourceInfo(
            uri=uri,
            kind="world",
            width=width,
            height=height,
            frame_rate=rate,
            frame_count=count,
            time_base=1 / rate,
            live=options["live"] == "1",
        )

    def __iter__(self) -> Iterator[Frame]:
        for index in self._indices:
            rgb = self._world.render(index).rgb
            rgb.flags.writeable = False
            if self.info.live:
                self._wait_for(index)
            if self._is_stopped.is_set():
                return
            yield Frame(
                (rgb,), "rgb24", index=index, pts=index, time_base=self.info.time_base, captured_at=time.monotonic()
            )

    def stop(self) -> None:
        self._is_stopped.set()

    def close(self) -> None:
        self.stop()

    def _wait_for(self, index: int) -> None:
        """Sleep until frame `index` is due; `stop()` wakes up."""
        now = time.monotonic()
        self._started_at = now if self._started_at is None else self._started_at
        self._is_stopped.wait(max(0.0, self._started_at + float(index * self.info.time_base) - now))


def _parse(uri: str) -> dict[str, str]:
    parts = urlsplit(uri)
    given = parse_qsl(parts.query, keep_blank_values=True)
    unknown = sorted({key for key, _ in given} - set(DEFAULTS))
    if unknown or parts.netloc or parts.path.strip("/"):
        found = ", ".join(unknown) or parts.netloc + parts.path
        raise UsageError(f"{uri}: expected test://?key=value with keys {', '.join(DEFAULTS)}; got {found}")
    return {**DEFAULTS, **dict(given)}


def _whole(uri: str, key: str, text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text) or (key == "frames" and int(text) == 0):
        raise UsageError(f"{uri}: expected a whole number for {key}, got {key}={text}")
    return int(text)


def _rate(uri: str, text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise UsageError(f"{uri}: expected a frame rate such as fps=30 or fps=30000/1001, got fps={text}")
    return rate
