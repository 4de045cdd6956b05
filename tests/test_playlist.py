from __future__ import annotations

import threading
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice, pairwise

import av
import numpy as np
import pytest

from solo_rt.source import open_source, playlist, stream
from solo_rt.source.playlist import LONGEST_FILE, LONGEST_LIST, LONGEST_STEP, MOST_LATE, Playlist
from solo_rt.types import Frame

PICTURE = np.zeros((1, 1, 3), np.uint8)
RATE = 20  # pictures of a file, which lasts for a second


def frame(seconds):
    return Frame((PICTURE,), "rgb24", pts=round(seconds * 1000), time_base=Fraction(1, 1000))


@pytest.fixture
def given(monkeypatch):
    """Return a function that gives frames, as pairs of stream time and clock in seconds, to a playlist.

    It returns when each was given by that clock.
    """
    now = 0.0
    monkeypatch.setattr(playlist.time, "monotonic", lambda: now)

    class Stop:
        def wait(self, seconds):
            nonlocal now
            now += max(0.0, seconds)

    def give(stamps, it=None):
        nonlocal now
        it = it or Playlist(Stop())
        times = []
        for seconds, at in stamps:
            now = max(now, at)
            times.append(it.keep(frame(seconds), waited=0.0).captured_at)
        return times

    return give


def test_pictures_that_come_at_once_are_given_at_their_own_pace(given):
    assert given([(7 + i / 4, 100) for i in range(9)]) == [100 + i / 4 for i in range(9)]


def test_pictures_that_are_late_by_what_a_file_takes_to_come_keep_the_pace(given):
    assert given([(0, 100), (0.25, 100.25 + MOST_LATE), (0.5, 0), (1, 0)]) == [100, 100.75, 100.75, 101]


def test_pictures_that_are_later_set_the_pace(given):
    assert given([(0, 100), (0.25, 103), (0.5, 0), (0.75, 0)]) == [100, 103, 103.25, 103.5]


@pytest.mark.parametrize("step", [-1, -3600, LONGEST_STEP + 1, 3600])
def test_nobody_waits_for_a_clock_that_was_set_or_for_files_that_are_gone(given, step):
    assert given([(5000, 100), (5000 + step, 0), (5000.25 + step, 0)]) == [100, 100, 100.25]


def test_pictures_of_the_list_come_once(given):
    it = Playlist(threading.Event())
    assert not it.was_given(frame(0), is_whole=False)
    given([(100, 0), (100.5, 0)], it)
    assert not it.was_given(frame(100.5), is_whole=False)  # a film that begins again, over the same connection
    it.reconnect()
    again = {seconds: it.was_given(frame(seconds), is_whole=False) for seconds in (98, 100, 100.5, 101)}
    assert again == {98: True, 100: True, 100.5: True, 101: False}
    given([(101, 0)], it)
    assert not it.was_given(frame(100), is_whole=False)


def test_time_that_begins_anew_is_new_unless_the_list_has_ended(given):
    it = Playlist(threading.Event())
    given([(2 * LONGEST_LIST, 0)], it)
    it.reconnect()
    assert not it.was_given(frame(0), is_whole=False)
    assert it.was_given(frame(0), is_whole=True)


def test_connection_without_a_picture_changes_nothing_for_a_list():
    it = Playlist(threading.Event())
    it.reconnect()
    assert not it.was_given(frame(0), is_whole=False)


def test_patience_is_three_times_the_longest_wait_for_a_file():
    it = Playlist(threading.Event())
    assert it.patience == 0
    for waited in (0.1, 4.0, 0.5):
        it.keep(frame(0), waited=waited)
    assert it.patience == 12
    it.keep(frame(0), waited=3600.0)
    assert it.patience == 3 * LONGEST_FILE


