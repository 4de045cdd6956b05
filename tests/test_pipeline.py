"""Runs: what arrives, in which order, what is dropped, and how they are stopped."""

from __future__ import annotations

import gc
import json
import threading
import time
import weakref

import pytest
from fakes import TINY_SPEC, FakeEngine, FakeSink, FakeSource, balanced, pipeline_threads

from solo_rt.engine import open_engine
from solo_rt.errors import SourceError, UsageError
from solo_rt.pipeline import Hooks, Pipeline, run, stream
from solo_rt.pipeline import report as report_module
from solo_rt.pipeline.opening_thread import open_interruptibly
from solo_rt.pipeline.options import Options
from solo_rt.pipeline.report import RunningTimes
from solo_rt.pipeline.timing import Histogram
from solo_rt.source import StateChange

pytestmark = pytest.mark.usefixtures("never_hang")

WAIT = 10.0  # seconds; only a failing test takes that long


@pytest.mark.parametrize("needs_picture", [False, True])
def test_threads_give_what_the_plain_loop_gives(tiny, needs_picture):
    with_threads, without = FakeSink(needs_picture=needs_picture), FakeSink(needs_picture=needs_picture)
    engine = open_engine(tiny)
    run(FakeSource(30), engine, [with_threads])
    run(FakeSource(30), engine, [without], options=Options(sync=True))
    assert len(without.records) == 30
    assert sum(len(record["instances"]) for record in without.records) > 30
    assert with_threads.records == without.records
    assert with_threads.pictures == without.pictures
    assert len(without.pictures) == (30 if needs_picture else 0)


