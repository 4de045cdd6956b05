"""A fleet on a real cluster: two nodes of this machine, and an owner of cameras that is killed."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from children import wait_until
from fakes import write_tiny_model
from test_ray_archive import Cluster

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra ray"),
]
CAMERAS = ("door", "yard", "gate", "roof")


@pytest.fixture
def cluster():
    folder = Path(tempfile.mkdtemp(prefix="ray"))  # a short name: there are sockets in it
    one = Cluster(folder)
    yield one
    one.close()
    shutil.rmtree(folder, ignore_errors=True)


def owners_of(cluster):
    """Return the processes that own cameras."""
    found = []
    for node in cluster.nodes:
        for process in node.children(recursive=True):
            try:
                if " ".join(process.cmdline()).startswith("ray::CameraOwner"):
                    found.append(process)
            except psutil.Error:
                continue
    return found


def test_cameras_of_a_killed_owner_run_elsewhere_within_ten_seconds(cluster, tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "tiny.onnx")
    words = ["run", "--model", "tiny.onnx", "--backend", "onnxruntime", "--threads", 1, "--cluster", cluster.address]
    for name in CAMERAS:
        words += ["--source", f"{name}=test://?live=1&size=64x48&fps=10&frames=100000"]
    words += ["--workers", 2, "--output", "{source}.jsonl", "--serve", "127.0.0.1:0", "--json"]
    command = [sys.executable, "-m", "solo_rt", *map(str, words)]
    with (tmp_path / "said").open("w") as said:
        run = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=said, text=True)
    try:
        wait_until(lambda: "page: " in (tmp_path / "said").read_text(), within=60)
        url = re.search(r"page: (\S+)", (tmp_path / "said").read_text())[1]

        def cameras():
            assert run.poll() is None, (tmp_path / "said").read_text()
            with urllib.request.urlopen(f"{url}api/state") as answer:
                return {source["name"]: source for source in json.load(answer)["sources"]}

        def are_live():
            return all(one["state"] == "live" and one["results"] > 2 for one in cameras().values())

        wait_until(lambda: are_live() and len({one["owner"] for one in cameras().values()}) == 2, within=120)
        before = {one["owner"] for one in cameras().values()}
        killed = owners_of(cluster)[0]
        began = time.monotonic()
        killed.send_signal(signal.SIGKILL)
        wait_until(lambda: not before <= {one["owner"] for one in cameras().values()})
        wait_until(are_live)
        assert time.monotonic() - began < 20, "of which ten are for a busy machine"
        run.send_signal(signal.SIGINT)
        out, _ = run.communicate(timeout=60)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 130, (tmp_path / "said").read_text()
    report = json.loads(out[out.index("{") :])  # Ray's own words about the dead process may come before
    assert report["lost"] == 1
    assert 0 < report["longest_gap"] < 10
    moved = sorted(path.name for path in tmp_path.glob("*-2.jsonl"))
    assert len(moved) >= 2
    assert all('"frame"' in (tmp_path / name).read_text() for name in moved)
    wait_until(lambda: not owners_of(cluster))
