"""The four layers: the network alone, the model, the pipeline into its outputs, and the pipeline live.

Each is measured by what runs anyway: the engine, the stages of the pipeline, the pipeline.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np

from solo_rt.bench.clip import Clip, LoopedClip
from solo_rt.bench.laps import Lap, Pace
from solo_rt.engine.base import Engine, GpuTimes, TimedEngine
from solo_rt.errors import SinkError
from solo_rt.pipeline import Hooks, Options, Pipeline
from solo_rt.pipeline.report import RunReport
from solo_rt.pipeline.sharing import one_by_one
from solo_rt.pipeline.stage import Job
from solo_rt.pipeline.stages import build_stages
from solo_rt.pipeline.workers import run_in_turn
from solo_rt.preprocess import prepare
from solo_rt.result import Result
from solo_rt.types import Instances

WHAT = {
    "network": "engine on prepared frames, one after the other",
    "model": "resizing, network, decoding, final masks at frame size, one frame after the other",
    "pipeline to nothing": "video decoding, model, all stages at once",
    "pipeline to JSON lines": "the same, and run-length codes written",
    "pipeline to H.264": "the same, drawn and encoded",
    "live": "the clip at its own rate, freshest frame first; times are from the frame to its result",
}
OUTPUTS = {"pipeline to nothing": "null://", "pipeline to JSON lines": "out.jsonl", "pipeline to H.264": "out.mp4"}
MOST_LOST = 0.01  # of the frames of a live source that is kept up with
STEPS = 6  # of a search for the highest rate
LOWEST, HIGHEST = 0.25, 1.3  # times the rate of the pipeline: where that is looked for
FINEST = (HIGHEST / LOWEST) ** 0.5**STEPS  # times which the next rate is that a search can tell apart


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: an engine on a clip; `folder` is for what is written."""

    engine: Engine
    clip: Clip
    options: Options
    folder: Path
    stop: threading.Event = field(default_factory=threading.Event)

    def runners(self) -> dict[str, Callable[[float], Lap]]:
        """Return what takes a lap of so many seconds, by layer."""
        outputs = {name: output if "://" in output else str(self.folder / output) for name, output in OUTPUTS.items()}
        return {
            "network": self.network,
            "model": self.model,
            **{name: lambda seconds, uri=uri: self.pipeline(uri, seconds) for name, uri in outputs.items()},  # type: ignore[misc]
            "live": lambda seconds: self.live(self.clip.frame_rate, seconds),
        }

    def warm_up(self, seconds: float) -> float:
        """Run the pipeline for a while and return the seconds from its beginning to its first result.

        Then the engine alone is called thrice, which is when a graph on a GPU is ready; see `Replay`.
        """
        results: list[float] = []
        started = time.perf_counter()
        self._run(
            "null://",
            self.clip.frame_rate,
            seconds,
            self.options,
            lambda result: results.append(time.perf_counter()),
        )
        for _ in range(3):
            self.network(0.0)
        return results[0] - started if results else 0.0

    def network(self, seconds: float) -> Lap:
        """Measure calls of the engine."""
        to = self.engine.spec.input
        tensors = [np.repeat(prepare(frame, to)[0], to.batch, 0) for frame in self.clip.frames]
        engine = self.engine
        times: list[float] = []
        on_gpu: list[GpuTimes] = []
        started = time.perf_counter()
        for number in self._until(started + seconds):
            inputs = {to.name: tensors[number % len(tensors)]}
            before = time.perf_counter()
            if isinstance(engine, TimedEngine):
                on_gpu.append(engine.infer_timed(inputs)[1])
            else:
                engine.infer(inputs)
            times.append(time.perf_counter() - before)
        return Lap(len(times) * to.batch, time.perf_counter() - started, times, gpu=on_gpu)

    def model(self, seconds: float) -> Lap:
        """Measure the stages from a frame in memory to masks at its size, in turn."""
        engine, frames = one_by_one(self.engine, live=True), self.clip.frames
        stages = build_stages(engine, self.options, with_picture=False)
        times: list[float] = []
        objects = 0
        started = before = time.perf_counter()
        jobs = (Job(frames[number % len(frames)]) for number in self._until(started + seconds))
        for job in run_in_turn(jobs, stages):
            if job.error is not None:
                raise job.error
            if isinstance(job.found, Instances):
                objects += len(job.found.rles())
            elif job.found is not None:
                job.found.dense()
            now = time.perf_counter()
            times.append(now - before)
            before = now
        is_instances = engine.spec.decoder.task == "instances"
        return Lap(len(times), before - started, times, objects if is_instances else None)

    def pipeline(self, output: str, seconds: float) -> Lap:
        """Measure the pipeline from the clip into an output; the time of a frame is that since the result before."""
        results: list[float] = []
        report = self._run(
            output, self.clip.frame_rate, seconds, self.options, lambda result: results.append(time.perf_counter())
        )
        times = [after - before for before, after in pairwise(results)]
        return Lap(report.processed, report.seconds, times, report.instances)

    def live(self, rate: Fraction, seconds: float) -> Lap:
        """Measure the pipeline on the clip played at a rate; the time of a frame is that from its coming to its result.

        What does not come in time, because it is not decoded by then, counts as lost as well.
        """
        times: list[float] = []
        came: list[float] = []

        def on_frame(result: Result) -> None:
            came.append(result.frame.captured_at)
            times.append(time.monotonic() - result.frame.captured_at)

        options = Options(conf=self.options.conf, max_det=self.options.max_det, policy="freshest")
        report = self._run("null://", rate, seconds, options, on_frame)
        due = round((came[-1] - came[0]) * rate) + 1 if came else 0
        lost = max(0, due - report.processed)
        return Lap(
            report.processed, report.seconds, times, report.instances, dropped=lost, due=max(due, report.processed)
        )

    def highest_rates(self, fps: float, pace: Pace) -> list[float]:
        """Return the highest rate of a live source that is kept up with, as each search found it.

        `fps` is what the pipeline does to a file. Where `stop` was set, or a rate is below what was looked at, it is
        missing.
        """
        # Shifted against one another, so that rates that one search cannot tell apart are not taken for agreement.
        starts = [fps * FINEST ** (number / pace.searches) for number in range(pace.searches)]
        found = [self._highest_rate(start, pace.seconds / 2) for start in starts]
        return [rate for rate in found if rate is not None]

    def _highest_rate(self, fps: float, seconds: float) -> float | None:
        low, high, found = LOWEST * fps, HIGHEST * fps, None
        for _ in range(STEPS):
            rate = Fraction((low * high) ** 0.5).limit_denominator(1000)
            lap = self.live(rate, seconds)
            if self.stop.is_set():
                return None
            if lap.due and lap.dropped < MOST_LOST * lap.due:
                low = found = float(rate)
            else:
                high = float(rate)
        return found

    def _until(self, end: float) -> Iterator[int]:
        """Yield 0, 1, ... until it is `end` by `perf_counter`, once at least."""
        number = 0
        while not number or (time.perf_counter() < end and not self.stop.is_set()):
            yield number
            number += 1

    def _run(
        self, output: str, rate: Fraction, seconds: float, options: Options, on_frame: Callable[[Result], None]
    ) -> RunReport:
        """Run the pipeline on the clip, played over and over for some seconds. Raises: SinkError."""
        with closing(LoopedClip(self.clip.uri, rate=rate, seconds=seconds)) as source:
            pipeline = Pipeline(source, self.engine, [output], options, Hooks(on_frame=on_frame))
            report = pipeline.run(stop=self.stop)
        if report.failures:
            raise SinkError(report.failures[0].reason)
        return report
