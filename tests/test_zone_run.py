"""Zones through whole runs: from Python, as a user types it, and with several sources."""

from __future__ import annotations

import csv
import json
import threading
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from fakes import STREET_SPEC, FakeEngine, FakeSink, FakeSource
from found import found

from solo_rt.errors import UsageError
from solo_rt.pipeline import Hooks, Options, Pipeline, opening, run, stages, stream
from solo_rt.render import Style
from solo_rt.track.zones import Zone

pytestmark = pytest.mark.usefixtures("never_hang")

FILE = """
[[zone]]
name = "room"
polygon = [[0.25, 0.1], [0.75, 0.1], [0.75, 0.9], [0.25, 0.9]]
dwell = 0.3

[[line]]
name = "gate"
points = [[0.5, 0], [0.5, 1]]
"""
ROOM = Zone("room", ((0.25, 0.1), (0.75, 0.1), (0.75, 0.9), (0.25, 0.9)), dwell=0.3)
GATE = Zone("gate", ((0.5, 0), (0.5, 1)), is_line=True)
COUNTED = [
    {"zone": "room", "entered": {"red": 1}, "left": {"red": 1}, "inside": {}},
    {"line": "gate", "forward": {}, "backward": {"red": 1}},
]
FRAMES = 34


@pytest.fixture(autouse=True)
def _walker(monkeypatch):
    """Let every model find one object, which walks through the picture from the left to the right."""

    def task(spec, wanted, *, conf, max_det):
        steps = count()

        def decode(outputs, letterbox):
            x = 2 * next(steps)
            return found((x, 20, x + 12, 36), tracks=[1], size=(48, 80))

        return stages._Task(decode, genuine.labels)

    genuine = stages._instance_task(FakeEngine().spec, None, conf=0.5, max_det=9)
    monkeypatch.setattr(stages, "_instance_task", task)
    monkeypatch.setattr(opening, "open_engine", lambda model, **_: FakeEngine())
    monkeypatch.setattr(opening, "open_source", lambda uri, **_: FakeSource(FRAMES))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zones.toml").write_text(FILE)
    return tmp_path


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_events_and_counts_are_in_all_outputs_and_in_the_report(folder, solo):
    outputs = ["out.jsonl", "events:events.csv", "counts:counts.csv"]
    arguments = [word for output in outputs for word in ("--output", output)]
    code, out, _ = solo("run", "--source", "cam0.avi", "--zones", "zones.toml", *arguments, "--json")
    assert code == 0
    assert json.loads(out)["zones"] == COUNTED
    records = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    events = [event for record in records for event in record.get("events", [])]
    assert [event["event"] for event in events] == ["enter", "dwell", "cross", "leave"]
    assert events[2] == {
        "event": "cross", "zone": "gate", "track_id": 1, "class_id": 0, "class": "red", "direction": "backward",
    }  # fmt: skip
    rows = table(folder / "events.csv")
    assert [(row["event"], row["track_id"], row["class"]) for row in rows] == [
        (event["event"], "1", "red") for event in events
    ]
    assert [(row["zone"], row["entered"], row["left"], row["inside"]) for row in table(folder / "counts.csv")] == [
        ("room", "1", "1", "0"), ("gate", "0", "1", ""),
    ]  # fmt: skip


def test_the_summary_has_what_was_counted(folder, solo):
    code, out, _ = solo("run", "--source", "cam0.avi", "--zones", "zones.toml")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert ["entered", "left", "inside"] in lines
    assert ["room", "red", "1", "1", "0"] in lines
    assert ["gate", "red", "0", "1"] in lines
    (folder / "zones.toml").write_text('[[zone]]\nname = "attic"\npolygon = [[0, 0], [1, 0], [1, 0.1]]')
    _, out, _ = solo("run", "--source", "cam0.avi", "--zones", "zones.toml")
    assert ["attic", "0", "0", "0"] in [line.split() for line in out.splitlines()]
    assert "forward" not in out
    _, out, _ = solo("run", "--source", "cam0.avi", "--json")
    assert "zones" not in json.loads(out)


