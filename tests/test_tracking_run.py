"""`--track` from the command line to every output."""

from __future__ import annotations

import json

import numpy as np
import pytest
from clips import json_lines
from fakes import FakeEngine, FakeSink, FakeSource

from solo_rt.errors import EngineError
from solo_rt.pipeline import run, stream
from solo_rt.pipeline.options import Options

pytestmark = pytest.mark.usefixtures("never_hang")

WORLD = "test://?size=320x180&frames=12&seed=3"


@pytest.fixture(scope="module")
def tracked():
    return list(stream(WORLD, track=True, render=True))


def test_every_object_has_an_id_and_a_trail(tracked):
    assert sum(len(result.instances) for result in tracked) > 20
    for result in tracked:
        instances = result.instances
        assert len(set(instances.track_ids.tolist())) == len(instances) == len(result.trails)
        for box, trail in zip(instances.boxes, result.trails, strict=True):
            np.testing.assert_allclose(trail[-1], [(box[0] + box[2]) / 2, box[3]])
    assert max(len(trail) for trail in tracked[-1].trails) == 12


def test_without_it_nothing_has_an_id_or_a_trail():
    (result,) = stream(WORLD, max_frames=1)
    assert (result.instances.track_ids, result.trails) == (None, ())
    assert "track" not in result.stage_seconds


def test_threads_and_lanes_give_the_ids_that_the_plain_loop_gives(tracked):
    def ids(results):
        return [result.instances.track_ids.tolist() for result in results]

    assert ids(stream(WORLD, track=True, sync=True)) == ids(stream(WORLD, track=True, lanes=3)) == ids(tracked)


def test_ids_are_in_every_output_that_has_a_place_for_them(tmp_path, tracked, monkeypatch, solo):
    monkeypatch.chdir(tmp_path)
    outputs = ["a.jsonl", "a.parquet", "coco:c.json", "mots:m.txt", "ytvis:y.json", "crops:crops"]
    arguments = [part for output in outputs for part in ("--output", output)]
    assert solo("run", "--source", WORLD, "--track", "--quiet", *arguments)[0] == 0
    expected = [(r.frame.index, i) for r in tracked for i in r.instances.track_ids.tolist()]
    _, *records, _ = json_lines(tmp_path / "a.jsonl")
    assert [(r["frame"], i["track_id"]) for r in records for i in r["instances"]] == expected
    entries = json.loads((tmp_path / "c.json").read_text())
    assert [(entry["image_id"], entry["track_id"]) for entry in entries] == expected
    lines = [line.split() for line in (tmp_path / "m.txt").read_text().splitlines()]
    assert {(int(frame), int(track)) for frame, track, *_ in lines} <= set(expected)
    assert len(json.loads((tmp_path / "y.json").read_text())) == len({i for _, i in expected})
    crops = sorted((tmp_path / "crops").iterdir())
    assert sorted((int(c.name[:6]), int(c.stem.rsplit("_", 1)[1])) for c in crops) == sorted(expected)
    parquet = pytest.importorskip("pyarrow.parquet").read_table(tmp_path / "a.parquet")
    assert list(zip(parquet["frame"].to_pylist(), parquet["track_id"].to_pylist(), strict=True)) == expected


def test_a_frame_that_fails_is_one_that_is_missing():
    def gate(call):
        if call == 4:
            raise EngineError("no")

    sink = FakeSink()
    report = run(
        FakeSource(9), FakeEngine(gate=gate), [sink], options=Options(track=True, max_failures=1, sync=True, conf=0.01)
    )
    assert (report.failed, report.processed, len(sink.records)) == (1, 8, 8)
