"""Frames that stay on a GPU from the decoder to the engine; the GPU is pretended, its memory is the host's."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from clips import THIRTY, read, write_clip
from fakes import STREET_SPEC, TINY_SPEC, FakeSource
from ffmpeg_twin import decoded
from gpu_memory import downloaded, planes_of, require_nvdec

from solo_rt.decoders import DetectionsDecoder
from solo_rt.errors import EngineError, UsageError
from solo_rt.gpu import nvcodec, primary_context
from solo_rt.gpu.primary_context import PrimaryContext
from solo_rt.pipeline import Pipeline, opening
from solo_rt.pipeline.options import Options
from solo_rt.render import Painting
from solo_rt.source import open_source, planes
from solo_rt.source import video as video_source
from solo_rt.source.interlace import deinterlaced
from solo_rt.source.planes import to_frame
from solo_rt.spec import InputSpec, ModelSpec
from solo_rt.types import DevicePicture, Frame, Output

on_pyav_18 = pytest.mark.skipif(not nvcodec.CAN_STAY_ON_GPU, reason="this PyAV cannot leave frames on a GPU")
FOUND_SPEC = ModelSpec("found", InputSpec(height=32, width=64), DetectionsDecoder(max_instances=4), ("thing",))


class GpuPicture:
    """What PyAV gives for a picture on a GPU, of one in host memory."""

    format = SimpleNamespace(name="cuda", is_rgb=False)

    def __init__(self, picture: av.VideoFrame) -> None:
        self.picture = picture
        self.sw_format, self.planes = picture.format, picture.planes
        for name in (
            "width", "height", "colorspace", "color_range", "pts", "time_base", "duration", "is_corrupt",
            "interlaced_frame",
        ):  # fmt: skip
            setattr(self, name, getattr(picture, name))

    def reformat(self, *, format: str) -> av.VideoFrame:
        assert format == self.sw_format.name, "it is converted on the host, after the download"
        return self.picture


# Pictures become frames.


@pytest.mark.parametrize("size", [(64, 48), (65, 47)])
def test_nv12_stays_where_it_is(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes, "_display_matrix", lambda picture: (1, 0, 0, 1))
    picture = av.VideoFrame(*size, "nv12")
    for plane in picture.planes:
        np.frombuffer(plane, np.uint8)[:] = np.random.default_rng(0).integers(0, 256, plane.buffer_size)
    picture.colorspace, picture.color_range = 1, 2
    given = GpuPicture(picture)
    frame = to_frame(given, index=3, pts=7, time_base=THIRTY, captured_at=1.5)  # type: ignore[arg-type]
    assert (frame.index, frame.pts, frame.time_base, frame.captured_at) == (3, 7, THIRTY, 1.5)
    assert (frame.width, frame.height, frame.matrix, frame.full_range) == (*size, "bt709", True)
    assert (frame.planes, frame.pixel_format) == ((), "yuv420p")
    assert frame.device is not None
    assert frame.device.owner is given
    host = to_frame(picture, index=3, pts=7, time_base=THIRTY, captured_at=1.5)
    for there, here in zip(planes_of(frame.device), host.planes, strict=True):
        np.testing.assert_array_equal(there, here)


@pytest.mark.parametrize(
    ("layout", "colorspace", "transform"),
    [("p010le", 1, (1, 0, 0, 1)), ("nv12", 9, (1, 0, 0, 1)), ("nv12", 1, (0, 1, -1, 0)), ("nv12", 1, (-1, 0, 0, 1))],
)
def test_what_must_be_changed_goes_by_the_host(
    layout: str, colorspace: int, transform: tuple[int, int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planes, "_display_matrix", lambda picture: transform)
    picture = av.VideoFrame(64, 48, "yuv420p").reformat(format=layout)
    picture.colorspace = colorspace
    frame = to_frame(GpuPicture(picture), index=0, pts=0, time_base=THIRTY, captured_at=0.0)  # type: ignore[arg-type]
    host = to_frame(picture, index=0, pts=0, time_base=THIRTY, captured_at=0.0)
    assert frame.device is None
    for there, here in zip(frame.planes, host.planes, strict=True):
        np.testing.assert_array_equal(there, here)


# The context.


class Driver:
    """The functions of the CUDA driver that are needed; what was called is in `calls`."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.calls: list[str] = []

    def __getitem__(self, name: str) -> Callable[..., int]:
        def call(*arguments: object) -> int:
            self.calls.append(name.removeprefix("cu").removesuffix("_v2"))
            if name == self.failing:
                return 201
            if name == "cuDevicePrimaryCtxRetain":
                arguments[0]._obj.value = 0x1234  # type: ignore[attr-defined]
            if name == "cuMemcpyDtoH_v2":
                ctypes.memmove(*(argument.value for argument in arguments))  # type: ignore[attr-defined]
            return 0

        return call


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    fake = Driver()
    monkeypatch.setattr(primary_context.ctypes, "CDLL", lambda name: fake)
    return fake


