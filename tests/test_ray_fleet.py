"""A fleet on a real cluster: two nodes of this machine, of which one is lost, or an owner of cameras is."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
from children import wait_until
from fakes import write_tiny_model
from ray_nodes import LONG, needs_ray

pytestmark = needs_ray
CAMERAS = ("door", "yard", "gate", "roof")


class Run:
    """A fleet of two owners as its page shows it."""

    def __init__(self, cluster, folder):
        write_tiny_model(folder / "tiny.onnx")
        words = ["run", "--model", "tiny.onnx", "--backend", "onnxruntime", "--threads", 1]
        for name in CAMERAS:
            words += ["--source", f"{name}=test://?live=1&size=64x48&fps=10&frames=100000"]
        words += ["--workers", 2, "--output", "{source}.jsonl", "--serve", "127.0.0.1:0", "--json"]
        words += ["--cluster", cluster.address]
        command = [sys.executable, "-m", "solo_rt", *map(str, words)]
        self._said = folder / "said"
        with self._said.open("w") as said:
            self._process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=said, text=True)
        wait_until(lambda: "page: " in self.said(), within=LONG)
        self._url = re.search(r"page: (\S+)", self.said())[1]
        wait_until(lambda: self.is_live() and len(self.owners()) == 2, within=LONG)

    def said(self):
        assert self._process.poll() is None, self._said.read_text()
        return self._said.read_text()

    def cameras(self):
        assert self._process.poll() is None, self._said.read_text()
        with urllib.request.urlopen(f"{self._url}api/state") as answer:
            return {source["name"]: source for source in json.load(answer)["sources"]}

    def newest(self, camera):
        with urllib.request.urlopen(f"{self._url}api/results/{camera}") as answer:
            return json.load(answer)

    def owners(self):
        return {one.get("owner") for one in self.cameras().values()}

    def is_live(self):
        """Return whether results of all cameras come."""
        seen = self.cameras().values()
        return len(seen) == len(CAMERAS) and all(one["state"] == "live" and one["results"] > 2 for one in seen)

    def happened(self):
        """Return why cameras have become what they are."""
        with urllib.request.urlopen(f"{self._url}api/events") as answer:
            found = next(line for line in answer if line.startswith(b"data: ["))
        return [one["reason"] for one in json.loads(found[len("data: ") :])]

    def finish(self):
        """End it by Ctrl-C and return its report."""
        self._process.send_signal(signal.SIGINT)
        out, _ = self._process.communicate(timeout=LONG)
        assert self._process.returncode == 130, self._said.read_text()
        return json.loads(out)

    def close(self):
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def run(cluster, tmp_path):
    with closing(Run(cluster, tmp_path)) as one:
        yield one


def test_a_call_after_the_end_joins_nothing(cluster, tmp_path: Path) -> None:
    program = f"""
from solo_rt.cluster.owners import RayOwner
from solo_rt.cluster.ray_cluster import RayCluster

class Camera:
    def begin(self):
        return "here"
    def report(self):
        return {{}}
    def newest(self, name):
        return name

joined = RayCluster({cluster.address!r})
owner = RayOwner(joined.ray, joined.ray.remote(Camera).remote())
while not owner.place:
    owner.hear()
assert owner.newest("door") == "door"
joined.close()
assert owner.newest("door") == ""
assert not joined.ray.is_initialized()
"""
    environment = {**os.environ, "HOME": str(tmp_path)}  # in which a cluster that should not be would leave its token
    subprocess.run([sys.executable, "-c", program], check=True, timeout=LONG, env=environment)


def check_gap(report):
    assert report["lost"] == 1
    assert 0 < report["longest_gap"] < 30, "of which ten are enough where nothing else is under way"


def test_cameras_of_a_killed_owner_run_elsewhere(run, cluster, tmp_path: Path) -> None:
    before = run.owners()
    cluster.processes("CameraOwner")[0].send_signal(signal.SIGKILL)
    wait_until(lambda: not before <= run.owners(), within=LONG)
    wait_until(run.is_live, within=LONG)
    check_gap(run.finish())
    moved = sorted(path.name for path in tmp_path.glob("*+2.jsonl"))
    assert len(moved) >= 2
    assert all('"frame"' in (tmp_path / name).read_text() for name in moved)
    wait_until(lambda: not cluster.processes("CameraOwner"), within=LONG)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_cameras_of_a_lost_machine_run_on_the_others_which_go_on(run, cluster, number) -> None:
    before = run.cameras()
    cluster.lose(number)
    wait_until(lambda: len(run.owners()) == 1 and run.is_live(), within=LONG)
    after = run.cameras()
    (left,) = run.owners()
    stayed = [name for name, one in before.items() if one["owner"] == left]
    assert 0 < len(stayed) < len(CAMERAS)
    assert all(run.newest(name)["size"] == [48, 64] for name in CAMERAS)
    assert all(after[name]["results"] > before[name]["results"] for name in stayed), "they have not begun anew"
    (lost,) = {one["owner"] for one in before.values()} - {left}
    assert any(f"{lost} was lost" in reason for reason in run.happened())
    cluster.complete()
    wait_until(lambda: len(run.owners()) == 2 and run.is_live(), within=LONG)
    check_gap(run.finish())
