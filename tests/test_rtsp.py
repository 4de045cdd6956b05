"""RTSP as users meet it: the command line, and a real server that asks for a password, dies and comes back."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from contextlib import contextmanager
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from urllib.parse import quote, quote_plus

import av
import psutil
import pytest
from children import WAIT, wait_until
from fakes import ends_all_threads
from rtsp import rtsp_camera

from solo_rt.errors import SourceError
from solo_rt.source import open_source

pytestmark = pytest.mark.slow

TINY = Path(__file__).parent / "data" / "tiny.onnx"
USER, PASSWORD = "guest", "p@ss/w?rd #1"
TELLTALES = (  # pieces of the password in every encoding
    *("p@ss", "w?rd", quote(PASSWORD, safe=""), quote_plus(PASSWORD), quote(PASSWORD), "w%3Frd", "w%3frd", "p%40ss"),
    base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(),
    base64.b64encode(PASSWORD.encode()).decode(),
)
RESTARTS, RESTART_SECONDS = 5, 3.0
FREEZE_SECONDS = 8.0


@contextmanager
def solo_rt(uri, folder, *arguments):
    """Run the command on a source, which it finds in its environment; what it says goes to files in the folder."""
    command = [sys.executable, "-m", "solo_rt", "run", "--model", str(TINY), *map(str, arguments)]
    environment = {**os.environ, "SOLO_RT_RUN_SOURCE": uri}
    with (folder / "stdout").open("w") as out, (folder / "stderr").open("w") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, env=environment)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def end(process, number=signal.SIGINT):
    """Return the exit code after a signal, and the seconds it took."""
    started = time.monotonic()
    process.send_signal(number)
    return process.wait(WAIT), time.monotonic() - started


def records(path):
    """Return what the whole lines of JSON lines hold."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def results(path):
    return [record for record in records(path) if "frame" in record]


def secrets_in(text):
    return [telltale for telltale in TELLTALES if telltale in text]


@pytest.mark.parametrize("protocols", ["tcp", "udp"])
def test_password_that_needs_encoding_lets_frames_in(protocols):
    camera = rtsp_camera(protocols=protocols, user=USER, password=PASSWORD)
    with camera as cam, ends_all_threads(), open_source(cam.uri) as source:
        frames = list(islice(source, 30))
        assert (source.info.live, source.damage) == (True, None)
    first, *others = (b.time_s - a.time_s for a, b in pairwise(frames))
    assert first > 0  # which may be longer
    assert all(0.02 < step < 0.05 for step in others)
    assert median(others) == pytest.approx(1 / 30, abs=1e-3)


def test_wrong_password_ends_at_once_with_one_line(tmp_path):
    with rtsp_camera(user=USER, password=PASSWORD) as cam, solo_rt(cam.address("p@ss/w?rd"), tmp_path) as process:
        assert process.wait(WAIT) == 3
    said = (tmp_path / "stderr").read_text()
    assert said.count("\n") == 1
    assert "401 Unauthorized" in said
    assert (tmp_path / "stdout").read_text() == ""


@pytest.mark.parametrize("fate", ["live", "wrong password", "killed", "never there"])
def test_password_is_nowhere_to_be_read(fate, tmp_path):
    outputs = ["--output", tmp_path / "out.mp4", "--save-jsonl", tmp_path / "out.jsonl", "--trace", tmp_path / "trace"]
    told = ["-v", "--log-format", "json", "--json", "--retry-for", "1", "--stall-after", "1"]
    with rtsp_camera(user=USER, password=PASSWORD) as cam:
        if fate == "never there":
            cam.kill()
        uri = cam.address(PASSWORD + "!") if fate == "wrong password" else cam.uri
        with solo_rt(uri, tmp_path, *outputs, *told) as process:
            if fate in ("live", "killed"):
                wait_until(lambda: len(results(tmp_path / "out.jsonl")) > 5)
                family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
                assert [secrets_in(" ".join(one.cmdline())) for one in family] == [[]] * len(family)
            if fate == "killed":
                cam.kill()
            code = end(process)[0] if fate == "live" else process.wait(WAIT)
    assert code == {"live": 130, "killed": 4}.get(fate, 3)
    written = {path.name for path in tmp_path.iterdir()}
    assert fate in ("never there", "wrong password") or written >= {"out.mp4", "out.jsonl", "trace"}
    for path in tmp_path.iterdir():
        assert secrets_in(path.read_bytes().decode("latin-1")) == [], path.name
    if (tmp_path / "out.mp4").exists():
        with av.open(str(tmp_path / "out.mp4")) as video:
            assert secrets_in(str(video.metadata) + str([stream.metadata for stream in video.streams])) == []


@pytest.mark.parametrize("path", ["wrong password", "no such camera"])
def test_password_is_in_no_exception(path):
    with rtsp_camera(user=USER, password=PASSWORD) as cam:
        uri = cam.address(PASSWORD + "!") if path == "wrong password" else cam.uri.replace("/cam", "/none")
        with pytest.raises(SourceError) as caught:
            open_source(uri, retry_for=0)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    chain = caught.value
    while chain is not None:
        told += repr(vars(chain)) + repr(chain.args)
        chain = chain.__cause__ or chain.__context__
    assert secrets_in(told) == []


def test_run_goes_on_whenever_the_server_is_back(tmp_path):
    lines, film = tmp_path / "out.jsonl", tmp_path / "out.mp4"
    back = []  # Unix seconds at which the server was there again

    def await_results():
        wait_until(lambda: any(record["wall_time"] > back[-1] for record in results(lines)[-20:]))

    with rtsp_camera() as cam, solo_rt(cam.uri, tmp_path, "--output", film, "--save-jsonl", lines) as process:
        back.append(time.time())
        await_results()
        for _ in range(RESTARTS):
            cam.kill()
            cam.start()
            back.append(time.time())
            await_results()
        cam.freeze()
        time.sleep(FREEZE_SECONDS)  # what is measured: how long the camera says nothing
        cam.thaw()
        back.append(time.time())
        await_results()
        code, seconds = end(process)

    assert code == 130
    assert seconds < 3
    found = results(lines)
    recovery = [min(r["wall_time"] for r in found if r["wall_time"] > moment) - moment for moment in back[1:]]
    print("seconds until the first new result:", *(round(seconds, 2) for seconds in recovery))
    assert max(recovery) < RESTART_SECONDS
    assert records(lines)[-1] == {"end": {"results": len(found)}}
    assert all(a["time_s"] < b["time_s"] for a, b in pairwise(found))
    for a, b in pairwise(found):  # the outages are in the times
        assert b["time_s"] - a["time_s"] == pytest.approx(b["wall_time"] - a["wall_time"], abs=0.5)
    with open_source(str(film)) as video:
        shown = [frame.time_s for frame in video]
        assert video.damage is None
    assert len(shown) == len(found)
    assert shown[-1] - shown[0] == pytest.approx(found[-1]["time_s"] - found[0]["time_s"], abs=0.1)
    assert f"{RESTARTS + 1} outages" in (tmp_path / "stderr").read_text()
