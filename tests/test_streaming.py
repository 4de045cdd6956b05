"""A stream of results: it ends its threads however it is left."""

from __future__ import annotations

import gc
import inspect
import subprocess
import sys
import threading
import weakref

import pytest
from clips import write_clip
from fakes import FakeEngine, FakeSink, FakeSource, Planted, pipeline_threads

from solo_rt.engine import open_engine
from solo_rt.errors import UsageError
from solo_rt.pipeline import Options, Pipeline, opening, run, stream, streaming
from solo_rt.render import Style
from solo_rt.track.zones import Zone

pytestmark = pytest.mark.usefixtures("never_hang")

WAIT = 10.0  # seconds; only a failing test takes that long


@pytest.mark.parametrize("live", [False, True])
def test_stream_opens_lanes_by_the_source(tiny, live, monkeypatch):
    opened = []

    def note(*arguments, **settings):
        opened.append(settings["lanes"])
        return FakeEngine()

    monkeypatch.setattr(opening, "open_engine", note)
    for settings in ({}, {"sync": True}, {"lanes": 2}):
        list(stream(FakeSource(2, live=live), model=tiny, **settings))
    assert opened == [1 if live else None, 1, 2]


def test_stream_gives_what_run_gives(tiny):
    sink = FakeSink()
    run(FakeSource(10), open_engine(tiny), [sink])
    results = list(stream(FakeSource(10), model=tiny))
    assert [result.to_record() for result in results] == sink.records
    assert all(result.rendered is None for result in results)
    assert list(results[0].stage_seconds) == ["read", "prepare", "infer", "decode"]


def test_all_that_is_said_arrives(monkeypatch):
    zone = Zone("door", ((0.1, 0.2), (0.9, 0.2), (0.5, 0.8)))
    of_the_run = {
        "model": "fast-scnn", "backend": "torch", "device": "cuda:1", "precision": "fp32", "threads": 3, "lanes": 2,
        "trusted": True, "decoder": "nvdec", "retry_for": 4.0, "stall_after": 2.0,
    }  # fmt: skip
    of_frames = {
        "conf": 0.4, "max_det": 7, "classes": ("red",), "max_frames": 9, "max_fps": 5.0, "policy": "freshest",
        "max_staleness": 0.3, "max_failures": 2, "track": True, "refine": True, "keyframe_interval": 4, "sync": True,
        "zones": (zone,), "style": Style(boxes=True),
    }  # fmt: skip
    assert inspect.signature(stream).parameters.keys() == {"source", "render", *of_the_run, *of_frames}
    seen = []
    monkeypatch.setattr(
        streaming, "_stream_one", lambda pipeline, stop, *, render: seen.append((pipeline, render)) or []
    )
    assert list(stream("cam0.avi", render=True, **of_the_run, **of_frames)) == []
    ((pipeline, render),) = seen
    assert render
    assert pipeline.source == "cam0.avi"
    assert {name: getattr(pipeline, name) for name in of_the_run} == of_the_run
    assert pipeline.options == Options(**of_frames)


def test_paths_are_addresses(tiny, tmp_path):
    film, lines = tmp_path / "film.mkv", tmp_path / "{source}.jsonl"
    write_clip(film, count=3)
    assert len(list(stream(film, model=tiny))) == len(list(stream([film], model=tiny))) == 3
    assert {result.source for result in stream({"door": film}, model=tiny)} == {"door"}
    Pipeline(film, tiny, [lines], name="one").run()
    Pipeline(sources=[film], model=tiny, sinks=[lines]).run()
    assert (tmp_path / "one.jsonl").read_text() == (tmp_path / "film.jsonl").read_text() != ""


@pytest.mark.parametrize("nothing", [[], {}, ()])
def test_no_source_at_all_is_said(tiny, nothing):
    with pytest.raises(UsageError, match="stream: expected a source or sources, got none"):
        list(stream(nothing, model=tiny))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        *(({"keyframe_interval": value}, "keyframe_interval must be") for value in (2.5, 0, -1, "Auto")),
        ({"classes": "ball"}, r"classes must be a tuple of names, got 'ball'; one alone is \('ball',\)"),
    ],
)
def test_options_that_mean_nothing_are_refused(changed, message):
    with pytest.raises(UsageError, match=message):
        Options(**changed)


@pytest.mark.parametrize("lanes", [1, 3])
def test_break_ends_all_threads(lanes):
    for result in stream(FakeSource(1000), model=FakeEngine(lanes=lanes)):
        if result.frame.index == 3:
            break
    gc.collect()
    assert pipeline_threads() == []


@pytest.mark.parametrize("lanes", [1, 3])
def test_exception_in_the_loop_ends_all_threads(lanes):
    with pytest.raises(Planted):
        for _ in stream(FakeSource(1000), model=FakeEngine(lanes=lanes)):
            raise Planted
    gc.collect()
    assert pipeline_threads() == []


def test_forgotten_stream_ends_its_threads():
    results = stream(FakeSource(1000), model=FakeEngine())
    next(results)
    assert pipeline_threads()
    del results
    gc.collect()
    assert pipeline_threads() == []


def test_stream_found_by_the_garbage_collector_on_one_of_its_threads_ends():
    """A forgotten stream in a reference cycle is closed by whichever thread happens to collect it."""
    forgotten = threading.Event()
    collected_on: list[str] = []
    with_cycle: list[object] = []

    def collect(call):
        if call == 2 and forgotten.wait(WAIT):
            gc.collect()

    gc.disable()  # or it could happen anywhere
    try:
        results = stream(FakeSource(1000), model=FakeEngine(gate=collect))
        weakref.finalize(results, lambda: collected_on.append(threading.current_thread().name))
        next(results)
        with_cycle += [results, with_cycle]
        threads = pipeline_threads()
        del results, with_cycle
        forgotten.set()
        for thread in threads:
            thread.join(WAIT)
    finally:
        gc.enable()
    assert collected_on == ["solo-rt infer"]
    assert pipeline_threads() == []


def test_stream_never_started_starts_nothing():
    source = FakeSource(10)
    results = stream(source, model=FakeEngine())
    assert pipeline_threads() == []
    results.close()


def test_stream_leaves_open_what_it_was_given_open():
    source, engine = FakeSource(3), FakeEngine()
    assert len(list(stream(source, model=engine))) == 3
    assert (source.closed, engine.closed) == (False, False)


def test_interpreter_ends_with_a_stream_half_read():
    program = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from fakes import FakeEngine, FakeSource\n"
        "import solo_rt\n"
        "results = solo_rt.stream(FakeSource(1000), model=FakeEngine())\n"
        "print(next(results).frame.index)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")
