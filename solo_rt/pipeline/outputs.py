"""The sinks of a run: each fails alone, and what it lacks afterwards is known."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from solo_rt.errors import SinkError
from solo_rt.sink import Gap, Sink
from solo_rt.types import Result
from solo_rt.uri import redact

RETRY_SECONDS = 1.0  # between two attempts to go on with an output that failed

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """What an output lacks, and why."""

    output: str  # its address without secrets
    missed: int  # results
    reason: str  # one sentence


class Outputs:
    """Gives every result to all sinks. Used by one thread."""

    def __init__(self, sinks: Sequence[Sink] = (), *, on_step: Callable[[str], None] = lambda doing: None) -> None:
        """Take opened sinks; `on_step` is told which one is being waited for."""
        self._outputs = [_Output(sink) for sink in sinks]
        self._on_step = on_step

    def add(self, sink: Sink) -> None:
        """Take one more sink."""
        self._outputs.append(_Output(sink))

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

    def write(self, result: Result) -> None:
        """Write a result to the sinks that work. Raises: SinkError once there are sinks, but none that ever will."""
        for output in self._outputs:
            self._on_step(f"writing {output.name}")
            output.write(result)
        self._on_step("waiting for a frame")
        if self._outputs and all(output.is_lost for output in self._outputs):
            raise SinkError(self._outputs[0].reason)

    def close(self) -> None:
        """Finish every sink; those that cannot be are among the failures."""
        for output in self._outputs:
            self._on_step(f"finishing {output.name}")
            output.close()


class _Output:
    """One sink, and whether it works."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.name = redact(sink.uri)
        self._gap: Gap | None = None  # what is missing right now
        self._retry_at = 0.0
        self._missed = 0
        self.reason = ""  # of the first failure

    @property
    def is_lost(self) -> bool:
        return self._gap is not None and not self.sink.can_resume

    def failure(self) -> Failure:
        return Failure(self.name, self._missed, self.reason)

    def write(self, result: Result) -> None:
        """Write the result, or count it as missing."""
        if self._gap is not None and (not self.sink.can_resume or time.monotonic() < self._retry_at):
            self._miss(result)
            return
        gap = self._gap
        try:
            if gap is not None:
                self.sink.resume(gap)
                self._gap = None  # it is noted: what fails from here on is another one
            self.sink.write(result)
        except SinkError as error:
            self._fail(error)
            self._miss(result)
        else:
            if gap is not None:
                log.warning("output %s goes on; it lacks %d frames", self.name, self._missed)

    def close(self) -> None:
        """Finish the sink, its last gap noted if it can be."""
        try:
            if self._gap is not None and self.sink.can_resume:
                gap, self._gap = self._gap, None
                with suppress(SinkError):
                    self.sink.resume(gap)
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
