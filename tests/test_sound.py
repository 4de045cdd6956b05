"""Sound on its way from a source to outputs: all of it, to each of them, and never too much at once."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest
from clips import write_clip
from sounds import RATE, sound_of, write_with_sound

from solo_rt.source import open_source
from solo_rt.source import sound as sound_module
from solo_rt.source.sound import Sound


@pytest.fixture
def sound(tmp_path: Path) -> Sound:
    """Return the sound of a clip, whose packets went by before anybody listened."""
    with open_source(str(write_with_sound(tmp_path / "a.mkv")), sound=True) as source:
        assert source.info.sound is not None
        return source.info.sound


def packet(time: int, *, size: int = 100, pts: bool = True) -> av.Packet:
    made = av.Packet(bytes([time % 256]) * size)
    made.time_base = Fraction(1, 1000)
    if pts:
        made.pts = time
    made.duration = 20
    return made


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts"])
def test_all_packets_of_a_file_arrive_with_their_times(tmp_path: Path, suffix: str) -> None:
    path = write_with_sound(tmp_path / f"a{suffix}", codec="ac3", count=60, seconds=2.0)
    with open_source(str(path), sound=True) as source:
        cursor = source.info.sound.cursor()
        assert [frame.index for frame in source] == list(range(60))
        assert source.damage is None
    pieces = cursor.take()
    assert [(piece.data, piece.time) for piece in pieces] == sound_of(path)
    assert all(a.before <= b.before for a, b in pairwise(pieces))
    assert pieces[-1].before >= 50, "beside the frames, not in front of them"
    assert cursor.take() == []


def test_frames_are_the_same_with_sound_and_without(tmp_path: Path) -> None:
    path = write_with_sound(tmp_path / "a.mp4")
    with open_source(str(path)) as silent, open_source(str(path), sound=True) as loud:
        assert silent.info == loud.info
        assert silent.info.sound is None
        for one, other in zip(silent, loud, strict=True):
            assert (one.pts, one.planes[0].tobytes()) == (other.pts, other.planes[0].tobytes())


def test_a_video_without_sound_has_none(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv")
    with open_source(str(tmp_path / "a.mkv"), sound=True) as source:
        assert source.info.sound is None


def test_sound_that_no_container_of_ours_knows_is_said_to_be_left_out(tmp_path: Path, monkeypatch, caplog) -> None:
    def refuse(stream: av.AudioStream) -> None:
        raise ValueError("'matroska' format does not support 'wmav2' codec")

    monkeypatch.setattr(sound_module, "Sound", refuse)
    with open_source(str(write_with_sound(tmp_path / "a.mkv")), sound=True) as source:
        assert source.info.sound is None
        assert len(list(source)) == 30
    assert "a.mkv: its sound is left out: 'matroska' format does not support 'wmav2' codec" in caplog.text


def test_every_output_gets_what_comes_before_a_frame(sound: Sound) -> None:
    early = sound.cursor()
    assert early.take() == sound.cursor().take(), "what came before the first frame"
    for i in range(6):
        sound.add(packet(1000 + 20 * i), before=i // 2 + 1)
    assert [len(early.take(i)) for i in range(4)] == [0, 2, 2, 2]


def test_packets_are_moved_onto_the_frames_time_line(sound: Sound) -> None:
    cursor = sound.cursor()
    cursor.take()
    sound.add(packet(1000), before=1, shift=Fraction(-1, 2))
    sound.add(packet(0, pts=False), before=1)
    assert [piece.time for piece in cursor.take()] == [Fraction(1, 2), Fraction(52, 100)], "one without a time follows"


def test_the_oldest_go_when_they_are_too_many(sound: Sound, monkeypatch: pytest.MonkeyPatch) -> None:
    cursor, closed = sound.cursor(), sound.cursor()
    cursor.take()
    closed.close()
    monkeypatch.setattr(sound_module, "MOST_BYTES", 1000)
    for i in range(25):
        sound.add(packet(20 * i), before=i)
    assert (cursor.lost, closed.lost) == (15, 0)
    assert [piece.data[0] for piece in cursor.take()] == [(20 * i) % 256 for i in range(15, 25)]
    assert closed.take() == []


def test_headers_that_containers_write_once_are_taken_off(tmp_path: Path) -> None:
    path = write_with_sound(tmp_path / "a.ts", codec="aac")
    wrapped = sound_of(path)
    with open_source(str(path), sound=True) as source:
        sound = source.info.sound
        cursor = sound.cursor()
        assert len(list(source)) == 30
    assert [piece.data for piece in cursor.take()] == [data[7:] for data, _ in wrapped]
    sound.add(packet(9_000_000), before=99)
    assert cursor.take() == [], "a packet without its header is damaged"


@pytest.mark.parametrize(
    ("header", "size", "config"),
    [
        ("FFF15140", 7, "1228"),  # LC, 44100 Hz, 5 channels
        ("FFF04C80", 9, "1190"),  # LC, 48000 Hz, 2 channels, with a check sum
    ],
)
def test_what_a_header_said_is_told_to_the_container(tmp_path: Path, header: str, size: int, config: str) -> None:
    with open_source(str(write_with_sound(tmp_path / "a.ts", codec="aac")), sound=True) as source:
        sound = source.info.sound
    cursor = sound.cursor()
    bare = av.Packet(bytes.fromhex(header).ljust(size, b"\0") + b"sound")
    bare.time_base, bare.pts = Fraction(1, 1000), 0
    sound.add(bare, before=1)
    assert [piece.data for piece in cursor.take(1)][-1] == b"sound"
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        assert sound.add_stream(container).codec_context.extradata == bytes.fromhex(config)


def test_what_decoders_swallow_at_first_is_known(tmp_path: Path) -> None:
    with open_source(str(write_with_sound(tmp_path / "a.mkv", codec="libopus")), sound=True) as source:
        assert source.info.sound.padding == Fraction(312, RATE)
