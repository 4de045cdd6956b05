"""The threads of the stages: one per lane, joined by channels. Outputs and several sources have their own.

Lanes of a stage work on several frames at once. They take turns in reserving a place in the next channel and taking a
frame for it, so that results leave in the order of the frames, and those that failed as well. What a frame stands in
line for, see Note [A frame is begun when its turn has come], are stages of one thread.
"""

from __future__ import annotations

import atexit
import logging
import math
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from itertools import pairwise, takewhile

from solo_rt.errors import EngineError
from solo_rt.pipeline.channel import Channel, Closed
from solo_rt.pipeline.sharing import SharedEngine
from solo_rt.pipeline.stage import Counts, Job, Stage

POLL_SECONDS = 0.1  # how often a waiting caller looks at its stop event and reports progress
LEAVE_SECONDS = 5.0  # how long to wait for a thread that sits in a native call before it is left behind
GIVE_UP_SECONDS = 1.5  # how long a run that was stopped waits for one frame under way

log = logging.getLogger(__name__)


def run_in_turn(jobs: Iterator[Job], stages: Sequence[Stage]) -> Generator[Job, None, None]:
    """Yield the jobs after all stages, on the caller's thread: the reference for `run_threaded`."""
    for job in jobs:
        for stage in stages:
            stage(job)
        yield job


def stoppable(
    jobs: Generator[Job, None, None], stop: threading.Event, on_stop: Callable[[], None]
) -> Generator[Job, None, None]:
    """Yield the jobs; once `stop` is set, `on_stop` is called by another thread, for this one may wait for a job."""
    has_ended = threading.Event()

    def watch() -> None:
        while not has_ended.wait(POLL_SECONDS):
            if stop.is_set():
                on_stop()
                return

    thread = threading.Thread(target=watch, name="solo-rt stop", daemon=True)
    thread.start()
    try:
        with closing(jobs):
            yield from jobs
    finally:
        has_ended.set()
        thread.join()


def run_threaded(
    jobs: Iterator[Job],
    stages: Sequence[Stage],
    counts: Counts,
    *,
    live: bool,
    stop: threading.Event,
    on_wait: Callable[[], None],
    on_stop: Callable[[], None] = lambda: None,
    stale_after: float = math.inf,
) -> Generator[Job, None, None]:
    """Yield the jobs after all stages, in order, while each stage works on threads of its own.

    With `live`, the newest job replaces those that wait for the first stage and `counts.dropped` says how many. One
    that is older than `stale_after` seconds when its turn comes is left out and counted in `counts.stale`.
    `on_wait` is called on the caller's thread while no job is ready. Raises: what `jobs` raises, after the jobs before
    have been handed out. Leaving the generator ends all threads; once `stop` is set, `on_stop` is called if the source
    keeps its thread waiting, and a stage that stays with its frame for too long is named, and left behind with what is
    under way.
    """
    with closing(_Workers(jobs, stages, counts, live=live, stale_after=stale_after)) as workers:
        waiting_since = None
        while True:
            try:
                job = workers.receive(POLL_SECONDS)
            except TimeoutError:
                if stop.is_set():  # and the source keeps the thread that would notice
                    if waiting_since is None:
                        waiting_since = time.monotonic()
                        on_stop()
                    workers.drain()
                    if time.monotonic() - waiting_since > GIVE_UP_SECONDS:
                        workers.give_up()
                        return
                workers.end_hanging_frames()
                on_wait()
            except Closed:
                return
            else:
                waiting_since = None
                yield job
                del job  # or the picture would live until the next one arrives


