"""One source as viewers see it: what its run has told so far."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import numpy as np

from solo_rt.decoders import Rgb, SemanticDecoder
from solo_rt.engine.base import Engine
from solo_rt.pipeline.report import Progress, RunReport
from solo_rt.pipeline.running import Hooks
from solo_rt.render.palette import class_palette
from solo_rt.result import Result, to_json
from solo_rt.serve.happenings import Happenings
from solo_rt.serve.recent import RATE_SECONDS, Recent
from solo_rt.source import SourceInfo, StateChange
from solo_rt.spec import ModelSpec

State = Literal["connecting", "live", "running", "stalled", "lost", "ended", "failed"]


@dataclass(frozen=True, slots=True)
class Model:
    """What computes the results."""

    spec: ModelSpec
    backend: str
    colours: tuple[Rgb, ...]  # of its classes, by id


class View:
    """What is known of a source. Its run's thread tells by the hooks, those of the page ask."""

    has_pictures = True  # for viewers, once results come

    def __init__(self, name: str, happenings: Happenings) -> None:
        self.name = name
        self.model: Model | None = None  # once the run has begun
        self._happenings = happenings
        self._lock = threading.Lock()  # guards all that follows
        self._info: SourceInfo | None = None
        self._state: State = "connecting"
        self._has_run = False
        self._reason = ""
        self._newest: Result | None = None
        self._number = 0  # of results so far
        self._progress: Progress | None = None
        self._recent, self._painting = Recent(), Recent()
        self._waiting: list[asyncio.Future[None]] = []  # viewers without anything newer to show

    def hooks(self) -> Hooks:
        """Return what a run tells this view by. None of it takes more than a few microseconds, or waits."""
        return Hooks(
            on_start=self._start,
            on_frame=self._take,
            on_source_state=self._change,
            on_progress=self._count,
            on_end=self._end,
            on_failure=self._fail,
        )

    @property
    def newest(self) -> tuple[int, Result | None]:
        """The newest result, and its number from 1."""
        with self._lock:
            return self._number, self._newest

    def newest_record(self) -> str:
        """Return the newest result as JSON, empty while there is none. Takes a while."""
        _, result = self.newest
        return to_json(result)

    async def newer(self, than: int) -> None:
        """Return once there is a result with a higher number."""
        while True:
            with self._lock:
                if self._number > than:
                    return
                waiter = asyncio.get_running_loop().create_future()
                self._waiting.append(waiter)
            try:
                await waiter
            finally:
                with self._lock, suppress(ValueError):
                    self._waiting.remove(waiter)

    def note_painting(self, seconds: float) -> None:
        """Note how long a picture for viewers took."""
        with self._lock:
            self._painting.add({"page": seconds})

    @property
    def is_live(self) -> bool:
        """Whether the source has a pace of its own."""
        with self._lock:
            return self._info is not None and self._info.live

    @property
    def is_well(self) -> bool:
        """Whether pictures come, or are about to for the first time."""
        with self._lock:
            return self._state in ("live", "running") or (self._state == "connecting" and not self._has_run)

    @property
    def has_ended(self) -> bool:
        """Whether all pictures have come."""
        with self._lock:
            return self._state == "ended"

    def record(self) -> dict[str, object]:
        """Return all that is shown as plain JSON values; times in milliseconds, ages in seconds."""
        with self._lock:
            info, progress, result = self._info, self._progress, self._newest
            recent, painting = self._recent.copy(), self._painting.copy()
            record: dict[str, object] = {
                "name": self.name,
                "state": self._state,
                "reason": self._reason,
                "results": self._number,
            }
        stages = recent.percentiles() | painting.percentiles()
        record["fps"] = round(recent.fps(), 1)
        lately = recent.percentiles(within=RATE_SECONDS)
        if "latency" in lately:
            record["latency"] = _in_ms(lately["latency"])
        if info is not None:
            record |= {
                "live": info.live,
                "size": [info.width, info.height],
                "aspect": round(info.width * float(info.pixel_aspect) / info.height, 4),
            }
            stages = {name: times for name, times in stages.items() if name != "read" or not info.live}  # it waits
        if progress is not None:
            counts = ("read", "processed", "dropped", "skipped", "failed")
            record["frames"] = {name: getattr(progress, name) for name in counts}
        if result is not None:
            record |= {"age": round(time.monotonic() - result.frame.captured_at, 2), **_found(result)}
        return {**record, "stages": {name: _in_ms(times) for name, times in stages.items()}}

    def _start(self, info: SourceInfo, engine: Engine) -> None:
        self.model = Model(engine.spec, engine.backend, palette_of(engine.spec))
        with self._lock:
            self._info = info
        self._become("live" if info.live else "running")

    def _take(self, result: Result) -> None:
        result.frame.require_planes()
        latency = time.monotonic() - result.frame.captured_at
        for event in result.events:
            self._happenings.add(self.name, event.to_record(result.classes))
        with self._lock:
            self._newest = result
            self._number += 1
            self._recent.add({**result.stage_seconds, "latency": latency})
            waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            with suppress(RuntimeError):  # the page has ended meanwhile
                waiter.get_loop().call_soon_threadsafe(_wake, waiter)

    def _change(self, change: StateChange) -> None:
        self._become(change.state, change.reason)

    def _count(self, progress: Progress) -> None:
        with self._lock:
            self._progress = progress

    def _end(self, report: RunReport) -> None:
        with self._lock:
            is_lost = self._state == "lost"  # and given up: that is why the run has ended
        if not is_lost:
            self._become("ended", report.damage or "")

    def _fail(self, error: BaseException) -> None:
        self._become("failed", str(error) or type(error).__name__)

    def _become(self, state: State, reason: str = "") -> None:
        with self._lock:
            self._state, self._reason = state, reason
            self._has_run |= state in ("live", "running")
        self._happenings.add(self.name, {"event": "state", "state": state, "reason": reason})


def palette_of(spec: ModelSpec) -> tuple[Rgb, ...]:
    """Return the colours that a model's classes have in all outputs, by class id."""
    if isinstance(spec.decoder, SemanticDecoder):
        return spec.decoder.palette
    return class_palette(len(spec.classes))


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _found(result: Result) -> dict[str, object]:
    """Return what is on the newest picture, by class, and what zones have counted."""
    found: dict[str, object] = {}
    if result.semantic is None:
        ids, counts = np.unique(result.instances.class_ids, return_counts=True)
        found["counts"] = _by_name(dict(zip(ids.tolist(), counts.tolist(), strict=True)), result)
    else:
        shares = result.semantic.shares()
        found["shares"] = {result.classes[i]: round(share, 4) for i, share in shares.items()}
    found["zones"] = [
        {
            "name": zone.name,
            "is_line": zone.is_line,
            "inside": _by_name(zone.inside, result),
            "entered": _by_name(zone.entered, result),
            "left": _by_name(zone.left, result),
        }
        for zone in result.zones
    ]
    return found


def _by_name(counts: Mapping[int, int], result: Result) -> dict[str, int]:
    return {result.classes[i]: int(count) for i, count in counts.items() if count}


def _in_ms(times: tuple[float, float]) -> list[float]:
    """Return what half and 95 % took, in milliseconds."""
    return [round(1e3 * seconds, 2) for seconds in times]
