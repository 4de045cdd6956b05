from __future__ import annotations

import io
import shutil
import subprocess
import sys
import threading
import time
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice, pairwise

import av
import cv2
import numpy as np
import pytest
from cameras import RATE, camera, player
from clips import H264, write_clip

from solo_rt import defaults
from solo_rt.errors import SourceError, UsageError
from solo_rt.source import camera as camera_module
from solo_rt.source import connection, open_source, stream, stream_input
from solo_rt.source.address import Address
from solo_rt.source.camera import camera_address
from solo_rt.source.stream import StreamSource

pytestmark = pytest.mark.usefixtures("never_hang")


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(stream, "FIRST_WAIT", 0.05)
    monkeypatch.setattr(defaults, "FIRST_RETRY_SECONDS", 1.0)
    monkeypatch.setattr(stream_input, "OPEN_SECONDS", 5.0)


def states(source):
    changes = []
    source.on_state = changes.append
    return changes


def test_live_stream_gives_frames_with_their_own_times():
    with camera() as cam, open_source(cam.uri) as source:
        info = source.info
        assert (info.kind, info.live, info.width, info.height, info.frame_count) == ("network", True, 64, 48, None)
        frames = list(islice(source, 20))
    assert [frame.index for frame in frames] == list(range(20))
    steps = {round((b.time_s - a.time_s) * RATE, 3) for a, b in pairwise(frames)}
    assert steps == {1}
    assert source.damage is None


@pytest.mark.parametrize("absence", ["hang_up", "away", "mute"])
def test_stream_that_was_lost_goes_on(absence, caplog):
    with camera(sound=True) as cam, open_source(cam.uri, stall_after=0.5) as source:
        changes = states(source)
        before = list(islice(source, 10))
        if absence == "mute":  # its sound goes on
            cam.sends_pictures = False
            threading.Timer(1.0, lambda: setattr(cam, "sends_pictures", True)).start()
        elif absence == "hang_up":
            cam.hang_up()
        else:
            cam.go_away()
            threading.Timer(0.4, cam.come_back).start()
        after = []
        for frame in source:
            after.append(frame)
            if changes and changes[-1].state == "live" and len(after) > 40:
                break
        reached = [change.state for change in changes]
    assert reached[-1] == "live"
    assert ("stalled" in reached) == (absence == "mute")
    frames = before + after
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert all(a.time_s < b.time_s for a, b in pairwise(frames))
    gaps = [(b.time_s - a.time_s, b.captured_at - a.captured_at) for a, b in pairwise(frames)]
    (outage,) = [gap for gap in gaps if f"1 outage of {gap[1]:.1f} s in all" in source.damage][-1:]
    assert outage[0] == pytest.approx(outage[1], abs=1e-3)
    assert "live again" in caplog.text


def test_stream_of_another_size_goes_on():
    with camera() as cam, open_source(cam.uri) as source:
        assert next(iter(source)).width == 64
        cam.size = (96, 64)
        cam.hang_up()
        assert next(frame for frame in source if frame.width == 96).height == 64


def test_stream_is_lost_after_the_time_it_may_be_away():
    with camera() as cam, open_source(cam.uri, retry_for=0.5, stall_after=0.5) as source:
        changes = states(source)
        next(iter(source))
        cam.go_away()
        list(source)
    assert changes[-1].state == "lost"
    assert "Connection refused" in changes[-1].reason
    assert "lost: Connection refused" in source.damage


def test_stream_that_is_not_there_yet_is_waited_for_and_that_is_said_once(monkeypatch, caplog):
    monkeypatch.setattr(defaults, "FIRST_RETRY_SECONDS", 60.0)
    genuine, attempts = stream.Connection, []
    with camera() as cam:
        cam.go_away()

        def connect(*arguments, **settings):
            attempts.append(arguments)
            if len(attempts) == 4:
                cam.come_back()
            return genuine(*arguments, **settings)

        monkeypatch.setattr(stream, "Connection", connect)
        with open_source(cam.uri) as source:
            assert next(iter(source)).index == 0
    assert len(attempts) == 4
    assert caplog.messages == [f"source {cam.uri}: Connection refused; trying for 60 s"]


def test_clock_of_the_stream_that_jumps_is_its_own_matter():
    with camera() as cam, open_source(cam.uri) as source:
        next(iter(source))
        cam.start = 10**6
        cam.hang_up()
        frames = list(islice(source, 60))
    assert frames[-1].time_s < 20


def test_camera_whose_clock_is_slow_is_not_behind(monkeypatch):
    monkeypatch.setattr(connection, "MAX_LATE_SECONDS", 0.2)
    with camera() as cam:
        cam.pace = 1.5
        with open_source(cam.uri) as source:
            frames = list(islice(source, 60))
            assert source.damage is None
    assert {round((b.time_s - a.time_s) * RATE, 3) for a, b in pairwise(frames)} == {1}


