"""What frames cost on the way through a GPU, beside what the copies alone would take and beside the CPU.

    python tests/bench/frames_cuda.py [--objects 20] [--repeats 30]
    python tests/bench/frames_cuda.py --model MODEL [--backend tensorrt] [--height 1080]

Without a model there is no network: its outputs are there already, and a frame is uploaded, letterboxed, painted and
downloaded. The floor is its bytes at the rate of the link, measured in the same run; the CPU's time is of `prepare` and
`render` on one core. With a model, `infer_frame` is timed against `prepare`, `infer` and `render`, one frame at a time
and on all lanes. Labels are left out. Times are the least of several, in milliseconds. Needs a GPU and
an installation with CUDA.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from render import CLASSES, SPEC, make_scene
from soft_mask_twin import on_grid
from stopwatch import least_ms, least_ms_each

from solo_rt.decode import decode
from solo_rt.decoders import DetectionsDecoder
from solo_rt.engine import open_engine
from solo_rt.engine.base import FrameEngine
from solo_rt.gpu.cuda import Buffer, Gpu, open_gpu
from solo_rt.gpu.downloads import DeviceTensor
from solo_rt.gpu.frame_path import FramePath
from solo_rt.gpu.kernels import Kernels
from solo_rt.gpu.native_library import find_kernels
from solo_rt.preprocess import prepare
from solo_rt.render import Painting, Style, render
from solo_rt.spec import ModelSpec
from solo_rt.types import DevicePicture, Frame, Instances

BARE = Style(labels=False)
PAINTING = Painting(style=BARE)


def outputs_of(found: Instances) -> dict[str, np.ndarray]:
    """Return the instances as a network with our decoder gives them."""
    return {
        "num_dets": np.array([[len(found)]], np.int32),
        "det_scores": -np.sort(-found.scores)[None],
        "det_labels": found.class_ids[None],
        "det_regions": found.masks.regions[None],
        "det_masks": on_grid(found.masks).view(np.int32)[None],
    }


class Device:
    """The GPU, a stream, and what goes to its memory once."""

    def __init__(self, gpu: Gpu) -> None:
        self.gpu, self.stream = gpu, gpu.stream()

    def store(self, array: np.ndarray) -> Buffer:
        """Return device memory with the array."""
        staged, buffer = self.gpu.pinned(array.shape, array.dtype), self.gpu.allocate(array.nbytes)
        staged[...] = array
        self.gpu.upload(buffer.ptr, staged, self.stream)
        self.stream.synchronize()
        return buffer

    def rates(self, nbytes: int = 1 << 26) -> tuple[float, float]:
        """Return bytes per millisecond up and down the link."""
        gpu, stream = self.gpu, self.stream
        staged, buffer = gpu.pinned((nbytes,), np.uint8), gpu.allocate(nbytes)

        def timed(copy: object) -> float:
            return nbytes / least_ms(lambda: (copy(), stream.synchronize()), 10)  # type: ignore[operator]

        up = timed(lambda: gpu.upload(buffer.ptr, staged, stream))
        return up, timed(lambda: gpu.download(staged, buffer.ptr, stream))

    def nv12(self, frame: Frame) -> Frame:
        """Return a YUV frame as a decoder on the GPU gives it."""
        y, u, v = frame.planes
        planes = [y, np.stack([u, v], 2).reshape(len(u), -1)]
        buffers = [self.store(plane) for plane in planes]
        places, strides = zip(*((b.ptr, p.strides[0]) for b, p in zip(buffers, planes, strict=True)), strict=True)
        return replace(frame, planes=(), device=DevicePicture(places, strides, frame.height, frame.width, buffers))


def without_network(gpu: Gpu, kernels: Kernels, *, objects: int, repeats: int) -> None:
    """Print a line per size and format."""
    device = Device(gpu)
    up, down = device.rates()
    print(f"{gpu.name}: link {up / 1e6:.1f} GB/s up, {down / 1e6:.1f} GB/s down")
    headings = ("read", "floor", "painted", "floor", "cpu", "cpu")
    print(f"{'frame':28}" + "".join(f"{heading:>10}" for heading in headings))
    for height in (1080, 2160):
        frame, found = make_scene(height, objects)
        values = {"image": np.zeros((1, 3, SPEC.height, SPEC.width), np.float16), **outputs_of(found)}
        buffers = {name: device.store(value) for name, value in values.items()}
        tensors = {name: DeviceTensor(buffers[name].ptr, v.shape, v.dtype) for name, v in values.items()}
        spec = ModelSpec("bench", SPEC, DetectionsDecoder(max_instances=objects), CLASSES)
        rgb = Frame((frame.rgb(),), "rgb24")
        for name, given, host in (
            ("yuv420p", frame, frame), ("rgb24", rgb, rgb), ("nv12 on the GPU", device.nv12(frame), frame),
        ):  # fmt: skip
            # Two paths, as a change of the painting would record a new graph every time.
            paths = [FramePath(gpu, kernels, device.stream, spec, tensors=tensors, compute=nothing) for _ in range(2)]
            calls = [
                partial(paths[0].run, given),
                partial(paths[1].run, given, PAINTING),
                partial(prepare, host, SPEC),
                partial(render, host, found, CLASSES, style=BARE),
            ]
            for call in calls[:2]:
                call()  # from the second on there are graphs
            read, painted, cpu_read, cpu_paint = least_ms_each(calls, repeats)
            nbytes = sum(plane.size for plane in host.planes)
            sent = 0.0 if given.device else nbytes / up
            figures = (read, sent, painted, sent + nbytes / down, cpu_read, cpu_read + cpu_paint)
            print(f"{f'{frame.width} x {height} {name}':28}" + "".join(f"{figure:10.3f}" for figure in figures))

    print_graphs(gpu)


def print_graphs(gpu: Gpu) -> None:
    """Say which of the two ways the frames took."""
    print(
        "every frame was a CUDA graph" if gpu.records else "frames were queued one by one: no graph could be recorded"
    )


def nothing() -> None:
    """Stand in for a network."""


def with_model(model: str, backend: str, *, height: int, objects: int, repeats: int) -> None:
    """Print the frames per second of an engine that takes frames, and of the same one behind the CPU's stages."""
    engine = open_engine(model, backend=backend, device="cuda", lanes=None)
    if not isinstance(engine, FrameEngine):
        raise SystemExit(f"expected an engine that takes frames, got {engine.backend}")
    spec = engine.spec
    frame, _ = make_scene(height, objects)
    painting = PAINTING if isinstance(spec.decoder, DetectionsDecoder) else None

    def on_gpu() -> None:
        engine.infer_frame(frame, painting)

    def on_cpu() -> None:
        tensor, box = prepare(frame, spec.input)
        outputs = {name: value[0] for name, value in engine.infer({spec.input.name: tensor}).items()}
        if painting is not None:
            found = decode(outputs, spec, box)
            render(frame, found, spec.classes, style=BARE)

    for _ in range(engine.lanes):
        on_gpu()
    one, other = least_ms_each([on_gpu, on_cpu], repeats)
    print(f"{engine.backend}, {frame.width} x {height}: {one:.2f} ms a frame, {other:.2f} by the stages of the CPU")
    with ThreadPoolExecutor(engine.lanes) as pool:
        start = time.perf_counter()
        for done in [pool.submit(on_gpu) for _ in range(repeats * engine.lanes)]:
            done.result()
        print(f"{engine.lanes} lanes: {repeats * engine.lanes / (time.perf_counter() - start):.0f} frames per second")
    print_graphs(engine._gpu)  # type: ignore[attr-defined]
    engine.close()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--backend", default="tensorrt")
    parser.add_argument("--height", type=int, default=1080, help="of the frames for a model")
    parser.add_argument("--objects", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    if options.model is None:
        gpu = open_gpu()
        with gpu.bound():
            without_network(gpu, Kernels(find_kernels()), objects=options.objects, repeats=options.repeats)
    else:
        with_model(
            options.model, options.backend, height=options.height, objects=options.objects, repeats=options.repeats
        )


if __name__ == "__main__":
    main()
