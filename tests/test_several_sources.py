from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import av
import pytest
from cameras import camera
from clips import json_lines, write_clip
from command_line import Solo
from fakes import FakeEngine, FakeSink, FakeSource, write_tiny_model

from solo_rt.commands.summary import sum_up
from solo_rt.errors import EngineError, SourceError, UsageError
from solo_rt.pipeline import Hooks, Pipeline, opening, stream
from solo_rt.pipeline.options import Options
from solo_rt.pipeline.paths import name_sources
from solo_rt.pipeline.report import RunReport
from solo_rt.pipeline.sharing import share

pytestmark = pytest.mark.usefixtures("never_hang")

WAIT = 10.0  # seconds; only a failing test takes that long


def several(sources, engine, sinks=(), **settings):
    """Run the sources and return what became of each."""
    stop = settings.pop("stop", None)
    return Pipeline(None, engine, sinks, sources=sources, **settings).run(stop=stop).sources


def test_each_source_gets_the_results_it_would_get_alone(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny.onnx")
    uris = [f"test://?size=160x96&frames=9&seed={seed}" for seed in range(3)]
    sources = dict(zip("abc", uris, strict=True))
    reports = several(sources, model, [str(tmp_path / "{source}.jsonl")], threads=1)
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
    ends = several(sources, FakeEngine())
    assert ends["good"].processed == 20
    assert "cable pulled" in str(ends["broken"])
    assert "No such file" in str(ends["missing"])


def test_nobody_waits_for_more_than_one_frame_of_each_other() -> None:
    order: list[int] = []
    engine = FakeEngine(gate=lambda call: time.sleep(0.002))
    names = ["a", "b", "c"]
    hooks = lambda name: Hooks(on_frame=lambda result: order.append(names.index(name)))  # noqa: E731
    several({name: FakeSource(30) for name in names}, engine, hooks=hooks)
    middle = order[15:75]  # none has begun late or ended early there
    counts = [middle.count(i) for i in range(3)]
    assert max(counts) - min(counts) <= 6, counts


def test_cameras_give_the_newest_frame_they_have_when_the_engine_turns_to_them() -> None:
    is_busy, read, all_read = threading.Event(), threading.Semaphore(0), threading.Event()

    def gate_of_source(index):
        if index == 1:
            assert is_busy.wait(WAIT)
        if index == 9:
            read.release()
            assert all_read.wait(WAIT)

    def gate_of_engine(call):
        if call == 0:
            is_busy.set()
            assert all(read.acquire(timeout=WAIT) for _ in "abcdef")
            all_read.set()

    first: dict[str, int] = {}
    hooks = Hooks(on_frame=lambda result: first.setdefault(result.source, result.frame.index))
    sources = {name: FakeSource(10, live=True, gate=gate_of_source) for name in "abcdef"}
    options = Options(max_staleness=60)
    ends = several(sources, FakeEngine(gate=gate_of_engine), options=options, hooks=lambda name: hooks)
    assert sum(index < 8 for index in first.values()) <= 2  # the one that was computed and the one that was next
    assert all(report.read == report.processed + report.dropped == 10 for report in ends.values())


def test_engine_is_never_at_more_frames_than_it_has_lanes() -> None:
    busy, most = threading.Semaphore(2), []

    def gate(call):
        most.append(busy.acquire(blocking=False))
        time.sleep(0.001)
        busy.release()

    shared = share(FakeEngine(gate=gate, lanes=2))
    ends = several({str(i): FakeSource(12) for i in range(4)}, shared)
    assert [report.processed for report in ends.values()] == [12] * 4
    assert most == [True] * 48


@pytest.mark.parametrize(("lanes", "asked"), [(None, 1), (3, 3)])
def test_the_engine_is_opened_once_for_all_with_one_lane_unless_asked(monkeypatch, lanes, asked) -> None:
    """More lanes give more frames per second, each later, and live sources would have to wait."""
    opened, engine = [], FakeEngine()
    monkeypatch.setattr(opening, "open_engine", lambda model, **settings: (opened.append(settings["lanes"]), engine)[1])
    ends = several({"a": FakeSource(2), "b": FakeSource(2)}, "tiny", lanes=lanes)
    assert [report.processed for report in ends.values()] == [2, 2]
    assert opened == [asked]
    assert engine.closed


def test_stop_ends_all_runs_and_finishes_their_outputs(tmp_path: Path) -> None:
    stop = threading.Event()
    sources = {name: FakeSource(10**6, live=True, gate=lambda i: time.sleep(0.005)) for name in "ab"}
    threading.Timer(0.5, stop.set).start()
    started = time.monotonic()
    ends = several(sources, FakeEngine(), [str(tmp_path / "{source}.jsonl")], stop=stop)
    assert time.monotonic() - started < 4
    assert all(report.interrupted for report in ends.values())
    for name in "ab":
        assert json.loads((tmp_path / f"{name}.jsonl").read_text().splitlines()[-1])["end"]["results"] > 0


def test_outputs_of_several_sources_need_names_of_their_own(tmp_path: Path) -> None:
    sources = {"a": FakeSource(3), "b": FakeSource(3)}
    with pytest.raises(UsageError, match=r"output out.jsonl: with several sources its name needs \{source\}"):
        several(sources, FakeEngine(), ["out.jsonl"])
    with pytest.raises(UsageError, match="by name"):
        several(sources, FakeEngine(), [FakeEngine()])
    with pytest.raises(UsageError, match="trace"):
        several(sources, FakeEngine(), trace=tmp_path / "t.json")


def test_failing_engine_fails_all_runs() -> None:
    def gate(call):
        raise EngineError("no memory")

    with pytest.raises(EngineError, match="a: no memory; b: no memory"):
        several({"a": FakeSource(3), "b": FakeSource(3)}, FakeEngine(gate=gate), options=Options())


def test_names_are_short_and_unique_and_hold_no_secret() -> None:
    uris = [
        "films/cam0.avi", "other/cam0.mp4", "camera:0", "/dev/video1", "-", "screen:",
        "rtsp://admin:geheim@10.0.0.7:554/live/1?token=geheim", "test://?seed=1", "test://?seed=2",
        "東京 駅.mp4", "nu\u0308rnberg.mp4", "caf\udce9.mp4",
    ]  # fmt: skip
    assert list(name_sources(uris)) == [
        "cam0", "cam0-2", "camera-0", "video1", "source", "screen", "10.0.0.7-554-live-1", "source-2", "source-3",
        "東京-駅", "nürnberg", "caf",
    ]  # fmt: skip


def test_names_can_be_given(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.mp4").touch()
    named = name_sources(
        [
            "x/door.mp4",
            "door=rtsp://u:p@host/1?a=b",
            "a=b.mp4",
            "test://?seed=1",
            "2nd.cam=camera:0",
            "su\u0308d=test://",
        ]
    )
    assert named == {
        "door-2": "x/door.mp4",
        "door": "rtsp://u:p@host/1?a=b",
        "a-b": "a=b.mp4",
        "source": "test://?seed=1",
        "2nd.cam": "camera:0",
        "süd": "test://",
    }
    with pytest.raises(UsageError, match="two sources are called a;"):
        name_sources(["a=1.mp4", "a=2.mp4"])


def test_the_only_source_has_its_name_in_outputs_as_well(tmp_path: Path, monkeypatch, solo: Solo) -> None:
    monkeypatch.chdir(tmp_path)
    write_tiny_model(tmp_path / "tiny.onnx")
    source = "door=test://?size=160x96&frames=2"
    assert solo("run", "--model", "tiny.onnx", "--source", source, "--output", "{source}.jsonl", "--quiet")[0] == 0
    assert len((tmp_path / "door.jsonl").read_text().splitlines()) == 4


def test_command_line_runs_several_sources_and_says_what_became_of_each(tmp_path, monkeypatch, solo):
    monkeypatch.chdir(tmp_path)
    write_tiny_model(tmp_path / "tiny.onnx")
    arguments = ["run", "--model", "tiny.onnx", "--output", "{source}.jsonl", "--source", "no/film.mp4"]
    for seed in range(2):
        arguments += ["--source", f"test://?size=160x96&frames=5&seed={seed}"]
    code, out, err = solo(*arguments, "--json")
    sources = json.loads(out)["sources"]
    assert code == 4
    assert list(sources) == ["film", "source", "source-2"]
    assert "No such file" in sources["film"]["error"]
    assert [sources[name]["frames"]["processed"] for name in ("source", "source-2")] == [5, 5]
    assert json.loads(out)["outputs"] == ["film.jsonl", "source.jsonl", "source-2.jsonl"]
    assert "solo-rt: error: source film: " in err
    assert len((tmp_path / "source-2.jsonl").read_text().splitlines()) == 7
    assert solo("run", "--model", "tiny.onnx", "--source", "no/a.mp4", "--source", "no/b.mp4")[0] == 3


@pytest.mark.parametrize(
    ("errors", "kind", "said"),
    [
        ([SourceError("gone"), SourceError("away")], SourceError, "a: gone; b: away"),
        ([SourceError("gone"), ValueError("odd")], ValueError, "odd"),
    ],
)
def test_what_ended_all_of_them_is_raised(errors, kind, said) -> None:
    sources = {name: FakeSource(9, error=error, fail_at=0) for name, error in zip("ab", errors, strict=True)}
    with pytest.raises(kind) as caught:
        several(sources, FakeEngine())
    assert str(caught.value) == said


def test_a_bug_of_one_source_is_named_as_such(capsys) -> None:
    sources = {"a": FakeSource(3), "b": FakeSource(9, error=ValueError("odd"), fail_at=2)}
    report = Pipeline(None, FakeEngine(), sources=sources).run()
    assert sum_up(report, [], quiet=True, as_json=False) == 4
    assert capsys.readouterr().err == "solo-rt: error: source b: ValueError: odd (a bug)\n"


def test_the_report_of_all_adds_up() -> None:
    sources = {
        "a": FakeSource(3),
        "b": FakeSource(5, damage="it tore"),
        "c": FakeSource(9, error=SourceError("gone"), fail_at=1),
    }
    report = Pipeline(None, FakeEngine(), sources=sources).run()
    assert (report.read, report.processed) == (8, 8)
    assert report.instances == sum(report.sources[name].instances for name in "ab") > 0
    assert report.latency in [report.sources[name].latency for name in "ab"]
    assert report.damage == "b: it tore; c: gone"
    record = json.loads(json.dumps(report.to_record()))
    assert record["sources"]["b"]["frames"]["processed"] == 5
    assert record["sources"]["c"] == {"error": "gone"}


def test_hooks_hear_which_source_it_is_and_what_ended_it() -> None:
    heard: list[tuple[object, ...]] = []

    def hooks(name: str) -> Hooks:
        return Hooks(
            on_frame=lambda result: heard.append((name, result.source)),
            on_failure=lambda error: heard.append((name, str(error))),
            on_end=lambda report: heard.append((name, report.processed)),
        )

    several({"a": FakeSource(2), "b": FakeSource(9, error=SourceError("gone"), fail_at=1)}, FakeEngine(), hooks=hooks)
    assert [what for what in heard if what[0] == "a"] == [("a", "a"), ("a", "a"), ("a", 2)]
    assert [what for what in heard if what[0] == "b"] == [("b", "b"), ("b", "gone")]


def test_hooks_are_asked_for_before_the_model_is_loaded(monkeypatch) -> None:
    asked: list[str] = []

    def open_late(model, **settings):
        assert asked == ["a", "b"], "a page shows its sources while the model is being loaded"
        return FakeEngine()

    monkeypatch.setattr(opening, "open_engine", open_late)
    several({"a": FakeSource(1), "b": FakeSource(1)}, "tiny", hooks=lambda name: (asked.append(name), Hooks())[1])
    assert asked == ["a", "b"]


def test_what_ends_the_only_source_is_heard_of_as_well() -> None:
    heard: list[BaseException] = []
    with pytest.raises(SourceError, match="No such file"):
        Pipeline("no/such/film.mp4", FakeEngine(), hooks=Hooks(on_failure=heard.append)).run()
    assert len(heard) == 1


@pytest.mark.parametrize("given", [{}, {"source": "a.mp4", "sources": ["b.mp4"]}])
def test_it_is_a_source_or_several(given) -> None:
    with pytest.raises(UsageError, match="expected a source or sources"):
        Pipeline(**given).run()


@pytest.mark.parametrize("given", [{"sinks": "out.mp4"}, {"sinks": Path("out.mp4")}, {"sources": "a.mp4"}])
def test_one_where_several_go_is_refused(given) -> None:
    with pytest.raises(UsageError, match=rf"pipeline: expected {next(iter(given))} as a list, got '\w+.mp4'"):
        Pipeline(**given)


def test_the_only_source_has_the_name_of_its_address(tmp_path: Path) -> None:
    heard: list[str] = []
    film = tmp_path / "film.mkv"
    write_clip(film, count=2)
    for source in (film, f"film={film}"):
        outputs = [str(tmp_path / "{source}.seen.jsonl")]
        Pipeline(source, FakeEngine(), outputs, hooks=Hooks(on_frame=lambda result: heard.append(result.source))).run()
        assert (tmp_path / "film.seen.jsonl").exists()
    assert heard == ["film"] * 4


def test_a_list_of_one_source_needs_no_name_in_outputs(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    report = Pipeline(None, FakeEngine(), [str(out)], sources=["test://?size=160x96&frames=2"]).run()
    assert (report.processed, list(report.sources)) == (2, ["source"])
    assert len(out.read_text().splitlines()) == 4


def test_stream_gives_the_results_of_all_in_the_order_of_each() -> None:
    seen: dict[str, list[int]] = {"a": [], "b": []}
    for result in stream({"a": FakeSource(7), "b": FakeSource(4)}, model=FakeEngine()):
        seen[result.source].append(result.frame.index)
    assert seen == {"a": list(range(7)), "b": list(range(4))}
    names = {result.source for result in stream(["test://?seed=1&frames=1", "test://?seed=2&frames=1"])}
    assert names == {"source", "source-2"}


def test_stream_raises_what_ended_one_when_the_others_have_ended() -> None:
    count = 0
    with pytest.raises(SourceError, match="gone"):
        for _ in stream(
            {"a": FakeSource(6), "b": FakeSource(6, error=SourceError("gone"), fail_at=2)}, model=FakeEngine()
        ):
            count += 1
    assert count == 8


def test_leaving_stream_ends_all_sources_and_closes_what_it_opened() -> None:
    sources = {name: FakeSource(10**6, live=True, gate=lambda i: time.sleep(0.001)) for name in "ab"}
    engine = FakeEngine()
    results = stream(sources, model=engine)
    next(results)
    results.close()
    assert not engine.closed
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("solo-rt")]


FAULTS = {
    "stalls": lambda cam: setattr(cam, "sends_pictures", not cam.sends_pictures),
    "comes and goes": lambda cam: cam.hang_up(),
    "goes away": lambda cam: (cam.go_away(), cam.come_back()),
    "changes its size": lambda cam: (setattr(cam, "size", (96, 64)), cam.hang_up()),
    "sends garbage": lambda cam: setattr(cam, "sends_garbage", True),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_camera_does_not_touch_the_others(tmp_path: Path, fault: str) -> None:
    results, stop = dict.fromkeys(("bad", "good", "well"), 0), threading.Event()
    with camera() as bad, camera() as good, camera() as well:

        def count(result) -> None:
            results[result.source] += 1
            if result.source == "good" and results["good"] % 15 == 5:
                FAULTS[fault](bad)
            if min(results["good"], results["well"]) >= 60:
                stop.set()

        sources = {"bad": bad.uri, "good": good.uri, "well": well.uri}
        sinks = [str(tmp_path / "{source}.jsonl"), str(tmp_path / "{source}.mp4")]
        options = Options(max_failures=1000)
        report = Pipeline(
            model=FakeEngine(), sources=sources, sinks=sinks, options=options, hooks=Hooks(on_frame=count)
        ).run(stop=stop)
    for name in ("good", "well"):
        end = report.sources[name]
        assert (end.damage, end.failures, end.failed) == (None, (), 0)
        _, *lines = json_lines(tmp_path / f"{name}.jsonl")
        assert {line["source_state"]["state"] for line in lines if "source_state" in line} <= {"connecting", "live"}
        with av.open(str(tmp_path / f"{name}.mp4")) as film:
            shown = sum(1 for _ in film.decode(video=0))
        assert shown == end.processed - sum(missed for out, missed in end.behind.items() if out.endswith(".mp4"))
        assert end.processed >= 60


def test_frames_that_the_model_makes_nonsense_of_are_those_of_their_source_alone(caplog) -> None:
    class Fragile(FakeEngine):
        def infer(self, inputs):
            outputs = super().infer(inputs)
            if float(inputs["image"].mean()) > 2:  # white, normalised
                outputs["scores"][...] = float("nan")
            return outputs

    class Glaring(FakeSource):
        def __iter__(self):
            for frame in super().__iter__():
                frame.planes[0].flags.writeable = True
                frame.planes[0][...] = 255
                yield frame

    alone: list[object] = []
    Pipeline(FakeSource(8), Fragile(), hooks=Hooks(on_frame=lambda result: alone.append(result.to_record()))).run()
    beside: list[object] = []
    hooks = Hooks(on_frame=lambda result: beside.append(result.to_record()) if result.source == "good" else None)
    report = Pipeline(model=Fragile(), sources={"bad": Glaring(8), "good": FakeSource(8)}, hooks=hooks).run()
    assert "output scores holds NaN" in caplog.text
    assert report.sources["bad"].processed == 8
    assert beside == alone


def test_frames_of_a_cpu_do_not_look_for_a_gpu(monkeypatch) -> None:
    monkeypatch.setattr(opening, "open_gpu_labels", lambda gpu: pytest.fail("there may be none"))
    sink = FakeSink(needs_picture=True)
    sink.takes_gpu_pictures = True
    assert Pipeline(FakeSource(2), FakeEngine(), [sink]).run().processed == 2
