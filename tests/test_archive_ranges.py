"""Long videos in ranges: the same results as in one go, whatever is killed on the way."""

from __future__ import annotations

import json
import os
import re
import signal
import threading

import pytest
from archive_workers import busy, kill_one
from clips import H264, write_clip
from fakes import write_tiny_model

from solo_rt import Options, Pipeline
from solo_rt.cluster import Archive, process_archive
from solo_rt.cluster.manifest import FILE
from solo_rt.errors import UsageError

COUNT = 900  # frames, 30 a second
MINUTES = 0.05  # ten ranges


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with a model, an archive of a long video and a short one, and what single runs make of them."""
    folder = tmp_path_factory.mktemp("ranges")
    write_tiny_model(folder / "tiny.onnx")
    (folder / "archive").mkdir()
    (folder / "expected").mkdir()
    for name, count in {"long.mkv": COUNT, "short.mkv": 20}.items():
        path = folder / "archive" / name
        write_clip(path, count=count, codec="libx264", options={**H264, "bf": "2"})
        sinks = [str(folder / "expected" / f"{name}.jsonl")]
        Pipeline(str(path), folder / "tiny.onnx", sinks, backend="onnxruntime", threads=1).run()
    return folder


def archive(made, results, *, workers=2, outputs=("{source}.jsonl",), minutes=MINUTES, source="", **options):
    pipeline = Pipeline(model=made / "tiny.onnx", options=Options(**options), backend="onnxruntime")
    return Archive([str(made / "archive" / source)], results, pipeline, outputs, workers, range_minutes=minutes)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*.jsonl") if path.name != FILE}


def noted(results):
    """Return what the manifest has: a name, and of ranges their beginning."""
    records = map(json.loads, (results / FILE).read_text().splitlines()[1:])
    return [(one["video"], *(value for value in one["range"].values() if value is not None)) for one in records]


def test_results_are_those_of_a_single_run_and_a_second_one_does_nothing(made, tmp_path):
    seen = []
    report = process_archive(
        archive(made, tmp_path, outputs=("{source}.jsonl", "b/{source}.ndjson")), on_progress=seen.append
    )
    assert contents(tmp_path) == contents(made / "expected")
    assert (tmp_path / "b" / "long.mkv.ndjson").read_bytes() == contents(tmp_path)["long.mkv.jsonl"]
    assert (report.done, report.failed, report.damaged, report.left) == (2, {}, {}, 0)
    assert report.frames == COUNT + 20
    assert report.instances == sum(text.count(b'"score"') for text in contents(tmp_path).values())
    assert seen[-1].frames == COUNT + 20
    assert len(noted(tmp_path)) == 10 + 1 + 1
    assert not (tmp_path / ".ranges").exists()
    before = (tmp_path / FILE).read_bytes()
    assert process_archive(archive(made, tmp_path, outputs=("{source}.jsonl", "b/{source}.ndjson"))).before == 2
    assert (tmp_path / FILE).read_bytes() == before


def test_a_worker_that_is_killed_costs_its_range_another_try(made, tmp_path):
    one = archive(made, tmp_path, minutes=0.25, source="long.mkv")  # ranges that take a while
    report = process_archive(one, on_progress=kill_one(tmp_path))
    assert (report.died, report.failed, report.done) == (1, {}, 1)
    assert contents(tmp_path)["long.mkv.jsonl"] == contents(made / "expected")["long.mkv.jsonl"]


def test_a_run_that_is_stopped_goes_on_with_the_ranges_that_are_left(made, tmp_path):
    stop = threading.Event()

    def stop_in_the_middle(_progress):
        if len((tmp_path / FILE).read_text().splitlines()) > 4:
            stop.set()

    report = process_archive(archive(made, tmp_path, source="long.mkv"), stop=stop, on_progress=stop_in_the_middle)
    before = noted(tmp_path)
    assert (report.left, report.done) == (1, 0)
    assert 3 < len(before) < 10
    assert process_archive(archive(made, tmp_path, source="long.mkv")).done == 1
    assert len(noted(tmp_path)) == len({*noted(tmp_path)}) == 11
    assert noted(tmp_path)[: len(before)] == before
    assert contents(tmp_path)["long.mkv.jsonl"] == contents(made / "expected")["long.mkv.jsonl"]


def test_ranges_of_a_video_that_has_changed_are_done_again(made, tmp_path):
    stop = threading.Event()
    one = archive(made, tmp_path, source="long.mkv", workers=1)
    process_archive(
        one, stop=stop, on_progress=lambda _: len((tmp_path / FILE).read_text().splitlines()) > 3 and stop.set()
    )
    os.utime(made / "archive" / "long.mkv")
    begun = len(noted(tmp_path))
    process_archive(one)
    assert len(noted(tmp_path)) == begun + 11
    assert contents(tmp_path)["long.mkv.jsonl"] == contents(made / "expected")["long.mkv.jsonl"]


def test_a_range_that_cannot_be_read_lets_the_video_be_done_whole(made, tmp_path, monkeypatch):
    program = """
