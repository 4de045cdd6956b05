"""NVDEC and NVENC: what happens where there is no GPU, and with one that pictures come and go as they should.

Where a GPU is only pretended, FFmpeg is the real one: its own complaints are what the messages are made of.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from clips import H264, THIRTY, info, planes, read, result_of, write_clip, yuv_frame
from gpu_memory import require_nvdec, require_nvenc

import solo_rt
from solo_rt.doctor import examine
from solo_rt.errors import EngineError, SourceError, UsageError
from solo_rt.gpu import nvcodec
from solo_rt.gpu.cuda import device_count
from solo_rt.gpu.nvcodec import collected_errors, gpu_of, knows_nvdec
from solo_rt.pipeline import opening
from solo_rt.sink import VideoOptions, open_sink
from solo_rt.sink.encoding import NVENC
from solo_rt.source import open_source
from solo_rt.source import video as video_source
from solo_rt.source.planes import to_frame

BY_NVENC = VideoOptions(encoder="nvenc")

without_gpu = pytest.mark.skipif(device_count() > 0, reason="this machine has a GPU")
PYAV_17 = av.__version__.startswith("17.")


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one GPU be counted where there is none, so that FFmpeg is asked."""
    monkeypatch.setattr(nvcodec, "device_count", lambda: 1)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    write_clip(tmp_path / "a.mp4", codec="libx264", options=H264)
    return tmp_path / "a.mp4"


# No GPU.


