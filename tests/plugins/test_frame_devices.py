"""The way of a frame on every device, a GPU and the emulator, without a network: its outputs are there already."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from card import Card, card
from devices import Cuda
from overlay_twin import make_frame
from soft_mask_twin import on_grid, random_masks

from solo_rt.decode import decode
from solo_rt.decoders import DetectionsDecoder
from solo_rt.errors import EngineError
from solo_rt.gpu.cuda import CONTEXT, Gpu, open_gpu
from solo_rt.gpu.downloads import DeviceTensor
from solo_rt.gpu.frame_path import FramePath
from solo_rt.gpu.kernels import Kernels
from solo_rt.preprocess import prepare
from solo_rt.render import Painting, Style, render
from solo_rt.spec import InputSpec, ModelSpec
from solo_rt.types import DevicePicture, Frame

__all__ = ["card"]

SLOTS, GRID = 20, (24, 40)
DECODER = DetectionsDecoder(max_instances=SLOTS)
SPEC = ModelSpec("given", InputSpec(height=96, width=160), DECODER, classes=tuple("abcdefg"))
PRECISION = {"float32": 1e-6, "float16": 2.0**-11}


@pytest.fixture(params=["emulated", *(pytest.param(name, marks=pytest.mark.cuda) for name in ("primary", "pycuda"))])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Gpu, Kernels]]:
    """Yield the emulated card, and the GPU in its primary context and in one of pycuda's where that is there."""
    if request.param == "emulated":
        emulated: Card = request.getfixturevalue("card")
        gpu, kernels = emulated.open(), emulated.kernels()
    else:
        cuda: Cuda = request.getfixturevalue("gpu")
        if request.param == "pycuda":
            pytest.importorskip("pycuda.driver")
        monkeypatch.setenv(CONTEXT, request.param)
        monkeypatch.setenv("SOLO_RT_KERNELS", str(cuda.path))
        gpu, kernels = open_gpu(), Kernels(cuda.path)
    with gpu.bound():
        yield gpu, kernels


class Bed:
    """A stream with a tensor to fill and with the outputs of a network."""

    def __init__(self, gpu: Gpu, kernels: Kernels, dtype: str = "float32") -> None:
        self.gpu, self.stream = gpu, gpu.stream()
        self.tensor = np.zeros((1, 3, SPEC.input.height, SPEC.input.width), dtype)
        rng = np.random.default_rng(5)
        masks = random_masks(rng, SLOTS, GRID, (0.1, 0.1))
        self.outputs = {
            "num_dets": np.array([[SLOTS - 2]], np.int32),
            "det_scores": np.linspace(1, 0.1, SLOTS, dtype=np.float32)[None],
            "det_labels": rng.integers(0, len(SPEC.classes), (1, SLOTS)).astype(np.int32),
            "det_regions": masks.regions[None],
            "det_masks": on_grid(masks).view(np.int32)[None],
        }
        self.buffers = {name: self.store(value) for name, value in {"image": self.tensor, **self.outputs}.items()}
        tensors = {
            name: DeviceTensor(self.buffers[name].ptr, value.shape, value.dtype)
            for name, value in {"image": self.tensor, **self.outputs}.items()
        }
        self.computed, self.failing = 0, False
        self.path = FramePath(gpu, kernels, self.stream, SPEC, tensors=tensors, compute=self.compute)

    def compute(self) -> None:
        if self.failing:
            raise EngineError("no memory")
        self.computed += 1

    def store(self, array: np.ndarray):
        """Return device memory with the array."""
        staged = self.gpu.pinned(array.shape, array.dtype)
        staged[...] = array
        buffer = self.gpu.allocate(array.nbytes)
        self.gpu.upload(buffer.ptr, staged, self.stream)
        self.stream.synchronize()
        return buffer

    def read_tensor(self) -> np.ndarray:
        staged = self.gpu.pinned(self.tensor.shape, self.tensor.dtype)
        self.gpu.download(staged, self.buffers["image"].ptr, self.stream)
        self.stream.synchronize()
        return staged.astype(np.float32)

    def on_device(self, frame: Frame) -> Frame:
        """Return a YUV frame as NV12 on the device, rows padded."""
        y, u, v = frame.planes
        rows = [np.pad(y, [(0, 0), (0, 7)]), np.pad(np.stack([u, v], 2).reshape(len(u), -1), [(0, 0), (0, 32)])]
        buffers = [self.store(plane) for plane in rows]
        (luma, chroma), strides = (buffer.ptr for buffer in buffers), tuple(plane.strides[0] for plane in rows)
        picture = DevicePicture((luma, chroma), strides, frame.height, frame.width, owner=buffers)
        return replace(frame, planes=(), device=picture)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("pixel_format", ["rgb24", "yuv420p", "nv12"])