class _Workers:
    """The threads of one run: one that reads, one per lane of stages. `receive` returns their jobs in order."""

    def __init__(
        self, jobs: Iterator[Job], stages: Sequence[Stage], counts: Counts, *, live: bool, stale_after: float
    ) -> None:
        self._stages = stages
        # A place is taken while a frame is worked on: each further lane needs one of its own. A frame that may not get
        # old is handed over: it is begun when the stage behind is free, too, and waits for nothing from there on.
        is_handed_over = live or stale_after < math.inf
        # Of what stands in line one thread does all stages, so that what it has begun is never lost on the way.
        in_line = list(takewhile(lambda stage: stage.line is not None, stages)) if is_handed_over else []
        self._line = in_line[0].line if in_line else None
        groups = [[stage] for stage in stages]
        groups[: len(in_line)] = [in_line] if in_line else []
        lanes = [group[-1].lanes for group in groups]
        places = [max(pair) for pair in pairwise([*lanes, 1])] if is_handed_over else [1 + here for here in lanes]
        if in_line:
            places[0] += 1  # or a frame could not be prepared while the one before is decoded
        outboxes = [Channel[Job](count, handover=is_handed_over) for count in places]
        self._channels = [Channel[Job](1, freshest=True) if live else Channel[Job](2), *outboxes]
        self._has_handed_out = False
        self._threads = [self._thread("read", self._read, jobs, self._channels[0], counts)]
        self._counts, self._stale_after = counts, stale_after
        for group, inbox, outbox in zip(groups, self._channels, outboxes, strict=False):
            name, line, turn = group[-1].name, self._line if group is in_line else None, threading.Lock()
            self._threads += [
                self._thread(name, self._work, group, line, inbox, outbox, turn) for _ in range(group[-1].lanes)
            ]
        self._patience = LEAVE_SECONDS
        self._cancelled_at: float | None = None  # a frame that hangs
        # Daemon threads that still run while the interpreter takes itself down can crash it: end them before that.
        atexit.register(self.close)
        for thread in self._threads:
            thread.start()

    def receive(self, timeout: float) -> Job:
        """Return the next finished job; the one before is dealt with.

        Raises: TimeoutError; Closed after the last; what a stage raised.
        """
        if self._has_handed_out:
            self._has_handed_out = False
            self._channels[-1].done()
        try:
            job = self._channels[-1].get(timeout)
        except Closed as end:
            if end.reason is None:
                raise
            error = end.reason
        else:
            self._has_handed_out = True
            return job
        raise error

    def drain(self) -> None:
        """Take no further frames; those under way still arrive. What stands in line for its turn is not under way."""
        if self._line is None:
            self._channels[0].close()
        else:
            self._channels[0].cancel()

    def end_hanging_frames(self) -> None:
        """Cancel a frame that a stage does not finish. Raises: EngineError if that is no help."""
        hanging = next((stage for stage in self._stages if stage.is_hanging()), None)
        if hanging is None:
            self._cancelled_at = None
        elif self._cancelled_at is None:
            self._cancelled_at = time.monotonic()
            log.warning("the %s stage hangs; its frame is cancelled", hanging.name)
            hanging.cancel()
        elif time.monotonic() > self._cancelled_at + LEAVE_SECONDS:
            self._patience = 0.2
            raise EngineError(f"the {hanging.name} stage hangs, and cancelling its frame did not help")

    def give_up(self) -> None:
        """Say which stages hang; `close` will not wait for their threads."""
        busy = [stage.name for stage in self._stages if stage.is_busy]
        log.warning("given up: the %s stage does not finish its frame", " and the ".join(busy) or "read")
        self._patience = 0.2

    def close(self) -> None:
        """End all threads and wait for them. Calling it again does nothing."""
        atexit.unregister(self.close)
        for channel in self._channels:
            channel.cancel()
        deadline = time.monotonic() + self._patience
        for thread in self._threads:
            # The garbage collector found a forgotten stream here, or the interpreter ends while they are started.
            if thread is threading.current_thread() or thread.ident is None:
                continue
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                log.warning("thread %s did not end within %g s and was left behind", thread.name, self._patience)

    @staticmethod
    def _thread(stage: str, target: Callable[..., None], *args: object) -> threading.Thread:
        return threading.Thread(target=target, args=args, name=f"solo-rt {stage}", daemon=True)

    @staticmethod
    def _read(jobs: Iterator[Job], outbox: Channel[Job], counts: Counts) -> None:
        try:
            for job in jobs:
                try:
                    counts.dropped += outbox.put(job)
                except Closed:
                    counts.dropped += 1
                    return
                del job  # or this thread would keep a picture alive while it waits
        except BaseException as error:
            outbox.close(reason=error)
        else:
            outbox.close()

    def _take(self, inbox: Channel[Job]) -> Job:
        """Return the next job that is not too old to be begun. Raises: Closed."""
        job = inbox.get()
        while inbox is self._channels[0] and self._is_stale(job):
            self._counts.stale += 1
            job = inbox.get()
        return job

    def _take_in_turn(self, inbox: Channel[Job], line: SharedEngine) -> Job:
        """Return the job that `_take` would, once it may be begun; whoever calls has to `end` it. Raises: Closed."""
        number = line.draw()
        while True:
            inbox.wait()  # who has no frame holds nobody up
            if not line.begin(number, POLL_SECONDS):  # the run may have ended meanwhile
                continue
            try:
                job = inbox.get()
            except Closed:
                line.end()
                raise
            if inbox.is_over or not self._is_stale(job):  # of `max_frames` the last one is not replaced any more
                return job
            line.end()
            self._counts.stale += 1

    def _is_stale(self, job: Job) -> bool:
        return time.monotonic() - job.frame.captured_at > self._stale_after

    def _work(
        self,
        stages: Sequence[Stage],
        line: SharedEngine | None,
        inbox: Channel[Job],
        outbox: Channel[Job],
        turn: threading.Lock,
    ) -> None:
        """Work as one lane; `turn` is held while a place and the job for it are taken, so that they stay in order."""
        while True:
            with turn:
                try:
                    # Room first: until there is, a live frame stays where a newer one can replace it.
                    place = outbox.reserve()
                except Closed:
                    return
                try:
                    job = self._take(inbox) if line is None else self._take_in_turn(inbox, line)
                except Closed as end:
                    outbox.close(at=place, reason=end.reason)
                    return
            try:
                for stage in stages:
                    stage(job)
            except BaseException as error:
                outbox.close(at=place, reason=error)
                return
            finally:
                if line is not None:
                    line.end()
            outbox.fill(place, job)
            inbox.done()
            del job
