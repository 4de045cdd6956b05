"""What happened in zones and on lines, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from solo_rt.result import Result
from solo_rt.sink.address import split
from solo_rt.sink.base import Gap, Sink
from solo_rt.sink.lines import LineFile, csv_row
from solo_rt.sink.wall_clock import WallClock
from solo_rt.source.base import SourceInfo

COLUMNS = ("event", "zone", "track_id", "class", "direction", "seconds")  # behind the times; of `Event.to_record`


class EventSink(Sink):
    """`events:out.csv`: a row per event; `wall_time` in Unix seconds for live sources only. `close`: see `Sink`."""

    needs_picture = False
    can_resume = True

    def __init__(self, uri: str, *, info: SourceInfo, classes: Sequence[str]) -> None:
        """Open the file. Raises: as `OutputFile`."""
        self.uri = uri
        self._classes = tuple(classes)
        self._clock = WallClock(info)
        times = ["frame", "time_s", *(["wall_time"] if self._clock.is_running else [])]
        self._lines = LineFile(split(uri)[1], csv_row([*times, *COLUMNS]))

    def write(self, result: Result) -> None:
        """Add the rows of one result. Raises: SinkError when the output failed."""
        wall_time = self._clock.time_of(result.frame)
        times = [result.frame.index, round(result.frame.time_s, 6), *([] if wall_time is None else [wall_time])]
        records = [event.to_record(self._classes) for event in result.events]
        rows = b"".join(csv_row([*times, *map(record.get, COLUMNS)]) for record in records)
        if rows or not self._lines.is_begun:  # nothing happened is a table as well
            self._lines.write(rows)
        self._lines.results += 1

    def resume(self, gap: Gap) -> None:
        """Go on; the events of a gap have no row. Raises: SinkError."""
        self._lines.resume()

    def close(self) -> None:
        self._lines.close()
