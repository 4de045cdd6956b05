"""Results as JSON lines: one header, then one record per frame."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from solo_rt.errors import SinkError
from solo_rt.sink.base import OutputFile, Sink
from solo_rt.source.base import SourceInfo
from solo_rt.types import Result

SUFFIXES = (".jsonl", ".ndjson")
SCHEMA = 1  # raised when the meaning of a field changes


class RecordSink(Sink):
    """Strict JSON in UTF-8, one object a line. `write`, `close`: see `Sink`.

    The first line is `{"solo_rt": 1, "source", "model", "classes", "size", "frame_rate", "time_base"}`, the others are
    `Result.to_record()`. Every line reaches the operating system before `write` returns: a killed process leaves at
    most one torn line, the last.
    """

    needs_picture = False

    def __init__(self, uri: str, *, info: SourceInfo, model: str, classes: Sequence[str]) -> None:
        self.uri = uri
        self._file = OutputFile(uri)
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
        try:
            self._write_line(header)
        except SinkError:
            self.close()
            raise

    def write(self, result: Result) -> None:
        self._write_line(result.to_record())
        self._file.written += 1

    def close(self) -> None:
        self._file.close()

    def _write_line(self, record: Mapping[str, object]) -> None:
        line = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        with self._file.writing():
            # A file name that is not valid UTF-8 holds lone surrogates; written like this they are JSON's own escapes.
            self._file.stream.write(line.encode("utf-8", "backslashreplace") + b"\n")
