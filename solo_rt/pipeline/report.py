"""What a run tells about itself: `Progress` while it lasts, `RunReport` afterwards."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from solo_rt.events import ZoneState
from solo_rt.pipeline.output import Failure
from solo_rt.pipeline.timing import Histogram, Percentiles, Stats

PERCENTILE_SECONDS = 0.25  # between two looks at the histograms, which take 0.1 ms


@dataclass(frozen=True, slots=True)
class Progress:
    """Counts so far; frames still under way are read but not yet processed."""

    read: int
    processed: int
    dropped: int
    skipped: int
    failed: int
    instances: int | None
    seconds: float
    stages: Mapping[str, Percentiles]  # so far, of a moment ago; by stage as in `RunReport`
    latency: Percentiles  # likewise


class RunningTimes:
    """The times of a run that goes on: percentiles of histograms that others fill, no more often than is cheap."""

    def __init__(self, stages: Mapping[str, Histogram], latency: Histogram) -> None:
        self._stages, self._latency = stages, latency
        self._looked_at = -math.inf
        self._found: tuple[Mapping[str, Percentiles], Percentiles] = {}, latency.percentiles()

    def percentiles(self) -> tuple[Mapping[str, Percentiles], Percentiles]:
        """Return those of the stages and of the latency."""
        now = time.monotonic()
        if now >= self._looked_at + PERCENTILE_SECONDS:
            self._looked_at = now
            stages = {name: times.percentiles() for name, times in self._stages.items()}
            self._found = stages, self._latency.percentiles()
        return self._found


@dataclass(frozen=True, slots=True)
class RunReport:
    """What happened; `read == processed + dropped + skipped + failed`."""

    read: int  # frames the source gave
    processed: int  # results the sinks got
    dropped: int  # frames of a live source that newer ones replaced, or that were too old when their turn came
    skipped: int  # frames left out because of max_fps
    failed: int  # frames left out because a stage raised something
    instances: int | None  # of all results together; None with a model that looks for none
    seconds: float  # wall time from the first read to the last write
    stages: Mapping[str, Stats]  # by stage in the order a frame meets them; "read" includes waiting for a live source
    latency: Stats  # from the decoder having the frame to the sinks having its result
    damage: str | None  # what was wrong with the source, one line
    failures: tuple[Failure, ...]  # outputs that lack something
    behind: Mapping[str, int]  # results that outputs of a live source missed because they were too slow, by output
    interrupted: bool  # the stop event ended the run
    sources: Mapping[str, RunReport | BaseException] = field(default_factory=dict)  # what became of each of several
    zones: tuple[ZoneState, ...] = ()  # after the last result
    classes: tuple[str, ...] = ()  # names by class id
    moved: int | None = None  # results whose instances were moved from a key frame; None without key frames

    @property
    def fps(self) -> float:
        """Results per second of wall time."""
        return self.processed / self.seconds if self.seconds > 0 else 0.0

    def to_record(self) -> dict[str, object]:
        """Return the report as plain JSON values; times in milliseconds."""
        return {
            "frames": {
                "read": self.read,
                "processed": self.processed,
                "dropped": self.dropped,
                "skipped": self.skipped,
                "failed": self.failed,
                **({} if self.moved is None else {"moved": self.moved}),
            },
            "instances": self.instances,
            "seconds": round(self.seconds, 3),
            "fps": round(self.fps, 2),
            "stages": {name: _in_ms(stats) for name, stats in self.stages.items()},
            "latency": _in_ms(self.latency),
            "damage": self.damage,
            "behind": dict(self.behind),
            "failures": [asdict(failure) for failure in self.failures],
            "interrupted": self.interrupted,
            **({"sources": {name: _end(end) for name, end in self.sources.items()}} if self.sources else {}),
            **({"zones": [zone.to_record(self.classes) for zone in self.zones]} if self.zones else {}),
        }


def _in_ms(stats: Stats) -> dict[str, float]:
    times = {"mean_ms": stats.mean, "p50_ms": stats.p50, "p95_ms": stats.p95, "p99_ms": stats.p99, "max_ms": stats.max}
    return {**{name: round(1e3 * value, 3) for name, value in times.items()}, "busy": round(stats.busy, 4)}


def _end(end: RunReport | BaseException) -> dict[str, object]:
    return end.to_record() if isinstance(end, RunReport) else {"error": str(end) or type(end).__name__}