def test_threads_give_what_the_plain_loop_gives():
    results = []
    for sync in (False, True):
        sink = FakeSink(needs_picture=True)
        report = run(FakeSource(FRAMES), FakeEngine(), [sink], options=Options(zones=(ROOM, GATE), sync=sync))
        results.append((sink.records, sink.pictures, report.to_record()["zones"]))
    assert results[0] == results[1]
    assert results[0][2] == COUNTED
    assert [name for name in report.stages if name != "track"] == [
        "read", "prepare", "infer", "decode", "zones", "render", "sink",
    ]  # fmt: skip


def test_results_have_the_zones_of_their_frame_and_pictures_show_them():
    plain = [result.rendered for result in stream(FakeSource(3), model=FakeEngine(), render=True)]
    zoned = list(stream(FakeSource(3), model=FakeEngine(), render=True, zones=(ROOM, GATE)))
    assert [zone.name for zone in zoned[0].zones] == ["room", "gate"]
    for before, result in zip(plain, zoned, strict=True):
        changed = (before.planes[0] != result.rendered.planes[0]).any(-1)
        assert changed[40, 20]  # on the left side of the room
        assert not changed[45, 75]
        assert not (result.frame.planes[0] != before.planes[0]).all()


class PaintingEngine(FakeEngine):
    """What an engine on a GPU looks like to whoever opens a source for it."""

    def infer_frame(self, frame, painting=None):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("options", "stays"),
    [
        (Options(), True),
        (Options(style=Style(labels=False)), True),
        (Options(style=Style(boxes=True)), False),
        (Options(zones=(ROOM,)), False),
        (Options(track=True), False),
    ],
)
def test_frames_that_a_cpu_must_paint_do_not_stay_on_a_gpu(monkeypatch, options, stays):
    asked = []
    monkeypatch.setattr(opening, "check_decoder", lambda *_, **__: None)
    monkeypatch.setattr(opening, "CAN_STAY_ON_GPU", True)
    monkeypatch.setattr(opening, "open_source", lambda uri, **given: (asked.append(given["on_gpu"]), FakeSource(1))[1])
    pipeline = Pipeline("film.mp4", PaintingEngine(spec=STREET_SPEC), decoder="nvdec", options=options)
    with ExitStack() as stack:
        _, _, on_gpu = pipeline.open_ends(stack, threading.Event(), Hooks(), may_stay=True)
    assert (asked, on_gpu) == ([stays], stays)