def test_lanes_write_the_same_bytes_as_the_plain_loop(tmp_path):
    """With the shipped model: three lanes of one thread each, one lane of all threads, no threads at all."""
    written = []
    for name, settings in {
        "three": {"lanes": 3, "threads": 3},
        "one": {"lanes": 1, "threads": 2},
        "none": {"options": Options(sync=True)},
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        outputs = [str(folder / "out.jsonl"), f"{folder}/pictures/"]
        report = Pipeline("test://?size=320x180&frames=7&seed=3", sinks=outputs, **settings).run()
        assert (report.processed, report.instances > 7) == (7, True)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        assert len(files) == 8
        written.append([(path.relative_to(folder), path.read_bytes()) for path in files])
    assert written[0] == written[1] == written[2]


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_every_frame_arrives_in_order(count, lanes):
    sink = FakeSink()
    report = run(FakeSource(count), FakeEngine(lanes=lanes), [sink])
    assert [record["frame"] for record in sink.records] == list(range(count))
    assert (report.read, report.processed, report.dropped, report.skipped) == (count, count, 0, 0)
    assert report.instances == sum(len(record["instances"]) for record in sink.records)


def test_all_sinks_get_every_result_and_only_some_a_picture():
    plain, drawn = FakeSink(), FakeSink(needs_picture=True)
    run(FakeSource(3), FakeEngine(), [plain, drawn])
    assert plain.records == drawn.records
    assert len(drawn.pictures) == 3


def test_report_has_times_of_every_stage_in_order():
    report = run(FakeSource(5), FakeEngine(), [FakeSink(needs_picture=True)])
    assert list(report.stages) == ["read", "prepare", "infer", "decode", "render", "sink"]
    assert {stats.count for stats in report.stages.values()} == {5}
    assert report.latency.count == 5
    assert report.fps == pytest.approx(5 / report.seconds)


def test_progress_has_the_percentiles_so_far(monkeypatch):
    monkeypatch.setattr(report_module, "PERCENTILE_SECONDS", 0.0)
    seen = []
    report = run(
        FakeSource(5), FakeEngine(), [FakeSink()], options=Options(sync=True), hooks=Hooks(on_progress=seen.append)
    )
    assert list(seen[-1].stages) == list(report.stages)
    assert seen[-1].stages == {name: (stats.p50, stats.p95) for name, stats in report.stages.items()}
    assert seen[-1].latency == (report.latency.p50, report.latency.p95)
    assert 0 < seen[-1].latency.p50 <= seen[-1].latency.p95 <= report.latency.max


def test_percentiles_of_a_run_are_computed_now_and_then_only(monkeypatch):
    monkeypatch.setattr(report_module, "PERCENTILE_SECONDS", 60.0)
    latency = Histogram()
    times = RunningTimes({}, latency)
    latency.add(0.5)
    before = times.percentiles()
    latency.add(1.5)
    assert times.percentiles() == before
    assert latency.percentiles() != before[1]


@pytest.mark.parametrize("sync", [False, True])
def test_no_time_in_a_report_is_longer_than_the_run(sync):
    seen = []
    started = time.perf_counter()
    report = run(
        FakeSource(5),
        FakeEngine(),
        [FakeSink(needs_picture=True)],
        options=Options(sync=sync),
        hooks=Hooks(on_progress=lambda progress: seen.append(progress.seconds)),
    )
    whole = time.perf_counter() - started
    assert 0 < seen[0] <= seen[-1] <= report.seconds <= whole
    for stats in (*report.stages.values(), report.latency):
        assert 0 < stats.mean * stats.count <= 5 * whole
        assert stats.busy == pytest.approx(stats.mean * stats.count / report.seconds)


@pytest.mark.parametrize("lanes", [1, 3])
def test_stop_event_drains_what_is_under_way(lanes):
    stop = threading.Event()
    sink = FakeSink(gate=lambda result: stop.set() if result.frame.index == 4 else None)
    report = run(FakeSource(1000), FakeEngine(lanes=lanes), [sink], stop=stop)
    assert (report.interrupted, report.dropped) == (True, 0)
    assert 5 <= report.processed < 30
    assert [record["frame"] for record in sink.records] == list(range(report.processed))
    assert balanced(report)


def test_stop_event_in_the_plain_loop_ends_after_the_frame():
    stop = threading.Event()
    sink = FakeSink(gate=lambda result: stop.set() if result.frame.index == 4 else None)
    report = run(FakeSource(1000), FakeEngine(), [sink], stop=stop, options=Options(sync=True))
    assert (report.read, report.processed, report.interrupted) == (5, 5, True)


def test_stop_event_ends_a_plain_loop_whose_source_is_silent():
    stop, left = threading.Event(), threading.Event()
    steps = []

    class Silent(FakeSource):
        def stop(self):
            left.set()

    def wait(index):
        if index == 2:
            stop.set()
            assert left.wait(10), "the source was never told"

    report = run(
        Silent(10, live=True, gate=wait),
        FakeEngine(),
        [FakeSink()],
        stop=stop,
        options=Options(sync=True),
        hooks=Hooks(on_step=steps.append),
    )
    assert (report.processed, report.interrupted) == (3, True)
    assert steps[0] == "waiting for a frame"


def test_stop_event_set_before_the_first_frame_ends_at_once():
    for sync in (False, True):
        stop = threading.Event()
        stop.set()
        report = run(FakeSource(10), FakeEngine(), [], stop=stop, options=Options(sync=sync))
        assert report.interrupted
        assert balanced(report)


def test_stop_event_ends_a_run_whose_source_is_silent():
    """The results so far are out while the source still blocks; the thread in it is waited for."""
    stop, first, never = threading.Event(), threading.Event(), threading.Event()
    waits = {1: (first, 10.0), 2: (never, 2.0)}  # else the second frame could replace the first
    silent = FakeSource(
        10, live=True, gate=lambda index: waits[index][0].wait(waits[index][1]) if index in waits else 0
    )
    seen = []

    def stop_soon(progress):
        seen.append(progress)
        if progress.processed == 1:
            first.set()
        if progress.processed == 2:
            stop.set()

    started = time.monotonic()
    report = run(silent, FakeEngine(), [], stop=stop, hooks=Hooks(on_progress=stop_soon))
    assert report.processed == 2
    assert time.monotonic() - started < 4
    assert seen[-1].processed == 2


def test_progress_is_told_while_nothing_arrives():
    slow = FakeSource(1, gate=lambda index: time.sleep(0.5))
    seen = []
    run(slow, FakeEngine(), [], hooks=Hooks(on_progress=seen.append))
    assert [p.processed for p in seen].count(0) >= 3
    assert seen[-1].processed == 1


def test_source_without_frames_is_an_error():
    for sync in (False, True):
        with pytest.raises(SourceError, match="fake: expected frames, got none"):
            run(FakeSource(0), FakeEngine(), [FakeSink()], options=Options(sync=sync))


def test_damage_of_the_source_is_reported():
    report = run(FakeSource(2, damage="3 packets could not be decoded"), FakeEngine(), [])
    assert report.damage == "3 packets could not be decoded"


def test_live_source_drops_the_oldest_and_counts_every_drop():
    sink = FakeSink()
    source = FakeSource(100, live=True, gate=lambda index: time.sleep(0.002))
    report = run(source, FakeEngine(gate=lambda call: time.sleep(0.02)), [sink])
    assert report.read == 100
    assert report.dropped > 40
    assert balanced(report)
    frames = [record["frame"] for record in sink.records]
    assert frames == sorted(set(frames))
    assert frames[-1] == 99


def test_every_frame_of_a_live_source_is_computed_where_that_is_asked_for():
    source = FakeSource(30, live=True, gate=lambda index: time.sleep(0.001))
    report = run(source, FakeEngine(gate=lambda call: time.sleep(0.004)), [], options=Options(policy="every-frame"))
    assert (report.processed, report.dropped) == (30, 0)


def test_frame_that_is_too_old_when_its_turn_comes_is_dropped():
    options = Options(policy="every-frame", max_staleness=0.02)
    source = FakeSource(30, live=True, gate=lambda index: time.sleep(0.001))
    report = run(source, FakeEngine(gate=lambda call: time.sleep(0.03)), [], options=options)
    assert report.dropped > 5
    assert balanced(report)
    assert report.latency.p50 < 0.02 + 2 * report.stages["infer"].p99  # once begun, it waits for nothing


def test_file_is_played_at_its_own_pace_where_the_freshest_frame_is_asked_for():
    started = time.monotonic()
    sink = FakeSink()
    report = run(
        FakeSource(16), FakeEngine(gate=lambda call: time.sleep(0.1)), [sink], options=Options(policy="freshest")
    )
    assert time.monotonic() - started > 0.5
    assert report.dropped > 5
    assert balanced(report)
    assert sink.records[-1]["frame"] == 15


def test_live_frame_does_not_wait_for_a_slow_network():
    """A result is as old as its own computation and at most one frame period."""
    source = FakeSource(120, live=True, gate=lambda index: time.sleep(0.005))
    report = run(source, FakeEngine(gate=lambda call: time.sleep(0.03)), [])
    longest = report.stages["infer"].p99  # as measured, so that a busy machine changes both sides
    assert report.latency.p50 < 1.7 * longest


def test_file_is_never_dropped_however_slow_the_sink():
    report = run(FakeSource(40), FakeEngine(), [FakeSink(gate=lambda result: time.sleep(0.003))])
    assert (report.processed, report.dropped) == (40, 0)


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("sync", [False, True])
def test_max_frames_counts_results(live, sync, lanes):
    sink = FakeSink()
    source = FakeSource(200, live=live, gate=lambda index: time.sleep(0.001 if live else 0))
    engine = FakeEngine(gate=lambda call: time.sleep(0.005 if live else 0), lanes=lanes)
    report = run(source, engine, [sink], options=Options(max_frames=7, sync=sync))
    assert report.processed == len(sink.records) == 7
    assert balanced(report)
    assert report.read == 7 or live


def test_max_frames_beyond_the_end_changes_nothing():
    assert run(FakeSource(5), FakeEngine(), [], options=Options(max_frames=50)).processed == 5


def test_max_fps_counts_what_it_skips():
    report = run(FakeSource(60), FakeEngine(), [], options=Options(max_fps=10))
    assert (report.read, report.processed, report.skipped) == (60, 20, 40)


def test_max_fps_and_max_frames_together_count_results():
    report = run(FakeSource(60), FakeEngine(), [], options=Options(max_fps=10, max_frames=5))
    assert report.processed == 5
    assert balanced(report)


def test_classes_keep_only_those_named(tiny):
    engine = open_engine(tiny)
    everything = [r.instances for r in stream(FakeSource(5), model=engine, conf=0.0, max_det=1000)]
    only_blue = [r.instances for r in stream(FakeSource(5), model=engine, conf=0.0, max_det=4, classes=("blue",))]
    assert any(len(found) > 4 for found in everything)
    for found, blue in zip(everything, only_blue, strict=True):
        expected = found.scores[found.class_ids == TINY_SPEC.classes.index("blue")][:4]
        assert blue.scores.tolist() == expected.tolist()
        assert set(blue.class_ids) <= {2}


def test_unknown_class_names_the_known_ones():
    with pytest.raises(UsageError, match="unknown class purple; the model knows red, green, blue"):
        next(stream(FakeSource(1), model=FakeEngine(), classes=("purple", "red")))


@pytest.mark.parametrize("lanes", [1, 3])
def test_pictures_do_not_pile_up(lanes):
    alive: list[weakref.ref] = []
    most = 0

    def count(progress):
        nonlocal most
        most = max(most, sum(ref() is not None for ref in alive))

    class Watched(FakeSource):
        def __iter__(self):
            for frame in super().__iter__():
                alive.append(weakref.ref(frame.planes[0]))
                yield frame

    run(Watched(2000), FakeEngine(lanes=lanes), [], hooks=Hooks(on_progress=count))
    assert len(alive) == 2000
    assert most < 20
    gc.collect()
    assert sum(ref() is not None for ref in alive) == 0


def test_what_opens_after_an_interruption_is_closed_again():
    stop, opening = threading.Event(), threading.Event()
    source = FakeSource()

    def open_late():
        stop.set()
        opening.wait(WAIT)
        return source

    with pytest.raises(KeyboardInterrupt):
        open_interruptibly(open_late, stop)
    assert not source.closed
    (thread,) = pipeline_threads()
    opening.set()
    thread.join(WAIT)
    assert source.closed


def test_hooks_hear_of_everything_in_order(tiny):
    heard: list[object] = []
    changes = [StateChange("stalled", "no picture for 5 s", 0.0), StateChange("live", "", 1.0)]
    source = FakeSource(30, live=True, gate=lambda index: changes and index == 3 and source.on_state(changes.pop(0)))
    hooks = Hooks(
        on_start=lambda info, engine: heard.append(info.uri),
        on_frame=lambda result: heard.append(result.frame.index),
        on_drop=lambda frames: heard.append(f"{frames} dropped"),
        on_source_state=heard.append,
        on_end=lambda report: heard.append(report.processed),
    )
    engine = FakeEngine(gate=lambda call: time.sleep(0.01))
    report = Pipeline(source, engine, [FakeSink()], hooks=hooks).run()
    frames = [one for one in heard[1:-1] if isinstance(one, int)]
    assert (heard[0], heard[-1], frames) == ("fake", report.processed, sorted(frames))
    assert len(frames) == report.processed
    dropped = [int(one.split()[0]) for one in heard if isinstance(one, str) and one.endswith("dropped")]
    assert sum(dropped) == report.dropped > 0
    assert [one.state for one in heard if isinstance(one, StateChange)] == ["stalled"]
    assert (source.closed, engine.closed) == (False, False)


def test_states_of_the_source_are_noted_between_the_results(tmp_path):
    change = StateChange("stalled", "no picture for 5 s", 12.5)
    source = FakeSource(20, gate=lambda index: index == 9 and source.on_state(change))
    Pipeline(source, FakeEngine(), [str(tmp_path / "a.jsonl")], Options(sync=True)).run()
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    at = lines.index({"source_state": {"state": "stalled", "reason": "no picture for 5 s", "wall_time": 12.5}})
    assert lines[at - 1]["frame"] + 1 == lines[at + 1]["frame"] == 9
