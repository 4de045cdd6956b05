"""Runs by name: source, model and outputs are opened, and closed however the run ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from solo_rt import defaults
from solo_rt.decoders import SemanticDecoder, is_painted
from solo_rt.engine import Engine, find_model, open_engine
from solo_rt.engine.base import FrameEngine
from solo_rt.errors import UsageError
from solo_rt.gpu.labels import open_gpu_labels
from solo_rt.gpu.nvcodec import CAN_STAY_ON_GPU, VideoDecoder, gpu_of
from solo_rt.gpu.primary_context import share_primary_context
from solo_rt.pipeline.options import Options, Policy
from solo_rt.pipeline.outputs import Outputs
from solo_rt.pipeline.paths import refuse_overwriting
from solo_rt.pipeline.report import RunReport
from solo_rt.pipeline.running import Hooks, Run, succeeding, through
from solo_rt.pipeline.stages import Counts, build_stages, check_options, read_jobs
from solo_rt.pipeline.timing import Histogram
from solo_rt.pipeline.trace import Trace
from solo_rt.pipeline.workers import T, open_interruptibly
from solo_rt.sink import Sink, VideoOptions, check_video, open_sink, wants_sound
from solo_rt.source import Source, SourceInfo, check_decoder, open_source
from solo_rt.spec import ModelSpec
from solo_rt.types import Result
from solo_rt.uri import expand_home


@dataclass(frozen=True)
class Pipeline:
    """A source, a model and sinks, each by name or opened; what is given opened stays open.

    What outputs replace is not touched before the first result, and they are finished files however the run ends. A
    source or a sink of one's own derives from `Source` or `Sink`.
    """

    source: str | Source
    model: str | Path | Engine | None = None  # None is the default model
    sinks: Sequence[str | Sink] = ()
    options: Options = field(default_factory=Options)
    hooks: Hooks = field(default_factory=Hooks)
    backend: str = "auto"
    device: str = "auto"
    threads: int | None = None  # of the engine
    lanes: int | None = None  # frames computed at once; see `stream`
    trusted: bool = False  # open a TensorRT engine that was not built on this machine
    decoder: VideoDecoder = "cpu"  # nvdec is the GPU of `device`, or the first one
    retry_for: float | None = None  # seconds, with `stall_after` about live sources: see StreamSource
    stall_after: float = defaults.STALL_SECONDS
    video: VideoOptions = field(default_factory=VideoOptions)  # of video outputs, nvenc on the same GPU as `decoder`
    overwrite: bool = False  # let pictures go into a folder that holds such files already
    trace: Path | None = None  # a file for what every thread did when: see Trace
    name: str = ""  # of the source, for its results

    def run(self, *, stop: threading.Event | None = None) -> RunReport:
        """Open everything, run, close everything and return what happened; `stop` is as in `run`.

        Raises: as `run`; UsageError if an output would overwrite the source, the model or another output;
        KeyboardInterrupt if `stop` is set while opening.
        """
        stop = stop or threading.Event()
        options, hooks, gpu = self.options, self.hooks, gpu_of(self.device)
        sinks = [expand_home(sink) if isinstance(sink, str) else sink for sink in self.sinks]
        names = [sink for sink in sinks if isinstance(sink, str)]
        self._check(names, gpu)
        with ExitStack() as stack:
            source, engine, on_gpu = self._open(stack, stop, names, gpu)
            check_options(engine.spec, options)
            outputs = stack.enter_context(closing(Outputs(stop=stop, on_step=hooks.on_step)))
            for sink in sinks:
                if isinstance(sink, str):
                    outputs.add(self._open_sink(sink, source.info, engine.spec, gpu, stop))
                else:
                    outputs.add(sink, stays_open=True)
            trace = None if self.trace is None else stack.enter_context(closing(Trace(self.trace)))
            if hooks.on_start is not None:
                hooks.on_start(source.info, engine)
            labels = open_gpu_labels(gpu) if on_gpu and outputs.take_gpu_pictures else None
            return Run(source, engine, outputs, options, hooks, stop, labels, trace, name=self.name).finish()

    def opened_engine(self) -> Engine | None:
        """Return the model if it is an engine already."""
        return None if self.model is None or isinstance(self.model, (str, Path)) else self.model

    def open_engine(self, *, live: bool) -> Engine:
        """Return the engine for the model, which is a name; `live` is whether the source is."""
        assert self.model is None or isinstance(self.model, (str, Path))
        return open_engine(
            self.model,
            backend=self.backend,
            device=self.device,
            threads=self.threads,
            lanes=choose_lanes(self.lanes, self.options, live=live),
            trusted=self.trusted,
        )

    def _check(self, names: Sequence[str], gpu: int) -> None:
        """Refuse what cannot work before anything is opened. Raises: UsageError, SourceError, EngineError."""
        written = [*names, *([] if self.trace is None else [str(self.trace)])]
        model = find_model(self.model) if self.model is None or isinstance(self.model, (str, Path)) else None
        refuse_overwriting(self.source if isinstance(self.source, str) else None, model, written)
        if isinstance(self.source, str):
            check_decoder(self.decoder, self.source, gpu=gpu)
        else:
            _require_cpu(self.decoder)
        check_video(self.video, names, gpu=gpu)

    def _open(
        self, stack: ExitStack, stop: threading.Event, names: Sequence[str], gpu: int
    ) -> tuple[Source, Engine, bool]:
        """Return the source, the engine, and whether frames are to stay on the GPU."""

        def start(doing: str, open_it: Callable[[], T]) -> T:
            if self.hooks.on_step is not None:
                self.hooks.on_step(doing)
            return stack.enter_context(closing(open_interruptibly(open_it, stop)))

        def start_engine(*, live: bool) -> Engine:
            opened = self.opened_engine()
            return start("loading the model", lambda: self.open_engine(live=live)) if opened is None else opened

        def start_source(*, on_gpu: bool) -> Source:
            uri = self.source
            if not isinstance(uri, str):
                return uri
            return start(
                "opening the source",
                lambda: open_source(
                    uri,
                    decoder=self.decoder,
                    gpu=gpu,
                    on_gpu=on_gpu,
                    sound=wants_sound(self.video, names),
                    retry_for=self.retry_for,
                    stall_after=self.stall_after,
                ),
            )

        # The lanes of the engine depend on whether the source is live. NVDEC, which no live source has, needs the
        # engine first: frames stay on the GPU if it takes them there, and paints all that `render` would.
        if self.decoder == "cpu":
            source = start_source(on_gpu=False)
            return source, start_engine(live=source.info.live), False
        share_primary_context(gpu)
        engine = start_engine(live=False)
        on_gpu = CAN_STAY_ON_GPU and isinstance(engine, FrameEngine) and is_painted(engine.spec.decoder)
        return start_source(on_gpu=on_gpu), engine, on_gpu

    def _open_sink(self, uri: str, info: SourceInfo, spec: ModelSpec, gpu: int, stop: threading.Event) -> Sink:
        return open_sink(
            uri,
            info=info,
            model=spec.name,
            classes=spec.classes,
            palette=spec.decoder.palette if isinstance(spec.decoder, SemanticDecoder) else (),
            video=self.video,
            gpu=gpu,
            overwrite=self.overwrite,
            on_quit=stop.set,
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
    policy: Policy = "auto",
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
    options = Options(
        conf=conf,
        max_det=max_det,
        classes=classes,
        max_frames=max_frames,
        max_fps=max_fps,
        policy=policy,
        sync=sync,
    )
    with ExitStack() as stack:
        if isinstance(source, str):
            opened = stack.enter_context(closing(open_source(source, decoder=decoder, gpu=gpu_of(device))))
        else:
            _require_cpu(decoder)
            opened = source
        if model is None or isinstance(model, (str, Path)):
            lanes = choose_lanes(lanes, options, live=opened.info.live)
            engine = open_engine(model, backend=backend, device=device, threads=threads, lanes=lanes)
            stack.enter_context(closing(engine))
        else:
            engine = model
        counts, stop = Counts(), threading.Event()
        feed = read_jobs(opened, options, counts, Histogram(), stop)
        stages = build_stages(engine, options, with_picture=render)
        jobs = stack.enter_context(closing(through(feed, stages, opened, options, counts, stop)))
        for job in succeeding(jobs, counts, options.max_failures):
            yield job.result(engine.spec.classes)


def choose_lanes(lanes: int | None, options: Options, *, live: bool) -> int | None:
    """Return how many frames to compute at once, None to leave that to the engine. Raises: UsageError."""
    if options.sync and lanes not in (None, 1):
        raise UsageError(f"expected 1 lane with sync, which computes one frame at a time, got {lanes}")
    return 1 if lanes is None and (options.sync or live) else lanes


def _require_cpu(decoder: VideoDecoder) -> None:
    if decoder != "cpu":
        raise UsageError(f"expected the address of a video file with decoder={decoder!r}, got an opened source")
