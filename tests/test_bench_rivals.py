"""`solo-rt bench --against`: others in processes of their own, in turn with us, and what becomes of those that fail."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from fakes import TINY_SPEC, write_street_model, write_tiny_model
from test_bench_compare import LAYER, RECORD

from solo_rt import defaults
from solo_rt.bench import measurement, rivals
from solo_rt.bench.laps import Pace
from solo_rt.bench.markdown import to_markdown
from solo_rt.bench.measurement import Order, measure
from solo_rt.bench.rivals import RIVALS, Task, find_rivals, process
from solo_rt.bench.rivals.contest import contest
from solo_rt.bench.rivals.opencv_loop import find
from solo_rt.bench.rivals.process import Process
from solo_rt.bench.schema import mistakes
from solo_rt.decode import decode_reference
from solo_rt.errors import EngineError, UsageError
from solo_rt.preprocess import Letterbox
from solo_rt.train.data.world_files import write_videos

PACE = Pace(seconds=0.02, least=2, most=2)
TASK = Task("clip.mp4", 30.0, "folder", None, "auto", "cpu", "auto", 1, None)
PROGRAM = """
import os, sys, time
from solo_rt.bench.rivals import __main__ as rival, Played
calls = []
def play(frames):
    calls.append(frames)
    {play}
    return Played(frames, 3 * frames)
def open_play(name, task):
    {opening}
    return play
