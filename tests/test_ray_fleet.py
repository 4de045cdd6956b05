"""A fleet on a real cluster: two nodes of this machine, and an owner of cameras that is killed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from children import wait_until
from fakes import write_tiny_model
from ray_nodes import LONG, needs_ray, two_nodes

pytestmark = needs_ray
CAMERAS = ("door", "yard", "gate", "roof")


@pytest.fixture
def cluster():
    with two_nodes() as nodes:
        yield nodes


def test_cameras_of_a_killed_owner_run_elsewhere(cluster, tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "tiny.onnx")
    words = ["run", "--model", "tiny.onnx", "--backend", "onnxruntime", "--threads", 1, "--cluster", cluster.address]
    for name in CAMERAS:
        words += ["--source", f"{name}=test://?live=1&size=64x48&fps=10&frames=100000"]
    words += ["--workers", 2, "--output", "{source}.jsonl", "--serve", "127.0.0.1:0", "--json"]
    command = [sys.executable, "-m", "solo_rt", *map(str, words)]
    with (tmp_path / "said").open("w") as said:
        run = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=said, text=True)
    try:
        wait_until(lambda: "page: " in (tmp_path / "said").read_text(), within=LONG)
        url = re.search(r"page: (\S+)", (tmp_path / "said").read_text())[1]

        def cameras():
            assert run.poll() is None, (tmp_path / "said").read_text()
            with urllib.request.urlopen(f"{url}api/state") as answer:
                return {source["name"]: source for source in json.load(answer)["sources"]}

        def owners():
            return {one.get("owner") for one in cameras().values()}

        def are_live():
            seen = cameras().values()
            return len(seen) == len(CAMERAS) and all(one["state"] == "live" and one["results"] > 2 for one in seen)

        wait_until(lambda: are_live() and len(owners()) == 2, within=LONG)
        before = owners()
        cluster.processes("CameraOwner")[0].send_signal(signal.SIGKILL)
        wait_until(lambda: not before <= owners(), within=LONG)
        wait_until(are_live, within=LONG)
        run.send_signal(signal.SIGINT)
        out, _ = run.communicate(timeout=LONG)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 130, (tmp_path / "said").read_text()
    report = json.loads(out[out.index("{") :])  # Ray's own words about the dead process may come before
    assert report["lost"] == 1
    assert 0 < report["longest_gap"] < 30, "of which ten are enough where nothing else is under way"
    moved = sorted(path.name for path in tmp_path.glob("*-2.jsonl"))
    assert len(moved) >= 2
    assert all('"frame"' in (tmp_path / name).read_text() for name in moved)
    wait_until(lambda: not cluster.processes("CameraOwner"), within=LONG)
