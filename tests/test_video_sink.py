"""Videos that a sink writes: frames come back with their time and their colours."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from clips import (
    CONTAINERS,
    LOSSLESS,
    SUFFIXES,
    THIRTY,
    every_container,
    info,
    planes,
    read,
    result_of,
    rgb_frame,
    run_child,
    times,
    write_clip,
    write_frames,
    yuv_frame,
)

from solo_rt.errors import UsageError
from solo_rt.result import Result
from solo_rt.sink import VideoOptions, open_sink
from solo_rt.sink.canvas import Canvas
from solo_rt.sink.encoding import CODECS, HOLDERS, VideoCodec
from solo_rt.source import open_source
from solo_rt.source.planes import to_frame
from solo_rt.types import Frame

MP4_LIKE = [".mp4", ".mov"]
LOSSLESS_SINK = VideoOptions(crf=0)

# Time.

STAMPS = [
    (Fraction(1, 30), list(range(20))),
    (Fraction(1, 30), list(range(7, 27))),
    (Fraction(1001, 30000), list(range(20))),
    (Fraction(1, 90000), [3003 * i for i in range(20)]),
    (Fraction(1, 90000), [126_001 + 3000 * i for i in range(20)]),
    (Fraction(1, 1000), [0, 33, 70, 71, 500, 533, 2000, 2033]),
    (Fraction(1, 1000), [0, 1000, 31_000, 32_000]),
]
NAMES = ["cfr", "late-cfr", "ntsc", "ntsc-90k", "late-90k", "vfr", "gap"]


@pytest.mark.parametrize(("suffix", "codec"), [(s, c) for s, c in CONTAINERS if s in MP4_LIKE])
@pytest.mark.parametrize(("time_base", "pts"), STAMPS, ids=NAMES)
def test_time_stamps_are_the_sources(
    tmp_path: Path, suffix: str, codec: VideoCodec, time_base: Fraction, pts: list[int]
) -> None:
    path = tmp_path / f"a{suffix}"
    write_frames(path, [yuv_frame(i, pts=p, time_base=time_base) for i, p in enumerate(pts)], codec=codec)
    assert times(read(path)) == [p * time_base for p in pts]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.frames == len(pts)  # a plain file, not a fragmented one
        duration = stream.duration * stream.time_base
    assert abs(duration - (pts[-1] - pts[0]) * time_base - Fraction(1, 30)) <= time_base / 2


@pytest.mark.parametrize(("time_base", "pts"), STAMPS, ids=NAMES)
def test_matroska_rounds_to_milliseconds_and_avi_to_frames(tmp_path: Path, time_base: Fraction, pts: list[int]) -> None:
    frames = [yuv_frame(i, pts=p, time_base=time_base) for i, p in enumerate(pts)]
    write_frames(tmp_path / "a.mkv", frames)
    got = times(read(tmp_path / "a.mkv"))
    assert len(got) == len(pts)
    assert max(abs(g - p * time_base) for g, p in zip(got, pts, strict=True)) <= Fraction(1, 2000)
    if pts[0] == 0:
        write_frames(tmp_path / "a.avi", frames)
        got = times(read(tmp_path / "a.avi"))
        assert len(got) == len(pts)
        assert max(abs(g - p * time_base) for g, p in zip(got, pts, strict=True)) <= Fraction(1, 15)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "pts",
    [
        [0, 40, 80, 40, 120, 160],
        [0, 40, 40, 40, 80],
        [-120, -80, -40, 0, 40],
        [0, 40, 108_000_000, 108_000_040],
        [2**40, 2**40 + 40, 0, 40],
    ],
    ids=["backward", "repeated", "negative", "30-hours", "wrapped"],
)
def test_broken_time_stamps_never_cost_a_frame(tmp_path: Path, suffix: str, pts: list[int]) -> None:
    write_frames(tmp_path / f"a{suffix}", [yuv_frame(i, pts=p, time_base=Fraction(1, 1000)) for i, p in enumerate(pts)])
    got = times(read(tmp_path / f"a{suffix}"))
    assert len(got) == len(pts)
    assert all(later > earlier for earlier, later in pairwise(got))
    assert got[-1] < 2


def test_a_finer_time_base_than_the_file_holds_is_rounded(tmp_path: Path) -> None:
    pts = [33_366_700 * i for i in range(5)]
    write_frames(tmp_path / "a.mp4", [yuv_frame(i, pts=p, time_base=Fraction(1, 10**9)) for i, p in enumerate(pts)])
    assert np.abs(np.array([float(t) for t in times(read(tmp_path / "a.mp4"))]) - np.array(pts) * 1e-9).max() <= 5e-7


# Pictures.


@every_container
def test_pixels_keep_their_shape(tmp_path: Path, suffix: str, codec: VideoCodec) -> None:
    given = replace(info(), pixel_aspect=Fraction(64, 45))
    if (suffix, codec) == (".mkv", "av1"):
        with pytest.raises(UsageError, match=r"expected square pixels with av1, got 64/45:1; use \.mp4"):
            open_sink(str(tmp_path / "a.mkv"), info=given, video=VideoOptions(codec))
        return
    with open_sink(str(tmp_path / f"a{suffix}"), info=given, video=VideoOptions(codec)) as sink:
        sink.write(result_of(yuv_frame(0)))
    with open_source(str(tmp_path / f"a{suffix}")) as source:
        assert source.info.pixel_aspect == Fraction(64, 45)


@pytest.mark.parametrize(("turn", "expected"), [(0.0, Fraction(64, 45)), (90.0, Fraction(45, 64))])
def test_pixels_are_turned_with_the_picture(tmp_path: Path, turn: float, expected: Fraction) -> None:
    path = tmp_path / "a.mp4"
    write_clip(path, codec="libx264", rotation=(turn, False, False), pixel_aspect=Fraction(64, 45))
    with open_source(str(path)) as source:
        assert source.info.pixel_aspect == expected


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("size", [(64, 48), (66, 50), (2, 2)])
def test_a_lossless_file_holds_the_planes_bit_for_bit(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    path = tmp_path / f"a{suffix}"
    write_frames(path, [yuv_frame(i, size=size) for i in range(5)], crf=0)
    for i, frame in enumerate(read(path)):
        for got, expected in zip(frame.planes, planes(i, size[1], size[0]), strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("size", [(65, 48), (64, 47), (65, 47), (1, 1)])
def test_an_odd_size_repeats_its_last_column_and_row(tmp_path: Path, size: tuple[int, int]) -> None:
    write_frames(tmp_path / "a.mp4", [yuv_frame(i, size=size) for i in range(3)], crf=0)
    w, h = size
    padded = [np.pad(planes(0, h, w)[0], ((0, h % 2), (0, w % 2)), "edge"), *planes(0, h, w)[1:]]
    for got, expected in zip(read(tmp_path / "a.mp4")[0].planes, padded, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_padded_rows_and_read_only_planes_are_taken(tmp_path: Path) -> None:
    wide = planes(0, 48, 80)
    views = (wide[0][:, :64], wide[1][:, :32], wide[2][:, :32])
    for view in views:
        view.flags.writeable = False
    write_frames(tmp_path / "a.mp4", [Frame(views, "yuv420p", time_base=Fraction(1, 30))], crf=0)
    for got, expected in zip(read(tmp_path / "a.mp4")[0].planes, views, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full_range", [False, True])
def test_colour_tags_are_carried(tmp_path: Path, suffix: str, codec: VideoCodec, matrix: str, full_range: bool) -> None:
    frames = [yuv_frame(i, matrix=matrix, full_range=full_range) for i in range(2)]
    write_frames(tmp_path / f"a{suffix}", frames, codec=codec, crf=1 if codec == "av1" else 0)
    frame = read(tmp_path / f"a{suffix}")[0]
    assert (frame.matrix, frame.full_range) == (matrix, full_range)
    difference = np.abs(frame.planes[0].astype(int) - planes(0, 48, 64)[0])
    assert difference.max() <= {"h264": 0, "h265": 4, "av1": 12}[codec]  # only one of them has no loss
    with av.open(str(tmp_path / f"a{suffix}")) as container:
        assert container.streams.video[0].codec_context.color_range == (2 if full_range else 1)  # tagged, not guessed


@pytest.mark.parametrize(("matrix", "primaries"), [("bt601", 2), ("bt709", 1)])
def test_primaries_are_told_where_the_matrix_says_which(tmp_path: Path, matrix: str, primaries: int) -> None:
    path = tmp_path / "out.mp4"
    write_frames(path, [yuv_frame(0, matrix=matrix)])
    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.color_primaries, codec.color_trc) == (primaries, primaries)  # by H.273; 2 is unknown


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("size", [(64, 48), (65, 47), (48, 720)])
def test_rgb_keeps_its_colour(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    pixels = np.full((size[1], size[0], 3), (200, 30, 60), np.uint8)
    write_frames(tmp_path / f"a{suffix}", [rgb_frame(pixels, index=i) for i in range(3)], crf=1)
    frame = read(tmp_path / f"a{suffix}")[0]
    assert frame.matrix == ("bt709" if size[1] >= 720 and suffix != ".avi" else "bt601")
    assert np.abs(frame.rgb()[20, 20].astype(int) - (200, 30, 60)).max() <= 6


def test_avi_keeps_limited_range_colours_although_jpeg_is_full_range(tmp_path: Path) -> None:
    flat = tuple(np.full(shape, value, np.uint8) for shape, value in (((48, 64), 88), ((24, 32), 116), ((24, 32), 201)))
    frame = Frame(flat, "yuv420p", time_base=Fraction(1, 30), matrix="bt709")
    write_frames(tmp_path / "a.avi", [frame])
    got = read(tmp_path / "a.avi")[0]
    assert (got.matrix, got.full_range) == ("bt601", True)
    assert np.abs(got.rgb()[20, 20].astype(int) - frame.rgb()[20, 20]).max() <= 6


def test_the_annotated_picture_is_shown_where_there_is_one(tmp_path: Path) -> None:
    plain, drawn = yuv_frame(0), yuv_frame(3, pts=0)
    with open_sink(str(tmp_path / "a.mp4"), info=info(), video=LOSSLESS_SINK) as sink:
        sink.write(Result(plain, result_of(plain).instances, ("thing",), rendered=drawn))
    np.testing.assert_array_equal(read(tmp_path / "a.mp4")[0].planes[0], planes(3, 48, 64)[0])


def test_another_size_is_letterboxed_into_the_first(tmp_path: Path) -> None:
    white = np.full((40, 40, 3), 255, np.uint8)
    frames = [rgb_frame(np.zeros((48, 96, 3), np.uint8)), rgb_frame(white, index=1), rgb_frame(white[:, :20], index=2)]
    write_frames(tmp_path / "a.mp4", frames, crf=0)
    _, square, tall = (frame.rgb() for frame in read(tmp_path / "a.mp4"))
    assert square.shape == (48, 96, 3)
    assert square[:, 26:70].min() >= 253  # 48 of 96 columns, centred
    assert max(square[:, :22].max(), square[:, 74:].max()) <= 2
    assert tall[:, 38:58].min() >= 253  # 24 columns
    assert max(tall[:, :34].max(), tall[:, 62:].max()) <= 2


@pytest.mark.parametrize("size", [(30, 48), (64, 20), (17, 64)])
def test_the_colour_of_a_letterboxed_frame_lies_where_its_luma_does(size: tuple[int, int]) -> None:
    red = rgb_frame(np.full((size[1], size[0], 3), (200, 30, 60), np.uint8))
    picture = Canvas(64, 48, "bt601", False).paint(red)
    luma, _, chroma = to_frame(picture, index=0, pts=0, time_base=THIRTY, captured_at=0.0).planes
    assert 0 < (luma == 16).mean() < 1
    np.testing.assert_array_equal(chroma != 128, luma[::2, ::2] != 16)


@pytest.mark.parametrize("size", [(400, 1), (1, 400), (3, 3), (1000, 20)])
def test_the_canvas_takes_any_shape(size: tuple[int, int]) -> None:
    canvas = Canvas(64, 48, "bt709", True)
    for frame in (yuv_frame(0, size=size), rgb_frame(np.zeros((size[1], size[0], 3), np.uint8))):
        picture = canvas.paint(frame)
        assert (picture.width, picture.height, picture.format.name) == (64, 48, "yuv420p")


def test_a_frame_may_be_reused_after_it_was_written(tmp_path: Path) -> None:
    buffers = planes(0, 48, 64)
    with open_sink(str(tmp_path / "a.mp4"), info=info(), video=LOSSLESS_SINK) as sink:
        for i in range(5):
            for buffer, values in zip(buffers, planes(i, 48, 64), strict=True):
                buffer[:] = values
            sink.write(result_of(Frame(buffers, "yuv420p", index=i, pts=i, time_base=Fraction(1, 30))))
            buffers[0][:] = 0
    for i, frame in enumerate(read(tmp_path / "a.mp4")):
        np.testing.assert_array_equal(frame.planes[0], planes(i, 48, 64)[0])


def test_from_file_to_file_nothing_is_lost(tmp_path: Path) -> None:
    source_path, sink_path = tmp_path / "in.mp4", tmp_path / "out.mp4"
    write_clip(source_path, codec="libx264", options=LOSSLESS, rotation=(90.0, False, False), matrix=1, count=8)
    with (
        open_source(str(source_path)) as source,
        open_sink(str(sink_path), info=source.info, video=LOSSLESS_SINK) as sink,
    ):
        for frame in source:
            sink.write(result_of(frame))
    before, after = read(source_path), read(sink_path)
    assert times(before) == times(after)
    for a, b in zip(before, after, strict=True):
        assert (a.matrix, a.full_range) == (b.matrix, b.full_range)
        for x, y in zip(a.planes, b.planes, strict=True):
            np.testing.assert_array_equal(x, y)


def test_players_find_the_codec_by_its_tag(tmp_path: Path) -> None:
    """Apple's take H.265 as hvc1 only, whose headers are in the file's head."""
    for codec, tag in (("h264", "avc1"), ("h265", "hvc1"), ("av1", "av01")):
        for suffix in set(MP4_LIKE) & set(HOLDERS[codec]):
            write_frames(tmp_path / f"a{suffix}", [yuv_frame(0)], codec=codec)
            with av.open(str(tmp_path / f"a{suffix}")) as container:
                assert container.streams.video[0].codec_context.codec_tag == tag


@pytest.mark.parametrize("codec", CODECS)
def test_encoders_are_silent(tmp_path: Path, codec: VideoCodec) -> None:
    """Those of H.265 and AV1 would write to stderr past FFmpeg."""
    body = f"""
        from solo_rt.sink import VideoOptions
        with open_sink(path, info=info(), video=VideoOptions({codec!r})) as sink:
            sink.write(noisy(0))
    """
    done = run_child(body, tmp_path / "a.mp4")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
