"""The PyTorch engine on a GPU against the eager loop of `eager.py`, in the same run, and what comes behind the network.

    python tests/bench/torch_engine.py [--height 1080] [--candidates 200] [--repeats 50]

A frame is RGB in host memory on both ends, computed in FP16 at batch 1. Weights are random, with the class bias by
which as many candidates as asked for pass the threshold in that frame, so that both have the same work. Decoding is
what lies between heads of noise and the soft masks of the instances, ours in a CUDA graph, the other with plain PyTorch
operations. Times are the least of several. Needs a GPU and an installation with CUDA.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from eager import EagerLoop, decode
from stopwatch import least_ms_each
from torch import Tensor

from solo_rt.decoders import SoloV2Decoder
from solo_rt.gpu.cuda import Gpu
from solo_rt.gpu.kernels import Kernels, logit_threshold
from solo_rt.gpu.native_library import find_kernels
from solo_rt.gpu.replay import Replay
from solo_rt.preprocess import prepare
from solo_rt.render import Painting, Style
from solo_rt.spec import InputSpec, ModelSpec, Provenance
from solo_rt.train.engine.decoder import DeviceDecoder
from solo_rt.train.engine.fast import TorchEngine, on_stream
from solo_rt.train.engine.torch_gpu import TorchGpu
from solo_rt.train.export.graph import StaticGraph
from solo_rt.train.export.heads import flatten_levels, points_nms
from solo_rt.train.export.solov2 import solov2_graph
from solo_rt.train.models import build_model
from solo_rt.train.models.solov2 import SoloV2
from solo_rt.types import Frame
from solo_rt.world import World

MODELS = {"solov2-light-r18": ((448, 768), 128), "solov2-r50": ((768, 1344), 256)}  # input, kernel channels
CLASSES = tuple(f"class {i}" for i in range(80))
PAINTING = Painting(style=Style(labels=False))


class Bench:
    """A device, the kernels that run there, and a frame."""

    def __init__(self, device: torch.device, gpu: Gpu, library: Kernels, *, height: int, repeats: int) -> None:
        self.device, self.gpu, self.library, self.repeats = device, gpu, library, repeats
        rgb = World(3, height=height, width=height * 16 // 9).render(50).rgb
        self.frame = Frame((rgb,), "rgb24")

    def end_to_end(self, name: str, model: SoloV2, imgsz: tuple[int, int], *, candidates: int) -> None:
        """Print a line: both ways of the frame, and how many instances each of them paints."""
        graph = solov2_graph(model, name, CLASSES[: model.num_classes], Provenance(), imgsz=imgsz, batch=1)
        self.calibrate(model, graph, candidates)
        eager = EagerLoop(model, graph.spec, self.device)
        engine = TorchEngine(graph, self.device, gpu=self.gpu, library=self.library)
        (rgb,) = self.frame.planes
        for _ in range(2):  # the third frame is the first by graph
            outputs, _ = engine.infer_frame(self.frame, PAINTING)
        _, found = eager(rgb)
        slow, fast = least_ms_each([lambda: eager(rgb), lambda: engine.infer_frame(self.frame, PAINTING)], self.repeats)
        counts = f"{len(found.labels)} and {int(outputs['num_dets'][0, 0])} instances"
        print_line(f"{name} {imgsz[0]}x{imgsz[1]}, {counts}", slow, fast)
        engine.close()

    def calibrate(self, model: SoloV2, graph: StaticGraph, candidates: int) -> None:
        """Move the class bias so that `candidates` of the frame pass the threshold."""
        decoder = graph.spec.decoder
        assert isinstance(decoder, SoloV2Decoder)
        image, _ = prepare(self.frame, graph.spec.input)
        with torch.no_grad():
            logits = model.to(self.device)(torch.from_numpy(image).to(self.device)).logits
            scores = flatten_levels([points_nms(x) for x in logits]).flatten()
            shift = logit_threshold(decoder.score_threshold) - scores.topk(candidates + 1).values[-1].logit().item()
            for layer in (model.head.solo_cate, graph.module.head.head.solo_cate):  # type: ignore[union-attr]
                layer.bias += shift  # type: ignore[operator, union-attr]

    def decoding(self, name: str, imgsz: tuple[int, int], channels: int, *, candidates: int) -> None:
        """Print a line: what follows a network, for heads of noise with so many candidates."""
        decoder = SoloV2Decoder((40, 36, 24, 16, 12), (8, 8, 16, 32, 32))
        spec = ModelSpec(name, InputSpec(*imgsz), decoder, CLASSES)
        heads = self.heads(spec, channels, candidates)
        stream = self.gpu.stream()
        with on_stream(stream, self.device):
            ours = DeviceDecoder(self.library, spec, heads)

        def queue() -> None:
            with on_stream(stream, self.device):
                ours.decode(*heads)

        def plain() -> None:
            with torch.inference_mode():
                decode(*(x[0] for x in heads), decoder).scores.cpu()  # type: ignore[call-arg]

        replay = Replay(self.gpu, stream, queue)
        for _ in range(2):
            replay.run()
        slow, fast = least_ms_each([plain, replay.run], self.repeats)
        print_line(f"decoding {candidates} candidates, {channels} channels, {imgsz[0]}x{imgsz[1]}", slow, fast)

    def heads(self, spec: ModelSpec, channels: int, candidates: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return scores, kernels and features in float16."""
        rng = np.random.default_rng(0)
        shapes = [tuple(channels if side == -1 else side for side in shape) for shape in spec.output_shapes.values()]
        scores = np.zeros(shapes[0], np.float16)
        scores.flat[rng.choice(scores.size, candidates, replace=False)] = rng.uniform(0.2, 1, candidates)
        kernels, features = (rng.normal(0, channels**-0.25, shape).astype(np.float16) for shape in shapes[1:])
        first, second, third = (torch.from_numpy(x).to(self.device) for x in (scores, kernels, features))
        return first, second, third


def print_line(what: str, slow: float, fast: float) -> None:
    """Print two times in milliseconds and how often the second fits into the first."""
    print(f"{what:64} {slow:8.3f} {fast:8.3f} {1e3 / slow:8.1f} {1e3 / fast:8.1f} {slow / fast:6.1f}x")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=1080, help="of the frames")
    parser.add_argument("--candidates", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=50)
    options = parser.parse_args()
    gpu = TorchGpu(find_kernels(), 0)
    device, library = torch.device("cuda", 0), Kernels(find_kernels())
    bench = Bench(device, gpu, library, height=options.height, repeats=options.repeats)
    print(f"{gpu.name}, frames of {bench.frame.width} x {bench.frame.height}")
    print(f"{'':64} {'eager ms':>8} {'ours ms':>8} {'eager/s':>8} {'ours/s':>8}")
    for name, (imgsz, channels) in MODELS.items():
        torch.manual_seed(0)
        model = build_model(name, len(CLASSES)).eval()
        assert isinstance(model, SoloV2)
        with gpu.bound():
            bench.end_to_end(name, model, imgsz, candidates=options.candidates)
            bench.decoding(name, imgsz, channels, candidates=options.candidates)


if __name__ == "__main__":
    main()
