"""Frames that never leave the GPU: painted, labelled and handed to the encoder there; the GPU is the emulator."""

from __future__ import annotations

import gc
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from clips import info, read, result_of, write_clip
from devices import Cuda
from fakes import STREET_SPEC, FakeSink
from gpu_memory import planes_of, require_nvdec, require_nvenc
from test_frame_path import (  # noqa: F401
    SPEC,
    CpuEngine,
    GivenSource,
    Opener,
    card,
    decoded_on_gpu,
    open_engine,
    results,
    some_frames,
)

from solo_rt.gpu.cuda import open_gpu
from solo_rt.gpu.kernels import Kernels
from solo_rt.gpu.labels import GpuLabels
from solo_rt.gpu.nvcodec import CAN_STAY_ON_GPU
from solo_rt.gpu.picture_memory import describe
from solo_rt.gpu.picture_pool import PicturePool
from solo_rt.pipeline import run
from solo_rt.pipeline.options import Options
from solo_rt.pipeline.outputs import Outputs
from solo_rt.render.lettering import Label, draw_label, text_coverage
from solo_rt.result import Result
from solo_rt.sink import VideoOptions, encoding, open_sink
from solo_rt.sink import video as video_sink
from solo_rt.source import open_source
from solo_rt.spec import ModelSpec
from solo_rt.types import Frame


class GpuSink(FakeSink):
    """Keeps pictures as those in host memory are kept, and says where they were."""

    def __init__(self) -> None:
        super().__init__(needs_picture=True)
        self.on_gpu: list[bool] = []

    def write(self, result: Result) -> None:
        assert result.rendered is not None
        device = result.rendered.device
        super().write(result)
        self.on_gpu.append(device is not None)
        if device is not None:
            self.pictures[-1] = b"".join(plane.tobytes() for plane in planes_of(device))


def labels_for(opener: Opener) -> GpuLabels:
    return GpuLabels(opener.gpu, opener.card.kernels())


def run_on_gpu(
    opener: Opener, frames: list[Frame], sink: object, *, spec: ModelSpec = SPEC, lanes: int = 1, **options: object
) -> None:
    engine = opener(spec, lanes=lanes)
    labels = labels_for(opener)
    run(GivenSource(frames), engine, [sink], options=Options(**options), gpu_labels=labels)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tags", "options"),
    [
        ({}, {"conf": 0.0}),
        ({"matrix": "bt709", "full_range": True}, {"conf": 0.3, "sync": True}),
        ({}, {"conf": 0.0, "classes": ("class 3",), "max_det": 2}),
        ({}, {"conf": 1.0}),
    ],
)
def test_pictures_that_stay_on_the_gpu_are_those_of_the_cpu(open_engine, tags, options):  # noqa: F811
    frames = some_frames(*[(48, 80)] * 4, (60, 64), (47, 79), (48, 80), **tags)
    sink = GpuSink()
    run_on_gpu(open_engine, [*map(decoded_on_gpu, frames), frames[0]], sink, **options)
    expected = results(CpuEngine(SPEC), [*frames, frames[0]], **options)
    assert [json.dumps(record) for record in sink.records] == [json.dumps(record) for record in expected.records]
    assert sink.pictures == expected.pictures
    assert sink.on_gpu == [True] * 5 + [False, True, False]  # not what is of an odd size, or was on the host before


def test_classes_of_pixels_are_painted_there_with_their_legend(open_engine):  # noqa: F811
    frames = some_frames(*[(200, 320)] * 3, (201, 320))
    sink = GpuSink()
    run_on_gpu(open_engine, [decoded_on_gpu(frame) for frame in frames], sink, spec=STREET_SPEC)
    assert sink.pictures == results(CpuEngine(STREET_SPEC), frames).pictures
    assert sink.on_gpu == [True] * 3 + [False]


