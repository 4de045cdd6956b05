"""Time of the CUDA kernels as a fraction of what the card can do, measured in the same run.

The ceilings are a large copy (bytes per second) and a large FP16 matrix product of torch (operations per second). A
kernel's floor is the larger of its bytes and its operations at those rates; what it should take is in expectations.py.
Times are of one call among 50 in a CUDA graph, the best of 5. The product alone by cuBLAS, and an empty call of torch,
are there to compare with. Needs torch and an installation with CUDA. Whole frames and
whole decodings are in torch_engine.py.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "plugins"))

from decoder import words_of
from devices import Cuda
from expectations import Expectations
from label_twin import blobs
from overlay_twin import make_planes
from pictures import DeviceMasks, DevicePicture
from soft_mask_twin import random_masks

from solo_rt.gpu.kernels import ConvShape, GroupNorm, LabelMap, LabelStyle, LetterboxTarget, NmsOptions, OverlayStyle

CALLS, ROUNDS = 50, 5


class Bench:
    """The card, its ceilings and a line per kernel."""

    def __init__(self) -> None:
        self.gpu = Cuda()
        torch = self.torch = self.gpu.torch
        self.stream = torch.cuda.Stream()
        self.gpu.use(self.stream)
        self.rng = np.random.default_rng(0)
        source = torch.empty(1 << 28, dtype=torch.uint8, device="cuda")
        target = torch.empty_like(source)
        self.bandwidth = 2 * source.numel() / self.seconds(lambda: target.copy_(source), calls=10)
        a = torch.randn(8192, 8192, dtype=torch.float16, device="cuda")
        self.rate = 2 * 8192**3 / self.seconds(lambda: torch.matmul(a, a), calls=5)
        ceilings = f"copy {self.bandwidth / 1e12:.2f} TB/s, FP16 {self.rate / 1e12:.0f} TFLOP/s"
        card = torch.cuda.get_device_name()
        self.expected = Expectations(card, bandwidth=self.bandwidth, rate=self.rate)
        print(f"{card}: {ceilings}")
        print(f"{'kernel':46} {'us':>8} {'expected':>9} {'floor':>8} {'share':>6}")

    def seconds(self, call: Callable[[], object], calls: int = CALLS) -> float:
        """Return the least time of a call inside a CUDA graph."""
        torch = self.torch
        with torch.cuda.stream(self.stream):
            call()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            for _ in range(calls):
                call()
        times = []
        for _ in range(ROUNDS):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            graph.replay()
            end.record()
            torch.cuda.synchronize()
            times.append(start.elapsed_time(end) / 1e3 / calls)
        return min(times)

    def line(
        self,
        name: str,
        arguments: tuple[object, ...],
        *,
        bytes_: float,
        operations: float = 0.0,
        label: str,
        expected: str,
    ) -> None:
        """Time one C function, as `report`."""
        assert self.gpu.call(name, *arguments) == 0, name
        self.report(
            lambda: self.gpu.call(name, *arguments),
            bytes_=bytes_,
            operations=operations,
            label=label,
            expected=expected,
        )

    def report(
        self, call: Callable[[], object], *, bytes_: float, operations: float, label: str, expected: str
    ) -> None:
        """Time a call and print it beside what it should take, and its floor."""
        time = self.seconds(call)
        floor = max(bytes_ / self.bandwidth, operations / self.rate)
        print(f"{label:46} {time * 1e6:8.1f} {expected:>9} {floor * 1e6:8.1f} {floor / time:6.0%}")

    def copying(self, name: str, arguments: tuple[object, ...], label: str, nbytes: float) -> None:
        """Time one C function that moves `nbytes`."""
        self.line(name, arguments, bytes_=nbytes, label=label, expected=self.expected.copy(nbytes))

    def others(self) -> None:
        """Time what kernels are to be compared with: nearly nothing, and the bare products."""
        torch = self.torch
        one = torch.zeros(1, device="cuda")
        self.report(
            lambda: one.add_(1), bytes_=8, operations=0, label="one number, by torch", expected=self.expected.copy(8)
        )
        for rows, channels, pixels in ((500, 128, 21504), (500, 256, 67200)):
            a, b = (torch.randn(shape, dtype=torch.float16, device="cuda") for shape in
                    ((rows, channels), (channels, pixels)))  # fmt: skip
            out = torch.empty(rows, pixels, dtype=torch.float16, device="cuda")
            work = {
                "bytes_": 2 * (a.numel() + b.numel() + out.numel()), "operations": 2 * rows * channels * pixels
            }  # fmt: skip
            self.report(
                lambda a=a, b=b, out=out: torch.matmul(a, b, out=out), **work,
                label=f"cuBLAS: {rows} x {channels} x {pixels}", expected=self.expected.product(**work),
            )  # fmt: skip

    def decode(self, n: int, channels: int, size: tuple[int, int], *, one_class: bool = False) -> None:
        """Time the steps of decoding `n` candidates, of random classes or of one."""
        gpu, rng, (h, w) = self.gpu, self.rng, size
        cells, classes, slots, instances, words = 3872, 80, 500, 100, words_of(h, w)
        int32, float32 = np.int32, np.float32
        scores = np.zeros((1, cells * classes), np.float16)
        step = classes if one_class else 1
        scores[0, step * rng.choice(scores.size // step, n, replace=False)] = rng.uniform(0.2, 1, n)
        kernels = gpu.array(rng.normal(0, channels**-0.25, (1, cells, channels)).astype(np.float16))
        features = gpu.array(rng.normal(0, channels**-0.25, (1, channels, h, w)).astype(np.float16))
        memory = gpu.array(scores)
        best, candidates = gpu.empty((1, slots), float32), gpu.empty((1, slots), int32)
        counts = gpu.empty((1, 2), int32)
        count = (ctypes.c_int32(1), ctypes.c_int64(scores.size))
        work = gpu.workspace("solo_cuda_find_candidates", *count)
        self.line(
            "solo_cuda_find_candidates",
            (memory, ctypes.c_int32(1), *count, ctypes.c_float(0.1), ctypes.c_int32(slots), work,
             ctypes.c_int64(work.nbytes), best, candidates, counts),
            bytes_=scores.nbytes, label=f"candidates: {n} of {scores.size}",
            expected=self.expected.candidates(scores.nbytes),
        )  # fmt: skip

        shape = ConvShape(1, 1, cells, channels, h, w, slots, classes)
        masks, areas = gpu.empty((1, slots, words), np.uint32), gpu.empty((1, slots), int32)
        sums = gpu.empty((1, slots), float32)
        work = gpu.workspace("solo_cuda_binarise_masks", ctypes.byref(shape))
        self.line(
            "solo_cuda_binarise_masks",
            (ctypes.byref(shape), kernels, features, candidates, counts, ctypes.c_float(0), work,
             ctypes.c_int64(work.nbytes), masks, areas, sums),
            bytes_=2 * channels * (h * w + n) + 4 * n * words, operations=2 * n * channels * h * w,
            label=f"dynamic conv: {n} x {channels} x {h * w}",
            expected=self.expected.convolution(n, channels, h * w),
        )  # fmt: skip

        options = NmsOptions(
            1, slots, words, classes, 5, (40, 36, 24, 16, 12), (8, 8, 16, 32, 32), 0, 2.0, 0.05, instances
        )
        out = [gpu.empty((1,), int32), gpu.empty((1, instances), float32)]
        out += [gpu.empty((1, instances), int32) for _ in range(3)]
        work = gpu.workspace("solo_cuda_matrix_nms", ctypes.byref(options))
        self.line(
            "solo_cuda_matrix_nms",
            (ctypes.byref(options), best, candidates, counts, masks, areas, sums, work,
             ctypes.c_int64(work.nbytes), *out),
            bytes_=4 * n * words, label=f"matrix NMS: {n} masks, {1 if one_class else classes} classes, {words} words",
            expected=self.expected.matrix_nms(n, words, is_one_class=one_class),
        )  # fmt: skip

        shape_out = ConvShape(1, 1, cells, channels, h, w, instances, 1)
        regions, soft = gpu.empty((1, instances, 4), int32), gpu.empty((1, instances, h, w), np.uint8)
        self.line(
            "solo_cuda_soft_masks",
            (ctypes.byref(shape_out), kernels, features, masks, ctypes.c_int32(slots), out[0], out[3], out[4],
             ctypes.c_float(0), regions, soft),
            bytes_=2 * channels * h * w + instances * h * w, operations=2 * instances * channels * h * w,
            label=f"soft masks: {instances} x {channels} x {h * w}",
            expected=self.expected.soft_masks(instances, channels, h * w),
        )  # fmt: skip

    def pictures(self, size: tuple[int, int]) -> None:
        """Time the kernels on pictures of one size."""
        gpu, (h, w) = self.gpu, size
        masks = DeviceMasks(gpu, random_masks(self.rng, 30, (112, 192), (112 / h, 192 / w)))
        colours = gpu.array(self.rng.integers(0, 256, (masks.capacity, 3), np.uint8))
        labels = gpu.array(blobs(self.rng, (1024, 2048), [0, 8, 11, 255], block=60))
        shades = gpu.array(self.rng.integers(0, 256, (256, 3), np.uint8))
        opacities = gpu.array(np.full(256, 115, np.uint16))
        for pixel_format, stored, planes in (("nv12", 1.5, "yuv420p"), ("rgb24", 3.0, "rgb24")):
            picture, what = DevicePicture(gpu, make_planes(size, planes), pixel_format), f"{w} x {h} {pixel_format}"
            target = LetterboxTarget(1, 448, 768, 432, 768, (124, 116, 104), (58, 57, 57), 1, 0)
            tensor = gpu.empty((3, 448, 768), np.float16)
            arguments = (ctypes.byref(picture.struct), ctypes.byref(target), tensor)
            self.copying("solo_cuda_letterbox", arguments, f"letterbox: {what}", stored * h * w + tensor.nbytes)
            style = OverlayStyle(colours.ptr, 115, 2)
            arguments = (ctypes.byref(picture.struct), ctypes.byref(masks.struct), ctypes.byref(style))
            self.copying("solo_cuda_overlay", arguments, f"overlay: {what}", 2 * stored * h * w)
            grid, look = LabelMap(labels.ptr, 2048, 1024, 2048), LabelStyle(opacities.ptr, shades.ptr)
            arguments = (ctypes.byref(picture.struct), ctypes.byref(grid), ctypes.byref(look))
            moved = 2 * stored * h * w + labels.nbytes
            self.copying("solo_cuda_overlay_labels", arguments, f"labels: {what}", moved)
            copy = DevicePicture(gpu, make_planes(size, planes), pixel_format)
            arguments = (ctypes.byref(picture.struct), ctypes.byref(copy.struct))
            self.copying("solo_cuda_copy_picture", arguments, f"copy: {what}", 2 * stored * h * w)

    def norm(self, channels: int, pixels: int) -> None:
        """Time group normalisation of one FP16 map."""
        gpu = self.gpu
        values = gpu.array(self.rng.normal(0, 1, (1, pixels, channels)).astype(np.float16))
        out = gpu.empty((1, pixels, channels), np.float16)
        constants = [gpu.array(np.ones(channels, np.float32)) for _ in range(2)]
        sizes = GroupNorm(1, 1, channels, pixels, 32, 1, 1e-5)
        work = gpu.workspace("solo_cuda_group_norm", ctypes.byref(sizes))
        arguments = (ctypes.byref(sizes), values, *constants, work, ctypes.c_int64(work.nbytes), out)
        self.copying("solo_cuda_group_norm", arguments, f"group norm: {channels} x {pixels}", 3 * values.nbytes)


def main() -> None:
    """Print the table."""
    bench = Bench()
    bench.others()
    for n in (20, 200, 500):
        bench.decode(n, 128, (112, 192))
    bench.decode(500, 128, (112, 192), one_class=True)
    bench.decode(500, 256, (200, 336))
    for size in ((1080, 1920), (2160, 3840)):
        bench.pictures(size)
    bench.norm(128, 112 * 192)


if __name__ == "__main__":
    main()
