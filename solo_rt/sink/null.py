"""The sink that keeps nothing: for benchmarks, and for runs whose results the caller reads."""

from __future__ import annotations

from solo_rt.result import Result
from solo_rt.sink.base import Sink


class NullSink(Sink):
    """Counts the results. `write`, `close`: see `Sink`."""

    needs_picture = False

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.written = 0

    def write(self, result: Result) -> None:
        self.written += 1

    def close(self) -> None:
        pass