@pytest.mark.parametrize(
    ("change", "arguments", "said"),
    [
        (('"room"', '"room"\nclasses = ["reed"]'), [], "zones.toml: zone 1 (room): unknown class 'reed'; the model"),
        (('"gate"', '"gate"\nsource = "cam1"'), [], "zones.toml: line 1 (gate): no source is called 'cam1'; there are"),
        (('"gate"', '"room"'), [], "zones.toml: line 1 (room): the name is that of zones.toml: zone 1 (room) already"),
        (("0.75, 0.1", "0.75, 1.1"), [], "zones.toml: zone 1 (room): point 2 is not in the picture"),
        (("[[line]]", "[[lines]]"), [], "zones.toml: unknown key 'lines'; did you mean line?"),
        (("", ""), ["--zones", "none.toml"], "cannot read the zone file 'none.toml': No such file or directory"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_before_anything_is_written(folder, solo, change, arguments, said):
    (folder / "zones.toml").write_text(FILE.replace(*change, 1))
    code, out, err = solo("run", "--source", "cam0.avi", "--zones", "zones.toml", "--output", "a.jsonl", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"solo-rt: error: {said}")
    assert err.count("\n") == 1
    assert not (folder / "a.jsonl").exists()


def test_tables_of_zones_are_refused_without_zones(folder, solo):
    code, _, err = solo("run", "--source", "cam0.avi", "--output", "events:a.csv")
    assert code == 2
    assert "events:a.csv: it holds what zones tell, and there are none; name them with --zones FILE" in err


def test_semantic_models_have_no_objects_to_count():
    with pytest.raises(UsageError, match="zones are about objects, and street finds none"):
        Pipeline(FakeSource(1), FakeEngine(spec=STREET_SPEC), [], Options(zones=(ROOM,))).run()


def test_zones_of_a_source_need_its_name():
    zone = Zone("room", ROOM.points, source="cam0")
    for refused in (
        lambda: Pipeline(FakeSource(1), FakeEngine(), [], Options(zones=(zone,))).run(),
        lambda: list(stream(FakeSource(1), model=FakeEngine(), zones=(zone,))),
        lambda: Pipeline(None, FakeEngine(), sources={"cam1": FakeSource(1)}, options=Options(zones=(zone,))).run(),
        lambda: Pipeline("films/cam1.avi", FakeEngine(), options=Options(zones=(zone,))).run(),
        lambda: run(FakeSource(1), FakeEngine(), [], options=Options(zones=(zone,))),
    ):
        with pytest.raises(UsageError, match=r"zone room: no source is called 'cam0'; there (is one without|are cam1)"):
            refused()
    for named in (
        Pipeline(FakeSource(FRAMES), FakeEngine(), [], Options(zones=(zone,)), name="cam0"),
        Pipeline("films/cam0.avi", FakeEngine(), options=Options(zones=(zone,))),
        Pipeline("cam0=rtsp://host/1", FakeEngine(), options=Options(zones=(zone,))),
    ):
        assert named.run().to_record()["zones"] == COUNTED[:1]
    *_, last = stream("films/cam0.avi", model=FakeEngine(), zones=(zone,))
    assert (last.source, last.zones[0].name) == ("cam0", "room")


def test_a_single_source_has_its_name_as_well(folder, solo):
    (folder / "zones.toml").write_text(FILE.replace('"gate"', '"gate"\nsource = "cam0"'))
    _, out, _ = solo("run", "--source", "films/cam0.avi", "--zones", "zones.toml", "--json")
    assert json.loads(out)["zones"] == COUNTED


def test_each_of_several_sources_has_its_own_zones_and_counts(folder, solo):
    text = FILE.replace('"gate"', '"gate"\nsource = "b"') + FILE.replace('"room"', '"hall"').partition("[[line]]")[0]
    (folder / "zones.toml").write_text(text)
    arguments = [
        "run",
        "--source",
        "a.avi",
        "--source",
        "b.avi",
        "--zones",
        "zones.toml",
        "--output",
        "events:{source}.csv",
    ]
    code, out, _ = solo(*arguments, "--json")
    assert code == 0
    sources = json.loads(out)["sources"]
    hall = {**COUNTED[0], "zone": "hall"}
    assert sources["a"]["zones"] == [COUNTED[0], hall]
    assert sources["b"]["zones"] == [COUNTED[0], hall, COUNTED[1]]
    assert [len(table(folder / name)) for name in ("a.csv", "b.csv")] == [6, 7]
    _, out, _ = solo(*arguments)
    lines = [line.split() for line in out.splitlines()]
    assert ["a", "room", "red", "1", "1", "0"] in lines
    assert ["b", "gate", "red", "0", "1"] in lines


def test_a_source_without_zones_may_stand_beside_one_with_some(folder, solo):
    (folder / "zones.toml").write_text(FILE.replace('"room"', '"room"\nsource = "a"').partition("[[line]]")[0])
    arguments = ["--zones", "zones.toml", "--output", "events:{source}.csv", "--json"]
    code, out, _ = solo("run", "--source", "a.avi", "--source", "b.avi", *arguments)
    assert code == 0
    assert [source.get("zones") for source in json.loads(out)["sources"].values()] == [COUNTED[:1], None]
    assert [len(table(folder / name)) for name in ("a.csv", "b.csv")] == [3, 0]


def test_a_class_that_the_model_does_not_know_is_said_once_for_all_sources(folder, solo):
    (folder / "zones.toml").write_text(FILE.replace('"room"', '"room"\nclasses = ["reed"]'))
    code, _, err = solo("run", "--source", "a.avi", "--source", "b.avi", "--zones", "zones.toml")
    assert code == 2
    assert err == "solo-rt: error: zones.toml: zone 1 (room): unknown class 'reed'; the model knows red, green, blue\n"


def test_other_sizes_of_frames_have_the_same_zones():
    (result,) = stream(
        FakeSource(1), model=FakeEngine(), zones=(Zone("room", ((0, 0), (640, 0), (640, 384)), size=(640, 384)),)
    )
    np.testing.assert_array_equal(result.zones[0].points, [(0, 0), (80, 0), (80, 48)])
