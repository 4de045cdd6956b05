"""Sound in video outputs: the same packets at the same times, whatever becomes of the frames."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
from clips import read, result_of, times, yuv_frame
from fakes import write_tiny_model
from sounds import RATE, sound_of, write_with_sound

from solo_rt.errors import UsageError
from solo_rt.pipeline import Pipeline
from solo_rt.pipeline.options import Options
from solo_rt.sink import VideoOptions, check_video, open_sink, soundtrack
from solo_rt.sink.soundtrack import Soundtrack
from solo_rt.source import SourceInfo, open_source
from solo_rt.source.sound import Sound
from solo_rt.types import Frame


def copy(source: Path, output: Path, *, keep=lambda frame: True) -> list[Frame]:
    """Write those frames of a file that `keep` chooses; return them."""
    written = []
    with open_source(str(source), sound=True) as opened, open_sink(str(output), info=opened.info) as sink:
        for frame in filter(keep, opened):
            sink.write(result_of(frame))
            written.append(frame)
    return written


# What becomes of each codec; the time that it may be off by is the container's own rounding.
HELD = [
    ("aac", ".mp4", [".mp4", ".mov", ".mkv"]),
    ("aac", ".ts", [".mp4", ".mov", ".mkv"]),
    ("aac", ".mkv", [".mp4", ".mkv"]),
    ("mp2", ".ts", [".mp4", ".mov", ".mkv", ".avi"]),
    ("libmp3lame", ".mp4", [".mp4", ".mkv", ".avi"]),
    ("ac3", ".mp4", [".mp4", ".mov", ".mkv", ".avi"]),
    ("libopus", ".mkv", [".mp4", ".mkv"]),
    ("flac", ".mkv", [".mp4", ".mkv"]),
    ("pcm_s16le", ".avi", [".mov", ".mkv", ".avi"]),
]


@pytest.mark.parametrize(("codec", "suffix", "outputs"), HELD, ids=lambda value: str(value).strip("."))
def test_every_packet_is_copied(tmp_path: Path, caplog, codec: str, suffix: str, outputs: list[str]) -> None:
    given = sound_of(write_with_sound(tmp_path / f"in{suffix}", codec=codec, count=45, seconds=1.5))
    if (codec, suffix) == ("aac", ".ts"):
        given = [(data[7:], time) for data, time in given]  # whose headers stand once in the others
    for output in outputs:
        path = tmp_path / f"out{output}"
        copy(tmp_path / f"in{suffix}", path)
        got, expected = sound_of(path), given
        if output in (".mkv", ".avi") and given[0][1] <= -Fraction(1, 50) and suffix != ".mkv":
            expected = given[1:]  # what lies before the beginning
        assert b"".join(data for data, _ in got) == b"".join(data for data, _ in expected), output
        if codec == "pcm_s16le":
            continue  # which demuxers cut into packets as they like
        assert [data for data, _ in got] == [data for data, _ in expected], output
        exact = Fraction(1, 10**6) if output in (".mp4", ".mov") else Fraction(6, 1000)
        assert max(abs(a - b) for (_, a), (_, b) in zip(got, expected, strict=True)) <= exact, output
        assert len(read(path)) == 45
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("codec", "output", "kind"),
    [("pcm_s16le", ".mp4", "mp4"), ("libopus", ".mov", "mov"), ("flac", ".avi", "avi"), ("libopus", ".avi", "avi")],
)
def test_a_container_that_cannot_hold_it_has_none(tmp_path: Path, caplog, codec: str, output: str, kind: str) -> None:
    name = {"libopus": "opus"}.get(codec, codec)
    copy(write_with_sound(tmp_path / "in.mkv", codec=codec), tmp_path / f"out{output}")
    assert sound_of(tmp_path / f"out{output}") == []
    assert len(read(tmp_path / f"out{output}")) == 30
    (said,) = caplog.messages
    assert said == f"output {tmp_path}/out{output}: no sound, for {kind} cannot hold {name}"


def test_sound_can_be_left_out(tmp_path: Path) -> None:
    path = write_with_sound(tmp_path / "in.mp4")
    video = VideoOptions(audio="none")
    output = tmp_path / "out.mp4"
    with open_source(str(path), sound=True) as source, open_sink(str(output), info=source.info, video=video) as sink:
        for frame in source:
            sink.write(result_of(frame))
    assert sound_of(tmp_path / "out.mp4") == []
    with pytest.raises(UsageError, match="audio: expected a video as output, got none; leave --audio out"):
        check_video(video, ["a.jsonl"], gpu=0)
    with pytest.raises(UsageError, match="unknown audio 'mix'; expected copy or none"):
        VideoOptions(audio="mix")  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_frames_that_are_left_out_cost_no_sound(tmp_path: Path, suffix: str) -> None:
    path = write_with_sound(tmp_path / "in.mkv", count=60, seconds=2.0)
    kept = copy(path, tmp_path / f"out{suffix}", keep=lambda frame: frame.index % 7 == 0 or frame.index == 59)
    assert [data for data, _ in sound_of(tmp_path / f"out{suffix}")] == [data for data, _ in sound_of(path)]
    assert times(read(tmp_path / f"out{suffix}")) == pytest.approx(times(kept), abs=1e-3)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_ends_with_the_video(tmp_path: Path, suffix: str) -> None:
    path = write_with_sound(tmp_path / "in.mkv", count=60, seconds=4.0)
    output = tmp_path / f"out{suffix}"
    with open_source(str(path), sound=True) as source, open_sink(str(output), info=source.info) as sink:
        for _, frame in zip(range(40), source, strict=False):
            sink.write(result_of(frame))
    expected = [data for data, time in sound_of(path) if time < Fraction(40, 30)]
    assert [data for data, _ in sound_of(output)] == expected
    copy(path, output)
    assert len(sound_of(output)) == len([1 for _, time in sound_of(path) if time < 2])


@pytest.mark.parametrize(("starts", "seconds"), [(0.2, 1.8), (0.0, 0.5), (-0.2, 2.2)], ids=["later", "ends", "before"])
def test_sound_may_be_shorter_or_longer_than_the_video(tmp_path: Path, starts: float, seconds: float) -> None:
    """What lies before the first frame is in MP4, where players begin to play it with the first frame."""
    pts = [6 + i for i in range(60)]
    path = write_with_sound(tmp_path / "in.mkv", pts=pts, starts=starts + 0.2, seconds=seconds)
    for suffix in (".mp4", ".mkv"):
        frames = copy(path, tmp_path / f"out{suffix}")
        got = sound_of(tmp_path / f"out{suffix}")
        assert [data for data, _ in got] == [data for data, _ in sound_of(path)]
        assert [time for _, time in got] == pytest.approx([time for _, time in sound_of(path)], abs=1.5e-3)
        assert times(read(tmp_path / f"out{suffix}")) == pytest.approx(times(frames), abs=1e-3)


@pytest.mark.parametrize("codec", ["aac", "ac3"])
def test_late_sound_holds_no_video_back(tmp_path: Path, caplog, codec: str) -> None:
    """MP4 would write nothing before its first packet, or fail in the end when there is none."""
    path = write_with_sound(tmp_path / "in.mkv", codec=codec, count=60, starts=1.0, seconds=1.0)
    for suffix in (".mp4", ".mov", ".mkv"):
        copy(path, tmp_path / f"out{suffix}")
        assert len(read(tmp_path / f"out{suffix}")) == 60
    assert sound_of(tmp_path / "out.mp4") == sound_of(tmp_path / "out.mov") == []
    assert sound_of(tmp_path / "out.mkv") == sound_of(path)
    assert [message.partition(": ")[2] for message in caplog.messages] == [
        f"no sound, for {kind} cannot hold what begins late; .mkv can" for kind in ("mp4", "mov")
    ]
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert len(container.streams) == 1


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi"])
@pytest.mark.parametrize("seconds", [2.0, 1.0], ids=["whole", "silent-later"])
def test_a_killed_run_lacks_less_than_half_a_second(tmp_path: Path, suffix: str, seconds: float) -> None:
    """As the file is behind every frame, sound or not."""
    write_with_sound(tmp_path / "in.mkv", codec="mp2", count=60, seconds=seconds)
    output, killed = tmp_path / f"out{suffix}", tmp_path / f"killed{suffix}"
    with open_source(str(tmp_path / "in.mkv"), sound=True) as source, open_sink(str(output), info=source.info) as sink:
        for frame in source:
            sink.write(result_of(frame))
            if frame.index > 20:
                shutil.copy(output, killed)
                with open_source(str(killed)) as left:
                    assert frame.time_s - list(left)[-1].time_s <= 0.5
                assert min(seconds, frame.time_s) - sound_of(killed)[-1][1] <= 0.5


class Hand:
    """Sound and frames given by hand, as a source on a bad day gives them."""

    def __init__(self, folder: Path) -> None:
        write_with_sound(folder / "template.mkv", codec="mp2")
        with open_source(str(folder / "template.mkv"), sound=True) as source:
            self.info: SourceInfo = source.info
        with av.open(str(folder / "template.mkv")) as container:
            self.sound = Sound(container.streams.audio[0])
            self.data = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
        self.info = replace(self.info, sound=self.sound, time_base=Fraction(1, 1000))

    def add(self, number: int, milliseconds: int, *, before: int) -> None:
        packet = av.Packet(self.data[number])
        packet.time_base, packet.pts, packet.duration = Fraction(1, 1000), milliseconds, 24
        self.sound.add(packet, before=before)

    def numbers(self, path: Path) -> dict[int, float]:
        """Return the packets in a file by number, with their times in milliseconds."""
        return {self.data.index(data): float(1000 * time) for data, time in sound_of(path)}


@pytest.mark.parametrize("jump", [-50_000, 500_000], ids=["back", "ahead"])
def test_sound_stays_with_its_frames_when_the_clock_jumps(tmp_path: Path, jump: int) -> None:
    """Whether a packet comes a little before the first frame behind the jump or after it."""
    hand = Hand(tmp_path)
    with open_sink(str(tmp_path / "out.mp4"), info=hand.info) as sink:
        for i in range(20):
            start = 100_000 + (jump if i >= 10 else 0)
            for number in (2 * i, 2 * i + 1):
                hand.add(number, start + 40 * i + 20 * (number % 2) - 10, before=i)
            sink.write(result_of(yuv_frame(i, pts=start + 40 * i, time_base=Fraction(1, 1000))))
    period = float(1000 / hand.info.frame_rate)
    drift = period - 40  # of the one step whose length is not known
    expected = {n: 20 * n - 10 + (drift if n >= 20 else 0) for n in range(40)}
    assert hand.numbers(tmp_path / "out.mp4") == pytest.approx(expected, abs=0.5)


def test_packets_that_would_go_back_are_left_out_and_counted_once(tmp_path: Path, caplog) -> None:
    hand = Hand(tmp_path)
    stamps = [0, 24, 48, 24, 10, 72, 72, 96]
    with open_sink(str(tmp_path / "out.mkv"), info=hand.info) as sink:
        for number, stamp in enumerate(stamps):
            hand.add(number, stamp, before=number // 2)
        for i in range(4):
            sink.write(result_of(yuv_frame(i, pts=40 * i, time_base=Fraction(1, 1000))))
    sink.close()
    assert list(hand.numbers(tmp_path / "out.mkv")) == [0, 1, 2, 5, 7]
    assert caplog.messages == [f"output {tmp_path}/out.mkv: 3 packets of its sound are missing"]


def test_an_output_that_failed_keeps_little_of_the_sound(tmp_path: Path, monkeypatch, caplog) -> None:
    from solo_rt.source import sound as sound_module

    monkeypatch.setattr(sound_module, "MOST_BYTES", 10_000)
    hand = Hand(tmp_path)
    sink = open_sink(str(tmp_path / "out.mp4"), info=hand.info)
    for i in range(1000):
        hand.add(i % 40, 24 * i, before=i)
    caplog.set_level(logging.WARNING)
    sink.close()
    assert len(caplog.messages) == 1
    assert "packets of its sound are missing" in caplog.text


def test_sound_far_ahead_of_its_pictures_loses_the_oldest(tmp_path: Path, monkeypatch) -> None:
    hand = Hand(tmp_path)
    for number in range(20):
        hand.add(number, 24 * number, before=0)
    track = Soundtrack("out.mp4", hand.sound)
    monkeypatch.setattr(soundtrack, "MOST_BYTES", sum(len(data) for data in hand.data[12:20]))
    track.follow(yuv_frame(0), Fraction(0))
    assert track.left_out == 12
    assert [hand.data.index(piece.data) for _, piece in track.take(None, Fraction(100))] == list(range(12, 20))


def test_the_sounds_rate_is_the_sources(tmp_path: Path) -> None:
    copy(write_with_sound(tmp_path / "in.ts"), tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.audio[0].codec_context.sample_rate == RATE
        assert sum(frame.samples for frame in container.decode(audio=0)) >= RATE


def test_a_run_copies_the_sound(tmp_path: Path) -> None:
    path, model = write_with_sound(tmp_path / "in.mp4", codec="ac3"), write_tiny_model(tmp_path / "tiny.onnx")
    outputs = [tmp_path / name for name in ("a.mp4", "b.mkv", "c.jsonl")]
    Pipeline(str(path), model, [str(output) for output in outputs], Options(max_fps=10), threads=1).run()
    for output in outputs[:2]:
        assert [data for data, _ in sound_of(output)] == [data for data, _ in sound_of(path)]
    Pipeline(str(path), model, [str(outputs[0])], threads=1, video=VideoOptions(audio="none")).run()
    assert sound_of(outputs[0]) == []
