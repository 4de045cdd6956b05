"""The trace of a run: every stage of every frame, readable however the run ends, and never in its way."""

from __future__ import annotations

import json
import threading
from itertools import pairwise

import pytest
from children import WAIT, start, wait_until
from fakes import FakeEngine, FakeSink, FakeSource, write_tiny_model

from solo_rt.errors import SourceError, UsageError
from solo_rt.pipeline import Pipeline, opening
from solo_rt.pipeline.options import Options
from solo_rt.pipeline.trace import Trace
from solo_rt.sink.output_file import OutputFile

pytestmark = pytest.mark.usefixtures("never_hang")


@pytest.fixture
def traced(monkeypatch, tmp_path):
    """Return a function that runs a fake source with a trace, and returns the report and the events."""
    monkeypatch.setattr(opening, "find_model", lambda model: tmp_path / "model.onnx")

    def run(source, *, engine=None, path=tmp_path / "trace.json", **settings):
        monkeypatch.setattr(opening, "open_source", lambda uri, **_: source)
        monkeypatch.setattr(opening, "open_engine", lambda path, **_: engine or FakeEngine())
        return Pipeline("x", trace=path, **settings).run(), json.loads(path.read_text())

    return run


def named(events, name):
    return [event for event in events if event["name"] == name]


@pytest.mark.parametrize("sync", [False, True])
def test_every_stage_of_every_frame_is_there_with_its_thread(traced, sync):
    report, events = traced(FakeSource(5), options=Options(sync=sync))
    threads = {event["tid"]: event["args"]["name"] for event in named(events, "thread_name")}
    for stage in report.stages:
        spans = named(events, stage)
        assert [span["args"]["frame"] for span in spans] == list(range(5))
        assert sum(span["dur"] for span in spans) / 1e6 == pytest.approx(report.stages[stage].mean * 5, abs=1e-5)
        thread = "MainThread" if sync or stage == "sink" else stage
        assert {threads[span["tid"]] for span in spans} == {thread}
        assert all(a["ts"] + a["dur"] <= b["ts"] + 0.2 for a, b in pairwise(spans))
    assert named(events, "frames")[-1]["args"] == {"under way": 0, "dropped": 0}


def test_lanes_are_threads_of_their_own(traced):
    both = threading.Barrier(2)
    engine = FakeEngine(lanes=2, gate=lambda call: both.wait(WAIT))
    _, events = traced(FakeSource(4), engine=engine)
    assert len({span["tid"] for span in named(events, "infer")}) == 2


def test_drops_are_there_when_they_happen(traced):
    slow = threading.Event()
    source = FakeSource(20, live=True, gate=lambda index: slow.set() if index == 19 else None)
    report, events = traced(source, engine=FakeEngine(gate=lambda call: slow.wait(WAIT)))
    assert sum(event["args"]["frames"] for event in named(events, "dropped")) == report.dropped > 0
    assert named(events, "frames")[-1]["args"]["dropped"] == report.dropped
    assert {event["tid"] for event in named(events, "dropped")} == {event["tid"] for event in named(events, "read")}


def test_frames_that_are_left_out_by_choice_are_not_under_way(traced):
    report, events = traced(FakeSource(12), options=Options(max_fps=10))
    assert report.skipped == 8
    assert named(events, "frames")[-1]["args"] == {"under way": 0, "dropped": 0}


def test_a_killed_run_leaves_whole_events(tmp_path):
    tiny = write_tiny_model(tmp_path / "tiny.onnx")
    path = tmp_path / "trace.json"
    child = start(tiny, "FakeSource(10**9)", "--trace", path)
    wait_until(lambda: path.exists() and path.stat().st_size > 10_000)
    child.kill()
    child.communicate(timeout=WAIT)
    events = json.loads(path.read_text() + "]")
    assert {"read", "infer", "decode", "sink"} <= {event["name"] for event in events}


def test_events_wait_in_memory_until_the_owner_writes_them(tmp_path, monkeypatch):
    path = tmp_path / "trace.json"
    path.write_text("precious")
    trace = Trace(path)
    trace.span("infer", 0, 0.0, 1.0)
    trace.write()
    assert path.read_text() == "precious", "it is not time to"
    monkeypatch.setattr("solo_rt.pipeline.trace.WRITE_SECONDS", 0.0)
    trace.write()
    assert len(json.loads(path.read_text() + "]")) == 2
    trace.write()
    trace.close()
    trace.close()
    assert len(json.loads(path.read_text())) == 2


def test_many_events_are_written_early(tmp_path, monkeypatch):
    monkeypatch.setattr("solo_rt.pipeline.trace.WRITE_SECONDS", 1000.0)
    monkeypatch.setattr("solo_rt.pipeline.trace.MOST_WAITING", 3)
    trace = Trace(tmp_path / "trace.json")
    sizes = []
    for frame in range(7):
        trace.span("infer", frame, 0.0, 1.0)
        trace.write()
        sizes.append(len(json.loads(((tmp_path / "trace.json").read_text() or "[") + "]")))
    trace.close()
    assert sizes == [0, 0, 4, 4, 4, 7, 7]  # the first of them names the thread


def test_a_run_without_frames_leaves_what_is_there(traced, tmp_path):
    path = tmp_path / "trace.json"
    path.write_text("precious")
    with pytest.raises(SourceError):
        traced(FakeSource(3, error=SourceError("gone"), fail_at=0), path=path)
    assert path.read_text() == "precious"


def test_a_full_disk_ends_the_trace_alone_behind_its_last_whole_event(traced, tmp_path, monkeypatch, caplog):
    genuine, written = OutputFile.append, []

    def append(self, data):
        written.append(data)
        if len(written) < 3:
            genuine(self, data)
        else:
            genuine(self, data[: len(data) // 2])
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("solo_rt.pipeline.trace.WRITE_SECONDS", 0.0)
    monkeypatch.setattr(OutputFile, "append", append)
    sink = FakeSink()
    monkeypatch.setattr(opening, "open_sink", lambda uri, **_: sink)
    with pytest.raises(json.JSONDecodeError):
        traced(FakeSource(6), sinks=["out.jsonl"])
    assert (len(sink.records), len(written)) == (6, 3)
    assert json.loads((tmp_path / "trace.json").read_text() + "]")
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning == f"trace {tmp_path / 'trace.json'} ends here: [Errno 28] No space left on device"


def test_a_trace_overwrites_neither_source_nor_model_nor_output(tmp_path, monkeypatch):
    model = write_tiny_model(tmp_path / "model.onnx")
    video = tmp_path / "video.json"
    video.write_text("video")
    out = str(tmp_path / "out.jsonl")
    for path, reason in ((video, "overwrite the source"), (model, "overwrite the model"), (out, "are the same")):
        with pytest.raises(UsageError, match=reason):
            Pipeline(str(video), model, [out], trace=path).run()
    monkeypatch.setattr(opening, "open_source", lambda uri, **_: FakeSource(1))
    with pytest.raises(UsageError, match=r"trace .*no/trace\.json: No such file or directory; choose another place"):
        Pipeline("x", model, trace=tmp_path / "no" / "trace.json").run()
    assert video.read_text() == "video"