@without_gpu
def test_without_a_driver_nothing_starts_and_nothing_is_written(clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    for kwargs, instead in (({"decoder": "nvdec"}, "--decoder cpu"), ({"video": BY_NVENC}, "--encoder x264")):
        with pytest.raises(EngineError, match="expected an NVIDIA GPU and its driver, found none") as caught:
            solo_rt.Pipeline(str(clip), sinks=[str(tmp_path / "out.jsonl"), str(output)], **kwargs).run()
        assert str(caught.value).endswith(f"install the driver, or use {instead}")
    with pytest.raises(EngineError, match="nvdec: expected an NVIDIA GPU"):
        next(solo_rt.stream(str(clip), decoder="nvdec"))
    with pytest.raises(EngineError, match="nvdec: expected an NVIDIA GPU"):
        open_source(str(clip), decoder="nvdec")
    with pytest.raises(EngineError, match="nvenc: expected an NVIDIA GPU"):
        open_sink(str(output), info=info(), video=BY_NVENC)
    assert sorted(tmp_path.iterdir()) == [clip]


def test_a_file_that_is_not_there_is_told_before_a_model_is_loaded(
    pretended: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "open_engine", lambda *args, **kwargs: pytest.fail("a model was loaded"))
    with pytest.raises(SourceError, match="No such file"):
        solo_rt.Pipeline(str(tmp_path / "none.mp4"), decoder="nvdec").run()


@without_gpu
def test_what_ffmpeg_has_to_say_is_passed_on(pretended: None, clip: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"cannot use CUDA device 0 \(Cannot load libcuda.so.1; .*--decoder cpu"):
        open_source(str(clip), decoder="nvdec")
    with pytest.raises(EngineError, match=r"encode 66x48 as H.264 \(Cannot load libcuda.so.1\); use --encoder x264"):
        open_sink(str(tmp_path / "out.mp4"), info=info(size=(65, 47)), video=BY_NVENC)
    assert not (tmp_path / "out.mp4").exists()


def test_a_gpu_that_is_not_there_is_refused(pretended: None, clip: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="nvdec: expected a CUDA device below 1, got 2"):
        next(solo_rt.stream(str(clip), decoder="nvdec", device="cuda:2"))
    with pytest.raises(EngineError, match="nvenc: expected a CUDA device below 1, got 2"):
        open_sink(str(tmp_path / "out.mkv"), info=info(), video=BY_NVENC, gpu=2)


def test_the_gpu_is_that_of_the_device() -> None:
    assert [gpu_of(device) for device in ("auto", "cpu", "cuda", "cuda:0", "cuda:13")] == [0, 0, 0, 0, 13]


@without_gpu
def test_trying_says_why_not() -> None:
    with pytest.raises(EngineError, match=r"NVDEC does not decode H.264 \(Cannot load libcuda.so.1"):
        nvcodec.try_nvdec()
    with pytest.raises(EngineError, match=r"NVENC cannot encode 256x128 as H.264 \(Cannot load libcuda.so.1\)"):
        nvcodec.try_nvenc(256, 128, options={})


@without_gpu
def test_doctor_says_why_not() -> None:
    findings = {finding.subject: finding for finding in examine()}
    for subject in ("h264 decoder, NVIDIA", "h264 encoder, NVIDIA"):
        assert not findings[subject].found
        assert not findings[subject].required
        assert "Cannot load libcuda.so.1" in findings[subject].detail


def test_complaints_are_collected_once_each_and_the_log_level_is_put_back() -> None:
    for _ in range(2):  # the second time as well, although FFmpeg's lines are the same
        with pytest.raises(ZeroDivisionError), collected_errors() as lines:
            for text in ("no  luck.\n", "no luck", "\n", "again"):
                av.logging.log(av.logging.ERROR, "x", text)
            av.logging.log(av.logging.WARNING, "x", "a warning")
            raise ZeroDivisionError
        assert lines == ["no luck", "again"]
        assert (av.logging.get_level(), av.logging.get_skip_repeated()) == (None, True)


def test_a_container_without_the_video_libraries_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvcodec.platform, "machine", lambda: "x86_64")
    hint = "in a container, set NVIDIA_DRIVER_CAPABILITIES=compute,utility,video"
    for name in ("libnvcuvid.so.1", "libnvidia-encode.so.1"):
        assert nvcodec.reason([f"Cannot load {name}", "b"]) == f"Cannot load {name}; b; {hint}"
    assert nvcodec.reason(["Cannot load libcuda.so.1"]) == "Cannot load libcuda.so.1"
    monkeypatch.setattr(nvcodec.platform, "machine", lambda: "aarch64")
    assert nvcodec.reason(["Cannot load libnvcuvid.so.1"]).endswith(f"{hint}; a Jetson has neither up to JetPack 6")
    assert nvcodec.reason([]) == "no reason given"
    assert nvcodec.reason([], av.FFmpegError(22, "Invalid argument")) == "Invalid argument"


