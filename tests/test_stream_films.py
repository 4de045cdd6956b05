"""Films that are read once: from a web server, or as a program writes them."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import av
import pytest
from clips import write_clip

from solo_rt.errors import SourceError, UsageError
from solo_rt.source import open_source, stream

pytestmark = pytest.mark.usefixtures("never_hang")


@pytest.fixture
def web(tmp_path):
    """Serve the folder on the loopback network; yields its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.mark.parametrize("name", ["film.mkv", "film.m3u8"])
def test_film_on_a_web_server_is_read_once_and_not_live(web, tmp_path, name):
    write_clip(tmp_path / "film.mkv", count=12)
    write_clip(tmp_path / "film0.ts", count=12, codec="mpeg2video")
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.4,\nfilm0.ts\n#EXT-X-ENDLIST\n"
    (tmp_path / "film.m3u8").write_text(playlist)
    started = time.monotonic()
    with open_source(f"{web}/{name}") as source:
        assert (source.info.kind, source.info.live) == ("network", False)
        assert source.info.frame_count == pytest.approx(12, abs=name == "film.m3u8")  # which says 0.4 s
        frames = list(source)
        assert source.damage is None
    assert [frame.index for frame in frames] == list(range(12))
    assert all(started <= frame.captured_at <= time.monotonic() for frame in frames)


