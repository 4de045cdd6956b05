"""Interlaced pictures come out whole, with FFmpeg's own pixels; nothing else about them changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
from clips import read, times, write_clip
from ffmpeg_twin import EXACT, decoded, planes_of, through

from solo_rt.source import open_source
from solo_rt.source.interlace import deinterlaced
from solo_rt.types import UInt8

BWDIF = "bwdif=mode=send_frame:deint=interlaced"
IN_FIELDS = {"flags": "+ilme+ildct"}
TIME_BASE = Fraction(1, 90000)


def mend(pictures: Sequence[av.VideoFrame]) -> list[av.VideoFrame]:
    return [picture for picture, _ in deinterlaced(((picture, None) for picture in pictures), codec="h264")]


def woven(
    luma: Sequence[UInt8], *, scan: str = "tff", layout: str = "yuv420p", pts: Sequence[int] | None = None
) -> list[av.VideoFrame]:
    """Return pictures of which each holds the lines of two of `luma`, one after the other."""
    height, width = luma[0].shape
    pictures = []
    for i, (first, second) in enumerate(zip(luma[::2], luma[1::2], strict=True)):
        values = first.copy()
        later = 1 if scan == "tff" else 0
        values[later::2] = second[later::2]
        grey = np.full((height // 2, width), 128, np.uint8)
        picture = av.VideoFrame.from_ndarray(np.vstack([values, grey]), "yuv420p").reformat(format=layout)
        picture.pts, picture.time_base = (i if pts is None else pts[i]), TIME_BASE
        pictures += through([picture], f"setfield=mode={scan}")
    return pictures


def moving_bar(count: int, *, step: int = 4) -> list[UInt8]:
    """Return moments of a bright bar that goes right by `step` pixels from each to the next."""
    moments = [np.full((48, 96), 30, np.uint8) for _ in range(count)]
    for i, moment in enumerate(moments):
        moment[:, 10 + i * step : 26 + i * step] = 220
    return moments


def combing(luma: UInt8) -> float:
    """Return how much rows differ from those around them."""
    rows = luma.astype(float)
    return float(np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).mean())


# Pixels.


@pytest.mark.parametrize("scan", ["tff", "bff"])
@pytest.mark.parametrize(
    ("suffix", "codec", "pix_fmt", "options"),
    [
        (".mkv", "ffv1", "yuv420p", {}),
        (".mkv", "ffv1", "yuv422p", {}),
        (".mkv", "ffv1", "yuv444p10le", {}),
        (".ts", "mpeg2video", "yuv420p", {**IN_FIELDS, "bf": "2"}),
        (".mp4", "libx264", "yuv420p", {**IN_FIELDS, "bf": "2"}),
        (".mov", "prores_ks", "yuv422p10le", IN_FIELDS),
    ],
)
def test_frames_are_those_of_ffmpegs_filter(
    tmp_path: Path, suffix: str, codec: str, pix_fmt: str, options: Mapping[str, str], scan: str
) -> None:
    path = tmp_path / f"a{suffix}"
    write_clip(path, size=(80, 64), codec=codec, pix_fmt=pix_fmt, options=options, scan=[scan])
    pictures = decoded(path)
    assert [picture.interlaced_frame for picture in pictures] == [True] * 10
    frames = read(path)
    for frame, expected in zip(frames, through(pictures, BWDIF, EXACT, "format=yuv420p"), strict=True):
        for got, values in zip(frame.planes, planes_of(expected), strict=True):
            assert np.abs(got.astype(int) - values).max() <= (pix_fmt != "yuv420p")
    assert times(frames) == [picture.pts * picture.time_base for picture in pictures]


@pytest.mark.parametrize("scan", ["tff", "bff"])
def test_the_first_of_two_moments_is_kept_to_the_bit_and_the_comb_is_gone(scan: str) -> None:
    moments = moving_bar(12)
    pictures = woven(moments, scan=scan)
    first = 0 if scan == "tff" else 1
    for moment, given, mended in zip(moments[::2], pictures, mend(pictures), strict=True):
        luma = planes_of(mended)[0]
        np.testing.assert_array_equal(luma[first::2], moment[first::2])
        assert combing(luma) < combing(planes_of(given)[0]) / 8
        assert not mended.interlaced_frame


def test_what_stands_still_stays_as_it_is() -> None:
    noise = np.random.default_rng(0).integers(16, 236, (48, 96), np.uint8)
    for mended in mend(woven([noise] * 12))[1:-1]:  # at the ends only one neighbour can say so
        np.testing.assert_array_equal(planes_of(mended)[0], noise)


def test_interlaced_video_is_turned_upright_when_it_is_whole(tmp_path: Path) -> None:
    write_clip(
        tmp_path / "a.mp4", codec="libx264", options={**IN_FIELDS, "qp": "0"}, rotation=(90.0, False, False),
        scan=["tff"],
    )  # fmt: skip
    expected = through(decoded(tmp_path / "a.mp4"), BWDIF, "transpose=cclock")
    with open_source(str(tmp_path / "a.mp4")) as source:
        assert (source.info.width, source.info.height) == (48, 64)
        for frame, picture in zip(source, expected, strict=True):
            for got, values in zip(frame.planes, planes_of(picture), strict=True):
                np.testing.assert_array_equal(got, values)


def test_fields_that_are_pictures_of_their_own_are_left_alone(tmp_path: Path) -> None:
    options = {"x265-params": "interlace=tff:pools=1:log-level=none"}
    write_clip(tmp_path / "a.mp4", codec="libx265", options=options)
    pictures = decoded(tmp_path / "a.mp4")
    assert all(picture.interlaced_frame for picture in pictures)
    for frame, picture in zip(read(tmp_path / "a.mp4"), pictures, strict=True):
        for got, values in zip(frame.planes, planes_of(picture), strict=True):
            np.testing.assert_array_equal(got, values)


# All the rest.


def test_progressive_pictures_are_passed_on_at_once_and_untouched() -> None:
    given = woven(moving_bar(12), scan="prog")
    taken = []

    def watched() -> Iterator[tuple[av.VideoFrame, int]]:
        for i, picture in enumerate(given):
            taken.append(i)
            yield picture, i

    for i, (picture, note) in enumerate(deinterlaced(watched(), codec="h264")):
        assert (picture is given[i], note, taken[-1]) == (True, i, i)


@pytest.mark.parametrize("scans", [["tff"], ["prog", "tff"], ["tff", "prog"], ["tff", "prog", "prog", "bff", "tff"]])
def test_every_picture_keeps_its_place_its_times_and_its_note(scans: list[str]) -> None:
    stamps = [5, 9, 10, 400, 401, 90000, 90001]
    choices = {scan: woven(moving_bar(14), scan=scan, pts=stamps) for scan in ("tff", "bff", "prog")}
    given = [choices[scans[i % len(scans)]][i] for i in range(7)]
    for i, picture in enumerate(given):
        picture.duration = 100 + i
    mended = list(deinterlaced(zip(given, "abcdefg", strict=True), codec="h264"))
    assert [(picture.pts, picture.time_base, picture.duration, note) for picture, note in mended] == [
        (pts, TIME_BASE, 100 + i, note) for i, (pts, note) in enumerate(zip(stamps, "abcdefg", strict=True))
    ]
    for picture, (whole, _) in zip(given, mended, strict=True):
        assert (whole is picture) is not picture.interlaced_frame


@pytest.mark.parametrize("count", [0, 1, 2])
def test_no_picture_is_lost_or_made_up(count: int) -> None:
    assert len(mend(woven(moving_bar(4))[:count])) == count


def test_a_stream_may_turn_interlaced_and_back(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", count=12, scan=["prog"] * 4 + ["tff"] * 4 + ["prog"] * 4)
    frames, pictures = read(tmp_path / "a.mkv"), decoded(tmp_path / "a.mkv")
    expected = [*pictures[:4], *through(pictures[4:], BWDIF)]
    assert [frame.index for frame in frames] == list(range(12))
    for frame, picture in zip(frames, expected, strict=True):
        for got, values in zip(frame.planes, planes_of(picture), strict=True):
            np.testing.assert_array_equal(got, values)


def test_a_change_of_size_or_layout_loses_nothing() -> None:
    parts = [
        woven(moving_bar(6)),
        woven([moment[:, :64] for moment in moving_bar(6)], scan="bff"),
        woven([moment[:32, :64] for moment in moving_bar(2)]),
        woven([moment[:32, :64] for moment in moving_bar(6)], layout="yuv422p10le"),
    ]
    expected = [picture for part in parts for picture in through(part, BWDIF)]
    mended = mend([picture for part in parts for picture in part])
    assert [(picture.width, picture.height, picture.format.name) for picture in mended] == [
        (picture.width, picture.height, picture.format.name) for picture in expected
    ]
    for a, b in zip(mended, expected, strict=True):
        assert [bytes(plane) for plane in a.planes] == [bytes(plane) for plane in b.planes]


@pytest.mark.parametrize("layout", ["yuv420p", "nv12", "p010le", "rgb24"])
def test_tags_stay_whatever_the_layout(layout: str) -> None:
    given = woven(moving_bar(4), layout=layout)
    for picture in given:
        picture.colorspace, picture.color_range = (0 if layout == "rgb24" else 9), 2
    for before, after in zip(given, mend(given), strict=True):
        assert (after.colorspace, after.color_range) == (before.colorspace, before.color_range)


@pytest.mark.parametrize(("size", "layout"), [((4, 4), "yuv420p"), ((2, 48), "yuv420p"), ((48, 96), "rgb4")])
def test_what_ffmpeg_cannot_mend_is_left_as_it_is(size: tuple[int, int], layout: str) -> None:
    (picture,) = woven([np.zeros(size, np.uint8)] * 2)
    if layout != "yuv420p":
        (picture,) = through([av.VideoFrame(size[1], size[0], layout)], "setfield=mode=tff")
    assert picture.interlaced_frame
    assert mend([picture, picture]) == [picture, picture]


def test_a_damaged_picture_says_so_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.ts"
    write_clip(path, count=30, codec="mpeg2video", options={**IN_FIELDS, "g": "5"}, scan=["tff"])
    data = bytearray(path.read_bytes())
    for at in range(len(data) // 3, len(data) * 2 // 3, 188):
        data[at + 100 : at + 120] = bytes(20)
    path.write_bytes(data)
    pictures: list[av.VideoFrame] = []
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            with suppress(av.FFmpegError):
                pictures += packet.decode()  # type: ignore[arg-type]
    flags = [picture.is_corrupt for picture in pictures]
    assert any(flags)
    assert [picture.is_corrupt for picture in mend(pictures)] == flags


def test_no_thread_is_left_or_started_for_it(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", scan=["tff"])
    process = psutil.Process()
    with open_source(str(tmp_path / "a.mkv"), threads=1) as source:
        next(iter(source))
        during = process.num_threads()
    write_clip(tmp_path / "b.mkv")
    with open_source(str(tmp_path / "b.mkv"), threads=1) as source:
        next(iter(source))
        assert process.num_threads() == during
