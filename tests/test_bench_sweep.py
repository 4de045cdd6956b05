"""`solo-rt bench sweep`: what is measured, what is best, the table and the chart."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from fakes import TINY_SPEC, write_street_model, write_tiny_model
from test_bench_compare import LAYER, RECORD

from solo_rt.bench import measurement, sweep
from solo_rt.bench.chart import Bar, Point, draw_bars, draw_points, ticks, width_of, wrap
from solo_rt.bench.laps import Pace
from solo_rt.bench.markdown import table
from solo_rt.bench.measurement import Order
from solo_rt.bench.schema import mistakes
from solo_rt.bench.sweep import accuracies, best, list_orders, to_markdown
from solo_rt.engine import PRECISIONS

CLIP = "test://?size=80x48&frames=20&fps=200"


@pytest.fixture(autouse=True)
def _short_laps(monkeypatch):
    monkeypatch.setattr(measurement, "QUICK", Pace(seconds=0.02, least=2, most=2))


def record(fps, *, engine="openvino cpu", metrics, costs=None):
    found = copy.deepcopy(RECORD)
    found["model"] |= {"metrics": metrics, "costs": costs or {}}
    found["engine"] = engine
    found["layers"] = {} if fps is None else {"pipeline to JSON lines": {**LAYER, "fps": float(fps)}}
    return found


def test_every_model_meets_every_precision_and_number_of_lanes():
    orders = list_orders(Order(source="x", quick=True), ["a", "b"], ["fp32", "bf16"], [1, 2])
    assert [(o.model, o.precision, o.lanes) for o in orders][:3] == [
        ("a", "fp32", 1),
        ("a", "fp32", 2),
        ("a", "bf16", 1),
    ]
    assert len(orders) == 8
    assert {(o.source, o.quick) for o in orders} == {("x", True)}


def test_accuracy_is_what_the_precision_leaves_of_it():
    of = {"metrics": {"AP": 0.7, "AP50": 0.9}, "costs": {"bf16": 0.01}}
    assert accuracies(record(1, **of)) == {"AP": 0.7}
    assert accuracies(record(1, engine="openvino cpu, 2 threads, bf16", **of)) == {"AP": 0.69}
    assert accuracies(record(1, engine="openvino cpu, 2 threads, int8", **of)) == {}, "nobody measured it"
    assert accuracies(record(1, engine="openvino cpu, 2 threads, int8, bf16", **of)) == {}, "nor of both together"
    of["costs"]["int8"] = 0.02
    assert accuracies(record(1, engine="openvino cpu, 2 threads, int8, bf16", **of)) == {"AP": 0.67}
    assert accuracies(record(1, engine="tensorrt 10.3 int8, NVIDIA H200", **of)) == {"AP": 0.68}
    assert accuracies(record(1, metrics={})) == {}


def test_the_dots_of_a_chart_say_their_precision(monkeypatch):
    drawn = []
    monkeypatch.setattr(sweep, "draw_points", lambda title, kinds, points, notes: drawn.extend(points))
    of = {"metrics": {"AP": 0.7}, "costs": {"int8": 0.02, "bf16": 0.01}}
    sweep.draw_sweep([record(1, engine=f"openvino cpu{end}", **of) for end in ("", ", bf16", ", int8", ", int8, bf16")])
    assert [point.name for point in drawn] == ["m", "m bf16", "m int8", "m int8 bf16"]


def test_the_help_names_all_precisions(solo):
    shown = " ".join(solo("bench", "sweep", "--help")[1].split())
    assert shown.startswith("Usage: solo-rt bench sweep [OPTIONS]")
    assert f"Of {', '.join(PRECISIONS[:-1])} and {PRECISIONS[-1]}." in shown


def test_the_best_are_those_that_no_other_beats_in_both():
    records = [
        record(10, metrics={"AP": 0.9}),
        record(20, metrics={"AP": 0.8}),
        record(15, metrics={"AP": 0.7}),
        record(20, metrics={"AP": 0.6}),
        record(1, metrics={"mIoU": 0.1}),
        record(None, metrics={"AP": 1.0}),
        record(99, metrics={}),
    ]
    assert best(records) == {0, 1, 4}


def test_a_sweep_writes_records_and_leaves_out_what_cannot_be(solo, tmp_path):
    tiny = write_tiny_model(tmp_path / "tiny.onnx", spec=replace(TINY_SPEC, name="little"))
    street = write_street_model(tmp_path / "street.onnx")
    files = [tmp_path / name for name in ("s.json", "s.md", "s.png")]
    models = ["--models", f"{tiny},{street}", "--source", CLIP, "--device", "cpu", "--threads", 1, "--lanes", "1,2"]
    outputs = ["--json", files[0], "--markdown", files[1], "--chart", files[2]]
    code, out, err = solo("bench", "sweep", "--quick", "--precisions", "fp32", *models, *outputs)
    assert (code, err.count("left out: ")) == (0, 2), err
    assert "at least one thread per lane" in err
    records = json.loads(files[0].read_text())
    assert [item["model"]["name"] for item in records] == ["little", "street"]
    assert [list(mistakes(item)) for item in records] == [[], []]
    assert "peak_rss_mb" not in records[0]["layers"]["model"], "all engines are open at once"
    assert out.count("**not measured**") == 2
    assert "| little" in out
    assert out.strip() == files[1].read_text().strip()
    assert cv2.imread(str(files[2])).shape[1] == 960


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--precisions", "fp32,fp4"], "expected some of auto, fp32, bf16"),
        (["--precisions", "fp32,fp32"], "each is named once"),
        (["--models", "a,,b"], "expected a list such as a,b"),
        (["--models", "none"], "no model named none"),
        (["--lanes", "0"], "expected numbers from 1"),
        (["--lanes", "two"], "expected numbers from 1"),
        (["--source", CLIP, "--threads", "1", "--lanes", "2"], "nothing could be measured"),
    ],
)
def test_mistakes_are_named(solo, arguments, complaint):
    code, _, err = solo("bench", "sweep", "--quick", *arguments)
    assert (code, complaint in err) == (1 if "nothing" in complaint else 2, True), err


def test_a_table_without_rows_of_a_sweep_says_what_was_refused():
    assert to_markdown([], ["a with 2 lanes: no"]) == "- **not measured**: a with 2 lanes: no\n\n"


def test_text_stands_left_and_numbers_right():
    assert table(("a", "b"), [["x y", "7.5"], ["z", ""]]) == [
        "| a   |   b |",
        "| :-- | --: |",
        "| x y | 7.5 |",
        "| z   |     |",
    ]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 117, [0, 50, 100, 150]),
        (0.69, 0.86, [0.65, 0.7, 0.75, 0.8, 0.85, 0.9]),
        (5, 5, [5, 5.002]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
    ],
)
def test_ticks_are_round_and_enclose_the_values(low, high, expected):
    found = ticks(low, high)
    assert found == pytest.approx(expected)


def test_a_bar_is_as_long_as_its_rate():
    picture = draw_bars("t", [Bar("a", 50.0), Bar("b", 100.0), Bar("c", 25.0, is_ours=False)], [])
    ours = (picture == (176, 114, 32)).all(axis=2)
    lengths = sorted({int(row.sum()) for row in ours if row.sum() > 100})
    assert lengths[-1] / lengths[0] == pytest.approx(2, rel=0.02)
    assert draw_bars("nothing", [], []).shape[1] == 960


def test_names_of_points_stay_in_the_picture_and_apart():
    points = [Point("a long name of a model", speed, 0.8, 0, True) for speed in (1.0, 99.0, 99.5, 100.0)]
    picture = draw_points("t", ("AP", "mIoU"), points, ["note " * 60])
    assert (picture[:, -10:] > 200).all(), "nothing is cut off at the right"
    assert draw_points("t", ("AP", "mIoU"), [], []).dtype == np.uint8


def test_notes_are_wrapped_at_words():
    lines = wrap("one two three four five " * 9, 300, 0.4)
    assert len(lines) > 2
    assert " ".join(lines).split() == ("one two three four five " * 9).split()
    assert max(width_of(line, 0.4) for line in lines) <= 300
