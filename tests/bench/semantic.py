"""Semantic segmentation with Fast-SCNN: the network, labels in the graph, the overlay and the whole pipeline.

    python tests/bench/semantic.py [--threads 2] [--repeats 5] [--frames 40] [--sizes 512x1024 1024x2048]

Weights are random, which speed does not depend on; 19 classes. `model` is from the frame of a yuv420p video to its
class map: prepare, infer, decode, with logits that go through numpy's argmax, with labels in the graph, and with coarse
logits. Times are the least of several runs, in milliseconds. GMAC counts the multiply-accumulates of convolutions.
OpenVINO is measured where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from stopwatch import least_ms
from torch import Tensor, nn

from solo_rt.decode import decode_semantic
from solo_rt.decoders import SemanticDecoder
from solo_rt.engine import Engine, open_engine
from solo_rt.pipeline import Pipeline
from solo_rt.pipeline.options import Options
from solo_rt.preprocess import prepare
from solo_rt.render import Style, render_semantic
from solo_rt.spec import Provenance
from solo_rt.train.data.world_files import write_videos
from solo_rt.train.export.coarse import leave_coarse
from solo_rt.train.export.onnx_file import write_graph
from solo_rt.train.export.semantic import OutputKind, semantic_graph
from solo_rt.train.models import build_model
from solo_rt.types import Frame, SemanticMap, UInt8

CLASSES = tuple(f"class {i}" for i in range(19))
KINDS: tuple[OutputKind, ...] = ("logits", "labels", "coarse")  # the slowest first
BACKENDS = ["onnxruntime", *(["openvino"] if importlib.util.find_spec("openvino") else [])]


def make_network(name: str = "fast-scnn") -> nn.Module:
    """Return a network whose values are of the size that trained ones are, so that its labels form regions."""
    torch.manual_seed(0)
    model = build_model(name, len(CLASSES))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        model.train()(torch.randn(2, 3, 128, 256))
    return model.eval()


def gigamacs(model: nn.Module, size: tuple[int, int]) -> float:
    """Return the multiply-accumulates of all convolutions for one picture, in billions."""
    total = 0.0

    def count(conv: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        assert isinstance(conv, nn.Conv2d)
        total += output[0].numel() * conv.weight[0].numel() / 1e9

    hooks = [conv.register_forward_hook(count) for conv in model.modules() if isinstance(conv, nn.Conv2d)]
    with torch.inference_mode():
        model(torch.zeros(1, 3, *size))
    for hook in hooks:
        hook.remove()
    return total


def noise_frame(size: tuple[int, int]) -> Frame:
    rng = np.random.default_rng(0)
    half = (size[0] // 2, size[1] // 2)
    y, u, v = (rng.integers(0, 256, shape, np.uint8) for shape in (size, half, half))
    return Frame((y, u, v), "yuv420p")


def run_model(engine: Engine, frame: Frame) -> SemanticMap:
    """Return the class map of a frame as the pipeline computes it, except that logits go through numpy."""
    decoder = engine.spec.decoder
    assert isinstance(decoder, SemanticDecoder)
    tensor, box = prepare(frame, engine.spec.input)
    output = engine.infer({"image": tensor})[decoder.output][0]
    if decoder.output == "logits":
        return SemanticMap(box.frame_size, output.argmax(0).astype(np.uint8)[: box.resized[0], : box.resized[1]])
    return decode_semantic({decoder.output: output}, engine.spec, box)


def write_models(network: nn.Module, size: tuple[int, int], folder: Path) -> None:
    """Write the network for one input size with each kind of output: `HEIGHT-labels.onnx` and so on."""
    for kind in KINDS:
        output: Literal["labels", "logits"] = "logits" if kind == "logits" else "labels"
        graph = semantic_graph(network, "fast-scnn", CLASSES, Provenance(), imgsz=size, batch=1, output=output)
        path = folder / f"{size[0]}-{kind}.onnx"
        write_graph(graph, path)
        if kind == "coarse":
            leave_coarse(path, graph.spec)


def print_models(folder: Path, sizes: list[tuple[int, int]], threads: int, repeats: int) -> None:
    """Write the models and print a line per backend, size and kind of output."""
    network = make_network()
    print(f"Fast-SCNN, {threads} threads{'':27s} infer ms  GMAC/s  model ms  against logits")
    for size in sizes:
        macs = gigamacs(network, size)
        write_models(network, size, folder)
        frame = noise_frame(size)
        for backend in BACKENDS:
            slowest = 0.0
            for kind in KINDS:
                path = folder / f"{size[0]}-{kind}.onnx"
                with closing(open_engine(path, backend=backend, device="cpu", threads=threads)) as engine:
                    tensor, _ = prepare(frame, engine.spec.input)
                    infer = least_ms(lambda: engine.infer({"image": tensor}), repeats)  # noqa: B023
                    model = least_ms(lambda: run_model(engine, frame), repeats)  # noqa: B023
                slowest = slowest or model
                name = f"{backend} {size[0]}x{size[1]}, {kind}{' and numpy' if kind == 'logits' else ''}"
                print(f"{name:45s} {infer:8.1f} {1e3 * macs / infer:7.1f} {model:9.1f} {slowest / model:14.2f}x")


def print_overlay(repeats: int) -> None:
    """Print what painting a 1080p frame costs on one core, and the usual ways to do it."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng(1)
    coarse = rng.normal(0, 1, (6, 34, 60)).astype(np.float32)
    labels = np.stack([cv2.resize(c, (1820, 1024), interpolation=cv2.INTER_CUBIC) for c in coarse]).argmax(0)
    semantic = SemanticMap((1080, 1920), labels.astype(np.uint8))
    palette = tuple(tuple(int(v) for v in colour) for colour in rng.integers(0, 256, (19, 3)))
    table = np.zeros((256, 3), np.uint8)
    table[:19] = palette
    yuv = noise_frame((1080, 1920))
    rgb = Frame((yuv.rgb(),), "rgb24")
    packed = np.concatenate([plane.ravel() for plane in yuv.planes]).reshape(-1, yuv.width)

    def nearest() -> UInt8:
        return cv2.resize(semantic.labels, (1920, 1080), interpolation=cv2.INTER_NEAREST)

    def with_opencv(picture: UInt8) -> UInt8:
        return cv2.addWeighted(cv2.LUT(cv2.merge([nearest()] * 3), table[None]), 0.45, picture, 0.55, 0)

    def with_numpy(picture: UInt8) -> UInt8:
        return (0.45 * table[nearest()] + 0.55 * picture).astype(np.uint8)

    def ours(frame: Frame) -> Callable[[], Frame]:
        return lambda: render_semantic(frame, semantic, CLASSES, palette=palette, style=Style(labels=False))  # type: ignore[arg-type]

    tasks: list[tuple[str, Callable[[], object], Callable[[], object], Callable[[], object]]] = [
        ("paint rgb24", lambda: with_numpy(rgb.planes[0]), lambda: with_opencv(rgb.planes[0]), ours(rgb)),
        (
            "paint yuv420p",
            lambda: with_numpy(cv2.cvtColor(packed, cv2.COLOR_YUV2RGB_I420)),
            lambda: with_opencv(cv2.cvtColor(packed, cv2.COLOR_YUV2RGB_I420)),
            ours(yuv),
        ),
        (
            "pixels per class",
            lambda: np.bincount(nearest().ravel(), minlength=256),
            lambda: cv2.calcHist([nearest()], [0], None, [256], [0, 256]),
            lambda: SemanticMap((1080, 1920), semantic.labels),
        ),
    ]
    runs = (np.diff(labels, axis=1) != 0).mean() * 1820
    print(f"1920x1080, one core, {runs:.0f} borders per row\n{'':18s} numpy ms  OpenCV ms  solo-rt ms")
    for name, *calls in tasks:
        print(f"{name:18s} {' '.join(f'{least_ms(call, repeats):9.2f}' for call in calls)}")
    copy = least_ms(lambda: [plane.copy() for plane in rgb.planes], repeats)
    print(f"{'copy of rgb24':18s} {copy:29.2f}")


