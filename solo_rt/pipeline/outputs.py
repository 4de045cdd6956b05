"""The sinks of a run, each on a thread of its own: none waits for another, each fails alone, what it lacks is known."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from solo_rt.errors import SinkError
from solo_rt.pipeline.output import Failure, Output
from solo_rt.pipeline.timing import Histogram
from solo_rt.pipeline.trace import Trace
from solo_rt.result import Result
from solo_rt.sink import Sink

GIVE_UP_SECONDS = 1.0  # how long a run that was stopped waits for an output


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
        may_all_fail: bool = False,
    ) -> None:
        """Take opened sinks; `on_step` is told which one is being waited for."""
        self.times, self.latency = Histogram(), Histogram()  # of all writes; from the decoder to the end of a write
        self.trace: Trace | None = None
        self.on_wait: Callable[[], None] = lambda: None
        self._stop = stop or threading.Event()
        self._freshest = self._in_turn = False
        self._may_all_fail = may_all_fail
        self._on_step = on_step or (lambda doing: None)
        self._lock = threading.Lock()  # guards the two histograms
        self._outputs: list[Output] = []
        for sink in sinks:
            self.add(sink)

    def add(self, sink: Sink, *, stays_open: bool = False) -> None:
        """Take one more sink, which is finished in the end unless it `stays_open`."""
        self._outputs.append(Output(sink, self._count, stays_open=stays_open))

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

        Raises: SinkError once there are sinks, but none that ever will, unless they `may_all_fail` or are left behind
        after a stop; whatever else a sink has raised.
        """
        if not self._outputs:
            self._count(result, 0.0)
        for output in self._outputs:
            if self._in_turn:
                output.write_in_turn(result)
            elif not output.is_left:
                output.start(freshest=self._freshest)
                self._wait(output, partial(output.offer, result))
            if output.is_left:
                output.pass_over()
            output.raise_error()
        is_over = bool(self._outputs) and all(output.is_lost for output in self._outputs)
        if is_over and not self._may_all_fail and not self._stop.is_set():
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
            output.end()
        for output in self._outputs:
            self._wait(output, output.has_ended, doing="finishing")
        for output in self._outputs:
            output.raise_error()

    def _wait(self, output: Output, is_done: Callable[[], bool], *, doing: str = "writing") -> None:
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