def test_primary_context_is_retained_made_current_and_released_once(driver: Driver) -> None:
    context = PrimaryContext(0)
    assert driver.calls == ["Init", "DeviceGet", "DevicePrimaryCtxRetain"]
    driver.calls.clear()
    context.synchronize()
    assert driver.calls == ["CtxPushCurrent", "StreamSynchronize", "CtxPopCurrent"]
    context.close()
    context.close()
    assert driver.calls.count("DevicePrimaryCtxRelease") == 1


def test_failures_of_the_driver_are_named_and_the_context_is_popped(driver: Driver) -> None:
    context = PrimaryContext(0)
    driver.failing = "cuStreamSynchronize"
    with pytest.raises(EngineError, match="CUDA: cuStreamSynchronize failed with error 201 of the driver"):
        context.synchronize()
    assert driver.calls[-1] == "CtxPopCurrent"
    driver.failing = "cuInit"
    with pytest.raises(EngineError, match="cuInit failed"):
        PrimaryContext(0)


@pytest.mark.parametrize("size", [(64, 48), (65, 47)])
def test_a_picture_is_downloaded_for_the_tests_on_a_card(driver: Driver, size: tuple[int, int]) -> None:
    given = av.VideoFrame(*size, "nv12")
    for plane in given.planes:
        np.frombuffer(plane, np.uint8)[:] = np.random.default_rng(0).integers(0, 256, plane.buffer_size)
    luma, chroma = given.planes
    places, strides = (luma.buffer_ptr, chroma.buffer_ptr), (luma.line_size, chroma.line_size)
    picture = DevicePicture(places, strides, size[1], size[0], owner=given)
    for copy, plane in zip(downloaded(picture, PrimaryContext(0)), planes_of(picture), strict=True):
        np.testing.assert_array_equal(copy, plane)
    assert driver.calls[-3:] == ["CtxPushCurrent", "MemcpyDtoH", "CtxPopCurrent"]


def test_without_a_driver_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(primary_context.ctypes, "CDLL", refuse)
    with pytest.raises(EngineError, match="there is no driver; solo-rt doctor says more"):
        PrimaryContext(0)


# The source.


class GpuDecoder:
    """A decoder of FFmpeg's that hands its pictures out as NVDEC does when they stay on the GPU."""

    pix_fmt = "cuda"

    def __init__(self, name: str) -> None:
        self.context = av.CodecContext.create(name, "r")
        self.extradata = self.context.extradata

    def decode(self, packet: av.Packet | None) -> list[GpuPicture]:
        return [GpuPicture(picture.reformat(format="nv12")) for picture in self.context.decode(packet)]


