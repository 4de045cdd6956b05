"""One camera of a fleet, as its owner runs it, and what it says of itself."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from solo_rt.errors import EngineError
from solo_rt.pipeline import Hooks, Pipeline
from solo_rt.pipeline.paths import PLACE
from solo_rt.pipeline.report import Progress, RunReport
from solo_rt.result import Result
from solo_rt.sink.broker_address import BROKERS
from solo_rt.sink.encoding import PUSHED
from solo_rt.source import SourceInfo, StateChange
from solo_rt.source.base import SourceState
from solo_rt.track.zones import zones_of
from solo_rt.uri import scheme

AGAIN_SECONDS = 5.0  # from a camera's failure to the next try
RATE_SECONDS = 1.0  # over which frames are counted, at least
WAITING = ("read", "sink")  # stages that are no work of the model's

STREAMS = (*BROKERS, *PUSHED)  # by the scheme of an output's address

State = SourceState | Literal["running", "ended", "failed"]


@dataclass(frozen=True, slots=True)
class Camera:
    """A source, and how many owners it has had before."""

    name: str
    uri: str
    turn: int = 0

    def outputs(self, wanted: Sequence[str], *, again: int = 0) -> list[str]:
        """Return the outputs' addresses: a file of each owner, for it may not be the last's to write; streams stay.

        One more is what an owner has begun `again`, so often, after failures. No source has a + in its name.
        """
        turn = f"+{self.turn + 1}" if self.turn or again else ""
        name = f"{self.name}{turn}{f'.{again + 1}' if again else ''}"
        return [uri.replace(PLACE, self.name if scheme(uri) in STREAMS else name) for uri in wanted]


@dataclass(frozen=True, slots=True)
class Figures:
    """How a camera is."""

    state: State
    reason: str = ""  # of the state
    read: int = 0  # frames, under this owner; so are the next four
    processed: int = 0
    dropped: int = 0
    skipped: int = 0
    failed: int = 0
    fps: float = 0.0  # results per second
    offered: float = 0.0  # frames per second that the camera gives and `max_fps` leaves
    latency: tuple[float, float] = (0.0, 0.0)  # seconds, of half and of 95 % of the results
    seconds: float = 0.0  # of work for a frame that nothing else holds up; 0 while unknown

    @property
    def cost(self) -> float:
        """Seconds of work per second; 0 while unknown."""
        return self.seconds * self.offered

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.state == "ended"

    def to_record(self) -> dict[str, object]:
        """Return the figures as plain JSON values."""
        return asdict(self)


class CameraRun:
    """A camera that runs on a thread of its own until `stop`, and again when it has failed."""

    def __init__(self, camera: Camera, pipeline: Pipeline, outputs: Sequence[str]) -> None:
        """Begin; the model of the pipeline is an opened engine that several may use."""
        self._camera, self._outputs = camera, outputs
        # Since it began, or began again; of its thread alone.
        self._has_begun = self._has_results = False
        self._stop = threading.Event()
        self._lock = threading.Lock()  # guards all that follows
        self._figures = Figures("connecting")
        self._newest: Result | None = None
        self._lacks_engine = False
        self._seconds = math.inf
        self._counted = time.monotonic(), 0, 0  # when, frames read and not skipped, results
        self._pipeline = replace(
            pipeline,
            source=camera.uri,
            name=camera.name,
            options=replace(pipeline.options, zones=zones_of(pipeline.options.zones, camera.name)),
            hooks=Hooks(
                on_start=self._start,
                on_frame=self._take,
                on_source_state=self._change,
                on_progress=self._count,
            ),
        )
        self._thread = threading.Thread(target=self._run, name=f"solo-rt camera {camera.name}", daemon=True)
        self._thread.start()

    @property
    def figures(self) -> Figures:
        """How the camera is now."""
        with self._lock:
            return self._figures

    @property
    def newest(self) -> Result | None:
        """The newest result; none while there is none, or where pictures stay on a GPU, whose memory it would keep."""
        with self._lock:
            return self._newest

    @property
    def lacks_engine(self) -> bool:
        """Whether it has failed because of the engine, at its work, and given no results since."""
        with self._lock:
            return self._lacks_engine

    def stop(self) -> None:
        """Let it end soon, its outputs finished."""
        self._stop.set()

    def join(self, seconds: float) -> None:
        """Wait for its end, a while."""
        self._thread.join(seconds)

    def _run(self) -> None:
        again = 0
        while not self._stop.is_set():
            self._has_begun = self._has_results = False
            try:
                sinks = self._camera.outputs(self._outputs, again=again)
                report = replace(self._pipeline, sinks=sinks).run(stop=self._stop)
            except BaseException as error:  # whatever it is, the others go on
                again += self._has_results
                with self._lock:
                    self._lacks_engine = self._has_begun and isinstance(error, EngineError)
                self._become("failed", str(error) or type(error).__name__)
                self._stop.wait(AGAIN_SECONDS)
            else:
                self._end(report)
                return

    def _start(self, info: SourceInfo, _engine: object) -> None:
        self._has_begun = True
        self._become("live" if info.live else "running")

    def _take(self, result: Result) -> None:
        self._has_results = True
        work = sum(seconds for stage, seconds in result.stage_seconds.items() if stage not in WAITING)
        with self._lock:
            self._seconds, self._lacks_engine = min(self._seconds, work), False
            self._newest = result if result.frame.device is None else None

    def _change(self, change: StateChange) -> None:
        self._become(change.state, change.reason)

    def _count(self, progress: Progress) -> None:
        now = time.monotonic()
        with self._lock:
            at, wanted, processed = self._counted
            figures = replace(
                self._figures,
                read=progress.read,
                processed=progress.processed,
                dropped=progress.dropped,
                skipped=progress.skipped,
                failed=progress.failed,
                latency=(progress.latency.p50, progress.latency.p95),
            )
            if now >= at + RATE_SECONDS and math.isfinite(self._seconds):
                counts = progress.read - progress.skipped, progress.processed
                offered, fps = (max(0, n - n0) / (now - at) for n, n0 in zip(counts, (wanted, processed), strict=True))
                figures = replace(figures, offered=offered, fps=fps, seconds=self._seconds)
                self._counted = now, *counts
            self._figures = figures

    def _end(self, report: RunReport) -> None:
        self._become("ended", report.damage or "; ".join(failure.reason for failure in report.failures))

    def _become(self, state: State, reason: str = "") -> None:
        with self._lock:
            fps = self._figures.fps if state in ("live", "running") else 0.0
            self._figures = replace(self._figures, state=state, reason=reason, fps=fps)