import sys
from solo_rt.cluster import worker
from solo_rt.errors import SourceError
genuine = worker._run
def run(pipeline, job, say):
    if job.range.start is not None and job.range.start > 15000:
        raise SourceError("not here")
    return genuine(pipeline, job, say)
worker._run = run
worker.main(int(sys.argv[1]))
"""
    monkeypatch.setattr("solo_rt.cluster.processes._START", program)
    report = process_archive(archive(made, tmp_path))
    assert (report.failed, report.done) == ({}, 2)
    assert contents(tmp_path) == contents(made / "expected")
    assert not (tmp_path / ".ranges").exists()


def test_ranges_that_do_not_go_together_let_the_video_be_done_whole(made, tmp_path, monkeypatch):
    def refuse(*_arguments, **_settings):
        raise ValueError("a range has no end")

    monkeypatch.setattr("solo_rt.cluster.results.merge", refuse)
    assert process_archive(archive(made, tmp_path)).done == 2
    assert contents(tmp_path) == contents(made / "expected")


def test_a_video_that_two_workers_die_of_in_ranges_and_whole_is_left_out(made, tmp_path):
    killed = set()

    def kill_all(_progress):
        for number in {*busy(tmp_path)} - killed:
            killed.add(number)
            os.kill(number, signal.SIGKILL)

    report = process_archive(archive(made, tmp_path, source="long.mkv", workers=1, minutes=0.2), on_progress=kill_all)
    assert report.failed == {"long.mkv": "2 workers ended while they worked on it, with signal 9"}
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"outputs": ("{source}.mp4",)}, r"\{source\}.mp4 cannot be put together"),
        ({"outputs": ("{source}.jsonl", "coco:{source}.json")}, "coco:.* cannot be put together"),
        ({"max_frames": 5}, "max_frames counts from the beginning"),
        ({"max_fps": 5.0}, "max_fps goes by the frame before"),
        ({"keyframe_interval": 2}, "keyframe_interval goes by the frame before"),
        ({"policy": "freshest"}, "freshest drops frames"),
        ({"track": True, "minutes": None}, "tracks are best in whole videos"),
    ],
)
def test_what_cannot_be_cut_stays_whole(made, tmp_path, changed, reason):
    one = archive(made, tmp_path, **changed)
    assert re.search(reason, one.whole_because)
    long = next(video for video in one.videos() if video.name == "long.mkv")
    assert len(one.cut(long)) == 1


def test_a_video_is_cut_by_ten_minutes_unless_said_otherwise(made, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("solo_rt.cluster.archive.cut", lambda uri, seconds: asked.append(seconds) or [])
    for minutes in (None, 0.5):
        one = archive(made, tmp_path, minutes=minutes)
        one.cut(one.videos()[0])
    assert asked == [600.0, 30.0]


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("inf"), float("nan")])
def test_lengths_that_cannot_be_are_refused(made, tmp_path, minutes):
    with pytest.raises(UsageError, match="range minutes must be at least"):
        archive(made, tmp_path, minutes=minutes)
