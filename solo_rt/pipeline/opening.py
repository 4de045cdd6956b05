"""Runs by name: sources, model and outputs are opened, and closed however the run ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from solo_rt import defaults
from solo_rt.decoders import SemanticDecoder, is_painted
from solo_rt.engine import Engine, Precision, find_model, open_engine
from solo_rt.engine.base import FrameEngine
from solo_rt.errors import UsageError
from solo_rt.gpu.labels import open_gpu_labels
from solo_rt.gpu.nvcodec import CAN_STAY_ON_GPU, VideoDecoder, gpu_of
from solo_rt.pipeline.opening_thread import Opening, Openings
from solo_rt.pipeline.options import Options, choose_lanes
from solo_rt.pipeline.outputs import Outputs
from solo_rt.pipeline.paths import PLACE, address, name_sources, refuse_overwriting
from solo_rt.pipeline.report import RunReport
from solo_rt.pipeline.running import Hooks, Run, telling_failure
from solo_rt.pipeline.sharing import one_by_one, share
from solo_rt.pipeline.side_by_side import run_side_by_side, sum_up
from solo_rt.pipeline.stages import check_options
from solo_rt.pipeline.trace import Trace
from solo_rt.sink import Sink, VideoOptions, check_video, open_sink, wants_sound
from solo_rt.sink.address import check_needs
from solo_rt.source import Source, SourceInfo, check_decoder, open_source
from solo_rt.spec import ModelSpec
from solo_rt.track.zones import check_sources, zones_of
from solo_rt.uri import expand_home, redact

NULL = "null://"


@dataclass(frozen=True)
class Pipeline:
    """A source or several, a model and sinks, each by name or opened; what is given opened stays open.

    What outputs replace is not touched before the first result, and they are finished files however the run ends. A
    source or a sink of one's own derives from `Source` or `Sink`.

    Several `sources` run side by side, each as if it were alone, but for the engine: that serves them in turn, or
    together where its model takes several pictures at once. `{source}` in an output is the name of its source, which
    is `Result.source` as well. A source that cannot be opened, or ends with an error, ends alone.
    """

    source: str | Path | Source | None = None
    model: str | Path | Engine | None = None  # None is the default model
    sinks: Sequence[str | Path | Sink] = ()
    options: Options = field(default_factory=Options)
    hooks: Hooks | Callable[[str], Hooks] = field(default_factory=Hooks)  # or those of the source called so
    backend: str = "auto"
    device: str = "auto"
    precision: Precision = "auto"  # see `open_engine`
    threads: int | None = None  # of the engine
    lanes: int | None = None  # frames computed at once; see `stream`
    trusted: bool = False  # open a TensorRT engine that was not built on this machine
    decoder: VideoDecoder = "cpu"  # nvdec is the GPU of `device`, or the first one
    retry_for: float | None = None  # seconds, with `stall_after` about live sources: see StreamSource
    stall_after: float = defaults.STALL_SECONDS
    video: VideoOptions = field(default_factory=VideoOptions)  # of video outputs, nvenc on the same GPU as `decoder`
    overwrite: bool = False  # let pictures go into a folder that holds such files already
    is_watched: bool = False  # a page shows the results, so that the run goes on when all outputs have failed
    trace: Path | None = None  # a file for what every thread did when: see Trace
    # Of the source, for its results, the zones that are on it, and {source}; of an address, that of `name_sources`.
    name: str = ""
    # Instead of `source`; names are those of `name_sources`.
    sources: Sequence[str | Path] | Mapping[str, str | Path | Source] = ()

    def __post_init__(self) -> None:
        """Take paths as the addresses that they are. Raises: UsageError for one output or source where several go."""
        for what, given in (("sinks", self.sinks), ("sources", self.sources)):
            if isinstance(given, (str, Path)):  # whose letters would be addresses
                raise UsageError(f"pipeline: expected {what} as a list, got {redact(str(given))!r}; put it into one")
        several = self.sources
        named = {n: address(one) for n, one in several.items()} if isinstance(several, Mapping) else None
        object.__setattr__(self, "source", address(self.source))
        object.__setattr__(self, "sinks", [address(sink) for sink in self.sinks])
        object.__setattr__(self, "sources", [address(one) for one in several] if named is None else named)

    def run(self, *, stop: threading.Event | None = None, on_wait: Callable[[], None] = lambda: None) -> RunReport:
        """Open everything, run, close everything and return what happened; `stop` is as in `run`.

        With several sources hooks are called on a thread per source, `on_wait` on this one ten times a second, and the
        report is that of all, with what became of each in `sources`.
        Raises: as `run`; UsageError if an output would overwrite the source, the model or another output;
        KeyboardInterrupt if `stop` is set while opening; of several sources, what ended them if all have failed.
        """
        stop = stop or threading.Event()
        if (self.source is None) == (not self.sources):
            raise UsageError(f"pipeline: expected a source or sources, got {'none' if self.source is None else 'both'}")
        outputs = [sink for sink in self.sinks if isinstance(sink, str)]
        check_needs(outputs, has_zones=bool(self.options.zones), has_tracks=self.options.track)
        if not self.sources:
            return self.of_one()._run_one(stop)
        started = time.perf_counter()
        each = self.of_each()
        with self.shared_engine(stop) as engine:
            check_options(engine.spec, self.options)
            runs = {name: partial(replace(one, model=engine)._run_one, stop) for name, one in each.items()}
            ends = run_side_by_side(runs, stop, on_wait)
        return sum_up(ends, time.perf_counter() - started)

    def _run_one(self, stop: threading.Event) -> RunReport:
        """Run the only source."""
        hooks = self._hooks_of(self.name)
        with telling_failure(hooks):
            return self._open_and_run(hooks, stop)

    def _open_and_run(self, hooks: Hooks, stop: threading.Event) -> RunReport:
        options, gpu = self.options, gpu_of(self.device)
        sinks = [expand_home(sink) if isinstance(sink, str) else sink for sink in self.sinks]
        names = [sink for sink in sinks if isinstance(sink, str)]
        with ExitStack() as stack:
            source, engine, on_gpu = self.open_ends(stack, stop, hooks, names, may_stay=True)
            check_options(engine.spec, options)
            outputs = Outputs(stop=stop, on_step=hooks.on_step, may_all_fail=self.is_watched)
            stack.enter_context(closing(outputs))
            for sink in sinks:
                if isinstance(sink, str):
                    outputs.add(self._open_sink(sink, source.info, engine.spec, gpu, stop))
                elif not isinstance(sink, Path):
                    outputs.add(sink, stays_open=True)
            trace = None if self.trace is None else stack.enter_context(closing(Trace(self.trace)))
            labels = open_gpu_labels(gpu) if on_gpu and outputs.take_gpu_pictures else None
            return Run(source, engine, outputs, options, hooks, stop, labels, trace, name=self.name).finish()

    def _hooks_of(self, name: str) -> Hooks:
        return self.hooks if isinstance(self.hooks, Hooks) else self.hooks(name)

    def of_one(self) -> Pipeline:
        """Return the pipeline of the only source, with its name where it has one.

        Raises: UsageError for a zone of a source that there is not.
        """
        named = self
        if isinstance(self.source, str) and not self.name:
            ((name, source),) = name_sources([self.source]).items()
            named = replace(self, source=source, name=name)
        check_sources(self.options.zones, [named.name] if named.name else [])
        return named.with_its_name() if named.name else named

    def of_each(self) -> dict[str, Pipeline]:
        """Return a pipeline per source, by name. Raises: UsageError if outputs of several would be the same."""
        sources = self.sources if isinstance(self.sources, Mapping) else name_sources([*map(str, self.sources)])
        check_sources(self.options.zones, sources)
        several = len(sources) > 1
        for sink in self.sinks if several else ():
            if not isinstance(sink, str):
                raise UsageError("expected outputs by name with several sources, got an opened one")
            if PLACE not in sink and sink != NULL:
                raise UsageError(
                    f"output {redact(sink)}: with several sources its name needs {PLACE}, as in {PLACE}.mp4"
                )
        if several and self.trace is not None and PLACE not in str(self.trace):
            raise UsageError(f"trace {self.trace}: with several sources its name needs {PLACE}")
        each = {
            name: replace(self, source=source, sources=(), name=name, hooks=self._hooks_of(name)).with_its_name()
            for name, source in sources.items()
        }
        outputs = [sink for one in each.values() for sink in one.sinks if isinstance(sink, str) and sink != NULL]
        for source in sources.values():
            refuse_overwriting(source if isinstance(source, str) else None, None, outputs)
        return each

    def with_its_name(self) -> Pipeline:
        """Return the pipeline with the zones of its source, and the name in its outputs."""
        return replace(
            self,
            options=replace(self.options, zones=zones_of(self.options.zones, self.name)),
            sinks=[sink.replace(PLACE, self.name) if isinstance(sink, str) else sink for sink in self.sinks],
            trace=None if self.trace is None else Path(str(self.trace).replace(PLACE, self.name)),
        )

    @contextmanager
    def shared_engine(self, stop: threading.Event) -> Iterator[Engine]:
        """Open the engine, unless it is open, and give it for several runs at once."""
        opened = self._opened_engine()
        if opened is not None:
            yield share(opened)
            return
        with closing(Opening(lambda: self.open_model(live=True), may_hang=False)) as opening:
            yield share(opening.wait(stop))

    def _opened_engine(self) -> Engine | None:
        """Return the model if it is an engine already."""
        return None if self.model is None or isinstance(self.model, (str, Path)) else self.model

    def open_model(self, *, live: bool) -> Engine:
        """Return the engine for the model, which is a name; `live` is whether the source is."""
        assert self.model is None or isinstance(self.model, (str, Path))
        return open_engine(
            self.model,
            backend=self.backend,
            device=self.device,
            threads=self.threads,
            lanes=choose_lanes(self.lanes, self.options, live=live),
            precision=self.precision,
            trusted=self.trusted,
        )

    def _is_of_a_file(self) -> bool:
        try:
            return isinstance(self.source, str) and Path(expand_home(self.source)).is_file()
        except OSError:  # opening it says why
            return False

    def _check(self, names: Sequence[str], gpu: int) -> None:
        """Refuse what cannot work before anything is opened. Raises: UsageError, SourceError, EngineError."""
        written = [*names, *([] if self.trace is None else [str(self.trace)])]
        model = find_model(self.model) if self.model is None or isinstance(self.model, (str, Path)) else None
        refuse_overwriting(self.source if isinstance(self.source, str) else None, model, written)
        if isinstance(self.source, str):
            check_decoder(self.decoder, self.source, gpu=gpu)
        elif self.decoder != "cpu":
            raise UsageError(f"expected the address of a video file with decoder={self.decoder!r}, got a source")
        check_video(self.video, names, gpu=gpu)

    def open_ends(
        self, stack: ExitStack, stop: threading.Event, hooks: Hooks, names: Sequence[str] = (), *, may_stay: bool
    ) -> tuple[Source, Engine, bool]:
        """Return the source, the engine, and whether frames stay on the GPU, if they may; `names` are the outputs'.

        Raises: UsageError, SourceError, EngineError, before anything is opened if that can be known.
        """
        self._check(names, gpu_of(self.device))
        openings = Openings(stack, stop, hooks.on_step)
        # The lanes of the engine depend on whether the source is live; no file is, so both are opened at once. NVDEC,
        # which no live source has, needs the engine first: frames stay on the GPU if it takes them there, and paints
        # all that `render` would.
        if self.decoder == "cpu":
            finish_engine = self._begin_engine(openings, live=False) if self._is_of_a_file() else None
            source = self._open_source(openings, names, on_gpu=False)
            finish_engine = finish_engine or self._begin_engine(openings, live=source.info.live)
            return source, finish_engine(), False
        engine = self._begin_engine(openings, live=False)()
        on_gpu = may_stay and CAN_STAY_ON_GPU and self._is_painted_by(engine)
        return self._open_source(openings, names, on_gpu=on_gpu), engine, on_gpu

    def _begin_engine(self, openings: Openings, *, live: bool) -> Callable[[], Engine]:
        """Begin to open the engine, unless it is open, and return what waits for it."""
        opened = self._opened_engine()
        if opened is not None:
            return partial(one_by_one, opened, live=live)
        opening = openings.begin(lambda: self.open_model(live=live), may_hang=False)
        return lambda: one_by_one(openings.finish(opening, "loading the model"), live=live)

    def _open_source(self, openings: Openings, names: Sequence[str], *, on_gpu: bool) -> Source:
        """Return the source, opened unless it was before."""
        uri = self.source
        if not isinstance(uri, str):
            assert uri is not None
            assert not isinstance(uri, Path)
            return uri
        opening = openings.begin(
            lambda: open_source(
                uri,
                decoder=self.decoder,
                gpu=gpu_of(self.device),
                on_gpu=on_gpu,
                sound=wants_sound(self.video, names),
                retry_for=self.retry_for,
                stall_after=self.stall_after,
            )
        )
        return openings.finish(opening, "opening the source")

    def _is_painted_by(self, engine: Engine) -> bool:
        """Return whether the engine paints all that is to be seen."""
        options = self.options
        # A CPU paints what is tracked, and looks at outlines and at how the picture moves.
        needs_planes = options.track or options.refine or options.keyframe_interval is not None
        return (
            isinstance(engine, FrameEngine)
            and is_painted(engine.spec.decoder)
            and options.style.fits_engines
            and not needs_planes
        )

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
