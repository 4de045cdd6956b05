"""`solo-rt bench`: the record, what it is printed as, and what it does with bad input."""

from __future__ import annotations

import copy
import io
import json
import os
import threading
import weakref
from contextlib import nullcontext
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from clips import write_clip
from fakes import STREET_SPEC, TINY_SPEC, FakeEngine, FakeSource, write_street_model, write_tiny_model

from solo_rt.bench import clip as clips
from solo_rt.bench import measurement
from solo_rt.bench.clip import LoopedClip, find_sample, open_clip
from solo_rt.bench.laps import Lap, Pace
from solo_rt.bench.layers import WHAT, Subject
from solo_rt.bench.markdown import table, to_markdown
from solo_rt.bench.measurement import Order, measure
from solo_rt.bench.schema import mistakes, read_record, schema
from solo_rt.errors import EngineError, UsageError
from solo_rt.files import file_sha256
from solo_rt.pipeline import Options

CLIP = "test://?size=80x48&frames=20&fps=200"


@pytest.fixture(autouse=True)
def _short_laps(monkeypatch):
    monkeypatch.setattr(measurement, "QUICK", Pace(seconds=0.02, least=3, most=3))


def test_only_the_frames_that_are_measured_on_are_held(monkeypatch):
    planes, most = [], 0

    class Watched(FakeSource):
        def __iter__(self):
            nonlocal most
            for frame in super().__iter__():
                planes.append(weakref.ref(frame.planes[0]))
                most = max(most, sum(plane() is not None for plane in planes))
                yield frame

    monkeypatch.setattr(clips, "open_source", lambda *_, **__: nullcontext(Watched(200)))
    assert [frame.index for frame in open_clip("fake").frames] == list(range(0, 120, 15))
    assert most < 12


@pytest.fixture
def tiny(tmp_path):
    return write_tiny_model(tmp_path / "tiny.onnx")


def with_engine(monkeypatch, engine):
    monkeypatch.setattr(measurement, "open_engine", lambda *_, **__: engine)
    return engine


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """Return a record as it is read from its file."""
    folder = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measurement, "QUICK", Pace(seconds=0.02, least=3, most=3))
        order = Order(str(write_tiny_model(folder / "tiny.onnx")), CLIP, device="cpu", threads=1, quick=True)
        found = measure(order, stop=threading.Event())
    path = folder / "record.json"
    path.write_text(json.dumps(found))
    return read_record(path)


def test_a_record_has_all_layers_in_the_published_form(record):
    assert list(mistakes(record)) == []
    assert list(record["layers"]) == list(WHAT) == list(schema()["properties"]["layers"]["properties"])
    assert "partial" not in record
    for name, layer in record["layers"].items():
        assert len(layer["laps"]) == 3, name
        if layer["frames"] > 3 or "pipeline" not in name:  # where laps have one frame, none came after another
            assert layer["ms"]["p50"] <= layer["ms"]["p90"] <= layer["ms"]["p99"] <= layer["ms"]["max"], name
    assert record["model"]["metrics"] == {"AP": 0.25}
    assert record["clip"] == {"name": CLIP, "sha256": "", "width": 80, "height": 48, "frame_rate": 200.0}
    assert record["engine"].startswith("o")
    assert record["asked"] == {
        "backend": "auto",
        "device": "cpu",
        "precision": "auto",
        "threads": 1,
        "quick": True,
    }


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda r: r.pop("clip"), "the record lacks clip"),
        (lambda r: r.update(version=2), "version must be 1, got 2"),
        (lambda r: r.update(mood="good"), "the record has an unknown 'mood'"),
        (lambda r: r["clip"].update(width="wide"), "width must be of type integer, got 'wide'"),
        (lambda r: r["clip"].update(width=True), "width must be of type integer, got True"),
        (lambda r: r["layers"]["network"]["laps"].append("x"), "laps must be of type number, got 'x'"),
        (lambda r: r["layers"]["network"]["laps"].clear(), "laps must have 1 values at least, got 0"),
        (lambda r: r["layers"]["network"].update(fps=float("nan")), "fps must be a number below 1e+15, got nan"),
        (
            lambda r: r["layers"]["network"].update(fps=10**16),
            "fps must be a number below 1e+15, got 10000000000000000",
        ),
        (lambda r: r["layers"]["network"].pop("fps"), "network lacks fps"),
        (lambda r: r["model"]["metrics"].update(AP=None), "AP must be of type number, got None"),
    ],
)
def test_another_form_is_refused(record, change, complaint, tmp_path):
    changed = copy.deepcopy(record)
    change(changed)
    assert complaint in list(mistakes(changed))
    path = tmp_path / "x.json"
    path.write_text(json.dumps(changed))
    with pytest.raises(UsageError, match=r"expected a file of solo-rt bench --json"):
        read_record(path)


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "3", "[" * 100_000])
def test_a_file_that_is_no_record_is_refused(text, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="expected a file of solo-rt bench"):
        read_record(path)


