"""How many objects entered and left each zone in each minute, as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timezone

from solo_rt.events import ZoneState
from solo_rt.result import Result
from solo_rt.sink.address import split
from solo_rt.sink.base import Gap, Sink
from solo_rt.sink.lines import LineFile, csv_row
from solo_rt.sink.wall_clock import WallClock
from solo_rt.source.base import SourceInfo

MINUTE = 60  # seconds


class ZoneCountSink(Sink):
    """`counts:out.csv`: a row per minute, zone and class of which there was something. `close`: see `Sink`.

    `minute` is when it began: in UTC for live sources, else in seconds of the video. `inside` is how many were in the
    zone at its end; of a line, `entered` is forward and `left` is backward. The last minute is written as far as it
    went.
    """

    needs_picture = False
    can_resume = True

    def __init__(self, uri: str, *, info: SourceInfo, classes: Sequence[str]) -> None:
        """Open the file. Raises: as `OutputFile`."""
        self.uri = uri
        self._classes = tuple(classes)
        self._clock = WallClock(info)
        self._lines = LineFile(split(uri)[1], csv_row(["minute", "zone", "class", "entered", "left", "inside"]))
        self._minute: int | None = None  # since 1970, or since the video began
        self._counted: tuple[ZoneState, ...] = ()  # at the end of the minute before
        self._zones: tuple[ZoneState, ...] = ()  # so far

    def write(self, result: Result) -> None:
        """Take one result, and add the rows of a minute that is over. Raises: SinkError when the output failed."""
        wall_time = self._clock.time_of(result.frame)
        minute = int((result.frame.time_s if wall_time is None else wall_time) // MINUTE)
        if self._minute not in (None, minute):
            self._end_minute()
        elif not self._lines.is_begun:  # nothing was counted is a table as well
            self._lines.write(b"")
        self._minute, self._zones = minute, result.zones
        self._lines.results += 1

    def resume(self, gap: Gap) -> None:
        """Go on; what was counted in a gap is in the next rows. Raises: SinkError."""
        self._lines.resume()

    def close(self) -> None:
        try:
            if self._lines.is_begun:
                self._end_minute()
        finally:
            self._lines.close()

    def _end_minute(self) -> None:
        self._lines.write(b"".join(csv_row([self._shown(), *row]) for row in self._rows()))
        self._counted = self._zones

    def _rows(self) -> Iterator[tuple[object, ...]]:
        """Yield zone, class and numbers of the minute."""
        before = {zone.name: zone for zone in self._counted}
        for zone in self._zones:
            was = before.get(zone.name, ZoneState(zone.name, zone.points))
            for class_id in sorted({*zone.entered, *zone.left}):
                entered, left = (
                    now.get(class_id, 0) - then.get(class_id, 0)
                    for now, then in ((zone.entered, was.entered), (zone.left, was.left))
                )
                inside = zone.inside.get(class_id, 0)
                if entered or left or inside:
                    yield zone.name, self._classes[class_id], entered, left, None if zone.is_line else inside

    def _shown(self) -> object:
        seconds = (self._minute or 0) * MINUTE
        if not self._clock.is_running:
            return seconds
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%MZ")