def test_film_that_begins_again_is_not_behind(monkeypatch, tmp_path):
    monkeypatch.setattr(connection, "MAX_LATE_SECONDS", 0.7)  # a round takes 1 s
    write_clip(tmp_path / "film.ts", count=30, codec="mpeg2video", options={"g": "15"})
    film = (tmp_path / "film.ts").read_bytes()
    pieces = [film[i : i + 2000] for i in range(0, len(film), 2000)]
    paced = [item for _ in range(3) for piece in pieces for item in (piece, 1 / len(pieces))]
    with player(paced) as cam, open_source(cam.uri, retry_for=0.1) as source:
        frames = list(source)
        assert "left out" not in source.damage
    assert len(frames) >= 84
    assert frames[-1].time_s - frames[0].time_s == pytest.approx(3, abs=0.5)


def test_decoder_that_is_too_slow_leaves_packets_out_and_keeps_up(monkeypatch):
    monkeypatch.setattr(connection, "MAX_LATE_SECONDS", 0.2)
    genuine = connection.to_frame
    monkeypatch.setattr(connection, "to_frame", lambda *a, **k: (time.sleep(2 / RATE), genuine(*a, **k))[1])
    with camera() as cam, open_source(cam.uri) as source:
        frames = list(islice(source, 40))
        assert "left out because decoding was too slow" in source.damage
    delays = sorted(frame.captured_at - cam.started - frame.time_s for frame in frames)
    assert delays[35] - delays[0] < 0.05  # what waited for the decoder is as old as it is
    assert frames[-1].time_s - frames[0].time_s > 1.3 * 40 / RATE


@pytest.fixture
def film(tmp_path):
    """Return the bytes of 30 frames whose pixels are not square."""
    write_clip(tmp_path / "film.ts", count=30, codec="libx264", options=H264, pixel_aspect=Fraction(64, 45))
    return (tmp_path / "film.ts").read_bytes()


def test_picture_that_cannot_be_read_is_left_out_and_counted(film, monkeypatch):
    genuine = connection.to_frame

    def to_frame(picture, **settings):
        if picture.key_frame:
            failed.append(picture)
            raise ValueError("unknown layout")
        return genuine(picture, **settings)

    failed = []
    monkeypatch.setattr(connection, "to_frame", to_frame)
    with player([film]) as cam, open_source(cam.uri, retry_for=0.1) as source:
        assert source.info.pixel_aspect == Fraction(64, 45)
        assert [frame.index for frame in source] == list(range(30 - len(failed)))
        assert f"{len(failed)} undecodable packets" in source.damage


def test_stream_without_times_has_those_at_which_its_pictures_came(film):
    """As a camera's bare H.264 does."""
    with av.open(io.BytesIO(film)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0)]
    items = [item for packet in packets for item in (packet, 0.01)]
    with player(items) as cam, open_source(cam.uri, retry_for=0.1) as source:
        frames = list(source)
        assert source.info.frame_rate is None
    assert len(frames) == 30
    came = [frame.captured_at - frames[0].captured_at for frame in frames]
    assert [frame.time_s for frame in frames] == pytest.approx(came, abs=1e-3)


def test_motion_jpeg_has_the_times_at_which_its_pictures_came():
    jpeg = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()

    class Camera(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "multipart/x-mixed-replace; boundary=next")
            self.end_headers()
            for _ in range(20):
                self.wfile.write(b"--next\r\ncontent-type: image/jpeg\r\ncontent-length: %d\r\n\r\n" % len(jpeg))
                self.wfile.write(jpeg + b"\r\n")
                time.sleep(0.1)

    with ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with open_source(f"http://127.0.0.1:{server.server_port}/x.mjpg", retry_for=0.1) as source:
            frames = list(islice(source, 12))
            assert (source.info.live, source.info.frame_rate) == (True, None)
        server.shutdown()
    came = [frame.captured_at - frames[0].captured_at for frame in frames]
    assert [frame.time_s for frame in frames] == pytest.approx(came, abs=1e-3)
    assert came[-1] > 0.5, "not 11 / 25 s, as FFmpeg counts"


