"""Results as JSON lines: one header, one record per frame, one line that says that this is all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from solo_rt.result import Result
from solo_rt.sink.base import Gap, Sink
from solo_rt.sink.lines import LineFile
from solo_rt.sink.wall_clock import WallClock
from solo_rt.source.base import SourceInfo

SUFFIXES = (".jsonl", ".ndjson")
SCHEMA = 2  # raised when the meaning of a field changes


class RecordLines:
    """What a run says line by line: strict JSON in UTF-8, one object a line.

    The first line is `{"solo_rt": 2, "source", "model", "classes", "size", "frame_rate", "time_base"}`, the last one
    `{"end": {"results"}}`, how many there are; without it the process was killed or the disk filled up. Between them
    are `Result.to_record()`s, of a live source with `wall_time`, when the frame was captured: see WallClock.
    Where the disk was full or the file was taken away, lines go on when they can, behind
    `{"gap": {"frame", "frames"}}`: the first frame that is missing, and how many are.
    """

    def __init__(self, info: SourceInfo, *, model: str, classes: Sequence[str]) -> None:
        self._clock = WallClock(info)
        rate, time_base = info.frame_rate, info.time_base
        header = {
            "solo_rt": SCHEMA,
            "source": info.uri,
            "model": model,
            "classes": list(classes),
            "size": [info.height, info.width],
            "frame_rate": None if rate is None else [rate.numerator, rate.denominator],
            "time_base": [time_base.numerator, time_base.denominator],
        }
        self.header = line_of(header)

    def of(self, result: Result) -> bytes:
        """Return the line of a result."""
        record = result.to_record()
        wall_time = self._clock.time_of(result.frame)
        if wall_time is not None:
            record["wall_time"] = wall_time
        return line_of(record)


class RecordSink(Sink):
    """A file of `RecordLines`. `write`, `note`, `resume`, `close`: see `Sink`."""

    needs_picture = False
    can_resume = True

    def __init__(self, uri: str, *, info: SourceInfo, model: str, classes: Sequence[str]) -> None:
        self.uri = uri
        self._records = RecordLines(info, model=model, classes=classes)
        self._lines = LineFile(uri, self._records.header)

    def write(self, result: Result) -> None:
        self._lines.write(self._records.of(result))
        self._lines.results += 1

    def note(self, event: Mapping[str, object]) -> None:
        self._lines.write(line_of(event))

    def resume(self, gap: Gap) -> None:
        self._lines.resume()
        self._lines.write(line_of_gap(gap))

    def close(self) -> None:
        try:
            if self._lines.is_begun:
                self._lines.write(line_of_end(self._lines.results))
        finally:
            self._lines.close()


def line_of_gap(gap: Gap) -> bytes:
    """Return the line that stands for results that are missing."""
    return line_of({"gap": {"frame": gap.first, "frames": gap.frames}})


def line_of_end(results: int) -> bytes:
    """Return the last line."""
    return line_of({"end": {"results": results}})


def line_of(record: Mapping[str, object]) -> bytes:
    """Return plain JSON values as a line."""
    text = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A file name that is not valid UTF-8 holds lone surrogates; written like this they are JSON's own escapes.
    return text.encode("utf-8", "backslashreplace") + b"\n"
