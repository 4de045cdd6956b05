"""The file that a video sink writes: whole however a run ends, and refused at once where there can be none."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import psutil
import pytest
from clips import (
    SUFFIXES,
    every_container,
    info,
    read,
    result_of,
    run_child,
    times,
    write_frames,
    yuv_frame,
)

from solo_rt.errors import SinkError, UsageError
from solo_rt.sink import VideoOptions, open_sink, output_file
from solo_rt.sink.encoding import VideoCodec
from solo_rt.source import open_source


def test_an_interrupted_run_leaves_a_complete_file(tmp_path: Path) -> None:
    def run() -> None:
        with open_sink(str(tmp_path / "a.mp4"), info=info()) as sink:
            for i in range(7):
                sink.write(result_of(yuv_frame(i)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert len(read(tmp_path / "a.mp4")) == 7


def test_no_frame_leaves_no_file(tmp_path: Path) -> None:
    sink = open_sink(str(tmp_path / "a.mp4"), info=info())
    sink.close()
    sink.close()
    assert not (tmp_path / "a.mp4").exists()


@every_container
@pytest.mark.parametrize("count", [40, 97])
@pytest.mark.parametrize("picture", ["noisy(i)", "result_of(yuv_frame(0, pts=i))"], ids=["noise", "still"])
def test_kill_9_costs_less_than_a_third_of_a_second(
    tmp_path: Path, suffix: str, codec: VideoCodec, count: int, picture: str
) -> None:
    body = f"""
        from solo_rt.sink import VideoOptions
        sink = open_sink(path, info=info(), video=VideoOptions({codec!r}))
        for i in range({count}):
            sink.write({picture})
        os.kill(os.getpid(), signal.SIGKILL)
    """
    path = tmp_path / f"a{suffix}"
    assert run_child(body, path).returncode == -signal.SIGKILL
    with open_source(str(path)) as source:
        got = times(list(source))
    assert got[0] == 0
    assert len(got) >= count - 10
    np.testing.assert_allclose([float(t) for t in got], np.arange(len(got)) / 30, atol=1e-3)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_is_reported_once_and_keeps_what_was_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    body = """
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        sink = open_sink(path, info=info())
        try:
            for i in range(400):
                sink.write(noisy(i))
        except SinkError as error:
            print(i, error)
        try:
            sink.write(noisy(i))
        except SinkError as error:
            print(i, error)
        sink.close()
        sink.close()
    """
    done = run_child(body, path)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    index = int(first.split()[0])
    assert f"{path}: writing failed after {index} frames: File too large" in first
    assert "it failed before" in second
    with open_source(str(path)) as source:
        assert len(list(source)) >= index - 10


def test_a_disk_that_fills_up_while_closing_costs_no_fragment(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    body = """
        sink = open_sink(path, info=info())
        for i in range(60):
            sink.write(noisy(i))
        before = os.path.getsize(path)
        resource.setrlimit(resource.RLIMIT_FSIZE, (before + ROOM, before + ROOM))
        try:
            sink.close()
        except SinkError as error:
            print(error)
        else:
            print(os.path.getsize(path) - before)
    """
    needed = int(run_child(body.replace("ROOM", "1_000_000"), path).stdout)
    for room in (0, 7, needed // 2, needed - 700, needed - 20):
        done = run_child(body.replace("ROOM", str(room)), path)
        assert (done.returncode, done.stderr) == (0, "")
        assert "writing failed after 60 frames: File too large" in done.stdout, room
        with open_source(str(path)) as source:
            assert len(list(source)) >= 50, room


# What cannot be opened.


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none/a.mp4", ["the folder", "does not exist"]),
        ("folder.mp4", ["Is a directory"]),
        ("file/a.mp4", ["Not a directory"]),
        ("a.wmv", [".mp4", ".jsonl", "folder/", "null://"]),
        ("a", [".mp4"]),
        ("x" * 300 + ".mp4", ["File name too long"]),
    ],
)
def test_what_cannot_be_written_is_refused_at_once(tmp_path: Path, name: str, words: list[str]) -> None:
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError) as caught:
        open_sink(str(tmp_path / name), info=info())
    assert all(word in str(caught.value) for word in [str(tmp_path / name), *words])
    assert "\n" not in str(caught.value)


def test_a_place_without_permission_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(output_file, "os", SimpleNamespace(**{**vars(os), "open": refuse}))
    with pytest.raises(UsageError, match=r"a\.mp4: Permission denied"):
        open_sink(str(tmp_path / "a.mp4"), info=info())


@pytest.mark.parametrize("codec", ["h265", "av1"])
def test_a_picture_too_small_for_the_encoder_is_refused_at_once(tmp_path: Path, codec: VideoCodec) -> None:
    with pytest.raises(UsageError, match="cannot encode 2x2; use --codec h264"):
        open_sink(str(tmp_path / "a.mp4"), info=info(size=(1, 1)), video=VideoOptions(codec))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("suffix", "limit"), [(".mp4", 16384), (".mkv", 16384), (".avi", 65500)])
def test_a_picture_too_large_for_the_encoder_is_refused_at_once(tmp_path: Path, suffix: str, limit: int) -> None:
    path = tmp_path / f"a{suffix}"
    with pytest.raises(UsageError, match=rf"expected at most {limit} pixels a side .*, got {limit + 2}x2"):
        open_sink(str(path), info=info(size=(limit + 2, 2)))
    assert not path.exists()
    with open_sink(str(path), info=info(size=(limit, 2))) as sink:
        sink.write(result_of(yuv_frame(0, size=(limit, 2))))


def link_hard(link: Path, target: Path) -> None:
    link.hardlink_to(target)


def link_soft(link: Path, target: Path) -> None:
    link.symlink_to(target)


@pytest.mark.parametrize("link", [None, link_hard, link_soft])
def test_the_source_is_never_overwritten(tmp_path: Path, link: Callable[[Path, Path], None] | None) -> None:
    source = tmp_path / "in.mp4"
    source.write_bytes(b"precious")
    sink = tmp_path / "out.mp4" if link else tmp_path / "." / "in.mp4"
    if link:
        link(sink, source)
    with pytest.raises(UsageError, match="would overwrite the source"):
        open_sink(str(sink), info=info(uri=str(source)))
    assert source.read_bytes() == b"precious"


def test_another_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "in.mp4").write_bytes(b"in")
    (tmp_path / "out.mp4").write_bytes(b"x" * 100_000)
    with open_sink(str(tmp_path / "out.mp4"), info=info(uri=str(tmp_path / "in.mp4"))) as sink:
        sink.write(result_of(yuv_frame(0)))
    assert len(read(tmp_path / "out.mp4")) == 1


def test_nothing_stays_open(tmp_path: Path) -> None:
    process = psutil.Process()

    def use() -> None:
        write_frames(tmp_path / "a.mp4", [yuv_frame(0), yuv_frame(1)])
        sink = open_sink(str(tmp_path / "b.mkv"), info=info())
        sink.write(result_of(yuv_frame(0)))
        sink.close()

    use()
    before = process.num_fds(), process.num_threads()
    for _ in range(30):
        use()
    assert (process.num_fds(), process.num_threads()) == before


def test_a_failed_start_is_a_sink_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise av.error.ExternalError(1, "no encoder today")

    sink = open_sink(str(tmp_path / "a.mp4"), info=info())
    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(SinkError, match="writing failed after 0 frames: no encoder today"):
        sink.write(result_of(yuv_frame(0)))
    sink.close()
    assert not (tmp_path / "a.mp4").exists()
