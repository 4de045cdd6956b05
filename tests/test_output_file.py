"""Files that sinks write: nobody else's are touched before the first bytes, and no two runs write one."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from clips import info, result_of, yuv_frame

from solo_rt.errors import SinkError, UsageError
from solo_rt.sink import Gap, open_sink, output_file
from solo_rt.sink.output_file import OutputFile


def test_what_is_there_stays_until_the_first_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("precious")
    file = OutputFile(str(path))
    assert path.read_text() == "precious"
    with file.writing():
        file.append(b"new")
    file.close()
    assert path.read_text() == "new"


@pytest.mark.parametrize("name", ["a.jsonl", "a.mp4", "a.mkv", "a.avi"])
def test_a_sink_that_gets_no_result_leaves_everything_as_it_was(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    open_sink(str(tmp_path / name), info=info()).close()
    open_sink(str(tmp_path / f"new-{name}"), info=info()).close()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "precious")]


@pytest.mark.parametrize("name", ["a.jsonl", "a.mp4"])
def test_a_file_has_one_writer(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    program = f"from solo_rt.sink.output_file import OutputFile; OutputFile({str(path)!r})"
    with open_sink(str(path), info=info()) as sink:
        sink.write(result_of(yuv_frame(0)))
        size = path.stat().st_size
        with pytest.raises(UsageError, match="another process is writing it; choose another name"):
            open_sink(str(path), info=info())
        other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        assert "another process is writing it" in other.stderr
        assert path.stat().st_size == size > 0
    open_sink(str(path), info=info()).close()


def replace_it(path: Path) -> None:
    path.with_name("other").write_text("mine")
    path.with_name("other").replace(path)


def remove_folder(path: Path) -> None:
    path.unlink()
    path.parent.rmdir()


@pytest.mark.parametrize("take_away", [Path.unlink, replace_it, remove_folder])
@pytest.mark.parametrize("name", ["a.jsonl", "a.mp4"])
def test_a_file_that_was_taken_away_is_noticed(tmp_path: Path, monkeypatch, take_away, name: str) -> None:
    monkeypatch.setattr(output_file, "LOOK_SECONDS", 0.0)
    path = tmp_path / "out" / name
    path.parent.mkdir()
    sink = open_sink(str(path), info=info())
    sink.write(result_of(yuv_frame(0)))
    take_away(path)
    with pytest.raises(SinkError, match="writing failed after 1 frames: it was removed or replaced"):
        sink.write(result_of(yuv_frame(1)))
    sink.close()
    assert not path.exists() or path.read_text() == "mine"


def test_a_new_file_without_a_byte_goes_away_unless_it_is_somebody_elses_by_now(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    OutputFile(str(path)).close()
    assert not path.exists()
    file = OutputFile(str(path))
    replace_it(path)
    file.close()
    assert path.read_text() == "mine"


def test_it_looks_for_the_file_now_and_then() -> None:
    assert 0 < output_file.LOOK_SECONDS <= 1


@pytest.mark.parametrize("output", ["a.jsonl", "coco:a.json", "a.csv"])
def test_a_file_in_whose_place_somebody_writes_another_is_waited_for(tmp_path: Path, monkeypatch, output: str) -> None:
    monkeypatch.setattr(output_file, "LOOK_SECONDS", 0.0)
    monkeypatch.chdir(tmp_path)
    path = Path(output.partition(":")[2] or output)
    with open_sink(output, info=info(), classes=("a",)) as sink:
        sink.write(result_of(yuv_frame(0)))
        path.unlink()
        with pytest.raises(SinkError, match="removed or replaced"):
            sink.write(result_of(yuv_frame(1)))
        with path.open("w") as theirs:
            fcntl.flock(theirs, fcntl.LOCK_EX)
            with pytest.raises(SinkError, match="another process is writing it"):
                sink.resume(Gap(1, 1))
        sink.resume(Gap(1, 2))
        sink.write(result_of(yuv_frame(3)))
    assert path.stat().st_size > 0


def test_a_file_that_went_away_is_begun_anew_with_a_header(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(output_file, "LOOK_SECONDS", 0.0)
    path = tmp_path / "a.jsonl"
    with open_sink(str(path), info=info()) as sink:
        sink.write(result_of(yuv_frame(0)))
        path.rename(tmp_path / "moved.jsonl")
        with pytest.raises(SinkError):
            sink.write(result_of(yuv_frame(1)))
        sink.resume(Gap(1, 1))
        sink.write(result_of(yuv_frame(2)))
    header, gap, record, end = path.read_text().splitlines()
    assert '"solo_rt":2' in header
    assert gap == '{"gap":{"frame":1,"frames":1}}'
    assert record.startswith('{"frame":2')
    assert end == '{"end":{"results":1}}'
    assert len((tmp_path / "moved.jsonl").read_text().splitlines()) == 2


def test_a_pipe_without_a_reader_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jsonl")
    with pytest.raises(UsageError, match="nobody reads this pipe; choose another place"):
        open_sink(str(tmp_path / "a.jsonl"), info=info())


def test_a_pipe_that_is_full_is_waited_for(tmp_path: Path) -> None:
    path, data = tmp_path / "a.jsonl", bytes(4 << 20)
    os.mkfifo(path)
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as pipe, ThreadPoolExecutor(1) as pool:
        file = OutputFile(str(path))
        os.set_blocking(pipe.fileno(), True)
        read = pool.submit(pipe.read)
        try:
            with file.writing():
                file.append(data)
        finally:
            file.close()
        assert read.result() == data


def test_a_pipe_with_a_reader_gets_records_but_no_video(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.mp4"):
        os.mkfifo(tmp_path / name)
    readers = [os.open(tmp_path / name, os.O_RDONLY | os.O_NONBLOCK) for name in ("a.jsonl", "a.mp4")]
    with open_sink(str(tmp_path / "a.jsonl"), info=info()) as sink:
        sink.write(result_of(yuv_frame(0)))
        assert os.read(readers[0], 1 << 16).count(b"\n") == 2
        sink.write(result_of(yuv_frame(1)))
        assert os.read(readers[0], 1 << 16).count(b"\n") == 1, "the header comes once"
    with pytest.raises(UsageError, match=r"expected a file, got a pipe or a device"):
        open_sink(str(tmp_path / "a.mp4"), info=info())
    for reader in readers:
        os.close(reader)
    assert (tmp_path / "a.jsonl").exists()


def test_a_link_to_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "none" / "b.jsonl")
    with pytest.raises(UsageError, match=r"the folder of .*none/b\.jsonl, where it links to, does not exist"):
        open_sink(str(tmp_path / "a.jsonl"), info=info())
