"""`solo-rt plan`: machines for cameras and archives, by what one machine was measured to do."""

from __future__ import annotations

import json

import pytest
from test_bench_compare import LAYER, RECORD

from solo_rt.bench.capacity import plan_archive, plan_cameras, read_machine
from solo_rt.bench.laps import Lap, summarise
from solo_rt.errors import UsageError

LAYERS = {
    "network": {**LAYER, "fps": 200.0},
    "pipeline to JSON lines": {**LAYER, "fps": 110.0, "interval": 10.0},
    "pipeline to H.264": {**LAYER, "fps": 50.0, "interval": 60.0},
}
MEASURED = {**RECORD, "layers": LAYERS}
MACHINE = read_machine(MEASURED, "json")


def test_a_machine_does_what_is_sure_of_its_layer():
    assert (MACHINE.fps, MACHINE.sure_fps) == (110.0, 100.0)
    assert MACHINE.costs_ms == pytest.approx({"network": 5.0, "pipeline to JSON lines": 1000 / 110})


@pytest.mark.parametrize(
    ("cameras", "fps", "headroom", "each", "machines"),
    [(500, 15, 0.25, 5, 100), (501, 15, 0.25, 5, 101), (1, 1, 0, 100, 1), (101, 1, 0, 100, 2), (7, 100, 0, 1, 7)],
)
def test_cameras_stay_whole(cameras, fps, headroom, each, machines):
    plan = plan_cameras(MACHINE, cameras=cameras, fps=fps, headroom=headroom)
    assert (plan.cameras_per_machine, plan.machines) == (each, machines)
    assert plan.busy <= 1 - headroom
    assert plan.busy * machines * MACHINE.sure_fps == pytest.approx(cameras * fps)


def test_an_archive_is_shared_out_whatever_its_files_are():
    plan = plan_archive(MACHINE, hours=10_000, fps=25, within=100, headroom=0)
    assert (plan.frames_per_s, plan.machines, plan.busy) == (2500, 25, 1.0)
    assert plan_archive(MACHINE, hours=10_000, fps=25, within=100, headroom=0.5).machines == 50


def test_a_camera_that_is_too_much_for_a_machine_is_refused():
    with pytest.raises(UsageError, match="too much for a machine that has 70"):
        plan_cameras(MACHINE, cameras=1, fps=71, headroom=0.3)


@pytest.mark.parametrize(("output", "message"), [("nothing", "no layer"), ("video", "nothing is sure")])
def test_what_was_not_measured_well_is_refused(output, message):
    with pytest.raises(UsageError, match=message):
        read_machine(MEASURED, output)


def test_one_lap_makes_nothing_sure():
    """As of a measurement that was interrupted in its second round."""
    once = {**LAYER, "fps": 110.0, **summarise([Lap(110, 1.0)])}
    with pytest.raises(UsageError, match="one lap of 'pipeline to JSON lines', by which nothing is sure; let solo-rt"):
        read_machine({**RECORD, "layers": {"pipeline to JSON lines": once}}, "json")


@pytest.fixture
def plan(solo, tmp_path):
    path = tmp_path / "bench.json"
    path.write_text(json.dumps({**MEASURED, "unreliable": ["it was hot"]}))
    return lambda *arguments: solo("plan", "--bench", path, *arguments)


def test_the_command_says_why(plan):
    code, out, err = plan("--cameras", 500, "--fps", 15)
    assert code == 0
    assert out.splitlines() == [
        "500 cameras at 15 frames/s: 7500.0 frames/s",
        "measured: c, 2 cores, m on e",
        "a frame of 80x48 takes of it, each with what is below it: network 5.00 ms, pipeline to JSON lines 9.09 ms",
        "pipeline to JSON lines: 110.0 frames/s, 100.0 of them sure by 95 %",
        "with 30% left free: 70.0 frames/s a machine, which is 4 cameras",
        "machines: 125, each 60% busy",
    ]
    assert err == "solo-rt: warning: the measurement is unreliable: it was hot\n"


def test_an_archive_has_the_frame_rate_of_the_clip_unless_said_otherwise(plan):
    code, out, _ = plan("--hours", 100, "--within", 10, "--json")
    assert code == 0
    assert json.loads(out) == {"machines": 3, "frames_per_s": 300.0, "usable_fps": 100.0, "busy": 1.0}


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["--cameras", 1, "--hours", 1], ["--hours", 1], ["--within", 1], ["--cameras", 1, "--within", 1],
        ["--cameras", 0], ["--cameras", 1, "--fps", "nan"], ["--hours", "inf", "--within", 1],
        ["--hours", 1, "--within", -1], ["--cameras", 1, "--headroom", 1], ["--cameras", 1, "--headroom", "nan"],
    ],
)  # fmt: skip
def test_bad_input_is_answered_in_one_line(plan, arguments):
    code, out, err = plan(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