rival.open_play = open_play
rival.main()
"""


@pytest.fixture
def fake(monkeypatch):
    """Return a function that lets the processes of rivals run something else, given as Python."""

    def install(*, play="pass", opening="pass"):
        program = PROGRAM.format(play=play, opening=opening)
        monkeypatch.setattr(process, "COMMAND", (sys.executable, "-c", program))

    return install


def test_a_rival_plays_in_a_process_of_its_own_and_may_print(fake):
    fake(opening="print(task.clip, name, os.getpid()); assert task.threads == 1", play="print('a lap')")
    rival = Process("torch", TASK, threading.Event(), seconds=1.0)
    lap = rival.lap(1e-9)
    assert (lap.frames, lap.objects) == (process.LEAST_FRAMES, 3 * process.LEAST_FRAMES)
    assert lap.seconds > 0
    rival.close()
    rival.close()


@pytest.mark.parametrize(
    ("opening", "play", "complaint"),
    [
        ("raise ValueError('no\\n  weights')", "pass", "torch: ValueError: no weights"),
        (
            "print('out of memory', file=sys.stderr); os._exit(7)",
            "pass",
            "torch: its process ended with 7: out of memory",
        ),
        ("os.abort()", "pass", r"torch: its process ended with -6: "),
        ("pass", "raise KeyError('x')", "torch: KeyError: 'x'"),
        ("pass", "return Played(0, 0)", "torch: expected frames of the clip, it read none"),
    ],
)
def test_a_rival_that_fails_says_so_in_one_line(fake, opening, play, complaint):
    fake(opening=opening, play=play)
    with pytest.raises(EngineError) as error:
        Process("torch", TASK, threading.Event(), seconds=1.0)
    assert str(error.value).startswith(complaint)
    assert "\n" not in str(error.value)


def test_a_rival_that_never_answers_is_given_up(fake, monkeypatch):
    monkeypatch.setattr(process, "PATIENCE", 0.0)
    fake(opening="time.sleep(600)")
    with pytest.raises(EngineError, match="no answer for 0 s"):
        Process("torch", TASK, threading.Event(), seconds=1.0)


def test_one_that_fails_later_leaves_the_others(fake):
    fake(
        opening="globals().update(me=name)",
        play="time.sleep(0.001)\n    if me == 'opencv' and len(calls) == 4: os._exit(3)",
    )
    found = contest(["opencv", "torch"], TASK, PACE, threading.Event(), lambda done, most, text: None)
    assert [len(found["against"][name]["laps"]) for name in ("solo-rt", "opencv", "torch")] == [2, 1, 2]
    assert found["absent"]["opencv"].startswith("opencv: its process ended with 3")
    assert found["against"]["torch"]["what"] == RIVALS["torch"].note


def test_an_interrupt_keeps_the_laps_before_it(fake):
    fake(play="time.sleep(0.001)")
    stop = threading.Event()

    def on_step(done, most, text):
        if text == "lap 2, solo-rt":
            stop.set()

    found = contest(["torch"], TASK, PACE, stop, on_step)
    assert {name: len(layer["laps"]) for name, layer in found["against"].items()} == {"solo-rt": 1, "torch": 1}
    fake(opening="time.sleep(600)")
    assert contest(["torch"], TASK, PACE, stop, lambda *_: None) == {"against": {}, "absent": {}, "unreliable": []}


def test_every_rival_is_a_function_of_a_module_that_is_there():
    folder = Path(rivals.__file__).parent
    for rival in RIVALS.values():
        module, function = rival.opens.split(":")
        assert f"def {function}(task: Task) -> Play:" in (folder / f"{module}.py").read_text()


def test_who_is_not_installed_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setattr(rivals.importlib.util, "find_spec", lambda name: None if name == "ultralytics" else object())
    names, absent = find_rivals("all")
    assert names == ["torch", "opencv", "supervision"]
    assert list(absent) == ["ultralytics", "ultralytics-openvino", "ultralytics-int8"]
    assert absent["ultralytics-openvino"] == "not installed: pip install ultralytics openvino"
    assert find_rivals(" opencv ") == (["opencv"], {})


@pytest.mark.parametrize("names", ["", "me", "torch,me", "torch,torch", "solo-rt"])
def test_a_rival_that_nobody_knows_is_refused(names):
    with pytest.raises(UsageError, match="expected all, or some of torch, opencv"):
        find_rivals(names)


def test_the_loop_with_opencv_finds_what_the_reference_finds():
    rng = np.random.default_rng(0)
    shapes = {"scores": (25, 3), "features": (4, 8, 16)}
    outputs = {name: rng.random(shape, np.float32) for name, shape in shapes.items()}
    outputs["kernels"] = rng.normal(0, 2, (25, 4)).astype(np.float32)
    wanted = decode_reference(outputs, TINY_SPEC, Letterbox.fit((48, 80), (32, 64)))
    soft, scores, labels = find(outputs, TINY_SPEC.decoder)
    kept = wanted.scores >= defaults.CONF
    assert kept.sum() > 2
    np.testing.assert_allclose(scores, wanted.scores[kept], rtol=1e-4)
    np.testing.assert_array_equal(labels, wanted.class_ids[kept])
    np.testing.assert_allclose(soft, wanted.soft[kept], atol=1e-5)


def test_a_run_against_others_is_one_record(tmp_path, monkeypatch):
    monkeypatch.setattr(measurement, "QUICK", PACE)
    write_videos(tmp_path, seed=7, size=(48, 80), frames=20)
    model = write_tiny_model(tmp_path / "tiny.onnx")
    order = Order(str(model), str(tmp_path / "cam0.mp4"), device="cpu", threads=1, quick=True)
    found = json.loads(json.dumps(measure(order, stop=threading.Event(), against="opencv")))
    assert list(mistakes(found)) == []
    assert list(found["against"]) == ["solo-rt", "opencv"], found["absent"]
    assert not list(Path(tmp_path).glob("out*"))
    shown = to_markdown(found)
    assert "| opencv [2]" in shown
    assert f"[2] opencv: {RIVALS['opencv'].note}." in shown


def test_a_loop_that_knows_solov2_alone_says_what_it_got(tmp_path):
    model = write_street_model(tmp_path / "street.onnx")
    with pytest.raises(UsageError, match="expected a SOLOv2 model, got street"):
        rivals.open_play("opencv", Task("x.mp4", 30.0, str(tmp_path), str(model), "auto", "cpu", "auto", 1, None))


def test_the_table_says_how_many_times_faster_we_are():
    against = {"solo-rt": {**LAYER, "laps": [30.0, 30.0]}, "torch": {**LAYER, "laps": [10.0, 10.0], "what": "note"}}
    shown = to_markdown({**RECORD, "against": against, "absent": {"opencv": "broken"}})
    (row,) = [line for line in shown.splitlines() if line.startswith("| torch")]
    assert [cell.strip() for cell in row.split("|")[3:6]] == ["3.00", "3.00", "3.00"]
    assert "[2] torch: note." in shown
    assert "No figures of opencv: broken" in shown


def test_a_wrong_rival_is_refused_before_anything_is_measured(solo, monkeypatch):
    monkeypatch.setattr(measurement, "open_engine", lambda *_, **__: pytest.fail("it was opened"))
    code, _, err = solo("bench", "--quick", "--against", "darknet")
    assert (code, "--against darknet: expected all, or some of" in err) == (2, True)
