"""What fails or hangs in a run, and what is kept of it."""

from __future__ import annotations

import json
import threading
import time
import traceback

import pytest
from fakes import FakeEngine, FakeSink, FakeSource, Planted, balanced, pipeline_threads

from solo_rt import result as result_module
from solo_rt.errors import EngineError, SinkError, SourceError
from solo_rt.pipeline import Hooks, Pipeline, run, stream
from solo_rt.pipeline import stage as stage_module
from solo_rt.pipeline import stages as stages_module
from solo_rt.pipeline.opening_thread import open_interruptibly
from solo_rt.pipeline.options import Options
from solo_rt.source import StateChange

pytestmark = pytest.mark.usefixtures("never_hang")

WAIT = 10.0  # seconds; only a failing test takes that long


def fail_at(call):
    calls = []

    def gate(*args, **kwargs):
        calls.append(1)
        if len(calls) == call + 1:
            raise Planted("planted")

    return gate


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("frame", [0, 1, 9, 29])
@pytest.mark.parametrize("stage", ["read", "prepare", "infer", "decode", "render", "sink"])
def test_failure_in_a_stage_keeps_the_frames_before_it(stage, frame, sync, monkeypatch):
    source = FakeSource(30, error=Planted("planted"), fail_at=frame if stage == "read" else -1)
    engine = FakeEngine(gate=fail_at(frame) if stage == "infer" else lambda call: None)
    sink = FakeSink(needs_picture=True, gate=fail_at(frame) if stage == "sink" else lambda result: None)
    if stage in ("prepare", "decode", "render"):
        module = result_module if stage == "render" else stages_module
        genuine, gate = getattr(module, stage), fail_at(frame)
        monkeypatch.setattr(module, stage, lambda *a, **k: (gate(), genuine(*a, **k))[1])
    with pytest.raises(Planted, match="planted") as caught:
        run(source, engine, [sink], options=Options(sync=sync))
    assert caught.value.__notes__ == [f"in the {stage} stage"]
    assert [record["frame"] for record in sink.records] == list(range(frame))
    assert pipeline_threads() == []


@pytest.mark.parametrize("error", [EngineError("e"), SinkError("s")])
def test_error_keeps_its_type_cause_and_exit_code(error):
    error.__cause__ = OSError("disk")
    source = FakeSource(5, error=error, fail_at=2)
    with pytest.raises(type(error)) as caught:
        run(source, FakeEngine(), [])
    assert caught.value is error
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.exit_code == type(error).exit_code


def test_two_failing_stages_raise_one_of_them_and_leave_no_thread():
    engine = FakeEngine(gate=fail_at(3))
    with pytest.raises((Planted, SourceError)):
        run(FakeSource(30, error=SourceError("gone"), fail_at=3), engine, [])
    assert pipeline_threads() == []


def test_failing_progress_callback_ends_the_run():
    def callback(progress):
        raise Planted("callback")

    with pytest.raises(Planted, match="callback"):
        run(FakeSource(30), FakeEngine(), [FakeSink()], hooks=Hooks(on_progress=callback))
    assert pipeline_threads() == []


def test_thread_that_does_not_come_back_is_left_behind(monkeypatch, caplog):
    monkeypatch.setattr("solo_rt.pipeline.workers.LEAVE_SECONDS", 0.2)
    blocked, free = threading.Event(), threading.Event()

    def gate(index):
        if index == 3:
            blocked.set()
            free.wait(20)

    results = stream(FakeSource(10, gate=gate), model=FakeEngine())
    next(results)
    assert blocked.wait(WAIT)
    results.close()
    assert "solo-rt read did not end within 0.2 s" in caplog.text
    free.set()
    for thread in pipeline_threads():
        thread.join(5)


@pytest.mark.parametrize("sync", [True, False])
def test_frames_that_fail_are_left_out_and_counted(sync, caplog):
    def gate(call):
        if call in (2, 3, 6):
            raise EngineError(f"no memory for {call}")

    sink = FakeSink()
    report = run(FakeSource(9), FakeEngine(gate=gate), [sink], options=Options(max_failures=2, sync=sync))
    assert [record["frame"] for record in sink.records] == [0, 1, 4, 5, 7, 8]
    assert (report.processed, report.failed) == (6, 3)
    assert balanced(report)
    assert [record.message for record in caplog.records] == [
        "frame 2 is left out: no memory for 2",
        "frame 6 is left out: no memory for 6",
    ]


