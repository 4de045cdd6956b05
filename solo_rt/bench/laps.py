"""Laps: the repeats of what is measured, which take turns until the figures are stable, and what they amount to."""

from __future__ import annotations

import math
import statistics
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from solo_rt.engine.base import GpuTimes
from solo_rt.errors import SoloRTError
from solo_rt.pipeline.timing import Histogram

STABLE = 0.02  # of the mean: how far apart its last values may be
STABLE_OVER = 3  # values of the mean
PERCENTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}

# Two-sided 95 % quantiles of Student's distribution for 1, 2, ... degrees of freedom.
_STUDENT = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip

K = TypeVar("K", bound=Hashable)  # the name of what is measured


@dataclass(frozen=True, slots=True)
class Lap:
    """One repeat. What the time of a frame is depends on what is measured."""

    frames: int
    seconds: float
    times: Sequence[float] = ()  # of each frame, in seconds
    objects: int | None = None  # found in all frames together; None with a model that looks for none
    dropped: int = 0  # frames that a live source lost
    due: int = 0  # frames that such a source had to give
    gpu: Sequence[GpuTimes] = ()  # of each call of an engine that tells
    peak_bytes: int | None = None  # of the process's memory meanwhile
    joules: float | None = None  # that the machine used meanwhile

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How long laps are, in seconds, and how many of each there are."""

    seconds: float = 10.0
    least: int = 3
    most: int = 10
    searches: int = 3  # for the highest rate of a live source, in laps of half as long


NORMAL, QUICK = Pace(), Pace(seconds=1.2, most=3, searches=1)


def take_laps(
    runners: Mapping[K, Callable[[float], Lap]],
    pace: Pace,
    stop: threading.Event,
    on_lap: Callable[[K, int], None] = lambda name, number: None,
) -> tuple[dict[K, list[Lap]], dict[K, str]]:
    """Return the laps by name, and why those that failed did not go on.

    A runner takes the seconds of a lap. All take turns until there are `pace.least` laps of each and their rates are
    stable, or there are `pace.most`. `on_lap` is told whose lap begins. Once `stop` is set no lap begins, and the one
    that was under way does not count.
    """
    laps: dict[K, list[Lap]] = {name: [] for name in runners}
    failed: dict[K, str] = {}
    for number in range(1, pace.most + 1):
        for name in [name for name in runners if name not in failed]:
            on_lap(name, number)
            try:
                lap = None if stop.is_set() else runners[name](pace.seconds)
            except KeyboardInterrupt:  # of one who waits for something else
                return laps, failed
            except SoloRTError as error:
                if not stop.is_set():
                    failed[name] = " ".join(str(error).split())
                continue
            if stop.is_set() or lap is None:
                return laps, failed
            laps[name].append(lap)
        rates = [[lap.fps for lap in taken] for name, taken in laps.items() if name not in failed]
        if number >= pace.least and all(map(is_stable, rates)):
            break
    return laps, failed


def is_stable(rates: Sequence[float]) -> bool:
    """Return whether the mean of all rates so far has come to rest."""
    means = [statistics.fmean(rates[: n + 1]) for n in range(len(rates))][-STABLE_OVER:]
    return len(means) == STABLE_OVER and max(means) - min(means) <= STABLE * means[-1]


def student(freedom: float) -> float:
    """Return the two-sided 95 % quantile of Student's distribution, a little too large between whole degrees."""
    return _STUDENT[min(int(freedom), len(_STUDENT)) - 1] if freedom >= 1 else math.inf


def half_interval(rates: Sequence[float]) -> float:
    """Return half of the 95 % confidence interval of the mean of two rates at least, by Student's distribution."""
    return student(len(rates) - 1) * statistics.stdev(rates) / math.sqrt(len(rates))


def summarise(laps: Sequence[Lap]) -> dict[str, object]:
    """Return the figures of at least one lap as JSON values: rates in frames per second, times in milliseconds.

    `fps` is the mean of the laps, `interval` half of its 95 % confidence interval, which two laps at least give.
    """
    rates = [lap.fps for lap in laps]
    times = Histogram()
    for seconds in (seconds for lap in laps for seconds in lap.times):
        times.add(seconds)
    frames = sum(lap.frames for lap in laps)
    record: dict[str, object] = {
        "fps": round(statistics.fmean(rates), 3),
        "laps": [round(rate, 3) for rate in rates],
        "frames": frames,
        "seconds": round(sum(lap.seconds for lap in laps), 3),
        "stable": is_stable(rates),
    }
    if len(rates) > 1:
        record["sd"] = round(statistics.stdev(rates), 3)
        record["interval"] = round(half_interval(rates), 3)
    if times.count:
        stats = times.stats(1.0)
        found = {"mean": stats.mean, **{name: times.percentile(share) for name, share in PERCENTILES.items()}}
        record["ms"] = {name: round(1e3 * value, 4) for name, value in {**found, "max": stats.max}.items()}
    calls = [call for lap in laps for call in lap.gpu]
    if calls:
        means = {name: statistics.fmean(getattr(call, name) for call in calls) for name in GpuTimes._fields}
        record["gpu_ms"] = {name: round(1e3 * seconds, 4) for name, seconds in means.items()}
    objects = [lap.objects for lap in laps if lap.objects is not None]
    if objects and frames:
        record["objects_per_frame"] = round(sum(objects) / frames, 3)
    peaks = [lap.peak_bytes for lap in laps if lap.peak_bytes is not None]
    if peaks:
        record["peak_rss_mb"] = round(max(peaks) / 1e6, 1)
    joules = [lap.joules for lap in laps if lap.joules is not None]
    if len(joules) == len(laps) and frames:
        record["joules_per_frame"] = round(sum(joules) / frames, 6)
    if any(lap.due for lap in laps):
        record["lost"] = round(1 - frames / sum(lap.due for lap in laps), 5)
    return record