def test_memory_of_pictures_is_used_again_and_never_while_somebody_looks(open_engine):  # noqa: F811
    frames = some_frames(*[(48, 80)] * 20)

    class Keeper(GpuSink):
        """Holds the last three results, as an encoder may, and looks at them once more."""

        def __init__(self) -> None:
            super().__init__()
            self.held: list[tuple[Result, bytes]] = []
            self.places: set[int] = set()

        def write(self, result: Result) -> None:
            super().write(result)
            assert result.rendered is not None
            assert result.rendered.device is not None
            self.places.add(result.rendered.device.planes[0])
            self.held = [*self.held[-2:], (result, self.pictures[-1])]
            for kept, content in self.held:
                assert kept.rendered is not None
                assert kept.rendered.device is not None
                assert b"".join(plane.tobytes() for plane in planes_of(kept.rendered.device)) == content

    sink = Keeper()
    run_on_gpu(open_engine, [decoded_on_gpu(frame) for frame in frames], sink, lanes=2, conf=0.0)
    assert sink.pictures == results(CpuEngine(SPEC), frames, conf=0.0).pictures
    assert len(sink.places) < 16


def test_nothing_crosses_to_the_host_but_what_was_found(open_engine):  # noqa: F811
    frames = [decoded_on_gpu(frame) for frame in some_frames(*[(48, 80)] * 3)]
    open_engine.gpu.copied.clear()
    run_on_gpu(open_engine, frames, GpuSink(), conf=0.0)
    picture = 48 * 80 * 3 // 2
    assert all(direction == "up" or nbytes < picture / 2 for direction, nbytes in open_engine.gpu.copied)


def test_pool_gives_what_nvenc_takes(card):  # noqa: F811
    gpu = card.open()
    with gpu.bound():
        pool = PicturePool(gpu)
        first = pool.take(48, 80)
        assert first.strides == (256, 256)
        assert first.planes[1] == first.planes[0] + 48 * 256
        second, place = pool.take(48, 80), first.planes[0]
        places = {place, second.planes[0]}
        assert len(places) == 2
        del first
        gc.collect()
        assert pool.take(48, 80).planes[0] == place
        large = pool.take(100, 600)
        assert large.strides == (768, 768)
        del second, large
        gc.collect()
        assert pool.take(100, 600).strides == (768, 768)
        assert pool.take(48, 80).planes[0] in places  # nothing is freed: NVENC may still know its address