@pytest.mark.parametrize(("count", "first", "last"), [(20, 5, 7), (2, 0, 2)])
def test_run_ends_when_too_many_frames_fail_in_a_row_or_all_do(count, first, last):
    def gate(call):
        if first <= call <= last:
            raise EngineError(f"no memory for {call}")

    with pytest.raises(EngineError, match=f"no memory for {min(last, count - 1)}"):
        run(FakeSource(count), FakeEngine(gate=gate), [], options=Options(max_failures=2))


def test_failure_to_open_is_raised_on_the_calling_thread():
    def fail():
        raise SourceError("no such camera")

    with pytest.raises(SourceError, match="no such camera"):
        open_interruptibly(fail, threading.Event())


@pytest.mark.parametrize("hook", ["on_start", "on_frame", "on_drop", "on_source_state", "on_progress", "on_end"])
def test_hook_that_raises_ends_the_run_with_its_own_traceback(hook, tmp_path):
    def explode(*_):
        raise Planted("in the hook")

    change = StateChange("live", "", 0.0)
    source = FakeSource(40, live=True, gate=lambda index: index == 3 and source.on_state(change))
    engine = FakeEngine(gate=lambda call: time.sleep(0.005))
    with pytest.raises(Planted, match="in the hook") as caught:
        Pipeline(source, engine, [str(tmp_path / "a.jsonl")], hooks=Hooks(**{hook: explode})).run()
    assert "explode" in "".join(traceback.format_exception(caught.value))
    written = (tmp_path / "a.jsonl").read_text().splitlines() if (tmp_path / "a.jsonl").exists() else []
    assert not written or "end" in json.loads(written[-1])  # it is finished with what it had


@pytest.mark.parametrize("max_failures", [0, 3])
def test_frame_that_hangs_is_cancelled_and_left_out(max_failures, monkeypatch, caplog):
    monkeypatch.setattr(stage_module, "HANG_SECONDS", 0.3)

    def gate(call):
        if call == 4:
            assert engine.cancelled.wait(WAIT)
            raise EngineError("cancelled")

    engine, sink = FakeEngine(gate=gate), FakeSink()
    if max_failures:
        report = run(FakeSource(9), engine, [sink], options=Options(max_failures=max_failures))
        assert (report.processed, report.failed) == (8, 1)
    else:
        with pytest.raises(EngineError, match="cancelled"):
            run(FakeSource(9), engine, [sink])
    assert "the infer stage hangs; its frame is cancelled" in caplog.text
    assert [record["frame"] for record in sink.records][:4] == [0, 1, 2, 3]


def test_stage_that_hangs_for_good_ends_the_run_by_name(monkeypatch, caplog):
    monkeypatch.setattr(stage_module, "HANG_SECONDS", 0.2)
    monkeypatch.setattr("solo_rt.pipeline.workers.LEAVE_SECONDS", 0.2)
    go_on, sink = threading.Event(), FakeSink()
    with pytest.raises(EngineError, match="the infer stage hangs, and cancelling its frame did not help"):
        run(FakeSource(9), FakeEngine(gate=lambda call: call == 4 and go_on.wait(WAIT)), [sink])
    assert [record["frame"] for record in sink.records] == [0, 1, 2, 3]
    assert sum("did not end within" in record.message for record in caplog.records) == 1
    left = pipeline_threads()
    go_on.set()
    for thread in left:
        thread.join(WAIT)


def test_slow_stage_does_not_hang(monkeypatch):
    """The first frame may take long, and later ones twenty times the longest so far."""
    monkeypatch.setattr(stage_module, "HANG_SECONDS", 0.01)
    engine = FakeEngine(gate=lambda call: time.sleep((0.3, 0.02, 0.5)[call]))
    assert run(FakeSource(3), engine, []).processed == 3
    assert not engine.cancelled.is_set()
