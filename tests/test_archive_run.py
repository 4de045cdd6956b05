"""Archives: the same results as one by one, whatever is killed on the way."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from archive_workers import busy, kill_one
from children import WAIT, wait_until
from clips import write_clip
from fakes import write_tiny_model

from solo_rt import Options, Pipeline
from solo_rt.cluster import Archive, process_archive
from solo_rt.cluster.manifest import FILE, Manifest
from solo_rt.cluster.processes import Processes
from solo_rt.cluster.worker import Start
from solo_rt.engine import without_threads
from solo_rt.errors import EngineError, UsageError
from solo_rt.render import Style
from solo_rt.track.zones import Zone

COUNTS = {"day/one.mkv": 5, "day/two.mkv": 7, "long.mkv": 600}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with a model, an archive, and in `expected` what is made of it one by one."""
    folder = tmp_path_factory.mktemp("archives")
    write_tiny_model(folder / "tiny.onnx")
    for name, count in COUNTS.items():
        path, expected = folder / "archive" / name, folder / "expected" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        expected.parent.mkdir(parents=True, exist_ok=True)
        write_clip(path, count=count)
        Pipeline(str(path), folder / "tiny.onnx", [str(expected)], backend="onnxruntime", threads=1).run()
    return folder


def archive(made, results, *sources, workers=2, outputs=("{source}.jsonl",), **options):
    pipeline = Pipeline(model=made / "tiny.onnx", options=Options(**options), backend="onnxruntime")
    return Archive([str(made / "archive" / source) for source in sources or [""]], results, pipeline, outputs, workers)