def test_a_record_reads_as_a_table(record):
    shown = to_markdown({**record, "unreliable": ["it was hot"], "partial": "interrupted"})
    rows = [line for line in shown.splitlines() if line.startswith("|")]
    assert [row.split("|")[1].strip() for row in rows[2:]] == list(WHAT)
    assert len({len(row) for row in rows}) == 1, "columns stand below each other"
    assert "**tiny** (64x32, AP 0.250" in shown
    assert "**unreliable**: it was hot" in shown
    assert "**partial**: interrupted" in shown


def test_a_column_without_values_is_left_out():
    found = table(("a", "b", "c"), [["x", "", "12.5"]])
    assert found == ["| a   |    c |", "| :-- | ---: |", "| x   | 12.5 |"]


def test_the_sample_is_made_once_and_is_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(clips, "SAMPLE", "test://?seed=7&size=64x48&frames=20")
    made = []
    for name in ("a", "b"):
        monkeypatch.setenv("SOLO_RT_CACHE", str(tmp_path / name))
        made.append(find_sample())
        assert list(made[-1].parent.iterdir()) == [made[-1]], "nothing else is left"
    assert made[0].read_bytes() == made[1].read_bytes()
    before = made[1].stat().st_mtime_ns
    assert find_sample().stat().st_mtime_ns == before
    clip = open_clip(None)
    assert (clip.size, len(clip.sha256), clip.name) == ((48, 64), 64, clips.SAMPLE)


