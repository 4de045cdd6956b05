"""What `solo-rt run --cluster` says of cameras, with owners that are fakes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from fake_owners import LIVE, FakeOwners
from fakes import write_tiny_model

from solo_rt.cluster import fleet as fleets
from solo_rt.cluster import owners
from solo_rt.commands import progress

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


def test_quiet_says_nothing_and_json_all(run):
    assert run(FakeOwners(2, said=[[LIVE, ENDED]]), "--quiet") == (0, "", "")
    code, out, err = run(FakeOwners(2, said=[[FAST, ENDED]]), "--json", "--log-format", "json")
    report = json.loads(out)
    assert code == 0
    assert {name: camera["owner"] for name, camera in report["cameras"].items()} == {"door": "owner0", "yard": "owner1"}
    figures = [json.loads(line) for line in err.splitlines()][1]
    assert figures.items() >= {"cameras": 2, "running": 2, "owners": 2, "lost": 0, "fps": 19.9}.items()
