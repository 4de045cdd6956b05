from __future__ import annotations

import gc
import os
import random
import struct
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
from clips import LOSSLESS, planes, times, write_clip

from solo_rt.errors import SourceError, UsageError
from solo_rt.source import MAX_PIXELS, Source, open_source
from solo_rt.source.planes import to_frame, upright
from solo_rt.train.data.world_files import write_videos
from solo_rt.types import Frame

PYAV_17 = av.__version__.startswith("17.")  # what Python 3.10 gets, with an older FFmpeg
H264 = {"preset": "ultrafast", "g": "5"}
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
INDEX_FIRST = {"movflags": "faststart"}


def read(path: Path) -> list[Frame]:
    with open_source(str(path)) as source:
        frames = list(source)
        assert source.damage is None
    return frames


def read_damaged(path: Path) -> tuple[list[Frame], str | None]:
    with open_source(str(path)) as source:
        return list(source), source.damage


# What is delivered.


@pytest.mark.parametrize("size", [(64, 48), (65, 47), (2, 2), (34, 50)])
def test_planes_are_the_decoders_bit_for_bit(tmp_path: Path, size: tuple[int, int]) -> None:
    write_clip(tmp_path / "a.mkv", size=size)
    frames = read(tmp_path / "a.mkv")
    assert [frame.index for frame in frames] == list(range(10))
    for i, frame in enumerate(frames):
        for got, expected in zip(frame.planes, planes(i, size[1], size[0]), strict=True):
            np.testing.assert_array_equal(got, expected)