def contents(folder):
    """Return the files of results, and what is in them."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != FILE)
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def noted(results):
    """Return the videos in the manifest, as often as they are there."""
    return [json.loads(line)["video"] for line in (results / FILE).read_text().splitlines()[1:]]


def is_alive(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


def test_results_are_those_of_single_runs_and_a_second_run_does_nothing(made, tmp_path, caplog):
    caplog.set_level(logging.INFO, "solo_rt")
    seen = []
    report = process_archive(archive(made, tmp_path / "a" / "b"), on_progress=seen.append)
    assert contents(tmp_path / "a" / "b") == contents(made / "expected")
    assert (report.videos, report.before, report.done, report.left) == (3, 0, 3, 0)
    assert (report.frames, report.failed, report.damaged, report.died) == (sum(COUNTS.values()), {}, {}, 0)
    assert seen[-1].done == seen[-1].videos == 3
    assert "model tiny on onnxruntime cpu, 1 thread" in caplog.text  # by the worker
    before = (tmp_path / "a" / "b" / FILE).read_bytes()
    again = process_archive(archive(made, tmp_path / "a" / "b"))
    assert (again.before, again.done, again.frames) == (3, 0, 0)
    assert (tmp_path / "a" / "b" / FILE).read_bytes() == before


def test_only_what_changed_or_went_missing_is_done_again(made, tmp_path):
    short = archive(made, tmp_path, "day")
    process_archive(short)
    os.utime(made / "archive" / "day" / "one.mkv")
    assert process_archive(short).done == 1
    (tmp_path / "two.mkv.jsonl").unlink()
    assert process_archive(short).done == 1
    assert noted(tmp_path) == ["two.mkv", "one.mkv", "one.mkv", "two.mkv"]


def test_a_broken_video_is_named_the_rest_is_done_and_it_is_tried_again(made, tmp_path):
    source = tmp_path / "archive"
    source.mkdir()
    (source / "broken.mkv").write_bytes(b"none")
    (source / "whole.mkv").write_bytes((made / "archive" / "day" / "one.mkv").read_bytes())
    for done in (1, 0):
        report = process_archive(archive(made, tmp_path / "results", source))
        assert list(report.failed) == ["broken.mkv"]
        assert "expected a video" in report.failed["broken.mkv"]
        assert report.done == done
    assert list(contents(tmp_path / "results")) == ["whole.mkv.jsonl"]


def test_a_worker_that_is_killed_costs_its_video_another_try(made, tmp_path):
    report = process_archive(archive(made, tmp_path), on_progress=kill_one(tmp_path))
    assert (report.died, report.failed, report.done) == (1, {}, 3)
    assert contents(tmp_path) == contents(made / "expected")


def test_a_video_that_two_workers_die_of_is_left_out(made, tmp_path):
    killed = set()

    def kill_all(_progress):
        for number in {*busy(tmp_path)} - killed:
            killed.add(number)
            os.kill(number, signal.SIGKILL)

    report = process_archive(archive(made, tmp_path, "long.mkv", workers=1), on_progress=kill_all)
    assert report.died == len(killed) == 2
    assert report.failed == {"long.mkv": "2 workers ended while they worked on it, with signal 9"}
    assert contents(tmp_path) == {}


def test_a_run_that_is_stopped_leaves_whole_results_and_the_next_one_goes_on(made, tmp_path):
    stop = threading.Event()
    report = process_archive(archive(made, tmp_path), stop=stop, on_progress=lambda _: busy(tmp_path) and stop.set())
    assert report.left >= 1
    assert report.done + report.left == 3
    assert set(contents(tmp_path)) == {f"{name}.jsonl" for name in noted(tmp_path)}
    assert process_archive(archive(made, tmp_path)).done == report.left
    assert contents(tmp_path) == contents(made / "expected")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_command_that_is_ended_takes_its_workers_with_it_and_can_be_taken_up(made, tmp_path, number, code):
    words = ["run", "--source", made / "archive", "--output-dir", tmp_path, "--model", made / "tiny.onnx"]
    words += ["--workers", 2, "--backend", "onnxruntime", "--max-frames", 600]
    process = subprocess.Popen([sys.executable, "-m", "solo_rt", *map(str, words)], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: busy(tmp_path) or process.poll() is not None)
    workers = busy(tmp_path)
    started = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=WAIT)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert time.monotonic() - started < 3
    wait_until(lambda: not any(map(is_alive, workers)))
    before = noted(tmp_path)
    report = process_archive(archive(made, tmp_path, max_frames=600, max_failures=30))
    assert report.before == len(before) < 3
    assert contents(tmp_path) == contents(made / "expected")


def test_a_second_run_into_the_folder_is_refused(made, tmp_path):
    one = archive(made, tmp_path)
    with closing(Manifest(tmp_path, one.settings())), pytest.raises(UsageError, match="another run"):
        process_archive(one)


def test_other_options_and_another_model_are_refused(made, tmp_path):
    process_archive(archive(made, tmp_path, "day"))
    with pytest.raises(UsageError, match="made with another conf;"):
        process_archive(archive(made, tmp_path, "day", conf=0.5))
    with pytest.raises(UsageError, match="made with another draw and another alpha;"):
        process_archive(archive(made, tmp_path, "day", style=Style(boxes=True, alpha=0.5)))
    with pytest.raises(UsageError, match="made with another output;"):
        process_archive(archive(made, tmp_path, "day", outputs=["{source}.csv"]))
    (made / "other").mkdir()
    (made / "other" / "tiny.onnx").write_bytes((made / "tiny.onnx").read_bytes() + b"\n")
    other = Archive([str(made / "archive")], tmp_path, Pipeline(model=made / "other" / "tiny.onnx"))
    with pytest.raises(UsageError, match="another model"):
        process_archive(other)


def test_what_keeps_the_model_from_opening_ends_the_run_and_can_be_mended(made, tmp_path):
    with pytest.raises(UsageError, match="violet"):
        process_archive(archive(made, tmp_path, "day", classes=("violet",)))
    assert process_archive(archive(made, tmp_path, "day", classes=("red",))).done == 2


def test_what_is_done_later_is_computed_as_what_is_done(made, tmp_path):
    def run(*names, **changed):
        pipeline = Pipeline(model=made / "tiny.onnx", threads=1, **changed)
        process_archive(
            Archive([str(made / "archive" / "day" / name) for name in names], tmp_path, pipeline, workers=1)
        )

    run("one.mkv")
    with closing(Manifest(tmp_path, settings_of(tmp_path))) as manifest:
        entry = manifest.entries["one.mkv"]
        others = {"onnxruntime cpu, 1 thread": "openvino cpu, 1 thread", "openvino cpu, 1 thread": "onnxruntime cpu"}
        manifest.add(replace(entry, engine=others[entry.engine]))
    run("one.mkv", "two.mkv")
    with closing(Manifest(tmp_path, settings_of(tmp_path))) as manifest:
        assert without_threads(manifest.entries["two.mkv"].engine) == without_threads(others[entry.engine])


def settings_of(results):
    """Return what a manifest was begun with."""
    begun = json.loads((results / FILE).read_text().splitlines()[0])
    del begun["archive"]
    return begun


@pytest.mark.parametrize("way", ["folder", "file"])
def test_a_video_whose_result_cannot_have_its_name_is_named_and_the_rest_is_done(made, tmp_path, way):
    if way == "folder":
        (tmp_path / "results" / "day" / "one.mkv.jsonl" / "kept").mkdir(parents=True)
    else:
        (tmp_path / "results").mkdir()
        (tmp_path / "results" / "day").write_text("kept")
    report = process_archive(archive(made, tmp_path / "results"))
    in_the_way = ["day/one.mkv"] if way == "folder" else ["day/one.mkv", "day/two.mkv"]
    assert sorted(report.failed) == in_the_way
    assert all("its result cannot be called so" in error for error in report.failed.values())
    assert report.done == 3 - len(in_the_way)


def test_a_name_that_leaves_no_room_for_its_result_stops_no_other(made, tmp_path):
    source = tmp_path / "archive"
    source.mkdir()
    for name in ("x" * 248 + ".mkv", "short.mkv"):
        (source / name).write_bytes((made / "archive" / "day" / "one.mkv").read_bytes())
    report = process_archive(archive(made, tmp_path / "results", source))
    assert [error.endswith("too long; its result cannot be called so") for error in report.failed.values()] == [True]
    assert list(contents(tmp_path / "results")) == ["short.mkv.jsonl"]


def test_zones_are_the_same_wherever_they_are_written(made, tmp_path):
    def run(origin):
        zone = Zone("yard", ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)), origin=origin)
        return process_archive(archive(made, tmp_path, "day", zones=(zone,)))

    assert run("zones.toml").done == 2
    assert run("/home/me/zones.toml").before == 2


def test_workers_that_die_before_they_are_ready_end_the_run(made, tmp_path, monkeypatch):
    monkeypatch.setattr("solo_rt.cluster.processes._START", "raise SystemExit(7)")
    with pytest.raises(EngineError, match="3 workers ended while they opened the model, the last one with exit code 7"):
        process_archive(archive(made, tmp_path, "day"))


def test_a_worker_that_ends_within_a_word_has_ended():
    with closing(Processes(size=1, threads=1)) as employer:
        worker = employer.hire(Start(Pipeline(), logging.INFO))
        try:
            ours, theirs = socket.socketpair()
            worker._connection.close()
            worker._connection = Connection(ours.detach())
            theirs.sendall(struct.pack("!i", 100) + b"half of it")
            theirs.close()
            assert employer.wait([worker], WAIT) == [worker]
            with pytest.raises(EOFError):
                worker.receive()
        finally:
            worker.end()


def test_a_worker_whose_engine_failed_gets_no_other_video(made, tmp_path, monkeypatch):
    program = """
