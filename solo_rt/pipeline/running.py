"""One run: frames of an open source through an open engine to open sinks."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields

from solo_rt.engine.base import Engine
from solo_rt.errors import SourceError
from solo_rt.events import ZoneState
from solo_rt.gpu.labels import GpuLabels
from solo_rt.pipeline.options import Options
from solo_rt.pipeline.outputs import Outputs
from solo_rt.pipeline.report import Progress, RunningTimes, RunReport
from solo_rt.pipeline.stage import Counts, Job, Stage
from solo_rt.pipeline.stages import build_stages, read_jobs
from solo_rt.pipeline.timing import Histogram
from solo_rt.pipeline.trace import Trace
from solo_rt.pipeline.workers import run_in_turn, run_threaded, stoppable
from solo_rt.result import Result
from solo_rt.sink import Sink
from solo_rt.source import Source, SourceInfo, StateChange
from solo_rt.track.zones import check_sources
from solo_rt.types import Instances

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Hooks:
    """Functions that a run calls, all on one thread. One that raises ends the run with what it raised."""

    on_start: Callable[[SourceInfo, Engine], None] | None = None  # once all is open
    on_frame: Callable[[Result], None] | None = None  # before the sinks get it
    on_drop: Callable[[int], None] | None = None  # how many frames newer ones have replaced since the last call
    on_source_state: Callable[[StateChange], None] | None = None  # a live source has come or gone
    on_progress: Callable[[Progress], None] | None = None  # after every frame and every 0.1 s while none is ready
    on_step: Callable[[str], None] | None = None  # what is being waited for
    on_end: Callable[[RunReport], None] | None = None  # all is written
    on_failure: Callable[[BaseException], None] | None = None  # what the run raises, in the place of `on_end`

    def also(self, other: Hooks) -> Hooks:
        """Return hooks that call these functions, then those of the other."""
        functions = {field.name: (getattr(self, field.name), getattr(other, field.name)) for field in fields(Hooks)}
        return Hooks(**{name: _in_turn(*pair) if all(pair) else pair[0] or pair[1] for name, pair in functions.items()})


def _in_turn(first: Callable[..., None], second: Callable[..., None]) -> Callable[..., None]:
    def call(*values: object) -> None:
        first(*values)
        second(*values)

    return call


@contextmanager
def telling_failure(hooks: Hooks) -> Iterator[None]:
    """Tell the hooks what the body raises."""
    try:
        yield
    except BaseException as error:
        if hooks.on_failure is not None:
            hooks.on_failure(error)
        raise


def run(
    source: Source,
    engine: Engine,
    sinks: Sequence[Sink],
    *,
    options: Options | None = None,
    hooks: Hooks | None = None,
    stop: threading.Event | None = None,
    gpu_labels: GpuLabels | None = None,
) -> RunReport:
    """Write the results of a source to sinks and return what happened. Opens and closes none of them.

    With `gpu_labels`, frames that the source leaves on a GPU are painted, labelled and given to the sinks there.
    Setting `stop` ends the run early: frames under way still reach the sinks, unless a stage hangs. A sink that fails
    ends alone; the report says what it lacks. Raises: what a stage, the source, a hook or a sink of one's own raises,
    after all threads have ended; SinkError when no sink is left; SourceError if there was no frame at all; UsageError
    for zones of a source by name, which it has none of here.
    """
    stop, options = stop or threading.Event(), options or Options()
    check_sources(options.zones, [])
    outputs = Outputs(stop=stop)
    for sink in sinks:
        outputs.add(sink, stays_open=True)
    hooks = hooks or Hooks()
    with telling_failure(hooks):
        return Run(source, engine, outputs, options, hooks, stop, gpu_labels).finish()


class Run:
    """A run that has not begun; `finish` does it all."""

    def __init__(
        self,
        source: Source,
        engine: Engine,
        outputs: Outputs,
        options: Options,
        hooks: Hooks,
        stop: threading.Event,
        gpu_labels: GpuLabels | None = None,
        trace: Trace | None = None,
        *,
        name: str = "",
    ) -> None:
        self._name = name
        self._source, self._engine, self._outputs = source, engine, outputs
        self._options, self._hooks, self._stop, self._trace = options, hooks, stop, trace
        self._counts, read_times = Counts(), Histogram()
        self._stages = build_stages(engine, options, with_picture=outputs.need_picture, gpu_labels=gpu_labels)
        for stage in self._stages:
            stage.trace = trace
        self._timed = {"read": read_times, **{stage.name: stage.times for stage in self._stages}, "sink": outputs.times}
        self._running = RunningTimes(self._timed, outputs.latency)
        self._processed = self._told_dropped = 0
        self._zones: tuple[ZoneState, ...] = ()
        self._moved = 0 if options.keyframe_interval is not None else None
        self._instances = 0 if engine.spec.decoder.task == "instances" else None
        self._changes: deque[StateChange] = deque()  # of the source, by its thread
        outputs.trace, outputs.on_wait = trace, self._tick
        outputs.prepare(freshest=options.is_freshest(live=source.info.live), in_turn=options.sync)
        self._feed = read_jobs(source, options, self._counts, read_times, stop, trace)

    def finish(self) -> RunReport:
        """Run to the end and return what happened. Raises: see `run`."""
        counts, hooks = self._counts, self._hooks
        if hooks.on_start is not None:
            hooks.on_start(self._source.info, self._engine)
        if hooks.on_step is not None:
            hooks.on_step("waiting for a frame")
        self._source.on_state = self._changes.append
        self._started = time.perf_counter()
        jobs = through(self._feed, self._stages, self._source, self._options, counts, self._stop, on_wait=self._tick)
        try:
            with closing(jobs):
                for job in succeeding(jobs, counts, self._options.max_failures):
                    self._tell_changes()
                    result = job.result(self._engine.spec, self._name)
                    if hooks.on_frame is not None:
                        hooks.on_frame(result)
                    self._outputs.write(result)
                    self._processed, self._zones = self._processed + 1, result.zones
                    if self._moved is not None:
                        self._moved += job.is_moved
                    if self._instances is not None and isinstance(job.found, Instances):
                        self._instances += len(job.found)
                    self._tick()
                    del job, result  # or the picture would live until the next one comes
        finally:
            self._source.on_state = None
            self._outputs.close()
        if not counts.read and not self._stop.is_set():
            why = self._source.damage or "it is empty"
            raise SourceError(f"{self._source.info.uri}: expected frames, got none ({why})")
        if self._stop.is_set():  # what was with a stage that was given up
            counts.dropped = counts.read - counts.skipped - counts.stale - counts.failed - self._processed
        report = self._report()
        if hooks.on_end is not None:
            hooks.on_end(report)
        return report

    def _tell_changes(self) -> None:
        while self._changes:
            change = self._changes.popleft()
            self._outputs.note({"source_state": change.to_record()})
            if self._hooks.on_source_state is not None:
                self._hooks.on_source_state(change)

    def _tick(self) -> None:
        """Tell everybody what has happened since the last time."""
        counts, hooks = self._counts, self._hooks
        self._tell_changes()
        dropped = counts.dropped + counts.stale
        if hooks.on_drop is not None and dropped > self._told_dropped:
            hooks.on_drop(dropped - self._told_dropped)
        self._told_dropped = dropped
        if self._trace is not None:
            under_way = counts.read - counts.skipped - dropped - counts.failed - self._processed
            self._trace.count(under_way=under_way, dropped=dropped)
            self._trace.write()
        if hooks.on_progress is not None:
            hooks.on_progress(self._progress())

    def _progress(self) -> Progress:
        counts = self._counts
        stages, latency = self._running.percentiles()
        return Progress(
            read=counts.read,
            processed=self._processed,
            dropped=counts.dropped + counts.stale,
            skipped=counts.skipped,
            failed=counts.failed,
            instances=self._instances,
            seconds=time.perf_counter() - self._started,
            stages=stages,
            latency=latency,
        )

    def _report(self) -> RunReport:
        end = self._progress()
        return RunReport(
            read=end.read,
            processed=end.processed,
            dropped=end.dropped,
            skipped=end.skipped,
            failed=end.failed,
            instances=end.instances,
            seconds=end.seconds,
            stages={name: histogram.stats(end.seconds) for name, histogram in self._timed.items()},
            latency=self._outputs.latency.stats(end.seconds),
            damage=self._source.damage,
            failures=self._outputs.failures,
            behind=self._outputs.behind,
            interrupted=self._stop.is_set(),
            zones=self._zones,
            classes=self._engine.spec.classes,
            moved=self._moved,
        )


def through(
    feed: Iterator[Job],
    stages: Sequence[Stage],
    source: Source,
    options: Options,
    counts: Counts,
    stop: threading.Event,
    on_wait: Callable[[], None] = lambda: None,
) -> Generator[Job, None, None]:
    """Return the jobs after all stages, on threads or not."""
    if options.sync:
        return stoppable(run_in_turn(feed, stages), stop, source.stop)
    live = source.info.live
    return run_threaded(
        feed,
        stages,
        counts,
        live=options.is_freshest(live=live),
        stop=stop,
        on_wait=on_wait,
        on_stop=source.stop,
        stale_after=options.stale_after(live=live),
    )


def succeeding(jobs: Iterator[Job], counts: Counts, max_failures: int) -> Iterator[Job]:
    """Yield the jobs that did not fail, and count the others. Raises: what failed, if it is more than may in a row."""
    in_a_row, any_succeeded, last = 0, False, None
    for job in jobs:
        if job.error is None:
            in_a_row, any_succeeded = 0, True
            yield job
            continue
        in_a_row, last = in_a_row + 1, job.error
        if in_a_row > max_failures:
            raise job.error
        counts.failed += 1
        if in_a_row == 1:
            log.warning("frame %d is left out: %s", job.frame.index, last)
    if last is not None and not any_succeeded:
        raise last