class Lacking:
    """The decoder for GPUs where the driver came without the library of the video engine."""

    codec = av.Codec("av1", "r")
    extradata, profile, width, height = b"", "", 64, 48

    def decode(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        av.logging.log(av.logging.ERROR, "av1", "Cannot load libnvcuvid.so.1\n")
        raise av.FFmpegError(22, "Invalid argument")


def test_a_driver_without_the_video_library_is_told_in_one_line(
    pretended: None, tmp_path: Path, solo: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(tmp_path / "a.mkv", codec="libsvtav1", options={"preset": "12", "svtav1-params": "lp=1"})
    codecs = SimpleNamespace(create=lambda *arguments, **options: Lacking())  # AV1, where FFmpeg has another decoder
    monkeypatch.setattr(video_source, "av", SimpleNamespace(CodecContext=codecs, FFmpegError=av.FFmpegError))
    code, out, err = solo("run", "--source", tmp_path / "a.mkv", "--decoder", "nvdec", "--output", tmp_path / "b.mp4")
    assert (code, out) == (SourceError.exit_code, "")
    (line,) = err.splitlines()
    assert line.startswith(f"solo-rt: error: source {tmp_path / 'a.mkv'}: NVDEC decoded not one frame of av1 ")
    assert "(Cannot load libnvcuvid.so.1; in a container, set NVIDIA_DRIVER_CAPABILITIES=compute,utility,video" in line
    assert line.endswith("; use --decoder cpu")


# What cannot work.


def test_nvdec_is_for_video_files(tmp_path: Path) -> None:
    for uri, kind in (("test://", "the procedural world"), (str(tmp_path), "pictures"), ("*.png", "pictures")):
        with pytest.raises(UsageError, match=f"expected a video file with the nvdec decoder, got {kind}; use --dec"):
            open_source(uri, decoder="nvdec")
        with pytest.raises(UsageError, match=f"got {kind}"):
            solo_rt.Pipeline(uri, "solov2-nano", decoder="nvdec").run()  # before the model is read
    with open_source("test://") as source, pytest.raises(UsageError, match="got a source"):
        next(solo_rt.stream(source, decoder="nvdec"))


def test_unknown_names_are_refused(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown decoder 'cuda'; expected cpu or nvdec"):
        open_source(str(clip), decoder="cuda")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="unknown encoder 'h264'; expected x264 or nvenc"):
        VideoOptions(encoder="h264")  # type: ignore[arg-type]


def test_nvenc_needs_something_to_encode(pretended: None, clip: Path, tmp_path: Path) -> None:
    for outputs, got in (([], "none"), (["a.avi", "b.jsonl"], "a.avi b.jsonl")):
        with pytest.raises(UsageError, match=f"expected .*mp4.* or .mkv as output, got {got}; leave --enc"):
            solo_rt.Pipeline(str(clip), sinks=outputs, video=BY_NVENC).run()
    with pytest.raises(UsageError, match=r"expected \.mp4, .mov or .mkv with nvenc"):
        open_sink(str(tmp_path / "o.avi"), info=info(), video=BY_NVENC)
    assert list(tmp_path.iterdir()) == [clip]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"crf": 0}, "crf 1..51 and a preset of p1, p2, p3, p4, p5, p6, p7; got crf 0, preset p4"),
        ({"crf": 52}, "got crf 52, preset p4"),
        ({"preset": "veryfast"}, "got crf 24, preset veryfast"),
    ],
)
def test_settings_of_nvenc_have_their_own_bounds(settings: dict, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        VideoOptions(encoder="nvenc", **settings)


@pytest.mark.skipif(PYAV_17, reason="it does not tell an encoder's options")
def test_ffmpeg_knows_every_setting_of_nvenc() -> None:
    context = av.CodecContext.create("h264_nvenc", "w")
    known = {option.name: option for option in context.supported_options.private}
    generic = {option.name for option in context.supported_options.generic}
    for preset in NVENC.presets:
        for name, value in VideoOptions(encoder="nvenc", preset=preset).private(0).items():
            if name not in known:
                assert name in generic
                continue
            option, choices = known[name], {choice.name for choice in known[name].choices}
            assert value in choices or option.min <= float(value) <= option.max, name


# What NVDEC does not know.


def test_a_codec_that_nvdec_does_not_know_is_named(pretended: None, tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv")
    with pytest.raises(SourceError, match="expected a codec that NVDEC knows, got ffv1 video of 64x48; use --dec"):
        open_source(str(tmp_path / "a.mkv"), decoder="nvdec")
    assert [knows_nvdec(av.Codec(name, "r")) for name in ("h264", "hevc", "vp9", "mjpeg", "ffv1")] == [True] * 4 + [
        False
    ]


def test_software_in_disguise_is_refused(pretended: None, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_source, "nvdec", lambda gpu, on_gpu: None)  # FFmpeg decodes, and the GPU does nothing
    with pytest.raises(
        SourceError, match="FFmpeg decodes h264 Constrained Baseline video of 64x48 without NVDEC; use --decoder cpu"
    ):
        open_source(str(clip), decoder="nvdec")


def test_a_stream_that_nvdec_cannot_decode_is_given_up_soon(
    pretended: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_source, "nvdec", lambda gpu, on_gpu: None)
    write_clip(tmp_path / "a.mp4", count=150, codec="libx264", options={"preset": "ultrafast", "g": "1"})
    data = (tmp_path / "a.mp4").read_bytes()
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    (tmp_path / "a.mp4").write_bytes(data[:start] + b"\xff" * (end - start) + data[end:])
    with pytest.raises(SourceError, match=r"NVDEC decoded not one frame of h264 \S*.*64x48 in 100 tries \(") as caught:
        open_source(str(tmp_path / "a.mp4"), decoder="nvdec")
    assert str(caught.value).endswith("); use --decoder cpu")
    assert "no reason given" not in str(caught.value)


# What it gives.


@pytest.mark.parametrize("size", [(64, 48), (65, 47), (2, 2), (34, 51)])
def test_nv12_is_taken_apart_exactly(size: tuple[int, int]) -> None:
    width, height = size
    picture = av.VideoFrame(width, height, "nv12")
    y, u, v = planes(3, height, width)
    luma, chroma = (np.frombuffer(p, np.uint8).reshape(-1, p.line_size) for p in picture.planes)
    luma[:height, :width] = y
    chroma[: len(u), : 2 * u.shape[1]] = np.stack([u, v], -1).reshape(len(u), -1)
    frame = to_frame(picture, index=0, pts=0, time_base=THIRTY, captured_at=0.0)
    for got, expected in zip(frame.planes, (y, u, v), strict=True):
        np.testing.assert_array_equal(got, expected)
        assert not got.flags.writeable
    assert frame.planes[0].ctypes.data == picture.planes[0].buffer_ptr  # luma was not copied


class PretendedGpu:
    """A decoder of FFmpeg's that hands its pictures out as NVDEC does."""

    pix_fmt = "cuda"
    options: dict[str, str]

    def __init__(self, name: str) -> None:
        self.context = av.CodecContext.create(name, "r")
        self.extradata = self.context.extradata

    def decode(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        return [picture.reformat(format="nv12") for picture in self.context.decode(packet)]


def test_frames_of_a_gpu_are_those_of_the_cpu(pretended: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AV1, because there the decoder for GPUs is another one, which a test can replace."""
    write_clip(tmp_path / "a.mkv", codec="libsvtav1", options={"preset": "12", "svtav1-params": "lp=1"}, matrix=1)
    asked: list[tuple[object, ...]] = []

    def create(name: str, mode: str, hwaccel: object) -> PretendedGpu:
        asked.append((name, mode, hwaccel))
        return PretendedGpu("libdav1d")

    fake = SimpleNamespace(
        CodecContext=SimpleNamespace(create=create), FFmpegError=av.FFmpegError, time_base=av.time_base
    )
    expected = read(tmp_path / "a.mkv")
    monkeypatch.setattr(video_source, "av", fake)
    monkeypatch.setattr(video_source, "nvdec", lambda gpu, on_gpu: f"GPU {gpu}")
    with open_source(str(tmp_path / "a.mkv"), decoder="nvdec") as source:
        frames = list(source)
        assert source.damage is None
    assert asked == [("av1", "r", "GPU 0")]
    assert len(frames) == len(expected) == 10
    for frame, other in zip(frames, expected, strict=True):
        assert (frame.index, frame.pts, frame.time_base) == (other.index, other.pts, other.time_base)
        assert (frame.matrix, frame.full_range) == (other.matrix, other.full_range)
        for got, plane in zip(frame.planes, other.planes, strict=True):
            np.testing.assert_array_equal(got, plane)


# With a GPU.


@pytest.fixture
def gpu() -> int:
    """Return the number of a GPU that decodes."""
    require_nvdec()
    return 0


@pytest.mark.cuda
@pytest.mark.parametrize(
    ("codec", "options", "pix_fmt"),
    [
        ("libx264", {"preset": "fast"}, "yuv420p"),
        ("libx265", {"x265-params": "pools=1:log-level=none"}, "yuv420p"),
        ("libx265", {"x265-params": "pools=1:log-level=none"}, "yuv420p10le"),
        ("libsvtav1", {"preset": "12"}, "yuv420p"),
    ],
)
def test_nvdec_decodes_what_the_cpu_decodes(
    gpu: int, tmp_path: Path, codec: str, options: dict[str, str], pix_fmt: str
) -> None:
    write_clip(tmp_path / "a.mkv", codec=codec, options=options, pix_fmt=pix_fmt, size=(320, 180), matrix=1)
    expected = read(tmp_path / "a.mkv")
    with open_source(str(tmp_path / "a.mkv"), decoder="nvdec", gpu=gpu) as source:
        frames = list(source)
        assert source.damage is None
    assert [frame.pts for frame in frames] == [frame.pts for frame in expected]
    for frame, other in zip(frames, expected, strict=True):
        assert (frame.matrix, frame.full_range) == (other.matrix, other.full_range)
        for got, plane in zip(frame.planes, other.planes, strict=True):
            assert np.abs(got.astype(int) - plane).max() <= (0 if pix_fmt == "yuv420p" else 1)


@pytest.mark.cuda
@pytest.mark.parametrize("on_gpu", [False, True])
def test_interlaced_pictures_of_nvdec_are_made_whole_in_host_memory(gpu: int, tmp_path: Path, on_gpu: bool) -> None:
    options = {"preset": "fast", "flags": "+ilme+ildct"}
    write_clip(tmp_path / "a.mkv", codec="libx264", options=options, size=(320, 180), matrix=1, scan=["bff"])
    expected = read(tmp_path / "a.mkv")
    with open_source(str(tmp_path / "a.mkv"), decoder="nvdec", gpu=gpu, on_gpu=on_gpu) as source:
        frames = list(source)
    assert [frame.pts for frame in frames] == [frame.pts for frame in expected]
    for frame, other in zip(frames, expected, strict=True):
        assert (frame.device, frame.matrix, frame.full_range) == (None, other.matrix, other.full_range)
        for got, plane in zip(frame.planes, other.planes, strict=True):
            np.testing.assert_array_equal(got, plane)


@pytest.mark.cuda
def test_a_profile_that_no_gpu_decodes_is_named(gpu: int, tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", codec="mpeg2video", pix_fmt="yuv422p", size=(320, 180))
    with pytest.raises(
        SourceError, match=r"NVDEC decoded not one frame of mpeg2video .* video of 320x180 in \d+ tries"
    ):
        open_source(str(tmp_path / "a.mkv"), decoder="nvdec", gpu=gpu)


@pytest.mark.cuda
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("full_range", [False, True])
def test_nvenc_encodes_what_is_read_back(gpu: int, tmp_path: Path, suffix: str, full_range: bool) -> None:
    size = (321, 179)
    path = tmp_path / f"out{suffix}"
    require_nvenc()
    stamps = [0, 33, 70, 71, 500, 533, 2000, 2033]
    written = [
        yuv_frame(i, size=size, pts=pts, time_base=Fraction(1, 1000), matrix="bt709", full_range=full_range)
        for i, pts in enumerate(stamps)
    ]
    given, video = info(size=size, time_base=Fraction(1, 1000)), VideoOptions(encoder="nvenc", crf=10)
    with open_sink(str(path), info=given, video=video, gpu=gpu) as sink:
        for frame in written:
            sink.write(result_of(frame))
    frames = read(path)
    assert [frame.pts * frame.time_base * 1000 for frame in frames] == stamps
    for frame, other in zip(frames, written, strict=True):
        assert (frame.width, frame.height) == (322, 180)
        assert (frame.matrix, frame.full_range) == ("bt709", full_range)
        error = frame.planes[0][:179, :321].astype(float) - other.planes[0]
        assert 10 * np.log10(255**2 / (error**2).mean()) > 35  # dB
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        assert all(packet.pts == packet.dts for packet in packets)  # no B-frames
