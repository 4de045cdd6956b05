"""Results as JSON lines: one header, then one record per frame."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from solo_rt.errors import SinkError
from solo_rt.sink.base import Gap, OutputFile, Sink
from solo_rt.source.base import SourceInfo
from solo_rt.types import Result

SUFFIXES = (".jsonl", ".ndjson")
SCHEMA = 1  # raised when the meaning of a field changes


class RecordSink(Sink):
    """Strict JSON in UTF-8, one object a line. `write`, `resume`, `close`: see `Sink`.

    The first line is `{"solo_rt": 1, "source", "model", "classes", "size", "frame_rate", "time_base"}`, the others are
    `Result.to_record()`. Every line reaches the operating system before `write` returns: a killed process leaves at
    most one torn line, the last. Where the disk was full or the file was taken away, lines go on when they can, behind
    `{"gap": {"frame", "frames"}}`: the first frame that is missing, and how many are.
    """

    needs_picture = False
    can_resume = True

    def __init__(self, uri: str, *, info: SourceInfo, model: str, classes: Sequence[str]) -> None:
        self.uri = uri
        self._file = OutputFile(uri)
        self._whole = 0  # bytes of whole lines
        rate, time_base = info.frame_rate, info.time_base
        self._header = {
            "solo_rt": SCHEMA,
            "source": info.uri,
            "model": model,
            "classes": list(classes),
            "size": [info.height, info.width],
            "frame_rate": None if rate is None else [rate.numerator, rate.denominator],
            "time_base": [time_base.numerator, time_base.denominator],
        }

    def write(self, result: Result) -> None:
        self._write_line(result.to_record())
        self._file.written += 1

    def resume(self, gap: Gap) -> None:
        try:
            if self._file.resume(self._whole):
                self._whole = 0
        except OSError as error:
            raise SinkError(f"output {self.uri}: {error.strerror}") from error
        self._write_line({"gap": {"frame": gap.first, "frames": gap.frames}})

    def close(self) -> None:
        self._file.close()

    def _write_line(self, record: Mapping[str, object]) -> None:
        with self._file.writing():
            self._file.append(_line(record) if self._whole else _line(self._header) + _line(record))
        self._whole = self._file.size


def _line(record: Mapping[str, object]) -> bytes:
    text = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A file name that is not valid UTF-8 holds lone surrogates; written like this they are JSON's own escapes.
    return text.encode("utf-8", "backslashreplace") + b"\n"
