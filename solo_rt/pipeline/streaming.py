"""Results for a loop: `stream`."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path

from solo_rt import defaults
from solo_rt.engine import Engine, Precision
from solo_rt.errors import UsageError
from solo_rt.gpu.nvcodec import VideoDecoder
from solo_rt.pipeline.channel import Channel, Closed
from solo_rt.pipeline.opening import Pipeline
from solo_rt.pipeline.options import Interval, Options, Policy
from solo_rt.pipeline.running import Hooks, succeeding, through
from solo_rt.pipeline.stage import Counts
from solo_rt.pipeline.stages import build_stages, read_jobs
from solo_rt.pipeline.timing import Histogram
from solo_rt.pipeline.workers import LEAVE_SECONDS
from solo_rt.render import DEFAULT_STYLE, Style
from solo_rt.result import Result
from solo_rt.source import Source
from solo_rt.track.zones import Zone


def stream(
    source: str | Path | Source | Sequence[str | Path] | Mapping[str, str | Path | Source],
    *,
    model: str | Path | Engine | None = None,
    backend: str = "auto",
    device: str = "auto",
    precision: Precision = "auto",
    threads: int | None = None,
    lanes: int | None = None,
    trusted: bool = False,
    conf: float | None = None,
    max_det: int | None = None,
    classes: tuple[str, ...] = (),
    max_frames: int | None = None,
    max_fps: float | None = None,
    policy: Policy = "auto",
    max_staleness: float | None = None,
    max_failures: int = 0,
    retry_for: float | None = None,
    stall_after: float = defaults.STALL_SECONDS,
    decoder: VideoDecoder = "cpu",
    track: bool = False,
    refine: bool = False,
    keyframe_interval: Interval | None = None,
    render: bool = False,
    style: Style = DEFAULT_STYLE,
    sync: bool = False,
    zones: tuple[Zone, ...] = (),
) -> Generator[Result, None, None]:
    """Yield the result of every frame of a source, in order; `render=True` adds the picture, annotated in `style`.

    Several sources, a list of addresses or a mapping of names, run side by side on one engine; results come as they are
    ready, in order for each source, whose name is `Result.source`. One that fails ends alone, and what it raised is
    raised when the others have ended; `max_frames` and `max_fps` are those of each.

    Opens sources and the model on the first step and closes them when the generator ends, is closed or is forgotten; a
    `Source` or an `Engine` given opened stays open. Stages run ahead on threads of their own while the caller looks at
    a result; a live source drops what the caller is too slow for. `lanes` is how many frames the model computes at
    once; more may give more per second, each later. None: 2 for files with TensorRT, else 1. `decoder` nvdec lets the
    GPU of `device`, the first one by default, decode video files. With `track` objects have ids, with
    `refine` masks are sharper. Of every `keyframe_interval` frames one is computed. What else may be said is as in
    `Options` and `Pipeline`.
    Raises: UsageError, SpecError, EngineError, SourceError.
    """
    pipeline = Pipeline(
        model=model,
        options=Options(
            conf=conf,
            max_det=max_det,
            classes=classes,
            max_frames=max_frames,
            max_fps=max_fps,
            policy=policy,
            max_staleness=max_staleness,
            max_failures=max_failures,
            track=track,
            refine=refine,
            keyframe_interval=keyframe_interval,
            style=style,
            sync=sync,
            zones=zones,
        ),
        backend=backend,
        device=device,
        precision=precision,
        threads=threads,
        lanes=lanes,
        trusted=trusted,
        decoder=decoder,
        retry_for=retry_for,
        stall_after=stall_after,
    )
    if isinstance(source, (Sequence, Mapping)) and not isinstance(source, str):
        if not source:
            raise UsageError("stream: expected a source or sources, got none")
        yield from _stream_all(replace(pipeline, sources=source), render=render)
    else:
        yield from _stream_one(replace(pipeline, source=source).of_one(), threading.Event(), render=render)


def _stream_one(pipeline: Pipeline, stop: threading.Event, *, render: bool) -> Generator[Result, None, None]:
    options = pipeline.options
    with ExitStack() as stack:
        source, engine, _ = pipeline.open_ends(stack, stop, Hooks(), may_stay=False)
        counts = Counts()
        feed = read_jobs(source, options, counts, Histogram(), stop)
        stages = build_stages(engine, options, with_picture=render)
        jobs = stack.enter_context(closing(through(feed, stages, source, options, counts, stop)))
        if isinstance(pipeline.source, str):
            stack.callback(source.stop)  # whoever leaves early does not wait for a camera that stalls
        for job in succeeding(jobs, counts, options.max_failures):
            yield job.result(engine.spec, pipeline.name)


def _stream_all(pipeline: Pipeline, *, render: bool) -> Generator[Result, None, None]:
    each, stop = pipeline.of_each(), threading.Event()
    results = Channel[Result](len(each))
    ended: list[BaseException | None] = []

    def work(one: Pipeline) -> None:
        error: BaseException | None = None
        try:
            with closing(_stream_one(one, stop, render=render)) as found, suppress(Closed):
                for result in found:
                    results.put(result)
        except BaseException as caught:
            error = caught
        ended.append(error)
        if len(ended) == len(each):
            results.close()

    with pipeline.shared_engine(stop) as engine:
        threads = [
            threading.Thread(target=work, args=(replace(one, model=engine),), name=f"solo-rt {name}", daemon=True)
            for name, one in each.items()
        ]
        for thread in threads:
            thread.start()
        try:
            with suppress(Closed):
                while True:
                    yield results.get()
        finally:
            stop.set()
            results.cancel()
            for thread in threads:
                thread.join(LEAVE_SECONDS)
    for error in ended:
        if error is not None:
            raise error