def test_planes_are_read_only_views_of_the_decoders_buffer(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv")
    with av.open(str(tmp_path / "a.mkv")) as container:
        picture = next(container.decode(video=0))
        frame = to_frame(picture, index=0, pts=0, time_base=Fraction(1), captured_at=0.0)
        assert [plane.ctypes.data for plane in frame.planes] == [plane.buffer_ptr for plane in picture.planes]
        assert not any(plane.flags.writeable for plane in frame.planes)


def test_frames_outlive_their_source(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", count=30)
    frames = read(tmp_path / "a.mkv")  # closed; 30 buffers are alive at once
    np.testing.assert_array_equal(frames[0].planes[0], planes(0, 48, 64)[0])
    np.testing.assert_array_equal(frames[-1].planes[0], planes(29, 48, 64)[0])


def test_a_second_loop_goes_on_where_the_first_stopped(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv")
    with open_source(str(tmp_path / "a.mkv")) as source:
        head = [frame.index for frame in islice(source, 3)]
        assert head + [frame.index for frame in source] == list(range(10))
        assert list(source) == []


def test_motion_jpeg_is_full_range_and_equal_to_the_decoders_luma(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.avi", codec="mjpeg", pix_fmt="yuvj420p")
    frames = read(tmp_path / "a.avi")
    assert all(frame.full_range for frame in frames)
    with av.open(str(tmp_path / "a.avi")) as container:
        for frame, picture in zip(frames, container.decode(video=0), strict=True):
            np.testing.assert_array_equal(frame.planes[0], picture.to_ndarray()[:48])


@pytest.mark.parametrize("pix_fmt", ["yuv422p", "yuv444p", "nv12", "gray", "yuva420p", "yuv411p"])
@pytest.mark.parametrize("size", [(64, 48), (65, 47)])
def test_other_8_bit_layouts_keep_their_luma(pix_fmt: str, size: tuple[int, int]) -> None:
    width, height = size
    picture = av.VideoFrame(width, height, pix_fmt)
    for plane in picture.planes:
        np.frombuffer(plane, np.uint8)[:] = np.random.default_rng(0).integers(0, 256, plane.buffer_size)
    luma = np.frombuffer(picture.planes[0], np.uint8).reshape(height, -1)[:, :width]
    frame = to_frame(picture, index=0, pts=0, time_base=Fraction(1), captured_at=0.0)
    np.testing.assert_array_equal(frame.planes[0], luma)
    assert frame.full_range == (pix_fmt == "gray")
    if pix_fmt == "gray":
        assert all((plane == 128).all() for plane in frame.planes[1:])


@pytest.mark.parametrize("pix_fmt", ["yuv420p10le", "yuv422p10le"])
def test_10_bits_become_8_within_one_level(tmp_path: Path, pix_fmt: str) -> None:
    write_clip(tmp_path / "a.mkv", pix_fmt=pix_fmt)
    for i, frame in enumerate(read(tmp_path / "a.mkv")):
        assert np.abs(frame.planes[0].astype(int) - planes(i, 48, 64)[0]).max() <= 1


@pytest.mark.parametrize("colour", [(200, 30, 60), (0, 255, 0), (255, 255, 255)])
def test_rgb_keeps_its_colour(colour: tuple[int, int, int]) -> None:
    picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), colour, np.uint8), "rgb24").reformat(format="gbrp")
    frame = to_frame(picture, index=0, pts=0, time_base=Fraction(1), captured_at=0.0)
    assert (frame.matrix, frame.full_range) == ("bt601", False)
    assert np.abs(frame.rgb()[20, 20].astype(int) - colour).max() <= 3


@pytest.mark.xfail(PYAV_17, reason="its swscale is off by up to 6 levels", strict=True)
def test_bt2020_becomes_bt709_and_keeps_its_colour() -> None:
    rgb = av.VideoFrame.from_ndarray(np.full((48, 64, 3), (200, 30, 60), np.uint8), "rgb24")
    picture = rgb.reformat(format="yuv420p10le", dst_colorspace=9)
    picture.colorspace = 9  # PyAV 17 converts without tagging
    frame = to_frame(picture, index=0, pts=0, time_base=Fraction(1), captured_at=0.0)
    assert frame.matrix == "bt709"
    assert np.abs(frame.rgb()[20, 20].astype(int) - (200, 30, 60)).max() <= 4


@pytest.mark.parametrize(
    ("size", "tag", "colour_range", "expected"),
    [
        ((64, 48), 1, 1, ("bt709", False)),
        ((64, 48), 6, 2, ("bt601", True)),
        ((64, 48), 5, 0, ("bt601", False)),
        ((64, 48), 2, 0, ("bt601", False)),
        ((96, 720), 2, 0, ("bt709", False)),
        ((96, 718), 2, 0, ("bt601", False)),
        ((96, 720), 6, 0, ("bt601", False)),
    ],
)
def test_colour_tags_are_read_or_guessed_by_height(
    tmp_path: Path, size: tuple[int, int], tag: int, colour_range: int, expected: tuple[str, bool]
) -> None:
    write_clip(tmp_path / "a.mkv", count=1, size=size, matrix=tag, colour_range=colour_range)
    frame = read(tmp_path / "a.mkv")[0]
    assert (frame.matrix, frame.full_range) == expected


@pytest.mark.parametrize(
    ("rotation", "turn"),
    [
        ((90.0, False, False), lambda p: np.rot90(p, 1)),
        ((180.0, False, False), lambda p: np.rot90(p, 2)),
        ((270.0, False, False), lambda p: np.rot90(p, 3)),
        ((-90.0, False, False), lambda p: np.rot90(p, 3)),
        ((0.0, True, False), np.fliplr),
        ((0.0, False, True), np.flipud),
    ],
)
def test_frames_are_upright(
    tmp_path: Path, rotation: tuple[float, bool, bool], turn: Callable[[np.ndarray], np.ndarray]
) -> None:
    write_clip(tmp_path / "a.mp4", count=3, codec="libx264", options=LOSSLESS, rotation=rotation)
    with open_source(str(tmp_path / "a.mp4")) as source:
        frames = list(source)
        expected = [turn(plane) for plane in planes(0, 48, 64)]
        assert (source.info.height, source.info.width) == expected[0].shape
    for got, plane in zip(frames[0].planes, expected, strict=True):
        np.testing.assert_array_equal(got, plane)
        assert got.strides[1] == 1


def test_upright_takes_odd_sizes_and_the_nearest_right_angle() -> None:
    turned = upright(planes(0, 47, 65), (3, -65000, 65000, 3))
    assert [plane.shape for plane in turned] == [(65, 47), (33, 24), (33, 24)]
    np.testing.assert_array_equal(turned[0], np.rot90(planes(0, 47, 65)[0]))


# Time.


@pytest.mark.parametrize(
    ("time_base", "pts"),
    [
        (Fraction(1, 30), list(range(20))),
        (Fraction(1001, 30000), list(range(20))),
        (Fraction(1, 90000), [3003 * i for i in range(20)]),
        (Fraction(1, 90000), [126000 + 3000 * i for i in range(20)]),
        (Fraction(1, 1000), [0, 33, 70, 71, 500, 533, 2000, 2033]),
    ],
    ids=["cfr", "ntsc", "ntsc-90k", "late-start", "vfr"],
)
def test_time_stamps_are_exact(tmp_path: Path, time_base: Fraction, pts: list[int]) -> None:
    write_clip(tmp_path / "a.nut", pts=pts, time_base=time_base)
    frames = read(tmp_path / "a.nut")
    assert times(frames) == [p * time_base for p in pts]
    assert [frame.index for frame in frames] == list(range(len(pts)))


def test_missing_time_stamps_follow_the_frame_rate(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", count=5, codec="libx264", options=H264)
    with av.open(str(tmp_path / "a.mkv")) as container, (tmp_path / "a.h264").open("wb") as raw:
        stream = container.streams.video[0]
        annex_b = av.BitStreamFilterContext("h264_mp4toannexb", stream)
        for packet in container.demux(stream):
            raw.writelines(bytes(p) for p in annex_b.filter(packet if packet.size else None))
    frames = read(tmp_path / "a.h264")
    steps = np.diff([float(t) for t in times(frames)])
    assert len(frames) == 5
    np.testing.assert_allclose(steps, steps[0])
    assert steps[0] > 0


def test_info_describes_the_file(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", codec="libx264", options=H264, audio=True, count=20)
    with open_source(str(tmp_path / "a.mp4")) as source:
        info = source.info
    assert (info.kind, info.width, info.height, info.live) == ("video", 64, 48, False)
    assert (info.frame_rate, info.frame_count) == (Fraction(30), 20)
    assert info.uri == str(tmp_path / "a.mp4")


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".avi", ".mp4"])
def test_frame_count_is_estimated_from_the_duration(tmp_path: Path, suffix: str) -> None:
    muxer = FRAGMENTED if suffix == ".mp4" else {}
    write_clip(tmp_path / f"a{suffix}", codec="libx264", options=H264, count=45, muxer=muxer)
    with open_source(str(tmp_path / f"a{suffix}")) as source:
        assert source.info.frame_count == pytest.approx(45, abs=2)
        assert len(list(source)) == 45


# What cannot be read.


@pytest.mark.parametrize("name", ["a b.mkv", "a:b.mkv", "ü%20.mkv", "[1].mkv", "-i.mkv", "a?b=c.mkv"])
def test_any_file_name_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "plain.mkv", count=2)
    (tmp_path / "plain.mkv").rename(tmp_path / name)
    assert len(read(Path(name))) == 2