def test_a_clip_in_the_home_folder_is_that_file(tmp_path, monkeypatch):
    monkeypatch.setenv("SOLO_RT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(clips, "SAMPLE", "test://?seed=7&size=64x48&frames=20")
    find_sample().rename(tmp_path / "a.mp4")
    monkeypatch.setenv("HOME", str(tmp_path))
    clip = open_clip("~/a.mp4")
    assert (clip.name, clip.sha256) == ("a.mp4", file_sha256(tmp_path / "a.mp4"))
    assert Order(source="~/a.mp4").task("x", 30.0).clip == str(tmp_path / "a.mp4"), "others do not know the sign"


def test_a_damaged_clip_is_refused(tmp_path):
    picture = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    for number in range(20):
        (tmp_path / f"{number}.png").write_bytes(picture if number != 3 else b"broken")
    with pytest.raises(
        UsageError, match=r"1 unreadable pictures were skipped: .*3\.png.*; expected a clip that is whole"
    ):
        open_clip(str(tmp_path))


def test_pictures_are_a_clip_by_their_names_and_bytes(tmp_path):
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
        for number in range(16):
            rgb = np.full((8, 8, 3), number, np.uint8)
            (folder / f"{number}.png").write_bytes(cv2.imencode(".png", rgb)[1].tobytes())
    first, second = (open_clip(str(folder)) for folder in folders)
    assert len(first.sha256) == 64
    assert first.sha256 == second.sha256 == open_clip(f"{folders[0]}/*.png").sha256
    (folders[1] / "3.png").rename(folders[1] / "30.png")
    renamed = open_clip(str(folders[1])).sha256
    (folders[1] / "30.png").write_bytes((folders[0] / "4.png").read_bytes())
    assert len({first.sha256, renamed, open_clip(str(folders[1])).sha256}) == 3


def test_without_a_home_folder_the_sample_needs_another_place(solo, tiny, homeless):
    code, _, err = solo("bench", "--quick", "--model", tiny)
    assert (code, err.count("\n"), "no home folder to keep anything in; set SOLO_RT_CACHE" in err) == (2, 1, True), err


def test_a_looped_clip_goes_on_until_its_time_is_over(monkeypatch):
    now = iter(range(1000))
    monkeypatch.setattr(clips, "time", SimpleNamespace(monotonic=lambda: next(now)))
    looped = LoopedClip("test://?size=32x32&frames=4", rate=clips.DEFAULT_RATE, seconds=10)
    frames = list(looped)
    assert [frame.index for frame in frames] == list(range(10))
    assert [frame.time_s for frame in frames] == pytest.approx([i / 30 for i in range(10)])
    assert (frames[4].planes[0] == frames[0].planes[0]).all()
    assert not (frames[1].planes[0] == frames[0].planes[0]).all()


def test_a_semantic_model_is_measured_to_labels_at_frame_size(tmp_path):
    model = write_street_model(tmp_path / "street.onnx", spec=STREET_SPEC)
    found = measure(Order(str(model), CLIP, device="cpu", quick=True), stop=threading.Event())
    assert list(mistakes(json.loads(json.dumps(found)))) == []
    assert "objects_per_frame" not in found["layers"]["model"]


def live_subject(monkeypatch, sustained):
    """Return a subject whose live laps lose nothing up to a rate."""
    subject = Subject(FakeEngine(), None, Options(), None)
    tried = []

    def live(self, rate, seconds):
        tried.append(float(rate))
        return Lap(100, 1.0, due=100, dropped=0 if rate <= sustained else 7)

    monkeypatch.setattr(Subject, "live", live)
    return subject, tried


def test_the_highest_rate_is_closed_in_on_from_several_sides(monkeypatch):
    subject, tried = live_subject(monkeypatch, sustained=61)
    found = subject.highest_rates(100.0, Pace(1.0, searches=3))
    assert len(set(found)) == 3, "what a search cannot tell apart is seen in the interval"
    assert all(rate <= 61 < 1.03 * rate for rate in found)
    assert set(found) <= set(tried)
    assert live_subject(monkeypatch, sustained=3)[0].highest_rates(100.0, Pace(1.0)) == []


def test_a_failure_in_one_layer_leaves_the_others(monkeypatch, tiny):
    calls = []

    def breaks(call):
        calls.append(call)
        if len(calls) > 40:
            raise EngineError("the card fell out")

    with_engine(monkeypatch, FakeEngine(gate=breaks, spec=TINY_SPEC))
    found = measure(Order(str(tiny), CLIP, quick=True), stop=threading.Event())
    assert "the card fell out" in found["partial"]
    assert list(mistakes(json.loads(json.dumps(found)))) == []


def test_what_was_measured_before_an_interrupt_is_kept(monkeypatch, tiny):
    stop = threading.Event()
    engine = with_engine(monkeypatch, FakeEngine())

    def on_step(done, most, text):
        if text == "lap 1, pipeline to nothing":
            stop.set()

    found = measure(Order(str(tiny), CLIP, quick=True), stop=stop, on_step=on_step)
    assert (found["partial"], list(found["layers"])) == ("interrupted", ["network", "model"])
    assert engine.closed
    assert to_markdown(found)


def test_the_command_prints_and_writes_it_all(solo, tiny, tmp_path):
    files = [tmp_path / name for name in ("a.json", "a.md", "a.png")]
    options = ["--json", files[0], "--markdown", files[1], "--chart", files[2]]
    code, out, err = solo("bench", "--quick", "--model", tiny, "--source", CLIP, "--device", "cpu", *options)
    assert (code, "Traceback" in err) == (0, False)
    assert out.strip() == files[1].read_text().strip()
    assert read_record(files[0])["model"]["name"] == "tiny"
    picture = cv2.imread(str(files[2]))
    assert picture.shape[1] == 960
    assert (picture < 200).any()


def test_a_clip_and_a_model_may_be_called_by_what_is_no_utf8(solo, tiny, tmp_path):
    clip, model = tmp_path / "caf\udce9.mkv", tiny.rename(tmp_path / "caf\udce9.onnx")
    write_clip(clip, count=20)
    files = [tmp_path / "a.json", tmp_path / "a.md"]
    options = ["--json", files[0], "--markdown", files[1], "--chart", tmp_path / "a.png"]
    code, _, err = solo("bench", "--quick", "--model", model, "--source", clip, "--device", "cpu", *options)
    assert code == 0, err
    record = read_record(files[0])
    assert (record["clip"]["name"], record["model"]["file"]) == ("caf\udce9.mkv", "caf\udce9.onnx")
    assert "clip: caf\\udce9.mkv" in files[1].read_text()


@pytest.mark.parametrize("kind", ["json", "markdown", "chart"])
def test_what_was_measured_is_written_if_nobody_reads_it_and_printed_if_it_cannot_be_written(
    solo, tiny, tmp_path, monkeypatch, kind
):
    output = tmp_path / ("a.png" if kind == "chart" else "a")
    arguments = ["bench", "--quick", "--model", tiny, "--source", CLIP, "--device", "cpu", f"--{kind}", output]

    class Left(io.StringIO):
        def write(self, _):
            raise BrokenPipeError

    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", Left())
        assert solo(*arguments)[0] == 1
    assert output.stat().st_size > 100
    output.unlink()
    monkeypatch.setattr(Subject, "warm_up", lambda self, seconds: output.mkdir(exist_ok=True) or 0.0)
    code, out, err = solo(*arguments)
    assert (code, "| network" in out, "Is a directory" in err) == (4, True, True), err


def test_a_failure_is_said_and_what_was_measured_is_written(solo, tiny, tmp_path, monkeypatch):
    def breaks(call):
        if call >= 5:
            raise EngineError("the card fell out")

    with_engine(monkeypatch, FakeEngine(gate=breaks))
    monkeypatch.setattr(Subject, "warm_up", lambda self, seconds: 0.0)
    monkeypatch.setattr(Subject, "network", lambda self, seconds: Lap(5, 1.0))
    output = tmp_path / "a.json"
    code, out, err = solo("bench", "--quick", "--model", tiny, "--source", CLIP, "--json", output)
    assert (code, err.count("solo-rt: error: not all was measured")) == (4, 1)
    assert "| network" in out
    assert "network" in read_record(output)["layers"]


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["--source", "test://?frames=3"], 2, "expected a clip of at least 16 frames, got 3"),
        (["--source", "test://?live=1"], 2, "expected a clip, got a live source"),
        (["--source", "none.mp4"], 3, "none.mp4"),
        (["--chart", "x.jpg"], 2, "expected a file that ends in .png"),
        (["--json", "no/such/x.json"], 2, "there is no folder no/such"),
        (["--json", "x", "--markdown", "x"], 2, "two outputs are the same"),
        (["--json", "tiny.onnx"], 2, "would overwrite the model"),
    ],
)
def test_mistakes_are_found_before_anything_is_measured(solo, tiny, monkeypatch, arguments, code, complaint):
    monkeypatch.chdir(tiny.parent)
    monkeypatch.setattr(measurement, "open_engine", lambda *_, **__: pytest.fail("it was opened"))
    found, _, err = solo("bench", "--quick", "--model", tiny, *arguments)
    assert (found, complaint in err, err.count("solo-rt: error")) == (code, True, 1), err


@pytest.mark.parametrize("command", [["bench", "--model"], ["bench", "sweep", "--models"]])
def test_an_engine_of_another_machine_is_opened_if_it_is_trusted(solo, tiny, monkeypatch, command):
    asked = []

    def open_engine(*_, trusted, **__):
        asked.append(trusted)
        raise EngineError("it is enough")

    monkeypatch.setattr(measurement, "open_engine", open_engine)
    for options in ([], ["--trust"]):
        assert solo(*command, tiny, "--quick", "--source", CLIP, *options)[0] == 1
    assert asked == [False, True]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_found_before(solo, tiny, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    code, _, err = solo("bench", "--model", tiny, "--json", folder / "x.json")
    assert (code, "cannot be written" in err) == (2, True)
