"""Frames through the TensorRT engine of an emulated card against the stages of the CPU."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from card import EXISTING, Card, SpiedGpu, card
from fakes import STREET_SPEC, FakeSink, FakeSource, ends_all_threads
from overlay_twin import make_frame
from soft_mask_twin import on_grid, random_masks
from trt_fakes import install, write_fitting

from solo_rt.decode import decode
from solo_rt.decoders import DetectionsDecoder
from solo_rt.engine.base import FrameEngine
from solo_rt.engine.tensorrt import TensorRtEngine
from solo_rt.errors import UsageError
from solo_rt.pipeline import run
from solo_rt.pipeline.options import Options
from solo_rt.preprocess import prepare
from solo_rt.render import Painting, Style, render
from solo_rt.spec import InputSpec, ModelSpec
from solo_rt.types import DevicePicture, Frame, Output

__all__ = ["card"]

SLOTS, GRID = 12, (8, 16)
SPEC = ModelSpec(
    name="found",
    input=InputSpec(height=32, width=64),
    decoder=DetectionsDecoder(max_instances=SLOTS),
    classes=tuple(f"class {i}" for i in range(40)),
)
LOGITS_SPEC = replace(STREET_SPEC, decoder=replace(STREET_SPEC.decoder, output="logits"))


def detect(inputs: Mapping[str, np.ndarray]) -> dict[str, Output]:
    """Return detections that depend on the picture, but not on the last bits of the tensor; all four kinds of mask."""
    rng = np.random.default_rng(int(np.rint(np.abs(inputs["image"].astype(np.float64)).mean() * 100)))
    count = int(rng.integers(0, SLOTS + 1))
    masks = random_masks(rng, SLOTS, GRID, (0.1, 0.1))
    exists = np.arange(SLOTS) < count
    soft = np.where(exists[:, None, None], on_grid(masks), np.uint8(255))  # from `count` on it is not written
    return {
        "num_dets": np.array([[count]], np.int32),
        "det_scores": np.where(exists, -np.sort(-rng.random(SLOTS)), 0).astype(np.float32)[None],
        "det_labels": np.where(exists, rng.choice([0, 3, 33], SLOTS), 0).astype(np.int32)[None],
        "det_regions": np.where(exists[:, None], masks.regions, 0).astype(np.int32)[None],
        "det_masks": soft.view(np.int32)[None],
        "det_counts": np.array([[count, count]], np.int32),
    }


def label(inputs: Mapping[str, np.ndarray]) -> dict[str, Output]:
    """Return labels for a model like STREET_SPEC, as logits for LOGITS_SPEC; they do not depend on the last bits."""
    level = np.digitize(np.abs(inputs["image"]).mean(1), [0.4, 0.7, 1.0])  # [B, H, W]
    logits = np.stack([level == i for i in range(3)], 1).astype(np.float32)
    return {"labels": np.array([0, 1, 2, 255], np.uint8)[level], "logits": logits}


@dataclass
class CpuEngine:
    """The same network behind the stages of the CPU."""

    spec: ModelSpec
    lanes: int = 1
    backend: str = "cpu"

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, Output]:
        found = detect(inputs) if self.spec is SPEC else label(inputs)
        return {name: found[name] for name in self.spec.output_shapes}

    def cancel(self) -> None: ...

    def close(self) -> None: ...


class Opener:
    """Opens engines on the emulated card."""

    def __init__(self, card: Card, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.card, self.folder, self.patch = card, folder, monkeypatch
        self.gpu: SpiedGpu = card.open()

    def __call__(
        self, spec: ModelSpec = SPEC, *, lanes: int = 1, dtype: type = np.float32, records: bool = True
    ) -> TensorRtEngine:
        self.gpu.records = records
        size = (1, 3, spec.input.height, spec.input.width)
        decoder = spec.decoder
        outputs = {
            name: ("out", shape, np.dtype(decoder.output_type(name))) for name, shape in spec.output_shapes.items()
        }
        install(self.patch, self.card, {"image": ("in", size, dtype), **outputs}, CpuEngine(spec).infer)
        return TensorRtEngine(write_fitting(self.folder, spec), b"plan", gpu=self.gpu, lanes=lanes)


@pytest.fixture
def open_engine(card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opener:
    return Opener(card, tmp_path, monkeypatch)


class GivenSource(FakeSource):
    """Yields the frames it was given."""

    def __init__(self, frames: list[Frame]) -> None:
        super().__init__(len(frames))
        self._frames = frames

    def __iter__(self) -> Iterator[Frame]:
        return iter(self._frames)


def padded(frame: Frame) -> Frame:
    """Return the frame with rows that are longer than their pixels, read-only as a decoder's are."""
    planes = []
    for plane in frame.planes:
        rows = np.pad(plane, [(0, 0), (0, 3), *[(0, 0)] * (plane.ndim - 2)], constant_values=99)
        rows.flags.writeable = False
        planes.append(rows[:, : plane.shape[1]])
    return replace(frame, planes=tuple(planes))


