"""Runs a source through a model: `stream` gives the results to Python, `run` to sinks, `process` does it all by name.

    source -> read -> prepare -> infer -> decode -> render -> sink
             thread   thread    threads  thread    thread    caller's thread

Every arrow between two threads is a `Channel`. Inference has a thread per lane of the engine and gives frames on in
their order. With a `FrameEngine`, whose work is on a GPU, infer is prepare and the painting of masks as well; render
writes the labels. A stage takes a frame only when there is room for its result, so that the frames of a live source
wait where newer ones can still replace them. A frame on which a stage fails is left out, or ends the run: the frames
before it are still handed out, then the exception is raised on the caller's thread with the stage's name. A sink that
fails ends alone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

from solo_rt import defaults
from solo_rt.decoders import SemanticDecoder, is_painted
from solo_rt.engine import Engine, find_model, open_engine
from solo_rt.engine.base import FrameEngine
from solo_rt.errors import SourceError, UsageError
from solo_rt.gpu.labels import GpuLabels, open_gpu_labels
from solo_rt.gpu.nvcodec import CAN_STAY_ON_GPU, VideoDecoder, gpu_of
from solo_rt.gpu.primary_context import share_primary_context
from solo_rt.pipeline.outputs import Outputs
from solo_rt.pipeline.paths import refuse_overwriting
from solo_rt.pipeline.report import Progress, RunningTimes, RunReport
from solo_rt.pipeline.stages import Counts, Job, Options, Stage, build_stages, check_options, read_jobs
from solo_rt.pipeline.timing import Histogram
from solo_rt.pipeline.trace import Trace
from solo_rt.pipeline.workers import T, open_interruptibly, run_in_turn, run_threaded
from solo_rt.sink import Sink, VideoOptions, check_video, open_sink
from solo_rt.source import Source, SourceInfo, check_decoder, open_source
from solo_rt.types import Instances, Result
from solo_rt.uri import expand_home

log = logging.getLogger(__name__)


def run(
    source: Source,
    engine: Engine,
    sinks: Sequence[Sink],
    *,
    options: Options | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
    gpu_labels: GpuLabels | None = None,
) -> RunReport:
    """Write the results of a source to sinks and return what happened. Opens and closes none of them.

    With `gpu_labels`, frames that the source leaves on a GPU are painted, labelled and given to the sinks there.
    `on_progress` is called on this thread after every frame and at least every 0.1 s while none is ready. Setting
    `stop` ends the run early: frames under way still reach the sinks, unless a stage hangs. A sink that fails ends
    alone; the report says what it lacks. Raises: what a stage or the source raises, after all threads have ended;
    SinkError when no sink is left; SourceError if there was no frame at all.
    """
    outputs = Outputs(sinks)
    return _run(source, engine, outputs, options or Options(), stop or threading.Event(), on_progress, gpu_labels)


def _run(
    source: Source,
    engine: Engine,
    outputs: Outputs,
    options: Options,
    stop: threading.Event,
    on_progress: Callable[[Progress], None] | None,
    gpu_labels: GpuLabels | None,
    trace: Trace | None = None,
) -> RunReport:
    counts, read_times, latency = Counts(), Histogram(), Histogram()
    stages = build_stages(engine, options, with_picture=outputs.need_picture, gpu_labels=gpu_labels)
    sink_stage = Stage("sink", lambda job: outputs.write(job.result(engine.spec.classes)))
    for stage in [*stages, sink_stage]:
        stage.trace = trace
    timed = {"read": read_times, **{stage.name: stage.times for stage in [*stages, sink_stage]}}
    times = RunningTimes(timed, latency)
    processed = 0
    instances = 0 if engine.spec.decoder.task == "instances" else None
    started = time.perf_counter()

    def progress() -> Progress:
        seconds = time.perf_counter() - started
        dropped = counts.dropped + counts.stale
        return Progress(
            counts.read, processed, dropped, counts.skipped, counts.failed, instances, seconds, *times.percentiles()
        )

    def tick() -> None:
        if trace is not None:
            under_way = counts.read - counts.skipped - counts.dropped - counts.stale - counts.failed - processed
            trace.count(under_way=under_way, dropped=counts.dropped)
            trace.write()
        if on_progress is not None:
            on_progress(progress())

    feed = read_jobs(source, options, counts, read_times, stop, trace)
    with closing(_through(feed, stages, source, options, counts, stop, on_wait=tick)) as jobs:
        for job in _succeeding(jobs, counts, options.max_failures):
            sink_stage(job)
            if job.error is not None:
                raise job.error
            latency.add(time.monotonic() - job.frame.captured_at)
            processed += 1
            if instances is not None and isinstance(job.found, Instances):
                instances += len(job.found)
            tick()
    if not counts.read and not stop.is_set():
        raise SourceError(f"{source.info.uri}: expected frames, got none ({source.damage or 'it is empty'})")
    if stop.is_set():  # what was with a stage that was given up
        counts.dropped = counts.read - counts.skipped - counts.stale - counts.failed - processed
    end = progress()
    return RunReport(
        read=end.read,
        processed=end.processed,
        dropped=end.dropped,
        skipped=end.skipped,
        failed=end.failed,
        instances=end.instances,
        seconds=end.seconds,
        stages={name: histogram.stats(end.seconds) for name, histogram in timed.items()},
        latency=latency.stats(end.seconds),
        damage=source.damage,
        failures=outputs.failures,
        interrupted=stop.is_set(),
    )


def stream(
    source: str | Source,
    *,
    model: str | Path | Engine | None = None,
    backend: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    lanes: int | None = None,
    conf: float | None = None,
    max_det: int | None = None,
    classes: tuple[str, ...] = (),
    max_frames: int | None = None,
    max_fps: float | None = None,
    decoder: VideoDecoder = "cpu",
    render: bool = False,
    sync: bool = False,
) -> Generator[Result, None, None]:
    """Yield the result of every frame of a source, in order; `render=True` adds the annotated picture.

    Opens the source and the model on the first step and closes them when the generator ends, is closed or is
    forgotten; a `Source` or an `Engine` given opened stays open. Stages run ahead on threads of their own while the
    caller looks at a result; a live source drops what the caller is too slow for. `lanes` is how many frames the model
    computes at once; more may give more per second, each later. None: 2 for files with TensorRT, else 1. `decoder`
    nvdec lets the GPU of `device`, the first one by default, decode video files.
    Raises: UsageError, SpecError, EngineError, SourceError.
    """
    options = Options(conf=conf, max_det=max_det, classes=classes, max_frames=max_frames, max_fps=max_fps, sync=sync)
    with ExitStack() as stack:
        if isinstance(source, str):
            opened = stack.enter_context(closing(open_source(source, decoder=decoder, gpu=gpu_of(device))))
        elif decoder == "cpu":
            opened = source
        else:
            raise UsageError(f"expected the address of a video file with decoder={decoder!r}, got an opened source")
        if model is None or isinstance(model, (str, Path)):
            lanes = _lanes(lanes, options, live=opened.info.live)
            engine = open_engine(model, backend=backend, device=device, threads=threads, lanes=lanes)
            stack.enter_context(closing(engine))
        else:
            engine = model
        counts, stop = Counts(), threading.Event()
        feed = read_jobs(opened, options, counts, Histogram(), stop)
        stages = build_stages(engine, options, with_picture=render)
        jobs = stack.enter_context(closing(_through(feed, stages, opened, options, counts, stop)))
        for job in _succeeding(jobs, counts, options.max_failures):
            yield job.result(engine.spec.classes)


def process(
    source: str,
    outputs: Sequence[str] = (),
    *,
    model: str | Path | None = None,
    backend: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    lanes: int | None = None,
    decoder: VideoDecoder = "cpu",
    video: VideoOptions | None = None,
    options: Options | None = None,
    retry_for: float | None = None,
    stall_after: float = defaults.STALL_SECONDS,
    trusted: bool = False,
    overwrite: bool = False,
    trace: Path | None = None,
    on_start: Callable[[SourceInfo, Engine], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_step: Callable[[str], None] = lambda doing: None,
    stop: threading.Event | None = None,
) -> RunReport:
    """Open everything by name, `run`, close everything and return what happened.

    What outputs replace is not touched before the first result; `on_start` is called when all is open, `on_step` with
    what is being waited for. The outputs are finished files however the run ends. `lanes` and `decoder` are as in
    `stream`, `retry_for` and `stall_after` as in `open_source`; `video` says how video outputs are encoded, nvenc on
    the same GPU as `decoder`; `overwrite` lets pictures go into a folder that holds such files already; `trace` is a
    file for what every thread did when (see `Trace`).
    Raises: as `run`; UsageError if an output would overwrite the source, the model or another output;
    KeyboardInterrupt if `stop` is set while opening.
    """
    options, video = options or Options(), video or VideoOptions()
    stop = stop or threading.Event()
    path, outputs = find_model(model), [expand_home(uri) for uri in outputs]
    gpu = gpu_of(device)
    refuse_overwriting(source, path, [*outputs, *([] if trace is None else [str(trace)])])
    check_decoder(decoder, source, gpu=gpu)
    check_video(video, outputs, gpu=gpu)
    with ExitStack() as stack:

        def start(open_it: Callable[[], T]) -> T:
            return stack.enter_context(closing(open_interruptibly(open_it, stop)))

        def start_engine(*, live: bool) -> Engine:
            n = _lanes(lanes, options, live=live)
            on_step("loading the model")
            return start(
                lambda: open_engine(path, backend=backend, device=device, threads=threads, lanes=n, trusted=trusted)
            )

        def start_source(*, on_gpu: bool) -> Source:
            on_step("opening the source")
            return start(
                lambda: open_source(
                    source,
                    decoder=decoder,
                    gpu=gpu,
                    on_gpu=on_gpu,
                    retry_for=retry_for,
                    stall_after=stall_after,
                )
            )

        # The lanes of the engine depend on whether the source is live. NVDEC, which no live source has, needs the
        # engine first: frames stay on the GPU if it takes them there, and paints all that `render` would.
        on_gpu = False
        if decoder == "nvdec":
            share_primary_context(gpu)
            engine = start_engine(live=False)
            on_gpu = CAN_STAY_ON_GPU and isinstance(engine, FrameEngine) and is_painted(engine.spec.decoder)
            opened = start_source(on_gpu=on_gpu)
        else:
            opened = start_source(on_gpu=False)
            engine = start_engine(live=opened.info.live)
        spec = engine.spec
        check_options(spec, options)
        palette = spec.decoder.palette if isinstance(spec.decoder, SemanticDecoder) else ()
        results = stack.enter_context(closing(Outputs(on_step=on_step)))
        for uri in outputs:
            sink = open_sink(
                uri,
                info=opened.info,
                model=spec.name,
                classes=spec.classes,
                palette=palette,
                video=video,
                gpu=gpu,
                overwrite=overwrite,
            )
            results.add(sink)
        events = None if trace is None else stack.enter_context(closing(Trace(trace)))
        if on_start is not None:
            on_start(opened.info, engine)
        labels = open_gpu_labels(gpu) if on_gpu and results.take_gpu_pictures else None
        report = _run(opened, engine, results, options, stop, on_progress, labels, events)
        results.close()
        return replace(report, failures=results.failures)


def _lanes(lanes: int | None, options: Options, *, live: bool) -> int | None:
    """Return how many frames to compute at once, None to leave that to the engine. Raises: UsageError."""
    if options.sync and lanes not in (None, 1):
        raise UsageError(f"expected 1 lane with sync, which computes one frame at a time, got {lanes}")
    return 1 if lanes is None and (options.sync or live) else lanes


def _through(
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
        return run_in_turn(feed, stages)
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


def _succeeding(jobs: Iterator[Job], counts: Counts, max_failures: int) -> Iterator[Job]:
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
