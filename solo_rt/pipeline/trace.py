"""The trace of a run: which thread worked on which frame when, for https://ui.perfetto.dev or chrome://tracing."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from solo_rt.errors import SinkError, UsageError
from solo_rt.sink.output_file import OutputFile

WRITE_SECONDS = 0.5  # between two writes
MOST_WAITING = 1000  # events, that make a write due as well

log = logging.getLogger(__name__)


class Trace:
    """A file of events, a JSON array in Chrome's Trace Event Format. Times are those of `time.perf_counter`.

    Any thread adds events, which waits for nothing; `write` and `close` belong to one thread. What a killed process
    leaves lacks no more than the last half second and the end of the array, which readers do without. A write that
    fails ends the trace, with a warning, and nothing else.
    """

    def __init__(self, path: Path) -> None:
        """Open the file; what is there is replaced with the first events. Raises: UsageError."""
        try:
            self._file = OutputFile(str(path))
        except OSError as error:
            raise UsageError(f"trace {path}: {error.strerror}; choose another place") from error
        self._zero = self._written_at = time.perf_counter()
        self._process = os.getpid()
        self._waiting: deque[tuple[int, str, float, str]] = deque()  # thread, phase, seconds, rest of the event
        self._names: dict[int, str] = {}  # of threads
        self._named: set[int] = set()  # threads that the file knows
        self._size = 0  # bytes of whole events
        self._is_lost = False

    def span(self, name: str, frame: int, started: float, seconds: float) -> None:
        """Add that this thread worked on a frame."""
        self._add("X", started, f'"name":"{name}","dur":{1e6 * seconds:.1f},"args":{{"frame":{frame}}}')

    def drop(self, frames: int) -> None:
        """Add that frames were dropped just now."""
        self._add("i", time.perf_counter(), f'"name":"dropped","s":"p","args":{{"frames":{frames}}}')

    def count(self, *, under_way: int, dropped: int) -> None:
        """Add how many frames are under way now, and were dropped so far."""
        values = f'{{"under way":{under_way},"dropped":{dropped}}}'
        self._add("C", time.perf_counter(), f'"name":"frames","args":{values}')

    def write(self) -> None:
        """Write what waits, if it is time to."""
        if time.perf_counter() >= self._written_at + WRITE_SECONDS or len(self._waiting) >= MOST_WAITING:
            self._write_waiting()

    def close(self) -> None:
        """Write the rest and the end of the array. Calling it again does nothing."""
        if not self._file.is_closed:
            self._write_waiting()
            if self._size:
                self._append("\n]\n")
            self._file.close()

    def _add(self, phase: str, at: float, rest: str) -> None:
        if self._is_lost:
            return
        thread = threading.get_native_id()
        if thread not in self._names:
            self._names[thread] = threading.current_thread().name.removeprefix("solo-rt ")
        self._waiting.append((thread, phase, at, rest))

    def _write_waiting(self) -> None:
        self._written_at = time.perf_counter()
        events = list(self._take())
        if events:
            self._append((",\n" if self._size else "[\n") + ",\n".join(events))

    def _take(self) -> Iterator[str]:
        """Take what waits and yield it as JSON, a thread's name before its first event."""
        for _ in range(len(self._waiting)):
            thread, phase, at, rest = self._waiting.popleft()
            where = f'"pid":{self._process},"tid":{thread}'
            if thread not in self._named:
                self._named.add(thread)
                name = json.dumps({"name": self._names[thread]})
                yield f'{{"ph":"M",{where},"name":"thread_name","args":{name}}}'
            yield f'{{"ph":"{phase}",{where},"ts":{1e6 * (at - self._zero):.1f},{rest}}}'

    def _append(self, text: str) -> None:
        if self._is_lost:
            return
        try:
            with self._file.writing():
                self._file.append(text.encode())
            self._size += len(text.encode())
        except SinkError as error:
            self._is_lost = True
            self._waiting.clear()
            log.warning("trace %s ends here: %s", self._file.uri, error.__cause__)
            with suppress(OSError, UsageError):
                self._file.resume(self._size)  # without the event that is torn
