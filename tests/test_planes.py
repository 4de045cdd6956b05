"""Frames of a video have FFmpeg's own pixels, whatever its layout, size, orientation, colours and times."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import LOSSLESS, planes, read, times, write_clip
from ffmpeg_twin import EXACT, decoded, planes_of, through

from solo_rt.source import open_source

SIZES = [(64, 48), (65, 48), (64, 47), (65, 47)]


def assert_planes(path: Path, *filters: str, tolerance: int = 0) -> None:
    """Assert that the frames are those that FFmpeg's filters make, plane by plane."""
    for frame, picture in zip(read(path), through(decoded(path), *filters), strict=True):
        for got, expected in zip(frame.planes, planes_of(picture), strict=True):
            assert np.abs(got.astype(int) - expected).max() <= tolerance


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "pix_fmt",
    [
        "yuv420p", "yuv422p", "yuv444p", "yuv411p", "yuv440p", "yuva420p",
        "yuv420p10le", "yuv422p10le", "yuv444p10le", "yuv420p12le", "yuv444p16le",
    ],
)  # fmt: skip
def test_every_layout_becomes_8_bit_420(tmp_path: Path, pix_fmt: str, size: tuple[int, int]) -> None:
    write_clip(tmp_path / "a.mkv", count=2, pix_fmt=pix_fmt, size=size)
    assert_planes(tmp_path / "a.mkv", EXACT, "format=yuv420p")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pix_fmt", ["bgr0", "bgra", "gbrp10le", "gbrp16le"])
def test_rgb_becomes_limited_yuv(tmp_path: Path, pix_fmt: str, size: tuple[int, int]) -> None:
    write_clip(tmp_path / "a.mkv", count=2, pix_fmt=pix_fmt, size=size)
    assert_planes(tmp_path / "a.mkv", f"{EXACT}:out_range=tv:out_color_matrix=bt601", "format=yuv420p")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("pix_fmt", "depth"), [("gray", 8), ("gray10le", 10), ("gray16le", 16)])
def test_grey_is_full_range_luma_without_colour(
    tmp_path: Path, pix_fmt: str, depth: int, size: tuple[int, int]
) -> None:
    write_clip(tmp_path / "a.mkv", count=2, pix_fmt=pix_fmt, size=size)
    for frame, picture in zip(read(tmp_path / "a.mkv"), decoded(tmp_path / "a.mkv"), strict=True):
        assert frame.full_range
        expected = picture.to_ndarray().astype(float) / (2**depth - 1) * 255
        assert np.abs(frame.planes[0] - expected).max() <= 1
        assert all((plane == 128).all() for plane in frame.planes[1:])


MATRICES = {1: "bt709", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020"}


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p10le"])
@pytest.mark.parametrize("colour_range", [1, 2], ids=["tv", "pc"])
@pytest.mark.parametrize("matrix", MATRICES)
def test_colours_are_those_that_the_tags_say(tmp_path: Path, pix_fmt: str, colour_range: int, matrix: int) -> None:
    y, x = np.mgrid[:96, :128]
    waves = [128 + 110 * np.sin(x / 30), 128 + 110 * np.cos(y / 20), 128 + 110 * np.sin((x + y) / 50)]
    rgb = np.rint(np.stack(waves, -1)).astype(np.uint8)
    picture = av.VideoFrame.from_ndarray(rgb, "rgb24")
    to = f"{EXACT}:out_color_matrix={MATRICES[matrix]}:out_range={'pc' if colour_range == 2 else 'tv'}"
    (picture,) = through([picture], to, f"format={pix_fmt}")
    picture.colorspace, picture.color_range = matrix, colour_range
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = 128, 96, pix_fmt
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, colour_range
        container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    (shown,) = through(decoded(tmp_path / "a.mkv"), f"{EXACT}+full_chroma_int+full_chroma_inp", "format=rgb24")
    (frame,) = read(tmp_path / "a.mkv")
    for expected in (rgb, planes_of(shown)[0]):
        difference = np.abs(frame.rgb().astype(int) - expected)
        assert difference.mean() < (2.5 if matrix in (7, 9) else 1.5)  # those two become BT.709 first


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("rotation", "filters"),
    [
        ((0.0, False, False), []),
        ((90.0, False, False), ["transpose=cclock"]),
        ((180.0, False, False), ["hflip=", "vflip="]),
        ((-90.0, False, False), ["transpose=clock"]),
        ((0.0, True, False), ["hflip="]),
        ((0.0, False, True), ["vflip=", "copy="]),
        ((90.0, True, False), ["transpose=clock_flip"]),
        ((90.0, False, True), ["transpose=cclock_flip"]),
    ],
)
def test_all_eight_orientations_are_shown_upright(
    tmp_path: Path, rotation: tuple[float, bool, bool], filters: list[str], size: tuple[int, int]
) -> None:
    write_clip(tmp_path / "a.mkv", count=2, rotation=rotation, size=size)
    assert_planes(tmp_path / "a.mkv", *filters, "format=yuv420p")
    with open_source(str(tmp_path / "a.mkv")) as source:
        (shown,) = {(frame.width, frame.height) for frame in source}
        assert (source.info.width, source.info.height) == shown
        assert shown == (size[::-1] if rotation[0] % 180 else size)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize(
    ("time_base", "pts"),
    [
        (Fraction(1001, 30000), list(range(12))),
        (Fraction(1, 1000), [0, 33, 70, 71, 500, 533, 560, 700, 1100, 1133, 1166, 1200]),
    ],
    ids=["29.97", "variable"],
)
def test_a_picture_keeps_its_time_behind_b_frames(
    tmp_path: Path, suffix: str, time_base: Fraction, pts: list[int]
) -> None:
    path = tmp_path / f"a{suffix}"
    options = {**LOSSLESS, "bf": "2", "preset": "fast"}
    write_clip(path, codec="libx264", options=options, pts=pts, time_base=time_base)
    frames, pictures = read(path), decoded(path)
    assert times(frames) == [picture.pts * picture.time_base for picture in pictures]
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.planes[0], planes(i, 48, 64)[0])
