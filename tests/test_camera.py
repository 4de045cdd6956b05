"""A camera of a fleet as its run tells it, by a clock of the test's own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from sites import grey_frame, info

from solo_rt.cluster import camera as cameras
from solo_rt.cluster.camera import Camera, CameraRun
from solo_rt.pipeline import Hooks, Options
from solo_rt.pipeline.report import Progress
from solo_rt.pipeline.timing import Percentiles
from solo_rt.result import Result
from solo_rt.source import StateChange
from solo_rt.types import Instances

RUN = SimpleNamespace(damage=None, failures=())


@dataclass(frozen=True)
class Scripted:
    """A pipeline whose run is what a test does with its hooks."""

    play: Callable[[Hooks], None]
    source: str = ""
    name: str = ""
    sinks: tuple[str, ...] = ()
    options: Options = field(default_factory=Options)
    hooks: Hooks = field(default_factory=Hooks)

    def run(self, *, stop):
        self.play(self.hooks)
        return RUN


@pytest.fixture
def play(monkeypatch):
    """Return a function that runs a camera by a script, which gets the hooks, the clock and the run."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(cameras, "time", SimpleNamespace(monotonic=lambda: clock.now))

    def go(script):
        begun, failures = threading.Event(), []

        def play(hooks):
            begun.wait()
            try:
                script(hooks, clock, run)
            except AssertionError as error:
                failures.append(error)

        run = CameraRun(Camera("door", "camera:0"), Scripted(play), [])
        begun.set()
        run.join(30.0)
        assert not failures, failures[0]
        return run.figures

    return go


def counts(read, processed, *, dropped=0):
    times = Percentiles(0.02, 0.05)
    return Progress(read, processed, dropped, 0, 0, None, 1.0, {}, times)


def result(**seconds):
    return Result(grey_frame(), Instances.none((48, 64)), (), stage_seconds=seconds)


def test_rates_are_those_of_the_last_second_and_a_camera_costs_what_its_fastest_frame_takes(play) -> None:
    def script(hooks, clock, run):
        hooks.on_start(info(), None)
        hooks.on_frame(result(read=5.0, sink=5.0, infer=0.03, decode=0.01))
        hooks.on_frame(result(read=5.0, sink=5.0, infer=0.25, decode=0.25))
        clock.now += 0.9
        hooks.on_progress(counts(27, 18, dropped=9))
        assert (run.figures.fps, run.figures.offered, run.figures.cost) == (0, 0, 0), "it is not a second yet"
        assert (run.figures.read, run.figures.processed, run.figures.dropped) == (27, 18, 9)
        assert run.figures.latency == (0.02, 0.05)
        clock.now += 1.1
        hooks.on_progress(counts(60, 40))
        assert (run.figures.state, run.figures.fps, run.figures.offered) == ("live", 20.0, 30.0)
        assert run.figures.cost == pytest.approx(30 * 0.04)
        clock.now += 2.0
        hooks.on_progress(counts(70, 40))
        assert (run.figures.fps, run.figures.offered) == (0.0, 5.0)
        clock.now += 2.0
        hooks.on_progress(counts(3, 2))
        assert (run.figures.fps, run.figures.offered) == (0.0, 0.0), "it counts anew after a failure"

    assert play(script).state == "ended"


def test_a_camera_that_gives_no_pictures_has_no_rate_and_says_why(play) -> None:
    def script(hooks, clock, run):
        hooks.on_start(info(live=False), None)
        assert run.figures.state == "running"
        hooks.on_frame(result(infer=0.01))
        clock.now += 1.0
        hooks.on_progress(counts(10, 10))
        assert run.figures.fps == 10.0
        hooks.on_source_state(StateChange("stalled", "the cable", 0.0))
        assert (run.figures.state, run.figures.reason, run.figures.fps) == ("stalled", "the cable", 0.0)
        hooks.on_source_state(StateChange("live", "", 0.0))
        assert (run.figures.state, run.figures.reason) == ("live", "")

    play(script)


def test_what_a_camera_had_before_it_failed_is_not_written_over(monkeypatch) -> None:
    monkeypatch.setattr(cameras, "AGAIN_SECONDS", 0.0)
    written, ends = [], ["refused", "full", "refused", "refused", "full"]

    @dataclass(frozen=True)
    class Failing(Scripted):
        def run(self, *, stop):
            written.append(self.sinks)
            how = ends.pop(0) if ends else "end"
            if how != "refused":
                self.hooks.on_frame(result(infer=0.01))
            if how != "end":
                raise OSError(how)
            return RUN

    run = CameraRun(
        Camera("door", "camera:0", turn=1), Failing(lambda hooks: None), ["{source}.jsonl", "redis://a/{source}"]
    )
    run.join(30.0)
    assert run.figures.state == "ended"
    expected = ["door+2", "door+2", "door+2.2", "door+2.2", "door+2.2", "door+2.3"]
    assert written == [[f"{name}.jsonl", "redis://a/door"] for name in expected]


def test_the_newest_result_is_kept_unless_its_picture_is_on_a_gpu(play) -> None:
    seen = []

    def script(hooks, _clock, run):
        for frame in (grey_frame(1), grey_frame(2), SimpleNamespace(device=object())):
            hooks.on_frame(Result(frame, Instances.none((48, 64)), ()))
            seen.append(run.newest)

    play(script)
    assert [one and one.frame.index for one in seen] == [1, 2, None]
