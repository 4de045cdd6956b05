"""The sinks of a run, each on a thread of its own: none waits for another, each fails alone, what it lacks is known."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from solo_rt.errors import SinkError
from solo_rt.pipeline.channel import Channel, Closed
from solo_rt.pipeline.stages import name_stage
from solo_rt.pipeline.timing import Histogram
from solo_rt.pipeline.trace import Trace
from solo_rt.sink import Gap, Sink
from solo_rt.types import Result
from solo_rt.uri import redact

RETRY_SECONDS = 1.0  # between two attempts to go on with an output that failed
POLL_SECONDS = 0.1  # how often a waiting caller looks at its stop event and reports progress
GIVE_UP_SECONDS = 1.0  # how long a run that was stopped waits for an output
DEPTH = 2  # results that wait for an output

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """What an output lacks, and why."""

    output: str  # its address without secrets
    missed: int  # results
    reason: str  # one sentence


class Outputs:
    """Gives every result to all sinks. Used by one thread; the sinks are used by threads of theirs.

    An output that is slow makes the caller wait, or, with `freshest`, misses the results that newer ones replace.
    Once `stop` is set, one that takes too long is left behind. With `in_turn` the caller's thread does it all: the
    reference, to the byte, for the threads.
    """

    def __init__(
        self,
        sinks: Sequence[Sink] = (),
        *,
        stop: threading.Event | None = None,
        on_step: Callable[[str], None] | None = None,
    ) -> None:
        """Take opened sinks; `on_step` is told which one is being waited for."""
        self.times, self.latency = Histogram(), Histogram()  # of all writes; from the decoder to the end of a write
        self.trace: Trace | None = None
        self.on_wait: Callable[[], None] = lambda: None
        self._stop = stop or threading.Event()
        self._freshest = self._in_turn = False
        self._on_step = on_step or (lambda doing: None)
        self._lock = threading.Lock()  # guards the two histograms
        self._outputs: list[_Output] = []
        for sink in sinks:
            self.add(sink)

    def add(self, sink: Sink, *, stays_open: bool = False) -> None:
        """Take one more sink, which is finished in the end unless it `stays_open`."""
        self._outputs.append(_Output(sink, self._count, stays_open=stays_open))

    def prepare(self, *, freshest: bool, in_turn: bool) -> None:
        """Choose what waits for whom, before the first result."""
        self._freshest, self._in_turn = freshest, in_turn

    @property
    def need_picture(self) -> bool:
        """Whether any sink shows the frame."""
        return any(output.sink.needs_picture for output in self._outputs)

    @property
    def take_gpu_pictures(self) -> bool:
        """Whether there are sinks that show the frame, and all of those take it from a GPU."""
        shown = [output.sink for output in self._outputs if output.sink.needs_picture]
        return bool(shown) and all(sink.takes_gpu_pictures for sink in shown)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What has failed so far, in the order of the sinks."""
        return tuple(output.failure() for output in self._outputs if output.reason)

    @property
    def behind(self) -> Mapping[str, int]:
        """How many results each output has missed because it was too slow; only those that did."""
        return {output.name: output.skipped for output in self._outputs if output.skipped}

    def write(self, result: Result) -> None:
        """Have a result written by the sinks that work.

        Raises: SinkError once there are sinks, but none that ever will; whatever else a sink has raised.
        """
        if not self._outputs:
            self._count(result, 0.0)
        for output in self._outputs:
            if self._in_turn:
                output.write_in_turn(result)
            elif not output.is_left:
                output.start(freshest=self._freshest)
                self._wait(output, partial(output.offer, result))
            output.raise_error()
        if self._outputs and all(output.is_lost for output in self._outputs):
            raise SinkError(self._outputs[0].reason)

    def note(self, event: Mapping[str, object]) -> None:
        """Have an event noted by the sinks that have a place for it, between the results before and after it."""
        for output in self._outputs:
            output.events.append(event)

    def close(self) -> None:
        """Return when all is written and every sink finished; those that cannot be are among the failures.

        May be called again. Raises: what a sink has raised that is no SinkError.
        """
        for output in self._outputs:
            self._wait(output, output.has_ended, doing="finishing")
        for output in self._outputs:
            output.raise_error()

    def _wait(self, output: _Output, is_done: Callable[[], bool], *, doing: str = "writing") -> None:
        """Return once it is done; each try takes up to POLL_SECONDS. After a stop, leave an output that hangs."""
        leave_at, written = 0.0, -1
        self._on_step(f"{doing} {output.name}")
        while not output.is_left and not is_done():
            self.on_wait()
            if written != (written := output.taken) or not self._stop.is_set():
                leave_at = time.monotonic() + GIVE_UP_SECONDS
            elif time.monotonic() > leave_at:
                output.leave()
        self._on_step("waiting for a frame")

    def _count(self, result: Result, seconds: float) -> None:
        now = time.monotonic()
        with self._lock:
            self.times.add(seconds)
            self.latency.add(now - result.frame.captured_at)
        if self.trace is not None:
            self.trace.span("sink", result.frame.index, time.perf_counter() - seconds, seconds)


class _Output:
    """One sink, and whether it works. Its own thread writes, `offer`, `finish` and `leave` belong to the caller's."""

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
        self._offered = 0  # results
        self._has_begun = False
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

    def has_ended(self) -> bool:
        """Take no more results and return whether the thread has dealt with all, within a moment."""
        if self._thread is not None:
            assert self._channel is not None
            self._channel.close()
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
        self._missed += self._offered - self.taken
        log.warning("given up: %s", self.reason)
        assert self._channel is not None
        self._channel.cancel()

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
            self._on_written(result, time.perf_counter() - started)
            if gap is not None:
                log.warning("output %s goes on; it lacks %d frames", self.name, self._missed)

    def _note_events(self) -> None:
        while self.events:
            self.sink.note(self.events.popleft())

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