def assert_refused(path: Path, *words: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(str(path))
    message = str(caught.value)
    assert "\n" not in message
    for word in (str(path), *words):
        assert word in message


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


def test_network_addresses_are_refused_without_showing_credentials() -> None:
    with pytest.raises(UsageError, match=r"rtsp://\*\*\*@cam/live\?\*\*\*: expected .* got rtsp://") as caught:
        open_source("rtsp://root:hunter2@cam/live?key=hunter2")
    assert "hunter2" not in str(caught.value)


def test_an_empty_address_is_refused() -> None:
    with pytest.raises(UsageError, match="empty"):
        open_source("")


def test_too_many_pixels_are_refused(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv")
    with open_source(str(tmp_path / "a.mkv"), max_pixels=64 * 48) as source:
        assert len(list(source)) == 10
    with pytest.raises(SourceError, match="or holds more than max_pixels = 3071 pixels per frame"):
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


# Damage.


def truncate(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def test_an_mp4_that_lost_its_index_says_so(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", count=60, codec="libx264", options=H264)
    truncate(tmp_path / "a.mp4", 0.7)
    assert_refused(tmp_path / "a.mp4", "cut off before its index")


@pytest.mark.parametrize(
    ("suffix", "muxer", "report"),
    [
        pytest.param(
            *(".mp4", INDEX_FIRST, "s of 2.00 s, the rest is missing"),
            marks=pytest.mark.xfail(PYAV_17, reason="its demuxer withholds the last whole frame", strict=True),
        ),
        (".mkv", {}, "s of 2.00 s, the rest is missing"),
        (".avi", {}, "1 damaged frame"),
    ],
    ids=["mp4", "mkv", "avi"],
)
def test_a_truncated_video_gives_every_frame_before_the_cut(
    tmp_path: Path, suffix: str, muxer: dict[str, str], report: str
) -> None:
    path = tmp_path / f"a{suffix}"
    write_clip(path, count=60, codec="libx264", options={**LOSSLESS, "g": "5", "bf": "0"}, muxer=muxer)
    with av.open(str(path)) as container:
        ends = [p.pos + p.size for p in container.demux(video=0) if p.size]
    truncate(path, 0.5)
    whole = sum(end + 16 <= path.stat().st_size for end in ends)  # pos may be that of a chunk's header
    frames, damage = read_damaged(path)
    assert 10 < whole <= len(frames) <= whole + 1
    for i in range(whole):
        np.testing.assert_array_equal(frames[i].planes[0], planes(i, 48, 64)[0])
    assert damage is not None
    assert damage.startswith(f"{path}: ")
    assert report in damage


def test_a_fragmented_mp4_gives_every_complete_fragment_wherever_it_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_clip(path, count=40, codec="libx264", options={**H264, "tune": "zerolatency"}, muxer=FRAGMENTED, audio=True)
    data = path.read_bytes()
    fragment = data.rindex(b"moof") - 4
    before = len(read_prefix(tmp_path, data, fragment))
    assert before >= 30
    for cut in range(fragment, fragment + 120, 8):
        assert len(read_prefix(tmp_path, data, cut)) == before
    read_prefix(tmp_path, data, fragment + 44)
    with pytest.raises(av.FFmpegError):  # FFmpeg itself gives up on a cut like this one; see VideoSource
        av.open(str(tmp_path / "cut.mp4"))


def read_prefix(folder: Path, data: bytes, size: int) -> list[Frame]:
    (folder / "cut.mp4").write_bytes(data[:size])
    return read_damaged(folder / "cut.mp4")[0]


def test_frames_before_and_after_damaged_bytes_are_delivered(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_clip(path, count=60, codec="libx264", options={**LOSSLESS, "g": "5", "bf": "0"}, muxer=INDEX_FIRST)
    with av.open(str(path)) as container:
        positions = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    start, size = positions[22]
    data[start : start + size] = random.Random(0).randbytes(size)
    path.write_bytes(data)
    frames, damage = read_damaged(path)
    by_pts = {round(frame.time_s * 30): frame for frame in frames}
    for i in [*range(22), *range(25, 60)]:  # the next key frame is 25
        np.testing.assert_array_equal(by_pts[i].planes[0], planes(i, 48, 64)[0])
    assert damage is not None
    assert "undecodable packet" in damage or "damaged frame" in damage


MUTABLE = [(".mp4", FRAGMENTED), (".mp4", INDEX_FIRST), (".mkv", {}), (".ts", {}), (".avi", {})]


@pytest.mark.parametrize(("suffix", "muxer"), MUTABLE, ids=["fragmented", "mp4", "mkv", "ts", "avi"])
def test_mutated_bytes_raise_nothing_undeclared(tmp_path: Path, suffix: str, muxer: dict[str, str]) -> None:
    path = tmp_path / f"a{suffix}"
    write_clip(path, count=12, codec="libx264", options=H264, muxer=muxer)
    clean = path.read_bytes()
    delivered = 0
    for seed in range(100):
        path.write_bytes(mutate(clean, random.Random(seed)))
        with suppress(SourceError):
            delivered += len(read_damaged(path)[0])
    assert delivered > 100 * 12 / 2


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return the data with one to four faults: flipped bits, zeroed runs, foreign numbers, lost or doubled bytes."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out))
        kind = rng.randrange(8)
        if kind < 4:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 4:
            out[at : at + 16] = bytes(len(out[at : at + 16]))
        elif kind == 5:
            out[at : at + 4] = struct.pack(">I", rng.getrandbits(32))
        elif kind == 6:
            del out[at : at + rng.randint(1, 8)]
        else:
            out[at:at] = out[at : at + rng.randint(1, 8)]
    return bytes(out)


def test_nothing_stays_open(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", count=5)
    (tmp_path / "bad.mp4").write_text("no video")
    process = psutil.Process()

    def use() -> None:
        source: Source = open_source(str(tmp_path / "a.mkv"))
        next(iter(source))
        source.close()
        source.close()
        with pytest.raises(SourceError):
            open_source(str(tmp_path / "bad.mp4"))

    use()
    before = process.num_fds(), process.num_threads()
    for _ in range(40):
        use()
    assert (process.num_fds(), process.num_threads()) == before


def test_frames_go_without_waiting_for_the_garbage_collector(tmp_path):
    """Pictures in a reference cycle would pile up until it comes by: half a gigabyte at 4K."""
    write_videos(tmp_path, seed=0, size=(64, 96), frames=12)
    clip = tmp_path / "cam0.mp4"
    gc.collect()
    gc.disable()
    try:
        with open_source(str(clip)) as source:
            assert sum(1 for _ in source) == 12
        assert sum(type(thing) is av.VideoFrame for thing in gc.get_objects()) <= 1  # the decoder's spare one
    finally:
        gc.enable()
