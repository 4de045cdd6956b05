"""The sink that keeps nothing: for benchmarks, and for runs whose results the caller reads."""

from __future__ import annotations

from types import TracebackType

from solo_rt.types import Result


class NullSink:
    """Counts the results. `write`, `close`: see `Sink`."""

    needs_picture = False

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.written = 0

    def write(self, result: Result) -> None:
        self.written += 1

    def close(self) -> None:
        pass

    def __enter__(self) -> NullSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