class Packager(SimpleHTTPRequestHandler):
    """Serves a list of the first files of its server."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path == "/live.m3u8":
            names = "".join(f"#EXTINF:1.0,\nfile{i}.ts\n" for i in range(self.server.files))
            ending = "#EXT-X-ENDLIST\n" if self.server.is_over else ""
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n{names}{ending}".encode())
        else:
            super().do_GET()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with six files of a second, in whose pictures `number_of` reads their numbers."""
    path = tmp_path_factory.mktemp("files")
    muxer = {"hls_time": "1", "hls_list_size": "0", "hls_segment_filename": f"{path}/file%d.ts"}
    with av.open(f"{path}/all.m3u8", "w", format="hls", options=muxer) as container:
        video = container.add_stream("mpeg2video", rate=RATE, options={"g": str(RATE), "bf": "0", "qmax": "2"})
        video.width, video.height = 64, 48
        for i in range(6 * RATE):
            grey = np.full((72, 64), 128, np.uint8)
            grey[:48] = np.repeat([20 + 16 * (i // 12), 20 + 16 * (i % 12)], 32)
            picture = av.VideoFrame.from_ndarray(grey, format="yuv420p")
            picture.pts, picture.time_base = i, Fraction(1, RATE)
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
    return path


@pytest.fixture
def packager(folder, monkeypatch):
    """Yield a web server with a live playlist of `files` of them, which ends once it `is_over`."""
    genuine, soon = av.open, {"analyzeduration": "100000"}  # FFmpeg would look at five seconds of files

    def look(*arguments, container_options, **settings):
        return genuine(*arguments, container_options={**container_options, **soon}, **settings)

    monkeypatch.setattr(av, "open", look)
    monkeypatch.setattr(stream, "FIRST_WAIT", 0.05)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Packager, directory=str(folder))) as server:
        server.daemon_threads = True
        server.files, server.is_over = 1, False
        server.uri = f"http://127.0.0.1:{server.server_port}/live.m3u8"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def number_of(picture):
    left, right = picture.planes[0][8:40, 8:24].mean(), picture.planes[0][8:40, 40:56].mean()
    return 12 * round((left - 20) / 16) + round((right - 20) / 16)


@pytest.mark.usefixtures("never_hang")
def test_list_whose_files_take_longer_than_a_stall_gives_all_pictures_at_their_pace(packager):
    def add():
        packager.files += 1
        if packager.files < 6:
            threading.Timer(1.0, add).start()

    packager.files = 3
    threading.Timer(1.0, add).start()
    changes = []
    with open_source(packager.uri, stall_after=0.4) as source:
        source.on_state = changes.append
        frames = list(islice(source, 4 * RATE))
        assert source.damage is None
    assert [number_of(each) for each in frames] == list(range(4 * RATE))
    assert changes == []
    assert all(a.captured_at < b.captured_at for a, b in pairwise(frames))
    first, last = frames[0], frames[-1]
    assert last.captured_at - first.captured_at > last.time_s - first.time_s - MOST_LATE


@pytest.mark.usefixtures("never_hang")
def test_list_that_goes_on_no_longer_is_stalled_until_it_does(packager):
    changes = []

    def note(change):
        changes.append(change.state)
        if change.state == "stalled":
            threading.Timer(1.5, lambda: setattr(packager, "files", 2)).start()  # after a few attempts

    with open_source(packager.uri, stall_after=0.4) as source:
        source.on_state = note
        numbers = [number_of(each) for each in islice(source, RATE + 10)]
        assert "1 outage" in source.damage
    assert numbers == list(range(RATE + 10))
    assert changes == ["stalled", "live"]


@pytest.mark.usefixtures("never_hang")
def test_list_that_ends_ends_the_source_once_all_was_given(packager):
    with open_source(packager.uri) as source:
        assert source.info.live
        frames = [next(iter(source))]
        packager.is_over = True
        frames += source
        assert source.damage is None
    assert [number_of(each) for each in frames] == list(range(RATE))
    assert [each.index for each in frames] == list(range(RATE))
