"""`solo-rt run --output-dir`: what is said, and with which exit code."""

from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace

import pytest
from clips import write_clip
from fakes import write_tiny_model

from solo_rt.commands.archive import MOST_NAMED
from solo_rt.commands.options import print_json


@pytest.fixture
def archive(solo, tmp_path):
    """Return a function that processes an archive of two videos into `results`."""
    (tmp_path / "archive").mkdir()
    write_clip(tmp_path / "archive" / "one.mkv", count=3)
    write_clip(tmp_path / "archive" / "two.mkv", count=4)
    tiny = write_tiny_model(tmp_path / "tiny.onnx")

    def run(*arguments, source="archive/*.mkv"):
        fixed = ["--source", tmp_path / source, "--model", tiny, "--backend", "onnxruntime", "--workers", 1]
        return solo("run", *fixed, "--output-dir", tmp_path / "results", *arguments)

    return run


def test_the_summary_says_what_was_done_and_a_second_one_that_nothing_was(archive, tmp_path):
    code, out, err = archive()
    assert (code, err) == (0, "")
    assert out.startswith("2 of 2 videos done, 7 frames in ")
    assert out.splitlines()[1] == str(tmp_path / "results")
    code, out, err = archive()
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "nothing to do: all 2 videos are done"


def test_json_holds_all_of_it(archive, tmp_path):
    code, out, _ = archive("--json")
    report = json.loads(out)
    assert code == 0
    assert report["videos"] == {"all": 2, "before": 0, "done": 2, "failed": 0, "left": 0}
    assert (report["frames"], report["output_dir"]) == (7, str(tmp_path / "results"))


def test_json_holds_names_that_are_no_text(capsysbinary):
    failed = {os.fsdecode(b"caf\xe9.mkv"): "no video", "été.mkv": "neither"}
    print_json(failed)
    out = capsysbinary.readouterr().out
    assert json.loads(out) == failed
    assert "été.mkv".encode() in out


def test_broken_videos_are_named_but_not_all_of_very_many_and_the_rest_is_done(archive, tmp_path):
    for number in range(MOST_NAMED + 2):
        (tmp_path / "archive" / f"broken{number:02}.mkv").write_bytes(b"none")
    code, out, err = archive("--quiet")
    assert (code, out) == (4, "")
    lines = err.splitlines()
    assert [line.split(":")[2].strip() for line in lines[:-1]] == [f"broken{n:02}.mkv" for n in range(MOST_NAMED)]
    assert lines[-1] == "solo-rt: error: the manifest has 2 more videos like these"


def test_a_video_that_is_cut_off_is_done_as_far_as_it_goes_and_said_every_time(archive, tmp_path):
    whole = (tmp_path / "archive" / "two.mkv").read_bytes()
    (tmp_path / "archive" / "two.mkv").write_bytes(whole[:-500])
    for done in ("2 of 2 videos done", "nothing to do"):
        code, out, err = archive()
        assert code == 4
        assert out.startswith(done)
        assert err.startswith("solo-rt: warning: two.mkv: not all of the source arrived: ")


@pytest.mark.parametrize(
    "option",
    [
        ["--save-jsonl", "x.jsonl"], ["--save-images", "x"], ["--save-labels", "x"], ["--contact-sheet", "x.png"],
        ["--segment", "1m"], ["--serve"], ["--serve-token", "x" * 16], ["--trace", "x.json"], ["--show"],
        ["--overwrite"],
    ],
)  # fmt: skip
def test_options_that_mean_nothing_to_an_archive_are_refused(archive, tmp_path, option):
    code, _, err = archive(*option)
    assert code == 2
    assert err == f"solo-rt: error: {option[0]}: it is not for archives; leave it out, or --output-dir\n"
    assert not (tmp_path / "results").exists()


def test_workers_are_for_archives(solo):
    code, _, err = solo("run", "--source", "cam0.avi", "--workers", 2)
    assert (code, err.count("\n")) == (2, 1)
    assert "--output-dir" in err


def test_an_archive_without_videos_is_no_source(archive, tmp_path):
    code, _, err = archive(source="archive/*.mp4")
    assert (code, err.count("\n")) == (3, 1)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("option", [["--range-minutes", "5"]])
def test_options_of_archives_are_refused_elsewhere(solo, option):
    code, _, err = solo("run", "--source", "cam0.avi", *option)
    assert (code, err) == (2, f"solo-rt: error: {option[0]}: it is for archives, whose results go into --output-dir\n")


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:1", "http://127.0.0.1:80"])
def test_a_cluster_that_cannot_be_joined_leaves_nothing_behind(archive, tmp_path, monkeypatch, address):
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace())
    code, out, err = archive("--cluster", address)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"solo-rt: error: cluster {address}: ")
    assert not (tmp_path / "results").exists()


def test_why_videos_stay_whole_is_said_to_whoever_wanted_ranges(archive):
    code, _, err = archive("--range-minutes", "1", "--max-frames", 2)
    assert code == 0
    assert err == "solo-rt: warning: videos are not cut into ranges: max_frames counts from the beginning\n"
