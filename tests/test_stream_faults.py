"""What a network may do to a stream, byte by byte: a run goes on or ends, in time, and every frame is accounted for."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from contextlib import suppress
from itertools import chain, pairwise, repeat
from pathlib import Path

import av
import pytest
from cameras import camera, player
from children import wait_until
from clips import H264, json_lines, write_clip
from fakes import FakeEngine

from solo_rt import defaults
from solo_rt.errors import SourceError
from solo_rt.pipeline import Pipeline, run
from solo_rt.pipeline.options import Options
from solo_rt.source import connection, open_source, stream, stream_input

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("never_hang")]

TESTS = Path(__file__).parent
TINY = TESTS / "data" / "tiny.onnx"
STOP_SECONDS = 3.0
EVERY = Options(policy="every-frame")


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(stream, "FIRST_WAIT", 0.05)
    monkeypatch.setattr(defaults, "FIRST_RETRY_SECONDS", 1.0)
    monkeypatch.setattr(stream_input, "OPEN_SECONDS", 2.0)
    monkeypatch.setattr(connection, "MAX_LATE_SECONDS", 30.0)  # what is sent at once is not late


@pytest.fixture
def clip(tmp_path):
    """Return a function that gives the bytes of a clip from frame `start` on."""

    def make(start, *, count=30, **settings):
        path = tmp_path / "clip.ts"
        options = {**H264, "bf": "0", "tune": "zerolatency"}
        write_clip(path, pts=range(start, start + count), codec="libx264", options=options, **settings)
        return path.read_bytes()

    return make


def is_accounted(report):
    return report.read == report.processed + report.dropped + report.skipped + report.failed


@pytest.mark.parametrize("fault", ["another size", "time goes back", "loop", "time wraps", "hours later"])
def test_stream_that_changes_on_the_way_is_written_whole(fault, clip, tmp_path):
    parts = {
        "another size": lambda: [clip(0), clip(30, size=(96, 64))],
        "time goes back": lambda: [clip(300), clip(0), clip(600)],
        "loop": lambda: [clip(0)] * 5,
        "time wraps": lambda: [clip(2**33 // 3000 - 20, count=60)],
        "hours later": lambda: [clip(0), clip(10**6)],
    }[fault]()
    film, lines = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    with player(parts) as cam:
        report = Pipeline(cam.uri, TINY, [str(film), str(lines)], EVERY, retry_for=0.3).run()
    assert is_accounted(report)
    assert report.failures == ()
    sent = 30 * len(parts) if fault != "time wraps" else 60
    assert report.processed >= sent - 2 * len(parts)  # of two streams one behind the other the seam is damaged
    found = [record for record in json_lines(lines) if "frame" in record]
    assert [record["frame"] for record in found] == list(range(report.read))
    assert all(a["time_s"] < b["time_s"] < a["time_s"] + 5 for a, b in pairwise(found))
    assert {tuple(record["size"]) for record in found} == {(48, 64)} | (
        {(64, 96)} if fault == "another size" else set()
    )
    with open_source(str(film)) as video:
        shown = [frame.time_s for frame in video]
    assert len(shown) == report.processed
    assert shown[-1] - shown[0] == pytest.approx(found[-1]["time_s"] - found[0]["time_s"], abs=0.01)


def test_damaged_stream_gives_what_ffmpeg_makes_of_the_same_bytes(clip, tmp_path):
    """Frame by frame, as our file source is measured against FFmpeg's command: nothing is lost by being live."""
    clean = clip(0, count=150, size=(160, 120))
    expected = got = 0
    for seed in range(4):
        rng, data = random.Random(seed), bytearray(clean)
        for _ in range(len(data) // 800):
            data[rng.randrange(20_000, len(data))] = rng.randrange(256)
        expected += count_of_frames(bytes(data), tmp_path)
        with player([bytes(data)]) as cam, open_source(cam.uri, retry_for=0.3) as source:
            got += sum(1 for _ in source)
    assert got >= 0.99 * expected > 500


def count_of_frames(data, folder):
    """Return how many frames FFmpeg's decoder gives, packet by packet; on what it cannot read PyAV raises anything."""
    path = folder / "damaged.ts"
    path.write_bytes(data)
    count = 0
    with av.open(str(path)) as container:
        while True:
            with suppress(Exception):
                for packet in container.demux(container.streams.video[0]):
                    with suppress(Exception):
                        count += len(packet.decode())
                return count


def noise():
    rng = random.Random(0)
    return (rng.randbytes(1 << 16) for _ in repeat(None))


@pytest.mark.parametrize("fault", ["silence", "garbage", "nothing"])
def test_server_that_gives_no_video_is_given_up_and_said(fault):
    sent = {"silence": lambda: [1000.0], "garbage": noise, "nothing": lambda: []}[fault]()
    with player(sent) as cam:
        started = time.monotonic()
        with pytest.raises(SourceError, match="expected pictures, got none") as caught:
            open_source(cam.uri, stall_after=1)
        assert time.monotonic() - started < 8
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fault", ["silence", "garbage", "flood", "pictures stop"])
def test_run_stops_in_time_whatever_the_server_does(fault, clip):
    start, stop = clip(0), threading.Event()
    sent = {
        "silence": lambda: [start, 1000.0],
        "garbage": lambda: chain([start], noise()),
        "flood": lambda: repeat(start),  # hundreds of times faster than real time
        "pictures stop": lambda: [],
    }[fault]()
    with player(sent) as cam, camera(sound=True) as other:
        uri = other.uri if fault == "pictures stop" else cam.uri
        with open_source(uri, stall_after=1) as source:
            engine = FakeEngine(gate=lambda call: setattr(other, "sends_pictures", call < 1))
            done = []
            thread = threading.Thread(target=lambda: done.append(run(source, engine, [], stop=stop)))
            thread.start()
            wait_until(lambda: engine.calls > 0)
            stop.wait(1.5)  # the fault has been noticed by now, and is still there
            stop.set()
            thread.join(STOP_SECONDS)
            assert not thread.is_alive()
    assert is_accounted(done[0])
    assert done[0].interrupted


def test_many_reconnections_need_no_files(tmp_path):
    """In a process that may open 48."""
    program = tmp_path / "program.py"
    program.write_text(f"""
import os, resource, sys
sys.path.insert(0, {str(TESTS)!r})
from cameras import camera
from solo_rt.source import open_source, stream
stream.FIRST_WAIT = 0.01
resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))
with camera() as cam:
    cam.frames, cam.pace = 12, 0.1
    with open_source(cam.uri) as source:
        frames = iter(source)
        while cam.connections < 60:
            next(frames)
        print(len(os.listdir("/proc/self/fd")))
""")
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 20


SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

// The system's clock, moved by as many seconds as a file holds; all other clocks are left alone.
static long moved(void) {
    char text[32] = {0};
    int file = open(getenv("CLOCK_MOVED_BY"), O_RDONLY);
    if (file < 0) return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    return length > 0 ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    int failed = syscall(SYS_clock_gettime, clock, at);
    if (!failed && clock == CLOCK_REALTIME) at->tv_sec += moved();
    return failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    int failed = clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec, at->tv_usec = now.tv_nsec / 1000;
    return failed;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return at ? *at = now.tv_sec : now.tv_sec;
}
"""


def test_clock_of_the_system_that_is_set_moves_labels_only(tmp_path):
    (tmp_path / "shim.c").write_text(SHIM)
    command = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(tmp_path / "shim.so"), str(tmp_path / "shim.c"), "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    moved_by, lines = tmp_path / "moved_by", tmp_path / "out.jsonl"
    environment = {"LD_PRELOAD": str(tmp_path / "shim.so"), "CLOCK_MOVED_BY": str(moved_by), "PATH": "/usr/bin:/bin"}
    jumps = (60, -60, 3600, -3600, -86400)
    with camera() as cam:
        arguments = ["run", "--source", cam.uri, "--model", TINY, "--save-jsonl", lines, "--log-format", "json"]
        process = subprocess.Popen(
            [sys.executable, "-m", "solo_rt", *map(str, arguments), "--stall-after", "2"],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        for count, jump in enumerate(jumps, start=1):
            wait_until(lambda count=count: lines.exists() and lines.read_bytes().count(b"\n") > 30 * count)
            moved_by.write_text(str(jump))
        wait_until(lambda: lines.read_bytes().count(b"\n") > 30 * (len(jumps) + 1))
        process.terminate()
        _, said = process.communicate(timeout=STOP_SECONDS)
    assert process.returncode == 143
    assert cam.connections == 1
    assert not any(word in said for word in ("stalled", "outage", "live again"))
    found = [record for record in json_lines(lines) if "frame" in record]
    for field in ("time_s", "wall_time"):
        assert all(a[field] <= b[field] < a[field] + 30 for a, b in pairwise(found)), field
    assert all(a["time_s"] < b["time_s"] for a, b in pairwise(found))
    moments = [json.loads(line)["time"] for line in said.splitlines()]
    assert len({moment[:10] for moment in moments}) > 1  # the clock that labels the log has been set