@contextmanager
def sender(data, *, tells="length", cut=None, pause=0.0):
    """Serve the bytes at any path of a web server, those before `cut` alone, with a pause in the middle.

    It tells their length, only that of each of its `chunks`, or `nothing` and hangs up behind them.
    """

    class Sender(_Quiet):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send_response(200)
            if tells == "chunks":
                self.send_header("transfer-encoding", "chunked")
            elif tells == "length":
                self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.close_connection = True
            with suppress(OSError):
                self.send(data[: len(data) // 2])
                ends.wait(pause)
                self.send(data[len(data) // 2 : cut])
                if cut is None:
                    self.send(b"")

        def send(self, piece):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if tells == "chunks" else piece)

    ends = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Sender) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        ends.set()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("suffix", "options", "is_live"),
    [
        (".flv", {}, True),
        (".mp4", {"movflags": "frag_keyframe+empty_moov"}, True),
        (".mp4", {"movflags": "faststart"}, False),
        (".mkv", {}, False),
    ],
    ids=["FLV", "fragments", "MP4", "Matroska"],
)
def test_what_has_no_length_is_live_and_what_has_one_is_a_film(tmp_path, suffix, options, is_live):
    path = tmp_path / f"film{suffix}"
    write_clip(path, count=12, codec="flv1" if suffix == ".flv" else "mpeg4", muxer=options)
    data = path.read_bytes()
    if suffix == ".flv":  # as a server writes it that does not know how long it will go on
        start = data.index(b"duration\0") + len(b"duration\0")
        data = data[:start] + bytes(8) + data[start + 8 :]
    for tells in ("length", "chunks", "nothing"):
        with sender(data, tells=tells) as uri, open_source(uri, retry_for=0.1) as source:
            assert source.info.live == (is_live and tells != "length"), tells


def test_film_that_breaks_off_gives_all_that_came_and_says_what_happened(tmp_path):
    write_clip(tmp_path / "film.mkv", count=30, codec="mpeg4")
    data = (tmp_path / "film.mkv").read_bytes()
    cut = len(data) * 2 // 3
    (tmp_path / "cut.mkv").write_bytes(data[:cut])
    with open_source(str(tmp_path / "cut.mkv")) as film:
        count = len(list(film))
    with sender(data, cut=cut) as uri, open_source(uri, threads=2) as source:
        assert len(list(source)) == count
        assert source.damage == f"{uri}: it broke off: Input/output error"


@pytest.mark.parametrize(
    ("suffix", "tells"), [(".mkv", "chunks"), (".mkv", "nothing"), (".mp4", "chunks"), (".avi", "chunks")]
)
def test_film_that_was_cut_off_before_it_was_sent_lacks_its_end(tmp_path, suffix, tells):
    path = tmp_path / f"film{suffix}"
    write_clip(path, count=30, codec="mpeg4", muxer={"movflags": "faststart"} if suffix == ".mp4" else None)
    data = path.read_bytes()
    with sender(data, tells=tells) as uri, open_source(uri) as source:
        assert len(list(source)) == 30
        assert source.damage is None
    with sender(data, tells=tells, cut=len(data) * 3 // 4) as uri, open_source(uri) as source:
        shown = list(source)[-1].time_s + 1 / 30
        assert source.damage.endswith(f"it ends at {shown:.2f} s of 1.00 s, the rest is missing")


def test_film_that_was_cut_off_on_its_way_through_a_pipe_lacks_its_end(tmp_path):
    write_clip(tmp_path / "film.mkv", count=30, codec="mpeg4")
    data = (tmp_path / "film.mkv").read_bytes()
    program = "import solo_rt; source = solo_rt.open_source('-'); print(len(list(source)), source.damage)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, input=data[: len(data) // 2], capture_output=True, timeout=60, check=True)
    count, _, damage = done.stdout.decode().strip().partition(" ")
    assert damage == f"-: it ends at {int(count) / 30:.2f} s of 1.00 s, the rest is missing"


def test_length_that_ffmpeg_copied_from_its_input_into_a_pipe_is_no_promise(tmp_path):
    write_clip(tmp_path / "film.mkv", count=12)
    with av.open(str(tmp_path / "film.mkv")) as film, (tmp_path / "part.mkv").open("wb") as file:
        pipe = SimpleNamespace(write=file.write)  # nothing can be written once more
        with av.open(pipe, "w", format="matroska") as part:
            copied = part.add_stream_from_template(film.streams.video[0])
            copied.metadata["DURATION"] = "00:01:40.000000000"
            for packet in film.demux(video=0):
                if packet.size:
                    packet.stream = copied
                    part.mux(packet)
    with sender((tmp_path / "part.mkv").read_bytes(), tells="chunks") as uri, open_source(uri) as source:
        assert not source.info.live
        assert len(list(source)) == 12
        assert source.damage is None


def test_film_may_pause_for_longer_than_a_camera(tmp_path, monkeypatch):
    write_clip(tmp_path / "film.mkv", count=120, codec="mpeg4")
    data = (tmp_path / "film.mkv").read_bytes()
    with sender(data, pause=1.0) as uri, open_source(uri, stall_after=0.2) as source:
        assert len(list(source)) == 120
        assert source.damage is None
    monkeypatch.setattr(stream, "FILM_SECONDS", 0.3)
    with sender(data, pause=60.0) as uri, open_source(uri, stall_after=0.2) as source:
        assert len(list(source)) < 120
        assert source.damage == f"{uri}: it broke off: no picture for 0.3 s"


def test_playlist_of_a_web_server_opens_no_file_of_this_machine(web, tmp_path):
    write_clip(tmp_path / "film0.ts", count=12, codec="mpeg2video")
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.4,\nfile://{tmp_path}/film0.ts\n#EXT-X-ENDLIST\n"
    (tmp_path / "film.m3u8").write_text(playlist)
    with pytest.raises(SourceError, match="expected pictures, got none"):
        open_source(f"{web}/film.m3u8", retry_for=0)


def test_missing_film_is_said_at_once(web):
    with pytest.raises(SourceError, match="404 Not Found"):
        open_source(f"{web}/film.mkv", retry_for=60)


@pytest.mark.parametrize("stdin", [None, SimpleNamespace(isatty=lambda: True)])
def test_terminal_is_no_video(monkeypatch, stdin):
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(UsageError, match="expected video on standard input, got a terminal; pipe it in"):
        open_source("-")


def test_video_on_standard_input_is_read_to_its_end(tmp_path):
    write_clip(tmp_path / "film.mkv", count=7)
    program = "import solo_rt; print(sum(1 for frame in solo_rt.open_source('-')))"
    with (tmp_path / "film.mkv").open("rb") as film:
        done = subprocess.run([sys.executable, "-c", program], stdin=film, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("7\n", "")
