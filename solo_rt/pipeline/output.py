"""One sink of a run, on a thread of its own: it fails alone, and goes on where it can."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from solo_rt.errors import SinkError
from solo_rt.pipeline.channel import Channel, Closed
from solo_rt.pipeline.stage import name_stage
from solo_rt.result import Result
from solo_rt.sink import Gap, Sink
from solo_rt.uri import redact

RETRY_SECONDS = 1.0  # between two attempts to go on with an output that failed
POLL_SECONDS = 0.1  # how long the caller waits for it at a time
DEPTH = 2  # results that wait for an output

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """What an output lacks, and why."""

    output: str  # its address without secrets
    missed: int  # results
    reason: str  # one sentence


class Output:
    """One sink, and whether it works. Its own thread writes; all else belongs to the caller's."""

    def __init__(self, sink: Sink, on_written: Callable[[Result, float], None], *, stays_open: bool) -> None:
        self.sink = sink
        self.name = redact(sink.uri)
        self.events: deque[Mapping[str, object]] = deque()  # before the next result
        self.skipped = 0  # results that newer ones replaced
        self.reason = ""  # of the first failure
        self.error: BaseException | None = None  # that is none of a sink
        self.is_left = False  # behind: its thread hangs
        self._on_written = on_written
        self._channel: Channel[tuple[int, Result]] | None = None
        self._thread: threading.Thread | None = None
        self._is_to_be_closed = not stays_open
        self.taken = 0  # results, those included that newer ones replaced
        self._offered = self._written = 0  # results
        self._has_begun = self._is_freshest = False
        self._next_index = 0  # of the frame after the last one written
        self._gap: Gap | None = None  # what is missing right now
        self._retry_at = 0.0
        self._missed = 0

    @property
    def is_lost(self) -> bool:
        return self.is_left or (self._gap is not None and not self.sink.can_resume)

    def failure(self) -> Failure:
        return Failure(self.name, self._missed, self.reason)

    def start(self, *, freshest: bool) -> None:
        """Start the thread, if it has not been."""
        if self._thread is None:
            self._channel = Channel(DEPTH, freshest=freshest)
            self._is_freshest = freshest
            self._thread = threading.Thread(target=self._work, name=f"solo-rt sink {self.name}", daemon=True)
            self._thread.start()

    def offer(self, result: Result) -> bool:
        """Give the thread a result and return True; False if it has no room for it within a moment."""
        assert self._channel is not None
        try:
            if self._is_freshest:
                self._channel.put((self._offered, result))
            else:
                self._channel.fill(self._channel.reserve(POLL_SECONDS), (self._offered, result))
        except TimeoutError:
            return False
        except Closed:
            return True  # it has ended with an error
        self._offered += 1
        return True

    def end(self) -> None:
        """Take no more results, and finish the sink."""
        if self._channel is not None:
            self._channel.close()

    def has_ended(self) -> bool:
        """Return whether the thread has dealt with all since `end`, within a moment."""
        if self._thread is not None:
            self._thread.join(POLL_SECONDS)
            if self._thread.is_alive():
                return False
        if self._is_to_be_closed:  # it has not been by the thread
            self._close()
        return True

    def raise_error(self) -> None:
        """Raise, once, what the sink has raised that is no SinkError."""
        error, self.error = self.error, None
        if error is not None:
            raise error

    def leave(self) -> None:
        """Leave the thread behind: it will not come back."""
        self.is_left = True
        self.reason = self.reason or f"output {self.name}: it does not take its results, and was given up"
        self._missed = self._offered - self._written - self.skipped
        log.warning("given up: %s", self.reason)
        assert self._channel is not None
        self._channel.cancel()

    def pass_over(self) -> None:
        """Count a result that it is not given, because it was left behind."""
        self._missed += 1

    def _work(self) -> None:
        assert self._channel is not None
        try:
            while True:
                try:
                    place, result = self._channel.get()
                except Closed:
                    break
                if place > self.taken:
                    self.skipped += place - self.taken
                    gap = Gap(self._next_index, place - self.taken)
                    self.events.append({"gap": {"frame": gap.first, "frames": gap.frames}})
                self.taken = place + 1
                self.write(result)
                del result  # or its picture would live until the next one comes
            if self._is_to_be_closed and not self.is_left:
                self._close()
        except BaseException as error:
            name_stage(error, "sink")
            self.error = error
            self._channel.cancel()

    def write_in_turn(self, result: Result) -> None:
        """Write the result, without a thread."""
        try:
            self.write(result)
        except Exception as error:
            name_stage(error, "sink")
            self.error = error

    def write(self, result: Result) -> None:
        """Write the result, or count it as missing."""
        self._next_index = result.frame.index + 1
        self._has_begun = True
        if self._gap is not None and (not self.sink.can_resume or time.monotonic() < self._retry_at):
            self._miss(result)
            return
        gap = self._gap
        started = time.perf_counter()
        try:
            if gap is not None:
                self.sink.resume(gap)
                self._gap = None  # it is noted: what fails from here on is another one
            self._note_events()
            self.sink.write(result)
        except SinkError as error:
            self._fail(error)
            self._miss(result)
        else:
            self._written += 1
            self._on_written(result, time.perf_counter() - started)
            if gap is not None:
                log.warning("output %s goes on; it lacks %d frames", self.name, self._missed)

    def _note_events(self) -> None:
        while self.events:
            self.sink.note(self.events[0])
            self.events.popleft()  # not before: where the output fails it is noted later

    def _close(self) -> None:
        """Finish the sink, its last gap noted if it can be."""
        self._is_to_be_closed = False
        try:
            with suppress(SinkError):
                if self._gap is not None and self.sink.can_resume:
                    gap, self._gap = self._gap, None
                    self.sink.resume(gap)
                if self._gap is None and self._has_begun:
                    self._note_events()
            self.sink.close()
        except SinkError as error:
            self._fail(error)

    def _miss(self, result: Result) -> None:
        self._missed += 1
        self._gap = Gap(result.frame.index, 1) if self._gap is None else self._gap._replace(frames=self._gap.frames + 1)

    def _fail(self, error: SinkError) -> None:
        self._retry_at = time.monotonic() + RETRY_SECONDS
        if not self.reason:
            self.reason = str(error)
            log.warning("%s", error)