def print_pipeline(folder: Path, sizes: list[tuple[int, int]], frames: int, threads: int) -> None:
    """Print the frames per second of the whole pipeline on a 2048x1024 clip, with ONNX Runtime."""
    write_videos(folder, seed=7, size=(1024, 2048), frames=frames)
    print(f"{'2048x1024 H.264 clip':40s} {'sync fps':>9s} {'fps':>7s}")
    cases = {"nothing": ["null://"], "H.264 and JSON": [str(folder / "out.mp4"), str(folder / "out.jsonl")]}
    for size in sizes:
        for kind in KINDS[1:]:
            for case, outputs in cases.items():
                options = {"model": folder / f"{size[0]}-{kind}.onnx", "backend": "onnxruntime", "device": "cpu"}
                source = str(folder / "cam0.mp4")
                reports = [
                    Pipeline(source, sinks=outputs, **options, threads=threads, options=Options(sync=sync)).run()  # type: ignore[arg-type]
                    for sync in (True, False)
                ]
                name = f"{size[0]}x{size[1]}, {kind}, to {case}"
                print(f"{name:40s} {reports[0].fps:9.1f} {reports[1].fps:7.1f}")
    times = ", ".join(f"{stage} {1e3 * stats.mean:.1f}" for stage, stats in reports[0].stages.items())
    print(f"mean ms per stage of the last case, one at a time: {times}")


def main() -> None:
    """Print three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--sizes", nargs="+", default=["512x1024", "1024x2048"])
    options = parser.parse_args()
    sizes = []
    for text in options.sizes:
        height, width = text.split("x")
        sizes.append((int(height), int(width)))
    with tempfile.TemporaryDirectory() as name:
        print_models(Path(name), sizes, options.threads, options.repeats)
        print()
        print_overlay(options.repeats)
        print()
        print_pipeline(Path(name), sizes, options.frames, options.threads)


if __name__ == "__main__":
    main()
