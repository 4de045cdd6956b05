"""Video in files of a few minutes: together they are the whole, and each of them is one by itself."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import pytest
from clips import info, read, result_of, run_child, times, yuv_frame
from fakes import write_tiny_model
from sounds import sound_of, write_with_sound

from solo_rt.errors import SinkError, UsageError
from solo_rt.pipeline import Pipeline
from solo_rt.sink import Gap, VideoOptions, check_video, open_sink
from solo_rt.sink import recording as recording_module
from solo_rt.sink.segments import existing, parse_seconds, pattern, segment
from solo_rt.source import open_source
from solo_rt.types import Frame

ONE_SECOND = VideoOptions(segment=Fraction(1))


def write(path: Path, frames: Sequence[Frame], *, video: VideoOptions = ONE_SECOND) -> list[list[Fraction]]:
    """Return the times of the frames in each file."""
    with open_sink(str(path), info=info(time_base=frames[0].time_base), video=video) as sink:
        for frame in frames:
            sink.write(result_of(frame))
    return [times(read(file)) for file in existing(str(path))]


def test_lengths_are_read_with_their_unit() -> None:
    assert [parse_seconds(text) for text in ("60s", "10m", "1h", "90", "0.5s")] == [60, 600, 3600, 90, Fraction(1, 2)]
    for text in ("", "0", "0s", "-1", "1d", "1e3", "nan", "٣s", "s", "1 m 2 s"):
        with pytest.raises(UsageError, match="expected a time above 0 as 60s, 10m, 1h or 90"):
            parse_seconds(text)


def test_files_are_numbered(tmp_path: Path) -> None:
    assert segment("a/out.mp4", 12) == Path("a/out-000012.mp4")
    assert pattern("a/out.mp4") == "a/out-*.mp4"
    for name in ("out-000001.mp4", "out-000000.mp4", "out.mp4", "out-00.mp4", "out-000000.mkv", "xout-000000.mp4"):
        (tmp_path / name).touch()
    assert [path.name for path in existing(str(tmp_path / "out.mp4"))] == ["out-000000.mp4", "out-000001.mp4"]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi"])
def test_each_file_has_its_part_from_0_on(tmp_path: Path, suffix: str) -> None:
    got = write(tmp_path / f"out{suffix}", [yuv_frame(i) for i in range(75)])
    assert [len(part) for part in got] == [30, 30, 15]
    for part in got:
        assert [float(time) for time in part] == pytest.approx([i / 30 for i in range(len(part))], abs=1e-3)
    assert not (tmp_path / f"out{suffix}").exists()


def test_a_late_start_and_odd_times_are_cut_alike(tmp_path: Path) -> None:
    stamps = [500, 533, 1499, 1500, 1501, 3000, 3900, 4100]
    got = write(tmp_path / "out.mp4", [yuv_frame(i, pts=p, time_base=Fraction(1, 1000)) for i, p in enumerate(stamps)])
    assert [[round(1000 * time) for time in part] for part in got] == [[0, 33, 999], [0, 1], [0, 900], [0]]


def test_no_packet_of_sound_is_lost_where_files_begin_between_two_of_its_ticks(tmp_path: Path, caplog) -> None:
    """MP3 in AVI counts packets, of 24 ms: a file that begins at 1.5 s begins in the middle of one."""
    source = write_with_sound(tmp_path / "in.avi", codec="libmp3lame", count=180, seconds=6.0)
    with open_source(str(source), sound=True) as opened:
        video = VideoOptions(segment=Fraction(3, 2))
        with open_sink(str(tmp_path / "out.mp4"), info=opened.info, video=video) as sink:
            for frame in opened:
                sink.write(result_of(frame))
    parts = [sound_of(path) for path in existing(str(tmp_path / "out.mp4"))]
    packets = [data for part in parts for data, _ in part]
    given = [data for data, _ in sound_of(source)]
    assert packets == given[: len(packets)]
    assert len(given) - len(packets) <= 2, "those behind the last frame"
    assert caplog.messages == []


@pytest.mark.parametrize("jump", [11_000, 3_600_000, -11_000])
def test_a_jump_of_the_clock_begins_a_new_file(tmp_path: Path, jump: int) -> None:
    stamps = [20_000 + 40 * i + (jump if i >= 5 else 0) for i in range(10)]
    frames = [yuv_frame(i, pts=p, time_base=Fraction(1, 1000)) for i, p in enumerate(stamps)]
    got = write(tmp_path / "out.mp4", frames, video=VideoOptions(segment=Fraction(60)))
    assert [[round(1000 * time) for time in part] for part in got] == [[0, 40, 80, 120, 160]] * 2


def test_a_change_of_size_begins_a_new_file(tmp_path: Path) -> None:
    sizes = [(64, 48)] * 3 + [(80, 60)] * 2 + [(64, 48)]
    frames = [yuv_frame(i, size=size) for i, size in enumerate(sizes)]
    write(tmp_path / "out.mp4", frames, video=VideoOptions(segment=Fraction(60)))
    parts = [read(file) for file in existing(str(tmp_path / "out.mp4"))]
    assert [[(frame.width, frame.height) for frame in part] for part in parts] == [sizes[:3], sizes[3:5], sizes[5:]]


LATE = Fraction(3, 5)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("lag", [Fraction(0), LATE], ids=["beside", "behind"])
def test_no_packet_of_sound_is_lost_between_two_files(tmp_path: Path, caplog, suffix: str, lag: Fraction) -> None:
    """Broadcasts give sound a little later than the pictures it belongs to."""
    path = write_with_sound(tmp_path / "in.mkv", codec="mp2", count=140, seconds=4.6)
    output = tmp_path / f"out{suffix}"
    with open_source(str(path), sound=True) as source:
        given = source.info.sound
        with open_sink(str(output), info=source.info, video=ONE_SECOND) as sink:
            add = given.add
            held: list[tuple[av.Packet, Fraction]] = []
            given.add = lambda packet, *, before: held.append((packet, packet.pts * packet.time_base + lag))
            for frame in source:
                while held and held[0][1] <= frame.pts * frame.time_base:
                    add(held.pop(0)[0], before=frame.index)
                sink.write(result_of(frame))
            for packet, _ in held:
                add(packet, before=140)
    files = existing(str(output))
    assert [len(read(file)) for file in files] == [30, 30, 30, 30, 20]
    parts = [sound_of(file) for file in files]
    assert [data for part in parts for data, _ in part] == [data for data, _ in sound_of(path)]
    whole = [float(number + time) for number, part in enumerate(parts) for _, time in part]
    assert whole == pytest.approx([float(time) for _, time in sound_of(path)], abs=2e-3)
    assert caplog.text == ""


def test_sound_that_ends_lets_later_files_be(tmp_path: Path) -> None:
    path = write_with_sound(tmp_path / "in.mkv", codec="mp2", count=90, seconds=0.9)
    with (
        open_source(str(path), sound=True) as source,
        open_sink(str(tmp_path / "out.mp4"), info=source.info, video=ONE_SECOND) as sink,
    ):
        for frame in source:
            sink.write(result_of(frame))
    files = existing(str(tmp_path / "out.mp4"))
    assert [(len(read(file)), bool(sound_of(file))) for file in files] == [(30, True), (30, False), (30, False)]


def test_files_that_are_there_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "out-000007.mp4"
    other.write_text("mine")
    with pytest.raises(UsageError, match=r"out-000007\.mp4 is there already; choose another name, or overwrite"):
        open_sink(str(tmp_path / "out.mp4"), info=info(), video=ONE_SECOND)
    with open_sink(str(tmp_path / "out.mp4"), info=info(), video=ONE_SECOND, overwrite=True) as sink:
        for i in range(40):
            sink.write(result_of(yuv_frame(i)))
    assert [path.name for path in existing(str(tmp_path / "out.mp4"))] == [f"out-00000{i}.mp4" for i in (0, 1, 7)]
    with pytest.raises(UsageError, match="would overwrite the source"):
        open_sink(str(tmp_path / "out.mp4"), info=info(uri=str(other)), video=ONE_SECOND, overwrite=True)
    assert other.read_text() == "mine"


def test_a_file_that_appears_meanwhile_is_left_alone(tmp_path: Path) -> None:
    sink = open_sink(str(tmp_path / "out.mp4"), info=info(), video=ONE_SECOND)
    (tmp_path / "out-000001.mp4").write_text("mine")
    with pytest.raises(SinkError, match=r"out-000001\.mp4: writing failed after 0 frames: it is somebody else's"):
        for i in range(31):
            sink.write(result_of(yuv_frame(i)))
    sink.resume(Gap(30, 1))
    sink.write(result_of(yuv_frame(31)))
    sink.close()
    assert (tmp_path / "out-000001.mp4").read_text() == "mine"
    assert [len(read(tmp_path / f"out-00000{i}.mp4")) for i in (0, 2)] == [30, 1]


def test_a_run_goes_on_in_a_new_file_when_the_disk_heals(tmp_path: Path) -> None:
    body = """
        from fractions import Fraction
        from solo_rt.sink import Gap, VideoOptions
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
        sink = open_sink(path, info=info(), video=VideoOptions(segment=Fraction(60)))
        try:
            for i in range(300):
                sink.write(noisy(i))
        except SinkError:
            print(i)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert sink.can_resume
        sink.resume(Gap(i, 1))
        for k in range(i + 1, i + 21):
            sink.write(noisy(k))
        sink.close()
    """
    done = run_child(body, tmp_path / "out.mp4")
    assert (done.returncode, done.stderr) == (0, "")
    with open_source(str(tmp_path / "out-000000.mp4")) as source:
        assert len(list(source)) >= int(done.stdout) - 10
    assert len(read(tmp_path / "out-000001.mp4")) == 20


def test_one_file_cannot_go_on(tmp_path: Path) -> None:
    assert not open_sink(str(tmp_path / "out.mp4"), info=info()).can_resume


def test_nothing_else_is_cut() -> None:
    with pytest.raises(UsageError, match="segment: expected a video as output, got none; leave --segment out"):
        check_video(ONE_SECOND, ["a.jsonl", "b/"], gpu=0)
    with pytest.raises(UsageError, match="segment 0: expected a number of seconds above 0"):
        VideoOptions(segment=Fraction(0))


def test_a_run_writes_segments_beside_one_file_of_records(tmp_path: Path) -> None:
    path, model = write_with_sound(tmp_path / "in.mp4", count=70, seconds=2.3), write_tiny_model(tmp_path / "tiny.onnx")
    outputs = [str(tmp_path / "out.mp4"), str(tmp_path / "out.jsonl")]
    report = Pipeline(str(path), model, outputs, threads=1, video=ONE_SECOND).run()
    assert report.failures == ()
    assert [len(read(file)) for file in existing(outputs[0])] == [30, 30, 10]
    assert (tmp_path / "out.jsonl").read_text().count('"frame":') == 70


def test_what_waits_for_sound_is_less_than_a_second() -> None:
    assert recording_module.LATE_SOUND + Fraction(recording_module.FRAGMENT_MICROSECONDS, 10**6) < 1


def test_people_are_told_what_the_files_are_called() -> None:
    assert [ONE_SECOND.shown(uri) for uri in ("a/out.mp4", "a.jsonl", "rtmp://u:p@host/x")] == [
        "a/out-*.mp4",
        "a.jsonl",
        "rtmp://***@host/x",
    ]
    assert VideoOptions().shown("out.mp4") == "out.mp4"