class Torn:
    """A container that fails behind every packet, and from `ends_at` on at once."""

    def __init__(self, container, ends_at):
        self._container, self._ends_at, self.failures = container, ends_at, 0

    def __getattr__(self, name):
        return getattr(self._container, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._container.close()

    def demux(self, *streams):
        packets = self._container.demux(*streams)
        self.failures += 1
        if self.failures <= self._ends_at:
            packet = next(packets)
            yield packet
            if not packet.size:
                return
        raise av.error.InvalidDataError(1094995529, "Invalid data found when processing input")


@pytest.mark.parametrize("ends_at", [10, 1000])
def test_damage_between_packets_is_got_over_and_nothing_but_damage_is_given_up(film, monkeypatch, ends_at):
    genuine, opened = av.open, []
    monkeypatch.setattr(av, "open", lambda *a, **k: (opened.append(Torn(genuine(*a, **k), ends_at)), opened[0])[1])
    with player([film]) as cam, open_source(cam.uri, retry_for=0.0) as source:
        count = len(list(source))
        damage = source.damage
    if ends_at == 10:
        assert opened[0].failures == 10 + connection.MAX_ERRORS - 1
        assert damage == f"{cam.uri}: 9 read errors, lost: Invalid data found when processing input"
    else:
        assert count == 30
        assert "lost: the stream ended" in damage
        assert f"{opened[0].failures - 1} read errors" in damage


def test_source_can_be_closed_while_a_thread_that_was_left_behind_reads_it():
    with camera() as cam:
        source = open_source(cam.uri)
        frames, has_begun = [], threading.Event()

        def read():
            for frame in source:
                frames.append(frame)
                has_begun.set()

        reader = threading.Thread(target=read)
        reader.start()
        has_begun.wait(5)
        source.close()
        reader.join(2)
        assert not reader.is_alive()
    assert frames


def connections():
    return [thread for thread in threading.enumerate() if thread.name == "solo-rt connection"]


def test_connection_that_is_given_up_leaves_nothing_behind(tmp_path):
    write_clip(tmp_path / "film.ts", count=20, codec="mpeg2video")
    with player([(tmp_path / "film.ts").read_bytes(), 60.0]) as cam:
        with open_source(cam.uri) as source:
            threading.Timer(0.5, source.stop).start()
            list(source)  # its thread would wait for the rest for ten seconds
        for thread in connections():
            thread.join(1)
        assert connections() == []


def test_process_ends_with_no_thread_in_ffmpeg():
    program = """
import atexit, socket, threading, time
atexit.register(lambda: print(sum(thread.name == "solo-rt connection" for thread in threading.enumerate())))
from solo_rt import open_source
with socket.create_server(("127.0.0.1", 0)) as server:
    uri = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    threading.Thread(target=open_source, args=(uri,), daemon=True).start()
    client, _ = server.accept()
    time.sleep(0.2)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


def test_stop_ends_a_loop_that_waits():
    with camera() as cam, open_source(cam.uri) as source:
        next(iter(source))
        cam.sends_pictures = False
        threading.Timer(0.3, source.stop).start()
        started = time.monotonic()
        list(source)
        assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("uri", "error", "message"),
    [
        ("tcp://user:geheim@127.0.0.1:1", SourceError, "Connection refused"),
        ("srt://user:geheim@127.0.0.1:1?passphrase=geheim", SourceError, "does not speak its protocol"),
        ("gopher://user:geheim@cam", UsageError, "expected a file, camera:0"),
        ("camera:x", UsageError, "expected camera:0"),
        ("camera:997", SourceError, "there is no /dev/video997"),
        ("/dev/video997", SourceError, "there is no /dev/video997"),
        ("screen:", SourceError, "there is no X display"),
        ("screen::99?zoom=2", UsageError, "unknown setting zoom; expected size, fps"),
    ],
)
def test_addresses_that_lead_nowhere_are_named_without_their_password(uri, error, message, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(error, match=message) as caught:
        open_source(uri)
    chain, texts = caught.value, ""
    while chain is not None:
        texts += repr(chain)
        chain = chain.__cause__ or chain.__context__
    assert "geheim" not in texts


def test_camera_of_this_machine_is_asked_for_what_the_address_says(tmp_path, monkeypatch):
    (tmp_path / "video3").touch()
    monkeypatch.setattr(camera_module, "_DEVICES", tmp_path)
    address = camera_address("camera:3?size=640x360&fps=15&format=mjpeg")
    assert (address.url, address.format) == (str(tmp_path / "video3"), "video4linux2,v4l2")
    assert address.options == {"video_size": "640x360", "framerate": "15", "input_format": "mjpeg"}


def test_device_of_ffmpeg_is_a_live_source():
    address = Address("camera:0", "camera", "testsrc2=size=64x48:rate=50,realtime", format="lavfi")
    with StreamSource(address, max_pixels=10**6, threads=1) as source:
        assert (source.info.live, source.info.kind, source.info.frame_rate) == (True, "camera", 50)
        started = time.monotonic()
        assert [frame.index for frame in islice(source, 25)] == list(range(25))
        assert time.monotonic() - started > 0.3


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb")
def test_screen_is_a_live_source():
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "160x120x24"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            display = server.stdout.readline().strip()
            with open_source(f"screen::{display}?size=64x48&x=8&y=8&fps=20") as source:
                assert (source.info.width, source.info.height, source.info.live) == (64, 48, True)
                assert len(list(islice(source, 5))) == 5
        finally:
            server.terminate()


def test_sound_of_a_live_stream_goes_beside_its_frames_over_an_outage():
    with camera(sound=True) as cam, open_source(cam.uri, sound=True) as source:
        assert source.info.sound.codec == "mp2"
        cursor = source.info.sound.cursor()
        frames = list(islice(source, 30))
        cam.hang_up()
        frames += islice(source, 40)
        packets = cursor.take(frames[-1].index)
    assert len(packets) > 30
    times = {frame.index: frame.time_s for frame in frames}
    for packet in packets:
        assert packet.before <= frames[-1].index
        assert float(packet.time) == pytest.approx(times[packet.before], abs=0.7)  # of one time line, across the outage
    assert any(packet.before > 40 for packet in packets)
