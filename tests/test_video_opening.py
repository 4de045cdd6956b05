"""What can be opened as a video, and how what cannot be is refused."""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest
from clips import H264, assert_refused, read, write_clip

from solo_rt.errors import SourceError, UsageError
from solo_rt.source import MAX_PIXELS, open_source


@pytest.mark.parametrize("name", ["a b.mkv", "a:b.mkv", "ü%20.mkv", "[1].mkv", "-i.mkv", "a?b=c.mkv"])
def test_any_file_name_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "plain.mkv", count=2)
    (tmp_path / "plain.mkv").rename(tmp_path / name)
    assert len(read(Path(name))) == 2


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert_refused(tmp_path / "none.mp4", "No such file", "check the path")


def test_a_file_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert_refused(tmp_path / "a.mp4", "Permission denied")


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    assert_refused(tmp_path / "a.mp4", "empty")


def test_text_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("dear diary\n" * 50)
    assert_refused(tmp_path / "a.mp4", "expected a video", "Invalid data")


def test_a_fifo_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    assert_refused(tmp_path / "a.mp4", "pipe")


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        silence.sample_rate = 44100
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
    assert_refused(tmp_path / "a.mp4", "audio only")


def test_a_cover_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.m4a"), "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=44100)
        cover = container.add_stream("mjpeg")
        cover.width, cover.height, cover.pix_fmt = 16, 16, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        silence.sample_rate = 44100
        container.mux([*cover.encode(av.VideoFrame(16, 16, "yuvj420p")), *cover.encode(None)])
        container.mux([*sound.encode(silence), *sound.encode(None)])
    assert_refused(tmp_path / "a.m4a", "the file holds a cover picture and audio only")


def test_a_video_that_was_never_begun_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    assert_refused(tmp_path / "a.mp4", "closed before anything was written")


def test_a_quoted_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clip(tmp_path / "a.mkv", count=2)
    monkeypatch.setenv("HOME", str(tmp_path))
    with open_source("~/a.mkv") as source:
        assert source.info.uri == str(tmp_path / "a.mkv")


def test_a_video_without_frames_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_clip(path, count=3, codec="libx264", options=H264)
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for start, size in packets:
        data[start : start + size] = bytes(size)
    path.write_bytes(data)
    assert_refused(path, "expected h264 video", "not one frame")


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("a.mp4", "ffconcat version 1.0\nfile real.mkv\n"),
        ("a.ffconcat", "ffconcat version 1.0\nfile real.mkv\n"),
        ("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nreal.ts\n#EXT-X-ENDLIST\n"),
    ],
)
def test_a_playlist_opens_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "real.mkv", count=2)
    write_clip(tmp_path / "real.ts", count=2, codec="libx264", options=H264)
    (tmp_path / name).write_text(script)
    with av.open(name) as container:  # FFmpeg itself follows it: the refusal is ours
        assert next(container.decode(video=0)).width == 64
    assert_refused(tmp_path / name, "playlist")


def test_an_empty_address_is_refused() -> None:
    with pytest.raises(UsageError, match="empty"):
        open_source("")


def test_too_many_pixels_are_refused(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv")
    with open_source(str(tmp_path / "a.mkv"), max_pixels=64 * 48) as source:
        assert len(list(source)) == 10
    with pytest.raises(SourceError, match="or a frame has more than 3071 pixels"):
        open_source(str(tmp_path / "a.mkv"), max_pixels=64 * 48 - 1)


def test_8k_fits_the_default_cap(tmp_path: Path) -> None:
    assert MAX_PIXELS >= 7680 * 4320
    picture = av.VideoFrame(7680, 4320, "yuvj420p")
    for plane in picture.planes:
        np.frombuffer(plane, np.uint8)[:] = 99
    with av.open(str(tmp_path / "a.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=30)
        stream.width, stream.height, stream.pix_fmt = 7680, 4320, "yuvj420p"
        container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    assert read(tmp_path / "a.avi")[0].planes[0].shape == (4320, 7680)
