"""Archives on a real cluster: two nodes of this machine, whose workers and drivers are killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
from children import wait_until
from clips import write_clip
from fakes import write_tiny_model
from ray_nodes import LONG, needs_ray

from solo_rt.cluster.manifest import FILE

pytestmark = needs_ray
COUNTS = {"a.mkv": 3000, "b.mkv": 2900, "c.mkv": 2800, "d.mkv": 20}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with a model, an archive, and in `expected` what this machine makes of it."""
    folder = tmp_path_factory.mktemp("made")
    write_tiny_model(folder / "tiny.onnx")
    (folder / "archive").mkdir()
    for name, count in COUNTS.items():
        write_clip(folder / "archive" / name, count=count)
    finish(start(folder, "expected"))
    return folder


def start(made, results, *arguments):
    """Start a run in the folder of the archive, whose paths are relative."""
    words = ["run", "--source", "archive", "--output-dir", results, "--model", "tiny.onnx", "--threads", 1, "--json"]
    command = [sys.executable, "-m", "solo_rt", *words, "--backend", "onnxruntime", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(list(map(str, command)), cwd=made, text=True, **pipes)


def finish(process):
    out, err = process.communicate(timeout=2 * LONG)
    assert process.returncode == 0, err
    assert out.startswith("{"), out
    return json.loads(out)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.jsonl") if path.name != FILE}


def under_way(results):
    return [path for path in results.glob(".parts/*/*") if path.stat().st_size]


@pytest.mark.parametrize("door", ["address", "client"])
def test_results_are_those_of_this_machine_and_a_second_run_does_nothing(made, cluster, door):
    address = getattr(cluster, door)
    report = finish(start(made, door, "--cluster", address))
    assert (report["videos"]["done"], report["workers"], report["died"]) == (len(COUNTS), 2, 0)
    assert contents(made / door) == contents(made / "expected")
    assert finish(start(made, door, "--cluster", address))["frames"] == 0


def test_an_actor_that_is_killed_costs_its_video_another_try(made, cluster):
    process = start(made, "killed", "--cluster", cluster.address)
    wait_until(lambda: len(under_way(made / "killed")) == 2 or process.poll() is not None, within=LONG)
    cluster.processes("Actor")[0].send_signal(signal.SIGKILL)
    report = finish(process)
    assert (report["videos"]["done"], report["died"]) == (len(COUNTS), 1)
    assert contents(made / "killed") == contents(made / "expected")


def test_a_machine_that_is_lost_costs_its_video_another_try(made, cluster):
    process = start(made, "lost", "--cluster", cluster.address)
    wait_until(lambda: len(under_way(made / "lost")) == 2 or process.poll() is not None, within=LONG)
    cluster.lose(signal.SIGKILL)
    report = finish(process)
    assert report["videos"]["done"] == len(COUNTS)
    assert report["died"] >= 1, "and perhaps one that was to be where nothing is any more"
    assert contents(made / "lost") == contents(made / "expected")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_driver_that_is_ended_takes_its_actors_with_it_and_can_be_taken_up(made, cluster, number, code):
    results = made / f"ended{number}"
    process = start(made, results, "--cluster", cluster.address)
    wait_until(lambda: len(under_way(results)) == 2 or process.poll() is not None, within=LONG)
    process.send_signal(number)
    _, err = process.communicate(timeout=LONG)
    assert process.returncode == code, err
    assert "Traceback" not in err
    wait_until(lambda: not cluster.processes("Actor"), within=LONG)
    done = len((results / FILE).read_text().splitlines()) - 1
    report = finish(start(made, results, "--cluster", cluster.address))
    assert report["videos"]["before"] == done
    assert contents(results) == contents(made / "expected")


def test_a_machine_that_does_not_see_the_archive_refuses(made, cluster, tmp_path):
    program = (
        "from solo_rt.cluster import actors; from pathlib import Path; from solo_rt.__main__ import main; "
        "genuine = actors.Actors.hire; "
        "actors.Actors.hire = lambda self, start: (self._paths.append('/nowhere/a.mkv'), genuine(self, start))[1]; "
        "main()"
    )
    words = ["run", "--source", "archive", "--output-dir", tmp_path / "out", "--model", "tiny.onnx"]
    command = [sys.executable, "-c", program, *words, "--cluster", cluster.address, "--threads", 1]
    done = subprocess.run(list(map(str, command)), cwd=made, capture_output=True, text=True, timeout=LONG)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "worker on " in done.stderr
    assert "/nowhere/a.mkv: it is not there; expected a file system that all machines share" in done.stderr