@on_pyav_18
def test_source_leaves_frames_on_the_gpu_and_waits_for_each(
    driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AV1, because there the decoder for GPUs is another one, which a test can replace."""
    write_clip(tmp_path / "a.mkv", codec="libsvtav1", options={"preset": "12", "svtav1-params": "lp=1"}, matrix=1)
    expected = read(tmp_path / "a.mkv")
    asked: list[object] = []

    def create(name: str, mode: str, hwaccel: object) -> GpuDecoder:
        assert driver.calls[-1] == "CtxPushCurrent", "FFmpeg takes the context that is current"
        asked.append(hwaccel)
        return GpuDecoder("libdav1d")

    fake = SimpleNamespace(
        CodecContext=SimpleNamespace(create=create), FFmpegError=av.FFmpegError, time_base=av.time_base
    )
    monkeypatch.setattr(nvcodec, "device_count", lambda: 2)
    monkeypatch.setattr(video_source, "av", fake)
    monkeypatch.setattr(planes, "_display_matrix", lambda picture: (1, 0, 0, 1))
    with open_source(str(tmp_path / "a.mkv"), decoder="nvdec", gpu=1, on_gpu=True) as source:
        frames = list(source)
        assert (source.info.width, source.info.height) == (64, 48)
    assert [(a.device_id, a.is_hw_owned, a.options) for a in asked] == [
        (1, True, {"primary_ctx": "0", "current_ctx": "1"})
    ]  # type: ignore[attr-defined]
    assert driver.calls.count("StreamSynchronize") == len(frames) == len(expected) == 10
    assert driver.calls[-1] == "DevicePrimaryCtxRelease"
    for frame, other in zip(frames, expected, strict=True):
        assert (frame.pts, frame.matrix) == (other.pts, other.matrix)
        assert frame.device is not None
        for there, here in zip(planes_of(frame.device), other.planes, strict=True):
            np.testing.assert_array_equal(there, here)


def test_interlaced_pictures_are_made_whole_in_host_memory_and_the_others_stay(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", scan=["prog", "tff", "tff", "prog", "tff"])
    given = [picture.reformat(format="nv12") for picture in decoded(tmp_path / "a.mkv")]
    on_gpu = [GpuPicture(picture) for picture in given]
    whole = [picture for picture, _ in deinterlaced(((picture, None) for picture in given), codec="ffv1")]
    mended = [picture for picture, _ in deinterlaced(((picture, None) for picture in on_gpu), codec="ffv1")]  # type: ignore[misc]
    assert len(mended) == 10
    for picture, before, expected in zip(mended, on_gpu, whole, strict=True):
        if before.picture.interlaced_frame:
            assert [bytes(plane) for plane in picture.planes] == [bytes(plane) for plane in expected.planes]
            assert (picture.pts, picture.time_base) == (expected.pts, expected.time_base)
        else:
            assert picture is before


def test_frames_stay_on_a_gpu_only_by_nvdec(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"on_gpu: expected the nvdec decoder and PyAV 18\.1 or newer, got cpu"):
        open_source("a.mp4", on_gpu=True)
    from solo_rt import source

    monkeypatch.setattr(source, "CAN_STAY_ON_GPU", False)
    with pytest.raises(UsageError, match=f"got nvdec, {av.__version__}"):
        open_source("a.mp4", decoder="nvdec", on_gpu=True)


# The pipeline.


class FakeEngine:
    """Finds nothing; takes tensors only."""

    lanes, backend = 1, "fake"

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, Output]:
        shapes = self.spec.decoder.output_shapes(1, 32, 64, classes=len(self.spec.classes))
        return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}

    def cancel(self) -> None: ...

    def close(self) -> None: ...


class FakeFrameEngine(FakeEngine):
    def infer_frame(self, frame: Frame, painting: Painting | None = None) -> tuple[dict[str, Output], Frame | None]:
        return self.infer({}), None


@pytest.mark.parametrize(
    ("engine", "decoder", "track", "asked"),
    [
        (
            FakeFrameEngine(FOUND_SPEC),
            "nvdec",
            False,
            {"decoder": "nvdec", "gpu": 1, "on_gpu": nvcodec.CAN_STAY_ON_GPU},
        ),
        (
            FakeFrameEngine(STREET_SPEC),
            "nvdec",
            False,
            {"decoder": "nvdec", "gpu": 1, "on_gpu": nvcodec.CAN_STAY_ON_GPU},
        ),
        (FakeFrameEngine(FOUND_SPEC), "nvdec", True, {"decoder": "nvdec", "gpu": 1, "on_gpu": False}),
        (FakeFrameEngine(TINY_SPEC), "nvdec", False, {"decoder": "nvdec", "gpu": 1, "on_gpu": False}),
        (FakeEngine(FOUND_SPEC), "nvdec", False, {"decoder": "nvdec", "gpu": 1, "on_gpu": False}),
        (FakeFrameEngine(FOUND_SPEC), "cpu", False, {"decoder": "cpu", "gpu": 1, "on_gpu": False}),
    ],
)
def test_engine_says_where_frames_stay(
    driver: Driver,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    engine: FakeEngine,
    decoder: str,
    track: bool,
    asked: dict[str, object],
) -> None:
    opened: list[object] = []
    video = tmp_path / "x.mp4"
    video.write_bytes(b"not looked into")

    def open_fake_source(uri: str, **options: object) -> FakeSource:
        opened.append({name: options[name] for name in ("decoder", "gpu", "on_gpu")})
        raise EngineError("enough seen")

    def open_fake_engine(path: Path, **options: object) -> FakeEngine:
        opened.append(engine)
        return engine

    monkeypatch.setattr(nvcodec, "device_count", lambda: 2)
    monkeypatch.setattr(opening, "open_source", open_fake_source)
    monkeypatch.setattr(opening, "open_engine", open_fake_engine)
    monkeypatch.setattr(opening, "find_model", lambda model: Path("x.onnx"))
    with pytest.raises(EngineError, match="enough seen"):
        Pipeline(str(video), options=Options(track=track), decoder=decoder, device="cuda:1").run()  # type: ignore[arg-type]
    # NVDEC needs the engine first; a CPU's frames do not, so that both are opened at once.
    if decoder == "cpu":
        opened = [each for each in opened if each is not engine]
    assert opened == ([engine, asked] if decoder == "nvdec" else [asked])


# With a GPU.


@pytest.mark.cuda
@on_pyav_18
def test_nvdec_leaves_on_the_gpu_what_the_cpu_decodes(tmp_path: Path) -> None:
    require_nvdec()
    write_clip(tmp_path / "a.mp4", count=40, codec="libx264", options={"preset": "fast"}, size=(322, 182), matrix=1)
    expected = read(tmp_path / "a.mp4")
    context = PrimaryContext(0)
    with open_source(str(tmp_path / "a.mp4"), decoder="nvdec", on_gpu=True) as source:
        frames = list(source)  # all of them at once: none is written over
        assert source.damage is None
    for frame, other in zip(frames, expected, strict=True):
        assert (frame.pts, frame.matrix, frame.width, frame.height) == (other.pts, "bt709", 322, 182)
        assert frame.device is not None
        for there, here in zip(downloaded(frame.device, context), other.planes, strict=True):
            np.testing.assert_array_equal(there, here)
    context.close()