def some_frames(*sizes: tuple[int, int], pixel_format: str = "yuv420p", **tags: object) -> list[Frame]:
    """Return frames of noise, darker or brighter than one another, so that networks tell them apart."""
    frames = []
    for i, size in enumerate(sizes):
        planes = tuple(plane // (1 + i % 3) + 11 * i for plane in make_frame(size, pixel_format).planes)
        frames.append(padded(Frame(planes, pixel_format, index=i, pts=i, **tags)))  # type: ignore[arg-type]
    return frames


def decoded_on_gpu(frame: Frame) -> Frame:
    """Return the frame as NV12 behind addresses, in rows with other paddings, which `owner` keeps alive."""
    y, u, v = frame.planes
    planes = [np.pad(y, [(0, 0), (0, 5)]), np.pad(np.stack([u, v], 2).reshape(len(u), -1), [(0, 0), (0, 18)])]
    addresses, strides = zip(*((plane.ctypes.data, plane.strides[0]) for plane in planes), strict=True)
    picture = DevicePicture(addresses, strides, frame.height, frame.width, owner=planes)
    return replace(frame, planes=(), device=picture)


def results(engine: object, frames: list[Frame], *, with_picture: bool = True, **options: object) -> FakeSink:
    sink = FakeSink(needs_picture=with_picture)
    run(GivenSource(frames), engine, [sink], options=Options(**options))  # type: ignore[arg-type]
    return sink


def assert_same(found: FakeSink, expected: FakeSink) -> None:
    assert [json.dumps(record) for record in found.records] == [json.dumps(record) for record in expected.records]
    assert found.pictures == expected.pictures


@pytest.mark.parametrize(
    ("tags", "options"),
    [
        ({"pixel_format": "rgb24"}, {}),
        ({}, {"conf": 0.0}),
        ({"matrix": "bt709", "full_range": True}, {"conf": 0.6}),
        ({"pixel_format": "rgb24"}, {"conf": 0.0, "classes": ("class 3", "class 33")}),
        ({}, {"conf": 0.1, "classes": ("class 0",), "max_det": 1}),
        ({}, {"conf": 0.0, "max_det": 3, "sync": True}),
        ({}, {"conf": 1.0}),
    ],
)
def test_records_and_pictures_are_those_of_the_stages_on_the_cpu(open_engine, tags, options):
    sizes = [(48, 80), (48, 80), (48, 80), (47, 79), (1, 1), (90, 30), (90, 30), (48, 80)]
    frames = some_frames(*sizes, **tags)
    engine = open_engine()
    found, expected = results(engine, frames, **options), results(CpuEngine(SPEC), frames, **options)
    assert_same(found, expected)
    if "conf" not in options or options["conf"] < 1:
        assert any(record["instances"] for record in expected.records)
        assert any(a.planes[0].tobytes() not in b for a, b in zip(frames, found.pictures, strict=True))
    assert open_engine.gpu.captured == 2  # for the two sizes that come twice in a row


@pytest.mark.parametrize("records", [False, True])
def test_frames_on_the_gpu_are_painted_without_touching_the_memory_of_their_decoder(open_engine, records):
    on_host = some_frames(*[(48, 80)] * 4, (47, 79), (1, 1), (48, 80), matrix="bt709")
    on_gpu = [decoded_on_gpu(frame) for frame in on_host]
    before = [[plane.copy() for plane in frame.device.owner] for frame in on_gpu]
    mixed = [*on_gpu, *on_host[:2], on_gpu[0]]
    found = results(open_engine(records=records), mixed, conf=0.0)
    assert_same(found, results(CpuEngine(SPEC), [*on_host, *on_host[:2], on_host[0]], conf=0.0))
    for frame, planes in zip(on_gpu, before, strict=True):
        for a, b in zip(frame.device.owner, planes, strict=True):
            np.testing.assert_array_equal(a, b)


def test_frames_on_a_gpu_need_an_engine_there():
    with pytest.raises(UsageError, match="expected a frame in host memory, got one on a GPU; only an engine there"):
        results(CpuEngine(SPEC), [decoded_on_gpu(frame) for frame in some_frames((48, 80))])


def test_lanes_have_their_own_memory(open_engine):
    frames = some_frames(*[(48, 80)] * 12, *[(47, 60)] * 5)
    with ends_all_threads():
        found = results(open_engine(lanes=3), frames, conf=0.0)
    assert_same(found, results(CpuEngine(SPEC), frames, conf=0.0))


@pytest.mark.parametrize("records", [False, True])
def test_frame_costs_one_wait_and_no_copy_that_nobody_wants(open_engine, records):
    engine, gpu, state = open_engine(records=records), open_engine.gpu, open_engine.card.state
    frames = some_frames(*[(48, 80)] * 5)
    outputs = [("down", 4 * int(np.prod(shape))) for shape in SPEC.output_shapes.values()]
    picture, table = 48 * 80 * 3 // 2, 4 * len(SPEC.classes)
    for painting in (None, Painting()):
        wanted = [("up", picture), *outputs, *([("down", picture)] if painting else [])]
        for i, frame in enumerate(frames):
            gpu.copied.clear()
            waits = state.waits
            _, painted = engine.infer_frame(frame, painting)
            assert (painted is None) == (painting is None)
            assert state.waits == waits + 1
            # A graph has its copies in itself, and is recorded after the second frame.
            expected = wanted * ((2 if i == 1 else 0) if records and i else 1)
            assert gpu.copied == ([("up", table)] if painting and i == 0 else []) + expected


@pytest.mark.parametrize("is_closed", [True, False])
def test_an_engine_that_is_closed_or_forgotten_leaves_nothing_on_the_card(open_engine, is_closed):
    """At once: what the garbage collector finds later may be freed while a graph is recorded, which that ends."""
    state = open_engine.card.state
    before = [getattr(state, name) for name in (*EXISTING, "room")]
    gc.disable()
    try:
        engine = open_engine(lanes=2)
        for frame in some_frames(*[(48, 80)] * 6):
            engine.infer_frame(frame, Painting())
        assert [getattr(state, name) for name in (*EXISTING, "room")] != before
        if is_closed:
            engine.close()
        else:
            del engine
        assert [getattr(state, name) for name in (*EXISTING, "room")] == before
    finally:
        gc.enable()


def test_painted_frame_belongs_to_the_caller_and_the_input_stays_as_it_was(open_engine):
    engine, style = open_engine(), Style(alpha=0.3, outline=3, labels=False)
    frames = some_frames((48, 80), (48, 80), (20, 31))
    painted = [engine.infer_frame(frame, Painting(style=style)) for frame in frames]
    for frame, again, (outputs, drawn) in zip(frames, some_frames((48, 80), (48, 80), (20, 31)), painted, strict=True):
        first = {name: value[0] for name, value in outputs.items()}
        _, box = prepare(frame, SPEC.input)
        found = decode(first, SPEC, box)
        expected = render(again, found, SPEC.classes, style=style)
        assert (drawn.index, drawn.pts, drawn.pixel_format) == (frame.index, frame.pts, frame.pixel_format)
        for plane, result, right in zip(again.planes, drawn.planes, expected.planes, strict=True):
            np.testing.assert_array_equal(result, right)
            assert result.flags.writeable
            assert result.flags.c_contiguous
            assert not np.shares_memory(plane, result)
        for given, plane in zip(frame.planes, again.planes, strict=True):
            np.testing.assert_array_equal(given, plane)


def test_what_is_tracked_is_painted_as_on_the_cpu(open_engine):
    """A tracker leaves out instances, keeps weak ones and gives others another class: no engine knows of that."""
    frames = some_frames(*[(48, 80)] * 8)
    found, expected = (results(engine, frames, conf=0.3, track=True) for engine in (open_engine(), CpuEngine(SPEC)))
    assert any(record["instances"] for record in expected.records)
    assert_same(found, expected)


def test_network_of_half_precision_gets_its_tensor(open_engine):
    frames = some_frames((48, 80), (48, 80), pixel_format="rgb24")
    assert_same(results(open_engine(dtype=np.float16), frames), results(CpuEngine(SPEC), frames))


def test_nothing_is_painted_for_a_sink_that_shows_no_picture(open_engine):
    frames = some_frames((48, 80), (48, 80))
    found = results(open_engine(), frames, with_picture=False)
    assert_same(found, results(CpuEngine(SPEC), frames, with_picture=False))
    assert found.pictures == []


@pytest.mark.parametrize("options", [{}, {"classes": ("car", "sky")}])
@pytest.mark.parametrize("pixel_format", ["rgb24", "yuv420p", "nv12"])
def test_classes_of_pixels_are_painted_as_on_the_cpu(open_engine, pixel_format, options):
    sizes = [(240, 320), (240, 320), (240, 320), (31, 50), (1, 1)]  # in the first ones there is room for a legend
    on_host = some_frames(*sizes, pixel_format=pixel_format.replace("nv12", "yuv420p"))
    frames = [decoded_on_gpu(frame) for frame in on_host] if pixel_format == "nv12" else on_host
    found, expected = (results(engine, given, **options) for engine, given in (
        (open_engine(STREET_SPEC), frames), (CpuEngine(STREET_SPEC), on_host)
    ))  # fmt: skip
    assert_same(found, expected)
    assert all(on_host[i].planes[0].tobytes() not in found.pictures[i] for i in range(3))


def test_what_needs_decoding_on_the_cpu_is_painted_there(open_engine):
    frames = some_frames((240, 320), (31, 50))
    engine = open_engine(LOGITS_SPEC)
    assert isinstance(engine, FrameEngine)
    assert_same(results(engine, frames), results(CpuEngine(LOGITS_SPEC), frames))
    with pytest.raises(UsageError, match="expected a frame in host memory, got one on a GPU"):
        results(engine, [decoded_on_gpu(frames[0])])
    assert results(engine, [decoded_on_gpu(frames[0])], with_picture=False).records


def test_stages_are_named_for_what_they_do(open_engine):
    report = run(GivenSource(some_frames((48, 80))), open_engine(), [FakeSink(needs_picture=True)])
    assert list(report.stages) == ["read", "infer", "decode", "render", "sink"]
