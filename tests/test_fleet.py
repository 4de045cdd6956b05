from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from fakes import FakeEngine, FakeSource, ends_all_threads, write_tiny_model

from solo_rt.cli import main
from solo_rt.commands.summary import sum_up_all
from solo_rt.errors import EngineError, SourceError, UsageError
from solo_rt.pipeline import Hooks, Pipeline, opening
from solo_rt.pipeline.fleet import Fleet, name_sources, share
from solo_rt.pipeline.options import Options
from solo_rt.pipeline.report import RunReport

WAIT = 10.0  # seconds; only a failing test takes that long


@pytest.fixture(autouse=True)
def _never_hang():
    with ends_all_threads():
        yield


def template(engine, sinks=(), **settings):
    return Pipeline("", engine, sinks, **settings)


def test_each_source_gets_the_results_it_would_get_alone(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny.onnx")
    uris = [f"test://?size=160x96&frames=9&seed={seed}" for seed in range(3)]
    sources = dict(zip("abc", uris, strict=True))
    reports = Fleet(sources, template(model, [str(tmp_path / "{source}.jsonl")], threads=1)).run()
    assert [report.processed for report in reports.values() if isinstance(report, RunReport)] == [9, 9, 9]
    for name, uri in sources.items():
        Pipeline(uri, model, [str(tmp_path / "alone.jsonl")], threads=1).run()
        assert (tmp_path / f"{name}.jsonl").read_bytes() == (tmp_path / "alone.jsonl").read_bytes()


def test_a_source_that_fails_ends_alone() -> None:
    sources = {
        "good": FakeSource(20),
        "broken": FakeSource(20, error=SourceError("cable pulled"), fail_at=3),
        "missing": "no/such/film.mp4",
    }
    ends = Fleet(sources, template(FakeEngine())).run()
    assert ends["good"].processed == 20
    assert "cable pulled" in str(ends["broken"])
    assert "No such file" in str(ends["missing"])


def test_nobody_waits_for_more_than_one_frame_of_each_other() -> None:
    order: list[int] = []
    engine = FakeEngine(gate=lambda call: time.sleep(0.002))
    names = ["a", "b", "c"]
    hooks = lambda name: Hooks(on_frame=lambda result: order.append(names.index(name)))  # noqa: E731
    Fleet({name: FakeSource(30) for name in names}, template(engine), hooks).run()
    middle = order[15:75]  # none has begun late or ended early there
    counts = [middle.count(i) for i in range(3)]
    assert max(counts) - min(counts) <= 6, counts


def test_engine_is_never_at_more_frames_than_it_has_lanes() -> None:
    busy, most = threading.Semaphore(2), []

    def gate(call):
        most.append(busy.acquire(blocking=False))
        time.sleep(0.001)
        busy.release()

    shared = share(FakeEngine(gate=gate, lanes=2))
    ends = Fleet({str(i): FakeSource(12) for i in range(4)}, template(shared)).run()
    assert [report.processed for report in ends.values()] == [12] * 4
    assert most == [True] * 48


@pytest.mark.parametrize(("lanes", "asked"), [(None, 1), (3, 3)])
def test_the_engine_is_opened_once_for_all_with_one_lane_unless_asked(monkeypatch, lanes, asked) -> None:
    """More lanes give more frames per second, each later, and live sources would have to wait."""
    opened, engine = [], FakeEngine()
    monkeypatch.setattr(opening, "open_engine", lambda model, **settings: (opened.append(settings["lanes"]), engine)[1])
    ends = Fleet({"a": FakeSource(2), "b": FakeSource(2)}, template("tiny", lanes=lanes)).run()
    assert [report.processed for report in ends.values()] == [2, 2]
    assert opened == [asked]
    assert engine.closed


def test_stop_ends_all_runs_and_finishes_their_outputs(tmp_path: Path) -> None:
    stop = threading.Event()
    sources = {name: FakeSource(10**6, live=True, gate=lambda i: time.sleep(0.005)) for name in "ab"}
    threading.Timer(0.5, stop.set).start()
    started = time.monotonic()
    ends = Fleet(sources, template(FakeEngine(), [str(tmp_path / "{source}.jsonl")])).run(stop=stop)
    assert time.monotonic() - started < 4
    assert all(report.interrupted for report in ends.values())
    for name in "ab":
        assert json.loads((tmp_path / f"{name}.jsonl").read_text().splitlines()[-1])["end"]["results"] > 0


def test_outputs_of_several_sources_need_names_of_their_own(tmp_path: Path) -> None:
    sources = {"a": FakeSource(3), "b": FakeSource(3)}
    with pytest.raises(UsageError, match=r"output out.jsonl: with several sources its name needs \{source\}"):
        Fleet(sources, template(FakeEngine(), ["out.jsonl"])).run()
    with pytest.raises(UsageError, match="by name"):
        Fleet(sources, template(FakeEngine(), [FakeEngine()])).run()
    with pytest.raises(UsageError, match="trace"):
        Fleet(sources, template(FakeEngine(), trace=tmp_path / "t.json")).run()


def test_failing_engine_fails_each_run_with_its_own_error() -> None:
    def gate(call):
        raise EngineError("no memory")

    ends = Fleet({"a": FakeSource(3), "b": FakeSource(3)}, template(FakeEngine(gate=gate), options=Options())).run()
    assert [str(error) for error in ends.values()] == ["no memory"] * 2


def test_names_are_short_and_unique_and_hold_no_secret() -> None:
    uris = [
        "films/cam0.avi", "other/cam0.mp4", "camera:0", "/dev/video1", "-", "screen:",
        "rtsp://admin:geheim@10.0.0.7:554/live/1?token=geheim", "test://?seed=1", "test://?seed=2",
    ]  # fmt: skip
    assert list(name_sources(uris)) == [
        "cam0", "cam0-2", "camera-0", "video1", "source", "screen", "10.0.0.7-554-live-1", "source-2", "source-3",
    ]  # fmt: skip


def test_command_line_runs_several_sources_and_says_what_became_of_each(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_tiny_model(tmp_path / "tiny.onnx")
    arguments = ["run", "--model", "tiny.onnx", "--output", "{source}.jsonl", "--source", "no/film.mp4"]
    for seed in range(2):
        arguments += ["--source", f"test://?size=160x96&frames=5&seed={seed}"]
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--json"])
    out, err = capsys.readouterr()
    sources = json.loads(out)["sources"]
    assert end.value.code == 4
    assert list(sources) == ["film", "source", "source-2"]
    assert "No such file" in sources["film"]["error"]
    assert [sources[name]["frames"]["processed"] for name in ("source", "source-2")] == [5, 5]
    assert "solo-rt: error: source film: " in err
    assert len((tmp_path / "source-2.jsonl").read_text().splitlines()) == 7
    with pytest.raises(SystemExit) as end:
        main(["run", "--model", "tiny.onnx", "--source", "no/a.mp4", "--source", "no/b.mp4"])
    assert end.value.code == 3


@pytest.mark.parametrize(
    ("ends", "code", "said"),
    [
        ({"a": ValueError("odd")}, 1, "source a: ValueError: odd (a bug)"),
        ({"a": SourceError("gone"), "b": TimeoutError("late")}, 3, "source a: gone"),
        ({"a": KeyboardInterrupt()}, 1, "source a: it was interrupted"),
    ],
)
def test_what_ended_all_of_them_is_said_with_its_exit_code(capsys, ends, code, said) -> None:
    assert sum_up_all(ends, [], quiet=False, as_json=False) == code
    assert capsys.readouterr().err.splitlines()[0] == f"solo-rt: error: {said}"
