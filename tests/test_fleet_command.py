"""What `solo-rt run --cluster` says of cameras, with owners that are fakes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fake_owners import LIVE, FakeOwners
from fakes import write_tiny_model

from solo_rt.cluster import fleet as fleets
from solo_rt.cluster import owners
from solo_rt.commands import progress
from solo_rt.errors import UsageError

RUN = ["run", "--source", "door=test://?live=1", "--source", "yard=test://?live=1", "--cluster", "auto"]
FAST, ENDED = replace(LIVE, fps=9.95), replace(LIVE, state="ended", dropped=3)


@pytest.fixture
def run(tmp_path, monkeypatch, solo):
    """Return a function that runs cameras by these owners, and returns its exit code and what it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fleets, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(progress, "JOB_LOG_SECONDS", 0.0)
    write_tiny_model(tmp_path / "tiny.onnx")

    def go(hired, *arguments):
        monkeypatch.setattr(owners, "RayOwners", lambda *_, **__: hired)
        return solo(*RUN, "--model", "tiny.onnx", "--output", "{source}.jsonl", *arguments)

    return go


def test_a_line_says_how_many_cameras_run_whose_they_are_and_how_fast(run):
    film = {"door": FAST, "yard": replace(FAST, state="running")}
    code, out, err = run(FakeOwners(2, said=[[film, ENDED]]))
    assert code == 0
    assert err.splitlines() == [
        "0 of 2 cameras run, 2 connecting, 2 owners on 1 machines, 0.0 fps",
        "2 of 2 cameras run, 2 owners on 1 machines, 19.9 fps",
        *["0 of 2 cameras run, 2 ended, 2 owners on 1 machines, 0.0 fps"] * 2,
    ]
    assert out.splitlines() == [
        "door: ended, 10 results, 3 dropped, 0.0 fps, last by owner0",
        "yard: ended, 10 results, 3 dropped, 0.0 fps, last by owner1",
    ]


def test_lost_owners_are_in_the_line_and_in_the_summary(run):
    code, _, err = run(FakeOwners(2, said=[[LIVE, None], [LIVE, LIVE, LIVE, ENDED], [ENDED]]))
    assert code == 0
    assert "1 of 2 cameras run, 1 connecting, 1 owners on 1 machines, 0.0 fps, 1 owners lost" in err
    assert "solo-rt: warning: 1 owners of cameras were lost; 2 times a camera went to another one" in err


def test_what_cameras_lack_is_said_and_is_no_success(run):
    cut, failed = replace(ENDED, reason="the file is cut off"), replace(ENDED, reason="the disk is full")
    code, _, err = run(FakeOwners(2, said=[[{"door": cut, "yard": ENDED}], [{"door": ENDED, "yard": failed}]]))
    assert code == 4
    said = [line for line in err.splitlines() if "warning" in line]
    assert len(said) == 2
    assert all(line.endswith(("door: the file is cut off", "yard: the disk is full")) for line in said)


@pytest.mark.parametrize(
    ("output", "folder"),
    [
        ("{source}.jsonl", "."),
        ("results/{source}.jsonl", "results"),
        ("coco:results/{source}.json", "results"),
        ("labels:results/{source}", "results"),
        ("results/{source}/all.jsonl", "results"),
        ("~/results/a-{source}.mp4", "/home/me/results"),
    ],
)
def test_machines_must_see_the_folders_of_outputs(tmp_path, solo, monkeypatch, output, folder):
    monkeypatch.setenv("HOME", "/home/me")
    seen = {}

    def hire(*_, paths, **__):
        seen["paths"] = paths
        raise UsageError("enough")

    monkeypatch.setattr(owners, "RayOwners", hire)
    model = write_tiny_model(tmp_path / "tiny.onnx")
    code, _, err = solo(*RUN, "--model", str(model), "--output", output)
    assert (code, err.strip()) == (2, "solo-rt: error: enough")
    assert seen["paths"] == [Path(folder)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--output", "events:{source}.csv"), "there are none; name them with --zones"),
        (("--output", "./{source}.jsonl"), "two outputs are the same"),
        (("--codec", "h265"), "codec h265: expected"),
    ],
)
def test_outputs_that_cannot_be_are_refused_before_anybody_is_hired(run, arguments, words):
    hired = FakeOwners(1, said=[[ENDED]])
    code, _, err = run(hired, *arguments)
    assert code == 2
    assert words in err
    assert hired.hired == []


def test_quiet_says_nothing_and_json_all(run):
    assert run(FakeOwners(2, said=[[LIVE, ENDED]]), "--quiet") == (0, "", "")
    code, out, err = run(FakeOwners(2, said=[[FAST, ENDED]]), "--json", "--log-format", "json")
    report = json.loads(out)
    assert code == 0
    assert {name: camera["owner"] for name, camera in report["cameras"].items()} == {"door": "owner0", "yard": "owner1"}
    figures = [json.loads(line) for line in err.splitlines()][1]
    assert figures.items() >= {"cameras": 2, "running": 2, "owners": 2, "lost": 0, "fps": 19.9}.items()