import sys
from solo_rt.cluster import worker
from solo_rt.errors import EngineError
genuine = worker._run
def run(pipeline, job, say):
    if job.video == "long.mkv":
        raise EngineError("the card is lost")
    return genuine(pipeline, job, say)
worker._run = run
worker.main(int(sys.argv[1]))
"""
    monkeypatch.setattr("solo_rt.cluster.processes._START", program)
    report = process_archive(archive(made, tmp_path, workers=1))
    assert (report.failed, report.done, report.died) == ({"long.mkv": "the card is lost"}, 2, 0)


def test_every_output_is_one_file_per_video(made, tmp_path):
    outputs = ["{source}.jsonl", "video/{source}.mp4", "coco:coco/{source}.json"]
    process_archive(archive(made, tmp_path, "day", outputs=outputs))
    found = {"one.mkv.jsonl", "video/one.mkv.mp4", "coco/one.mkv.json"}
    assert set(contents(tmp_path)) == found | {name.replace("one", "two") for name in found}


@pytest.mark.parametrize(
    "output",
    [
        "out.jsonl", "{source}", "{source}/", "/tmp/{source}.jsonl", "../{source}.jsonl", "~/{source}.jsonl",
        "labels:{source}", "crops:{source}", "{source}/*.png", "coco:x.json", "events:{source}.csv", "null://",
        "window:", "rtsp://host/{source}",
    ],
)  # fmt: skip
def test_outputs_that_are_something_else_are_refused(made, tmp_path, output):
    with pytest.raises(UsageError, match="output"):
        archive(made, tmp_path, outputs=[output])


def test_the_folder_of_the_results_may_be_called_like_the_kind_of_an_output(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert process_archive(archive(made, Path("labels:results"), "day")).failed == {}
    assert contents(tmp_path / "labels:results").keys() == {"one.mkv.jsonl", "two.mkv.jsonl"}


def test_a_folder_of_results_for_each_source_is_refused(made, tmp_path):
    with pytest.raises(UsageError, match="expected one folder for all results"):
        archive(made, tmp_path / "{source}")


def test_results_that_would_be_one_file_are_refused(made, tmp_path):
    with pytest.raises(UsageError, match=r"output long.mkv.jsonl is that of long.mkv and of long.mkv"):
        process_archive(archive(made, tmp_path, outputs=["{source}.jsonl", "./{source}.jsonl"]))


def test_cores_are_shared_by_the_workers(made, tmp_path, monkeypatch):
    monkeypatch.setattr("solo_rt.cluster.archive.usable_cores", lambda: 8)
    archives = {workers: archive(made, tmp_path, workers=workers) for workers in (None, 1, 3, 20)}
    shared = {workers: (one.size, one.threads) for workers, one in archives.items()}
    assert shared == {None: (4, 2), 1: (1, 8), 3: (3, 2), 20: (20, 1)}


@pytest.mark.parametrize("workers", [0, -1, 10**9])
def test_a_number_of_workers_that_cannot_be_is_refused(made, tmp_path, workers):
    with pytest.raises(UsageError, match="workers must be at least 1"):
        archive(made, tmp_path, workers=workers)
