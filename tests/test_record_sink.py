from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil
import pytest
from clips import info, json_lines, read, result_of, rgb_frame, run_child, yuv_frame

from solo_rt.errors import SinkError
from solo_rt.result import Result
from solo_rt.sink import Gap, open_sink
from solo_rt.types import Instances, Masks


def test_a_header_comes_first(tmp_path: Path) -> None:
    given = info(uri="clip.mp4", frame_rate=Fraction(30000, 1001), time_base=Fraction(1, 90000))
    path = tmp_path / "a.jsonl"
    with open_sink(str(path), info=given, model="solov2-light", classes=("cat", "größe")) as sink:
        sink.write(result_of(yuv_frame(0)))
    assert json_lines(path)[:1] == [
        {
            "solo_rt": 2,
            "source": "clip.mp4",
            "model": "solov2-light",
            "classes": ["cat", "größe"],
            "size": [48, 64],
            "frame_rate": [30000, 1001],
            "time_base": [1, 90000],
        }
    ]
    assert "größe".encode() in path.read_bytes()


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".JSONL"])
def test_one_compact_line_per_result(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    results = [result_of(yuv_frame(i)) for i in range(3)]
    with open_sink(str(path), info=info(frame_rate=None)) as sink:
        assert not sink.needs_picture
        for result in results:
            sink.write(result)
            assert path.read_bytes().endswith(b"\n")  # every line is with the operating system at once
    header, *records, end = json_lines(path)
    assert header["frame_rate"] is None
    assert records == [result.to_record() for result in results]
    assert end == {"end": {"results": 3}}
    assert b" " not in path.read_bytes().split(b"\n", 1)[1]


def test_objects_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    masks = Masks(
        np.full(4, 255, np.uint8), np.array([0, 4]), np.array([[0, 0, 2, 2]], np.int32), (12, 16), (0.25, 0.25)
    )
    found = Instances(
        (48, 64),
        np.array([[0.0, 0.0, 8.0, 8.0]], np.float32),
        np.array([0.5], np.float32),
        np.array([1], np.int32),
        masks,
        np.array([7], np.int32),
    )
    monkeypatch.setattr(Instances, "rles", lambda self: [{"size": [48, 64], "counts": "abc"}])
    with open_sink(str(tmp_path / "a.jsonl"), info=info()) as sink:
        sink.write(Result(yuv_frame(0), found, ("cat", "dog")))
    entry = {"class_id": 1, "class": "dog", "score": 0.5, "box": [0.0, 0.0, 8.0, 8.0], "track_id": 7}
    assert json_lines(tmp_path / "a.jsonl")[1]["instances"] == [{**entry, "rle": {"size": [48, 64], "counts": "abc"}}]


def test_a_file_name_that_is_no_unicode_survives(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    frame = rgb_frame(np.zeros((4, 4, 3), np.uint8), name=name)
    with open_sink(str(tmp_path / "a.jsonl"), info=info()) as sink:
        sink.write(result_of(frame))
    assert json_lines(tmp_path / "a.jsonl")[1]["name"] == name


def test_a_full_disk_is_a_sink_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").symlink_to("/dev/full")
    before = psutil.Process().num_fds()
    with open_sink(str(tmp_path / "a.jsonl"), info=info()) as sink:
        for resumed in (False, True):
            with pytest.raises(SinkError, match=r"a\.jsonl: writing failed after 0 frames: No space left on device"):
                sink.resume(Gap(0, 1)) if resumed else sink.write(result_of(yuv_frame(0)))
    assert psutil.Process().num_fds() == before


def test_a_disk_that_fills_up_leaves_no_torn_line(tmp_path: Path) -> None:
    body = """
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        sink = open_sink(path, info=info())
        for attempt in range(2):
            try:
                for i in range(1000):
                    sink.write(result_of(yuv_frame(i)))
            except SinkError as error:
                print(i, error)
        sink.close()
    """
    path = tmp_path / "a.jsonl"
    done = run_child(body, path)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    count = int(first.split()[0])
    assert "File too large" in first
    assert "it failed before" in second
    *whole, torn = path.read_text().split("\n")
    assert torn == ""
    assert [json.loads(line).get("frame") for line in whole] == [None, *range(count)]


def test_kill_9_loses_no_line(tmp_path: Path) -> None:
    body = """
        sink = open_sink(path, info=info())
        for i in range(50):
            sink.write(result_of(yuv_frame(i)))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    path = tmp_path / "a.jsonl"
    assert run_child(body, path).returncode == -signal.SIGKILL
    assert [record.get("frame") for record in json_lines(path)] == [None, *range(50)], "and no end is said"


def test_a_live_sources_results_say_when_they_were_captured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the system's clock at the start, so that setting it during the run moves nothing."""
    with open_sink(str(tmp_path / "a.jsonl"), info=info(live=True)) as sink:
        before, captured = time.time(), time.monotonic()
        monkeypatch.setattr(time, "time", lambda: before + 3600)
        for i in range(2):
            sink.write(result_of(replace(yuv_frame(i), captured_at=captured + i * 0.04)))
    _, first, second, _ = json_lines(tmp_path / "a.jsonl")
    assert abs(first["wall_time"] - before) < 1  # both clocks are read one after the other
    assert second["wall_time"] - first["wall_time"] == pytest.approx(0.04, abs=2e-3)
    assert round(first["wall_time"], 3) == first["wall_time"]


def test_events_have_lines_of_their_own_and_are_no_results(tmp_path: Path) -> None:
    lost = {"source_state": {"state": "reconnecting", "frame": 1}}
    with open_sink(str(tmp_path / "a.jsonl"), info=info()) as sink:
        sink.note({"source_state": {"state": "running"}})
        sink.write(result_of(yuv_frame(0)))
        sink.note(lost)
    assert json_lines(tmp_path / "a.jsonl")[3:] == [lost, {"end": {"results": 1}}]


def content(path: Path) -> bytes | int:
    """Return the bytes of a picture, or how many frames a video has."""
    return len(read(path)) if path.suffix == ".mp4" else path.read_bytes()


@pytest.mark.parametrize("name", ["a.mp4", "sheet.png", "pictures/"])
def test_outputs_without_a_place_for_events_leave_them_out(tmp_path: Path, name: str) -> None:
    written = []
    for folder, events in ((tmp_path / "without", []), (tmp_path / "with", [{"source_state": {}}])):
        folder.mkdir()
        with open_sink(f"{folder}/{name}", info=info()) as sink:
            for index in range(3):
                for event in events:
                    sink.note(event)
                sink.write(result_of(yuv_frame(index)))
        written.append({path.relative_to(folder): content(path) for path in folder.rglob("*") if path.is_file()})
    assert written[0] == written[1] != {}


def test_the_end_is_said_once(tmp_path: Path) -> None:
    sink = open_sink(str(tmp_path / "a.jsonl"), info=info())
    sink.write(result_of(yuv_frame(0)))
    sink.close()
    sink.close()
    assert [*json_lines(tmp_path / "a.jsonl")[-1]] == ["end"]
    assert len(json_lines(tmp_path / "a.jsonl")) == 3


def test_an_end_that_cannot_be_written_is_a_sink_error(tmp_path: Path) -> None:
    body = """
        sink = open_sink(path, info=info())
        sink.write(result_of(yuv_frame(0)))
        size = os.path.getsize(path)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        try:
            sink.close()
        except SinkError as error:
            print(error)
        sink.close()
    """
    done = run_child(body, tmp_path / "a.jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    assert "writing failed after 1 frames: File too large" in done.stdout
    assert len(json_lines(tmp_path / "a.jsonl")) == 2


def test_a_disk_that_heals_gets_the_rest_behind_a_gap(tmp_path: Path) -> None:
    """What is missing is said in its place."""
    body = """
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
        sink = open_sink(path, info=info())
        try:
            for i in range(1000):
                sink.write(result_of(yuv_frame(i)))
        except SinkError:
            pass
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        sink.resume(Gap(i, 2))
        sink.write(result_of(yuv_frame(i + 2)))
        sink.close()
        print(i)
    """
    path = tmp_path / "a.jsonl"
    done = run_child("        from solo_rt.sink import Gap\n" + body, path)
    assert (done.returncode, done.stderr) == (0, "")
    failed = int(done.stdout)
    _, *records, gap, last, end = json_lines(path)
    assert [record["frame"] for record in records] == list(range(failed))
    assert (gap, last["frame"]) == ({"gap": {"frame": failed, "frames": 2}}, failed + 2)
    assert end == {"end": {"results": failed + 1}}


def test_what_is_no_json_is_never_written(tmp_path: Path) -> None:
    with (
        open_sink(str(tmp_path / "a.jsonl"), info=info()) as sink,
        pytest.raises(ValueError, match="not JSON compliant"),
    ):
        sink.note({"share": float("nan")})
