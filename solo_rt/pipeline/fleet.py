"""Several sources side by side on one engine."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from solo_rt.engine import Engine
from solo_rt.engine.base import Float32, FrameEngine
from solo_rt.errors import UsageError
from solo_rt.pipeline.opening import Pipeline
from solo_rt.pipeline.paths import refuse_overwriting
from solo_rt.pipeline.report import RunReport
from solo_rt.pipeline.running import Hooks
from solo_rt.pipeline.workers import open_interruptibly
from solo_rt.render import Painting
from solo_rt.source import Source
from solo_rt.types import Frame, Output
from solo_rt.uri import redact, scheme

POLL_SECONDS = 0.1
STOP_SECONDS = 3.0  # for all runs together, once they are stopped
NULL = "null://"
PLACE = "{source}"  # in the address of an output: the name of its source


@dataclass(frozen=True)
class Fleet:
    """A run per source, each as if it were alone, but for the engine: that takes one frame of each in its turn.

    A source that cannot be opened, or ends with an error, ends alone.
    """

    sources: Mapping[str, str | Source]  # by name; see `name_sources`
    pipeline: Pipeline  # of each, whatever its source; `{source}` in addresses of outputs is the name of the source
    hooks: Callable[[str], Hooks] = lambda name: Hooks()  # of the source called so; on a thread of that source

    def run(
        self, *, stop: threading.Event | None = None, on_wait: Callable[[], None] = lambda: None
    ) -> dict[str, RunReport | BaseException]:
        """Run all to their ends and return what happened to each: its report, or what ended it.

        `on_wait` is called on this thread ten times a second; `stop` is as in `run`. Raises: what opening the engine
        raises; UsageError if outputs of several sources would be the same.
        """
        stop, pipelines = stop or threading.Event(), self._pipelines()
        ends: dict[str, RunReport | BaseException] = {}

        def run_one(name: str, engine: Engine) -> None:
            try:
                ends[name] = replace(pipelines[name], model=engine).run(stop=stop)
            except BaseException as error:
                ends[name] = error

        with self._engine(stop) as engine:
            shared = share(engine)
            threads = [
                threading.Thread(target=run_one, args=(name, shared), name=f"solo-rt source {name}", daemon=True)
                for name in pipelines
            ]
            for thread in threads:
                thread.start()
            leave_at: float | None = None
            while any(thread.is_alive() for thread in threads) and (leave_at is None or time.monotonic() < leave_at):
                next(thread for thread in threads if thread.is_alive()).join(POLL_SECONDS)
                on_wait()
                if stop.is_set() and leave_at is None:
                    leave_at = time.monotonic() + STOP_SECONDS
        return {name: ends.get(name, TimeoutError(f"source {name}: it did not end in time")) for name in pipelines}

    def _pipelines(self) -> dict[str, Pipeline]:
        several = len(self.sources) > 1
        for sink in self.pipeline.sinks if several else ():
            if not isinstance(sink, str):
                raise UsageError("expected outputs by name with several sources, got an opened one")
            if PLACE not in sink and sink != NULL:
                raise UsageError(
                    f"output {redact(sink)}: with several sources its name needs {PLACE}, as in {PLACE}.mp4"
                )
        trace = self.pipeline.trace
        if several and trace is not None and PLACE not in str(trace):
            raise UsageError(f"trace {trace}: with several sources its name needs {PLACE}")
        pipelines = {
            name: replace(
                self.pipeline,
                source=source,
                name=name,
                sinks=[sink.replace(PLACE, name) if isinstance(sink, str) else sink for sink in self.pipeline.sinks],
                trace=None if trace is None else Path(str(trace).replace(PLACE, name)),
                hooks=self.hooks(name),
            )
            for name, source in self.sources.items()
        }
        outputs = [
            sink for pipeline in pipelines.values() for sink in pipeline.sinks if isinstance(sink, str) and sink != NULL
        ]
        for source in self.sources.values():
            refuse_overwriting(source if isinstance(source, str) else None, None, outputs)
        return pipelines

    @contextmanager
    def _engine(self, stop: threading.Event) -> Iterator[Engine]:
        opened = self.pipeline.opened_engine()
        if opened is not None:
            yield opened
            return
        with closing(open_interruptibly(lambda: self.pipeline.open_engine(live=True), stop)) as engine:
            yield engine


def name_sources(uris: Sequence[str]) -> dict[str, str]:
    """Return the addresses by short names that are fit for files: `cam0` of cam0.avi, `camera-0`, `host-path`."""
    named: dict[str, str] = {}
    for uri in uris:
        shown = redact(uri).partition("?")[0]
        base = shown.partition("://")[2] if scheme(uri) else Path(shown).stem if "/" in shown or "." in shown else shown
        base = re.sub(r"[^A-Za-z0-9._-]+", "-", base).strip("-.") or "source"
        name, number = base, 2
        while name in named:
            name, number = f"{base}-{number}", number + 1
        named[name] = uri
    return named


def share(engine: Engine) -> Engine:
    """Return the engine for several runs at once: each gets it in its turn, whoever has waited longest first."""
    return _SharedFrameEngine(engine) if isinstance(engine, FrameEngine) else _SharedEngine(engine)


class _SharedEngine:
    """See `Engine`. Closing it does nothing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.spec, self.lanes, self.backend = engine.spec, engine.lanes, engine.backend
        self._turns = threading.Condition()  # guards the two numbers
        self._next = self._done = 0  # turns given, and how many may have been taken by now

    def infer(self, inputs: Mapping[str, Float32]) -> dict[str, Output]:
        with self._turn():
            return self._engine.infer(inputs)

    def cancel(self) -> None:
        self._engine.cancel()

    def close(self) -> None:
        pass

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with self._turns:
            mine = self._next
            self._next += 1
            self._turns.wait_for(lambda: mine < self._done + self.lanes)
        try:
            yield
        finally:
            with self._turns:
                self._done += 1
                self._turns.notify_all()


class _SharedFrameEngine(_SharedEngine):
    """See `FrameEngine`."""

    def infer_frame(self, frame: Frame, painting: Painting | None = None) -> tuple[dict[str, Output], Frame | None]:
        assert isinstance(self._engine, FrameEngine)
        with self._turn():
            return self._engine.infer_frame(frame, painting)
