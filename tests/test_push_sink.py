"""Video sent to a server on this machine: a PyAV that listens, in a process of its own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

import psutil
import pytest
from children import wait_until
from clips import info, noisy, result_of, yuv_frame

from solo_rt.errors import SinkError, UsageError
from solo_rt.sink import Gap, Sink, VideoOptions, check_video, open_sink, push

LISTEN = {"rtmp": {"listen": "1"}, "rtsp": {"rtsp_flags": "listen", "listen_timeout": "20"}}
SERVER = """
import json, sys, av
print("started", flush=True)
with av.open(sys.argv[1], options=json.loads(sys.argv[2])) as container:
    stream = container.streams.video[0]
    packets = []
    try:
        for packet in container.demux(stream):
            if packet.size:
                at = float((packet.pts or 0) * packet.time_base)
                packets.append((at, packet.is_keyframe, packet.pts == packet.dts))
                if len(packets) == int(sys.argv[3]):
                    break
    except av.FFmpegError:
        pass
print(json.dumps([stream.codec_context.name, stream.width, stream.height, packets]), flush=True)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """Takes one stream, and ends behind so many packets."""

    def __init__(self, kind: str, port: int, packets: int) -> None:
        self.url = f"{kind}://127.0.0.1:{port}/live/x"
        command = [sys.executable, "-c", SERVER, self.url, json.dumps(LISTEN[kind]), str(packets)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout.readline() == "started\n"
        connections = psutil.Process(self._process.pid).net_connections
        wait_until(lambda: any(c.status == psutil.CONN_LISTEN for c in connections()))

    def received(self) -> list:
        out, _ = self._process.communicate(timeout=30)
        return json.loads(out)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def serve() -> Iterator:
    servers: list[Server] = []

    def start(kind: str, port: int, packets: int) -> Server:
        servers.append(Server(kind, port, packets))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.mark.parametrize("kind", ["rtmp", "rtsp"])
def test_a_server_gets_every_frame_and_a_key_frame_every_two_seconds(serve, kind: str) -> None:
    server = serve(kind, free_port(), 75)
    with open_sink(server.url, info=info()) as sink:
        assert sink.needs_picture
        for i in range(75):
            sink.write(noisy(i + 7))
    codec, width, height, packets = server.received()
    assert (codec, width, height) == ("h264", 64, 48)
    times = [time for time, _, _ in packets]
    assert len(times) >= 74  # RTSP's last one may be cut off with the connection
    steps = [b - a for a, b in pairwise(times[1:])]  # RTSP tells the first time later
    assert steps == pytest.approx([1 / 30] * len(steps), abs=2e-3)
    assert [i for i, (_, is_key, _) in enumerate(packets) if is_key] == [0, 60]
    assert all(in_order for _, _, in_order in packets[1:]), "no B-frames"


def test_a_server_that_comes_back_is_sent_the_rest(serve) -> None:
    port = free_port()
    server = serve("rtmp", port, 10)
    with open_sink(server.url, info=info()) as sink:
        with pytest.raises(SinkError):
            for i in range(2000):
                sink.write(noisy(i))
        server.received()
        with pytest.raises(SinkError, match="Connection refused"):
            sink.resume(Gap(i, 1))
        again = serve("rtmp", port, 20)
        sink.resume(Gap(i, 2))
        for k in range(i + 2, i + 32):
            sink.write(noisy(k))
    assert len(again.received()[3]) == 20


def write_one(sink: Sink) -> None:
    with sink:
        sink.write(result_of(yuv_frame(0)))


def test_nobody_there_is_one_line_without_the_password() -> None:
    sink = open_sink(f"rtsp://user:hunter2@127.0.0.1:{free_port()}/x", info=info())
    with pytest.raises(SinkError, match=r"^output rtsp://\*\*\*@127.0.0.1:\d+/x: Connection refused$"):
        write_one(sink)


@pytest.mark.parametrize("kind", ["rtmp", "rtsp"])
def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """It would hold Python's lock, and with it every other thread, if it were asked in this process."""
    monkeypatch.setattr(push, "ANSWER_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sink = open_sink(f"{kind}://u:hunter2@127.0.0.1:{silent.getsockname()[1]}/live/x", info=info())
        ticks: list[float] = []
        done = threading.Event()

        def count() -> None:
            while not done.wait(0.01):
                ticks.append(time.monotonic())

        thread = threading.Thread(target=count)
        thread.start()
        started = time.monotonic()
        with pytest.raises(SinkError, match="the server did not answer within 1 s") as caught:
            write_one(sink)
        done.set()
        thread.join()
    assert time.monotonic() - started < 10
    assert "hunter2" not in str(caught.value)
    assert max(b - a for a, b in pairwise(ticks)) < 0.9, "other threads went on"


def test_nothing_stays_behind(serve) -> None:
    process = psutil.Process()
    before = process.num_fds(), len(process.children())
    server = serve("rtmp", free_port(), 3)
    with open_sink(server.url, info=info()) as sink:
        for i in range(3):
            sink.write(noisy(i))
    server.received()
    server.close()
    open_sink("rtmp://127.0.0.1:1/x/y", info=info()).close()
    assert (process.num_fds(), len(process.children())) == before


@pytest.mark.parametrize(
    ("uri", "video", "message"),
    [
        (
            "srt://u:hunter2@host:1",
            VideoOptions(),
            r"srt://\*\*\*@host:1: PyAV's FFmpeg has no SRT; push rtsp:// or rtmp://",
        ),
        ("rtsp://u:hunter2@host/x", VideoOptions("av1"), r"expected H\.264 by x264 with rtsp://, got av1"),
        ("http://u:hunter2@host/x", VideoOptions(), r"a media server \(rtsp:// rtmp://\)"),
    ],
)
def test_what_cannot_be_pushed_is_refused_at_once(uri: str, video: VideoOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        open_sink(uri, info=info(), video=video)
    assert "hunter2" not in str(caught.value)


def test_quality_is_about_pushed_video_too() -> None:
    check_video(VideoOptions(crf=30), ["rtmp://host/live/x"], gpu=0)
    with pytest.raises(UsageError, match="codec h265"):
        check_video(VideoOptions("h265"), ["rtmp://host/live/x.mp4"], gpu=0)
    with pytest.raises(UsageError, match="segment"):
        check_video(VideoOptions(segment=Fraction(1)), ["rtmp://host/live/x.mp4"], gpu=0)
    assert VideoOptions(segment=Fraction(1)).shown("rtmp://u:p@host/x.mp4") == "rtmp://***@host/x.mp4"
