"""A stage of the way of a frame, the job that each frame is on it, and what became of them all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from solo_rt.decoders import SemanticDecoder
from solo_rt.events import Event, ZoneState
from solo_rt.pipeline.sharing import SharedEngine
from solo_rt.pipeline.timing import Histogram
from solo_rt.pipeline.trace import Trace
from solo_rt.preprocess import Letterbox
from solo_rt.result import Result
from solo_rt.spec import ModelSpec
from solo_rt.types import Found, Frame, Output

if TYPE_CHECKING:
    from solo_rt.pipeline.keyframes import Place

# A stage hangs that takes longer than both for a frame; the first one may load, compile and measure.
HANG_SECONDS, HANG_TIMES, FIRST_HANG_SECONDS = 60.0, 20.0, 600.0

Float32 = NDArray[np.float32]


@dataclass(slots=True)
class Counts:
    """Frames so far; `read == dropped + stale + skipped + failed + processed` once a run is over.

    Each is written by one thread: `stale` by the first stage, `failed` by the caller's, the others by the reading one.
    """

    read: int = 0  # given by the source
    dropped: int = 0  # replaced by newer ones, or given after the run was stopped
    skipped: int = 0  # left out because of max_fps
    stale: int = 0  # too old when their turn came
    failed: int = 0  # a stage raised something


@dataclass(slots=True)
class Job:
    """One frame and what is known about it so far. It belongs to one stage at a time, so nothing in it is locked."""

    frame: Frame
    seconds: dict[str, float] = field(default_factory=dict)  # by stage
    tensor: Float32 | None = None  # [1, 3, H, W], dropped after inference
    letterbox: Letterbox | None = None
    outputs: Mapping[str, Output] = field(default_factory=dict)
    place: Place | None = None  # among key frames, where there are any
    found: Found | None = None
    rendered: Frame | None = None  # by a FrameEngine without labels at first
    trails: tuple[Float32, ...] = ()
    zones: tuple[ZoneState, ...] = ()
    events: tuple[Event, ...] = ()
    error: Exception | None = None  # what a stage raised; later ones leave the job alone

    @property
    def is_moved(self) -> bool:
        """Whether its instances are those of a key frame, moved."""
        return self.place is not None and self.place.change is not None

    def result(self, spec: ModelSpec, source: str = "") -> Result:
        """Return what the caller gets to see."""
        assert self.found is not None
        look = spec.decoder if isinstance(spec.decoder, SemanticDecoder) else None
        return Result(
            self.frame,
            self.found,
            spec.classes,
            rendered=self.rendered,
            stage_seconds=self.seconds,
            source=source,
            trails=self.trails,
            zones=self.zones,
            events=self.events,
            palette=() if look is None else look.palette,
            unpainted=() if look is None else look.unpainted,
        )


class Stage:
    """A named function of a job that keeps its times. Up to `lanes` threads call it at once, each with its own job."""

    def __init__(
        self,
        name: str,
        function: Callable[[Job], None],
        *,
        lanes: int = 1,
        cancel: Callable[[], None] = lambda: None,
        computes: bool = False,
        line: SharedEngine | None = None,
    ) -> None:
        """`cancel` lets calls of the function fail soon, if it can. One that `computes` leaves moved frames alone.

        `line` is the engine in whose line a frame stands, if it may get old, before it is taken for this stage.
        """
        self.name = name
        self.line = line
        self.cancel = cancel
        self.lanes = lanes
        self.times = Histogram()
        self.trace: Trace | None = None  # is told of every frame
        self._function, self._computes = function, computes
        self._begun: list[float] = []  # when each job was that a thread is at, in seconds of `time.perf_counter`
        self._lock = threading.Lock()  # guards `times` and `_begun` while the stage runs

    @property
    def is_busy(self) -> bool:
        """Whether a thread is at a job."""
        return bool(self._begun)

    def is_hanging(self) -> bool:
        """Return whether a thread is at its job for so long that it will hardly come back."""
        with self._lock:
            limit = max(HANG_SECONDS, HANG_TIMES * self.times.longest) if self.times.count else FIRST_HANG_SECONDS
            return bool(self._begun) and time.perf_counter() - min(self._begun) > limit

    def __call__(self, job: Job) -> None:
        """Do the work, unless there is none or it failed before; what is raised now stays with the job."""
        if job.error is not None or (self._computes and job.is_moved):
            return
        started = time.perf_counter()
        with self._lock:
            self._begun.append(started)
        try:
            self._function(job)
        except Exception as error:
            name_stage(error, self.name)
            job.error = error
        finally:
            seconds = time.perf_counter() - started
            with self._lock:
                self._begun.remove(started)
                if job.error is None:
                    self.times.add(seconds)
        job.seconds[self.name] = seconds
        if self.trace is not None:
            self.trace.span(self.name, job.frame.index, started, seconds)


def name_stage(error: BaseException, stage: str) -> None:
    """Note on an exception where it came from; Python 3.11 and later print it with the traceback (PEP 678)."""
    error.__notes__ = [*getattr(error, "__notes__", []), f"in the {stage} stage"]  # type: ignore[attr-defined]