def test_labels_are_written_as_on_the_host(open_engine):  # noqa: F811
    labels = labels_for(open_engine)
    for count, tags in ((0, {}), (1, {"matrix": "bt709"}), (30, {"full_range": True})):
        (frame,) = some_frames((60, 90), **tags)
        there = decoded_on_gpu(frame)
        rng = np.random.default_rng(count)
        texts = [
            Label(*(2 * int(v) for v in rng.integers(0, 40, 2)), *text_coverage(f"{i} {count}", 14), (8 * i, 40, 200))
            for i in range(count)
        ]
        labels.write(there, texts)
        expected = tuple(plane.copy() for plane in frame.planes)
        for text in texts:
            draw_label(frame, expected, text)
        assert there.device is not None
        for a, b in zip(planes_of(there.device), expected, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.fixture
def x264_for_nvenc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let x264 encode without loss what NVENC would be given; it takes NV12 from host memory."""
    monkeypatch.setattr(encoding, "require_gpu", lambda codec, gpu: None)
    monkeypatch.setattr(encoding, "try_nvenc", lambda *args, **kwargs: None)
    monkeypatch.setattr(video_sink, "GpuContext", lambda gpu: None)
    monkeypatch.setattr(video_sink, "ON_GPU", "nv12")
    monkeypatch.setattr(encoding, "NVENC", replace(encoding.NVENC, name="libx264"))
    monkeypatch.setattr(VideoOptions, "private", lambda video, gpu: {"qp": "0", "preset": "ultrafast"})


@pytest.mark.skipif(not CAN_STAY_ON_GPU, reason="this PyAV cannot leave frames on a GPU")
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_file_holds_the_pictures_of_the_gpu(open_engine, x264_for_nvenc, tmp_path: Path, suffix):  # noqa: F811
    frames = some_frames(*[(48, 80)] * 4, (60, 64), (48, 80), matrix="bt709")
    given = [decoded_on_gpu(frame) for frame in frames]
    given.insert(3, frames[3])  # one from the host in between
    path = tmp_path / f"a{suffix}"
    with open_sink(
        str(path), info=info(size=(80, 48), time_base=Fraction(1, 1000)), video=VideoOptions(encoder="nvenc")
    ) as sink:
        assert Outputs([sink]).take_gpu_pictures
        run_on_gpu(open_engine, given, sink, conf=0.0)
    expected = results(CpuEngine(SPEC), [*frames[:4], frames[3], *frames[4:]], conf=0.0).pictures
    for i, frame in enumerate(read(path)):
        assert (frame.width, frame.height, frame.matrix) == (80, 48, "bt709")
        if i != 5:  # which is of another size, and scaled into the first one's
            assert b"".join(plane.tobytes() for plane in frame.planes) == expected[i]


def test_only_video_by_nvenc_takes_pictures_of_a_gpu(x264_for_nvenc, tmp_path: Path):
    by_nvenc = open_sink(str(tmp_path / "a.mp4"), info=info(), video=VideoOptions(encoder="nvenc"))
    by_x264 = open_sink(str(tmp_path / "b.mp4"), info=info())
    records, nothing = open_sink(str(tmp_path / "c.jsonl"), info=info()), open_sink("null://", info=info())
    assert Outputs([by_nvenc, records, nothing]).take_gpu_pictures
    assert not Outputs([by_nvenc, by_x264]).take_gpu_pictures
    assert not Outputs([records]).take_gpu_pictures
    for sink in (by_nvenc, by_x264, records):
        sink.close()


@pytest.mark.cuda
@pytest.mark.skipif(not CAN_STAY_ON_GPU, reason="this PyAV cannot leave frames on a GPU")
def test_frames_go_from_nvdec_to_nvenc(gpu: Cuda, tmp_path: Path):
    """As in a run, but with a copy in the place of the engine."""
    require_nvdec()
    require_nvenc()
    write_clip(tmp_path / "a.mp4", count=30, codec="libx264", options={"qp": "0"}, size=(322, 182), matrix=1)
    expected = read(tmp_path / "a.mp4")
    device, kernels = open_gpu(0), Kernels(gpu.path)
    text = Label(20, 40, *text_coverage("label", 30), (200, 60, 40))
    with (
        device.bound(),
        open_source(str(tmp_path / "a.mp4"), decoder="nvdec", on_gpu=True) as source,
        open_sink(str(tmp_path / "b.mp4"), info=source.info, video=VideoOptions(encoder="nvenc", crf=5)) as sink,
    ):
        pool, stream, labels = PicturePool(device), device.stream(), GpuLabels(device, kernels)
        for frame in source:
            assert frame.device is not None
            picture = pool.take(frame.height, frame.width)
            kernels.copy_picture(describe(frame.device), describe(picture), stream=stream.handle)
            stream.synchronize()
            copied = replace(frame, device=picture)
            labels.write(copied, [text])
            sink.write(replace(result_of(expected[frame.index]), frame=frame, rendered=copied))
    for frame, other in zip(read(tmp_path / "b.mp4"), expected, strict=True):
        assert (frame.time_s, frame.matrix) == (other.time_s, "bt709")
        labelled = tuple(plane.copy() for plane in other.planes)
        draw_label(other, labelled, text)
        for got, plane in zip(frame.planes, labelled, strict=True):
            assert 10 * np.log10(255**2 / ((got.astype(float) - plane) ** 2).mean()) > 35  # dB