def test_frame_is_prepared_and_painted_as_on_the_cpu(machine, pixel_format, dtype):
    bed, style = Bed(*machine, dtype), Style(alpha=0.4, outline=2, labels=False)
    painting = Painting(classes=(0, 2, 3, 5), conf=0.3, max_det=9, style=style)
    sizes = [*[(54, 90)] * 4, (131, 77), (54, 90)]
    for seed, size in enumerate(sizes, 1):
        planes = make_frame(size, "rgb24" if pixel_format == "rgb24" else "yuv420p").planes
        frame = Frame(
            tuple(plane // seed for plane in planes), "rgb24" if pixel_format == "rgb24" else "yuv420p", matrix="bt709"
        )
        painted = bed.path.run(bed.on_device(frame) if pixel_format == "nv12" else frame, painting)
        tensor, box = prepare(frame, SPEC.input)
        np.testing.assert_allclose(bed.read_tensor(), tensor, rtol=PRECISION[dtype], atol=3e-6)
        found = decode(
            {name: value[0] for name, value in bed.outputs.items()}, SPEC, box,
            conf=0.3, max_det=9, classes=(0, 2, 3, 5),
        )  # fmt: skip
        for plane, expected in zip(painted.planes, render(frame, found, SPEC.classes, style=style).planes, strict=True):
            np.testing.assert_array_equal(plane, expected)
    assert bed.computed == len(sizes) - 1  # one for a graph, which then holds it, less the two later


def test_path_works_again_after_a_failure(machine):
    bed, frame = Bed(*machine), make_frame((30, 50), "yuv420p")
    expected = Bed(*machine).path.run(frame, Painting(max_det=5))
    for bed.failing in (True, True, False, True, True, False, False, False):  # the first frame, and the second
        if bed.failing:
            with pytest.raises(EngineError, match="no memory"):
                bed.path.run(frame, Painting(max_det=5))
            continue
        for a, b in zip(bed.path.run(frame, Painting(max_det=5)).planes, expected.planes, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("error", [1, 719])  # of one call, and of the card
def test_every_call_for_a_frame_may_fail(card, error):
    """Whichever it is, the caller hears of it or gets the right picture; sizes change, so that memory does, too."""
    frames = [make_frame(size, "yuv420p") for size in ((30, 50), (30, 50), (30, 50), (60, 40), (30, 50))]
    gpu, kernels = card.open(), card.kernels()
    with gpu.bound():
        bed = Bed(gpu, kernels)
        expected = [bed.path.run(frame, Painting(max_det=5)).planes for frame in frames]
    call, failed, heard = 0, True, []
    while failed:
        gpu.records = True
        with gpu.bound():
            bed = Bed(gpu, kernels)
            with card.failing(call, error):
                for frame, planes in zip(frames, expected, strict=True):
                    try:
                        painted = bed.path.run(frame, Painting(max_det=5))
                    except EngineError as failure:
                        heard.append(str(failure))
                    else:
                        for a, b in zip(painted.planes, planes, strict=True):
                            np.testing.assert_array_equal(a, b)
                failed = card.state.calls > call
        call += 3  # of some sixty
    assert len(heard) > 8  # of a graph that cannot be made nobody hears
    assert all(text.startswith(f"CUDA error {error}: ") for text in heard)
