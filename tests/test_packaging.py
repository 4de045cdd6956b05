"""The wheel: one top-level name, the default model inside, and a command that works far from the sources."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_wheel_installs_and_runs_on_its_own(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", tmp_path / "wheel", ROOT]
    subprocess.run(build, check=True, capture_output=True, timeout=600)
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"solo_rt"}
    assert "solo_rt/engines/solov2-nano.onnx" in names
    assert "solo_rt/train/loop.py" in names

    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel]
    subprocess.run(install, check=True, capture_output=True, timeout=900)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "train.py").write_text("raise SystemExit('a decoy was imported')\n")
    command = python.parent / "solo-rt"
    for arguments in (
        ["demo-data", ".", "--size", "320x180", "--frames", "12"],
        ["run", "--source", "cam0.avi", "--output", "out.mp4", "--save-jsonl", "out.jsonl"],
    ):
        subprocess.run([command, *arguments], cwd=elsewhere, check=True, capture_output=True, timeout=300)
    lines = [json.loads(line) for line in (elsewhere / "out.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines[1:-1]] == list(range(12))
    assert (elsewhere / "out.mp4").stat().st_size > 1000
    code = "import importlib.util, solo_rt; assert importlib.util.find_spec('torch') is None"
    subprocess.run([python, "-c", code], cwd=elsewhere, check=True, timeout=60)
