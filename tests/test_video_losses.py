"""Whatever a video lost is said, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import closing
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import av
import pytest
from clips import read, write_clip

from solo_rt.errors import SourceError
from solo_rt.source import open_source
from solo_rt.source.losses import Losses

COUNT = 40
X264 = {"preset": "ultrafast", "g": "10", "bf": "2"}
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
VARIABLE = [0, 1, 2, 5, 6, 7, 8, 20, *range(30, 42), 100, 101, 150]


class Kind(NamedTuple):
    suffix: str
    codec: str = "libx264"
    options: Mapping[str, str] = X264
    muxer: Mapping[str, str] = {}
    pix_fmt: str = "yuv420p"
    audio: bool = False

    def write(self, path: Path, *, count: int = COUNT, pts: list[int] | None = None) -> Path:
        path = path.with_suffix(self.suffix)
        write_clip(
            path, count=count, pts=pts, codec=self.codec, options=self.options, muxer=self.muxer,
            pix_fmt=self.pix_fmt, audio=self.audio,
        )  # fmt: skip
        return path


VP8 = {"deadline": "realtime", "cpu-used": "8", "g": "10"}
KINDS = {
    "mp4": Kind(".mp4", muxer={"movflags": "faststart"}),
    "fragmented": Kind(".mp4", muxer=FRAGMENTED),
    "mov": Kind(".mov", muxer={"movflags": "faststart"}, audio=True),
    "mkv": Kind(".mkv"),
    "mkv with sound": Kind(".mkv", audio=True),
    "webm": Kind(".webm", "libvpx", VP8),
    "avi": Kind(".avi", options={**X264, "bf": "0"}),
    "motion jpeg": Kind(".avi", "mjpeg", {}, pix_fmt="yuvj420p"),
    "ts": Kind(".ts"),
    "ts with sound": Kind(".ts", audio=True),
    "mpeg2": Kind(".ts", "mpeg2video", {"g": "10", "bf": "2"}),
    "gif": Kind(".gif", "gif", {}, pix_fmt="rgb8"),
    "apng": Kind(".apng", "apng", {}, pix_fmt="rgb24"),
}
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def read_rest(path: Path) -> tuple[int, str | None]:
    """Return how many frames there are and the damage; a refusal is damage, too."""
    try:
        with open_source(str(path)) as source:
            return sum(1 for _ in source), source.damage
    except SourceError as error:
        return 0, str(error)


def tear(path: Path, start: int, stop: int) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:start] + data[stop:])


@each_kind
def test_a_file_that_is_cut_off_says_so(tmp_path: Path, kind: Kind) -> None:
    path = kind.write(tmp_path / "a")
    data = path.read_bytes()
    for twelfth in range(2, 12):
        cut = len(data) * twelfth // 12
        path.write_bytes(data[: cut + (cut % 188 == 0)])  # whole TS packets do not tell that more have followed
        count, damage = read_rest(path)
        assert count >= COUNT or damage is not None, f"{count} frames of {cut} bytes"


def test_a_file_that_ends_with_the_head_of_a_box_says_so(tmp_path: Path) -> None:
    path = KINDS["fragmented"].write(tmp_path / "a")
    data = path.read_bytes()
    box = data.rindex(b"moof") - 4
    for size, is_cut_off in ((box, False), (box + 8, True)):
        path.write_bytes(data[:size])
        assert (read_rest(path)[1] is not None) is is_cut_off


@pytest.mark.parametrize("name", sorted(KINDS.keys() - {"gif"}))  # whose blocks carry neither numbers nor checksums
def test_a_file_with_a_hole_says_so(tmp_path: Path, name: str) -> None:
    path = KINDS[name].write(tmp_path / "a")
    data = path.read_bytes()
    rng = random.Random(0)
    for _ in range(12):
        start = rng.randrange(len(data) // 10, len(data) * 3 // 4)
        path.write_bytes(data[:start] + data[start + rng.randrange(200, len(data) // 5) :])
        count, damage = read_rest(path)
        assert count >= COUNT or damage is not None, f"{count} frames without those at {start}"


@each_kind
@pytest.mark.parametrize("pts", [list(range(COUNT)), VARIABLE, [0, 2100, 2130], [0, 3, 6, 9, 13, 17, 25, 26, 27, 90]])
def test_a_variable_rate_loses_nothing(tmp_path: Path, kind: Kind, pts: list[int]) -> None:
    assert len(read(kind.write(tmp_path / "a", count=len(pts), pts=pts))) == len(pts)


@pytest.mark.parametrize("kind", [KINDS["ts"], KINDS["ts with sound"], KINDS["mpeg2"]], ids=["ts", "sound", "mpeg2"])
@pytest.mark.parametrize("counts", [(40, 15), (15, 40), (30, 30), (15, 40, 15)])
def test_joined_files_lose_nothing(tmp_path: Path, kind: Kind, counts: tuple[int, ...]) -> None:
    parts = [kind.write(tmp_path / f"{i}", count=count).read_bytes() for i, count in enumerate(counts)]
    (tmp_path / "joined.ts").write_bytes(b"".join(parts))
    assert len(read(tmp_path / "joined.ts")) == sum(counts)


@pytest.mark.parametrize("muxer", [{}, FRAGMENTED], ids=["plain", "fragmented"])
def test_what_an_edit_list_leaves_out_is_not_lost(tmp_path: Path, muxer: dict[str, str]) -> None:
    whole = KINDS["mp4"].write(tmp_path / "whole")
    with av.open(str(whole)) as given, av.open(str(tmp_path / "a.mp4"), "w", container_options=muxer) as taken:
        stream = given.streams.video[0]
        copy = taken.add_stream_from_template(stream)
        ten_frames = round(1 / (3 * stream.time_base))
        for packet in given.demux(stream):
            if packet.size and packet.pts is not None and packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - ten_frames, packet.dts - ten_frames, copy
                taken.mux(packet)
    assert len(read(tmp_path / "a.mp4")) in (COUNT - 10, COUNT)


def test_pictures_that_are_not_meant_to_be_seen_are_not_lost(tmp_path: Path) -> None:
    options = {"auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "good", "cpu-used": "5"}
    assert len(read(Kind(".webm", "libvpx", options).write(tmp_path / "a"))) == COUNT


def test_a_gap_is_told_with_its_length(tmp_path: Path) -> None:
    path = Kind(".ts", "mpeg2video", {"g": "1"}).write(tmp_path / "a")
    with av.open(str(path)) as container:
        at = [packet.pos for packet in container.demux(video=0) if packet.pos is not None]
    tear(path, at[10], at[25])
    count, damage = read_rest(path)
    assert count == COUNT - 15
    assert damage == f"{path}: 1 gap of 0.50 s in all"


def test_packets_before_the_first_picture_are_told(tmp_path: Path) -> None:
    path = KINDS["ts"].write(tmp_path / "a")
    with av.open(str(path)) as container:
        at = [packet.pos for packet in container.demux(video=0) if packet.pos is not None]
    tear(path, at[0], at[3])
    count, damage = read_rest(path)
    assert count == COUNT - 10  # from the second key frame on
    assert damage == f"{path}: 7 packets without a picture"


def test_the_length_of_a_cut_avi_is_the_one_in_its_header(tmp_path: Path) -> None:
    path = KINDS["motion jpeg"].write(tmp_path / "a", count=150)
    with av.open(str(path)) as container:
        end = [packet.pos + packet.size for packet in container.demux(video=0) if packet.pos is not None][89]
    tear(path, end + 8, path.stat().st_size)
    count, damage = read_rest(path)
    assert count == 90
    assert damage == f"{path}: it ends at 3.00 s of 5.00 s, the rest is missing"


def losses_of(folder: Path, *, packets: range, pictures: list[int], last: int = 2, declared: int = 0) -> list[str]:
    """Return what is lost of a stream with such times. A picture lasts 2, the last one `last`."""
    (folder / "a.flv").touch()
    stream: Any = SimpleNamespace(
        codec_context=SimpleNamespace(name="h264"), time_base=Fraction(1, 50), frames=0, metadata={},
        start_time=0, duration=declared,
    )  # fmt: skip
    container: Any = SimpleNamespace(format=SimpleNamespace(name="flv"), duration=None)
    with closing(Losses(folder / "a.flv", container, stream, 2)) as losses:
        for pts in packets:
            packet: Any = SimpleNamespace(size=9, pts=pts, dts=pts, pos=None, is_discard=False)
            losses.count_packet(packet)
        for pts in pictures:
            losses.count_picture(pts, last if pts == pictures[-1] else 2)
        losses.finish()
        return losses.described()


def test_the_second_field_of_a_picture_is_not_lost(tmp_path: Path) -> None:
    assert losses_of(tmp_path, packets=range(7), pictures=[0, 2, 5]) == []  # the last one half a picture late


def test_a_picture_that_does_not_come_is_told(tmp_path: Path) -> None:
    assert losses_of(tmp_path, packets=range(0, 10, 2), pictures=[0, 2, 4, 8]) == ["1 packet without a picture"]


def test_the_last_picture_may_last_long(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"packets": range(0, 6, 2), "pictures": [0, 2, 4], "declared": 24}
    assert losses_of(tmp_path, last=20, **settings) == []
    assert losses_of(tmp_path, last=2, **settings) == ["it ends at 0.12 s of 0.48 s, the rest is missing"]


def test_reading_a_part_loses_nothing(tmp_path: Path) -> None:
    with open_source(str(KINDS["ts"].write(tmp_path / "a"))) as source:
        assert len(list(islice(source, 12))) == 12
    assert source.damage is None
