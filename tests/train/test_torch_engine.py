"""The fast PyTorch engine: on the host with a graph that is a loop and emulated kernels, and on a GPU."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from decode_cases import assert_native
from gpus import HostGpu, HostTensors, Place, emulated_kernels, open_gpu, place
from small import make_small
from torch import Tensor, nn

from solo_rt.builder.agreement import agreement
from solo_rt.decode import decode, decode_semantic
from solo_rt.decoders import DetectionsDecoder, SemanticDecoder, SoloDecoder
from solo_rt.device import Device
from solo_rt.engine import Engine, open_engine
from solo_rt.engine.base import FrameEngine
from solo_rt.engine.contract import try_out
from solo_rt.errors import EngineError, UsageError
from solo_rt.preprocess import Letterbox, prepare
from solo_rt.render import Painting, Style, render, render_semantic
from solo_rt.spec import Provenance
from solo_rt.train.checkpoint import Checkpoint, save_checkpoint
from solo_rt.train.engine import fast
from solo_rt.train.engine.decoder import DeviceDecoder
from solo_rt.train.engine.exact import CheckpointEngine, open_checkpoint
from solo_rt.train.engine.fast import TorchEngine, open_torch
from solo_rt.train.engine.half_network import half_precision, to_half
from solo_rt.train.export import static_graph
from solo_rt.train.export.graph import StaticGraph, probe
from solo_rt.train.export.semantic import semantic_graph
from solo_rt.train.export.solo import solo_graph
from solo_rt.train.export.solov2 import solov2_graph
from solo_rt.train.models import BUILDERS, build_model
from solo_rt.types import Frame
from solo_rt.world import World

__all__ = ["place"]
CLASSES = ("a", "b", "c")
SIZE = (64, 96)
INSTANCES = ("solov2", "solov2-dcn", "solo", "decoupled-solo")


def graph_of(kind: str) -> StaticGraph:
    """Return a graph of a small network, the same at every call."""
    if kind == "semantic":
        torch.manual_seed(0)
        network = build_model("fast-scnn", 3).eval()
        return semantic_graph(network, kind, CLASSES, Provenance(), imgsz=SIZE, batch=1)
    network = make_small(kind, trained=True)
    for layer in network.modules():
        if isinstance(layer, nn.GroupNorm):
            layer.num_groups = 1  # the emulator takes its time for each
    if not kind.startswith("solov2"):
        return solo_graph(network, kind, CLASSES, Provenance(), imgsz=SIZE, batch=1)
    graph = solov2_graph(network, kind, CLASSES, Provenance(), imgsz=SIZE, batch=1)
    few = replace(graph.spec.decoder, nms_pre=150, max_instances=20)  # and for each of these
    return replace(graph, spec=replace(graph.spec, decoder=few))


@cache
def open_small(kind: str, place: Place) -> TorchEngine:
    """Return an engine that tests share, as opening one takes a while on the emulator."""
    return TorchEngine(graph_of(kind), place.device, gpu=place.gpu, library=place.library)


def pictures(graph: StaticGraph) -> list[np.ndarray]:
    """Return inputs of which each is another picture."""
    image = probe(graph.spec).numpy()
    return [image, image[..., ::-1].copy(), np.zeros_like(image)]


@pytest.mark.parametrize("kind", [*INSTANCES, "semantic"])
def test_every_kind_of_network_gives_what_its_spec_says(place: Place, kind: str) -> None:
    engine = open_small(kind, place)
    try_out(engine, Path(kind))
    expected = {"solov2": DetectionsDecoder, "semantic": SemanticDecoder}.get(kind.removesuffix("-dcn"), SoloDecoder)
    assert isinstance(engine.spec.decoder, expected)
    assert (engine.lanes, engine.backend) == (1, f"torch fp16, {place.gpu.name}")


@pytest.mark.parametrize("kind", ["solov2", pytest.param("solov2-dcn", marks=pytest.mark.slow)])
def test_solov2_is_decoded_from_its_own_heads(place: Place, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    decode_heads = DeviceDecoder.decode

    def spy(decoder: DeviceDecoder, *heads: Tensor) -> None:
        seen[:] = [head.clone() for head in heads]
        decode_heads(decoder, *heads)

    monkeypatch.setattr(DeviceDecoder, "decode", spy)
    graph = graph_of(kind)
    engine = TorchEngine(graph_of(kind), place.device, gpu=place.gpu, library=place.library)
    for _ in range(2):
        engine.infer({"image": pictures(graph)[0]})
    found_any = 0
    for image in pictures(graph):  # by the graph, which makes the copies as well
        found = engine.infer({"image": image})
        assert [head.dtype for head in seen] == [torch.float32, torch.float16, torch.float16]
        heads = {name: x.float().cpu().numpy() for name, x in zip(graph.outputs, seen, strict=True)}
        assert_native(found, heads, graph.spec)
        found_any += int(found["num_dets"][0, 0])
    assert found_any > 3


@pytest.mark.parametrize("kind", INSTANCES)
def test_float16_finds_what_float32_finds(place: Place, kind: str) -> None:
    graph, engine = graph_of(kind), open_small(kind, place)
    reference = graph_of(kind)
    whole = Letterbox(SIZE, SIZE, SIZE)
    pairs = []
    for image in pictures(graph):
        found = engine.infer({"image": image})
        with torch.inference_mode():
            exact = reference.module(torch.from_numpy(image))
        heads = {name: x[0].contiguous().numpy() for name, x in zip(reference.outputs, exact, strict=True)}
        pairs.append(
            (
                decode(heads, reference.spec, whole, conf=0.2),
                decode({name: x[0] for name, x in found.items()}, engine.spec, whole, conf=0.2),
            )
        )
    scores = agreement(pairs)
    assert sum(len(a) for a, _ in pairs) > 3
    assert scores["found"] >= 0.9
    assert scores["mask_iou"] >= 0.95


def test_labels_are_those_of_float32_but_for_near_ties(place: Place) -> None:
    graph = graph_of("semantic")
    engine = open_small("semantic", place)
    for image in pictures(graph)[:2]:
        with torch.inference_mode():
            expected = graph.module(torch.from_numpy(image)).numpy()
        found = engine.infer({"image": image})["labels"]
        assert found.dtype == np.uint8
        assert (found == expected).mean() > 0.99


def test_a_frame_is_one_launch_and_its_outputs_belong_to_the_caller(place: Place) -> None:
    engine = open_small("solov2", place)
    first, second = pictures(graph_of("solov2"))[:2]
    found = engine.infer({"image": first})
    kept = {name: values.copy() for name, values in found.items()}
    engine.infer({"image": second})
    n = int(found["num_dets"][0, 0])
    again = engine.infer({"image": first})
    for name, values in found.items():
        np.testing.assert_array_equal(values, kept[name])
        drop = (slice(None), slice(0, n)) if name == "det_masks" else ()
        np.testing.assert_array_equal(values[drop], again[name][drop])
        values[:] = 0  # theirs to write to


def test_a_graph_is_recorded_once_the_work_has_been_done_twice() -> None:
    gpu = HostGpu()
    engine = TorchEngine(graph_of("semantic"), torch.device("cpu"), gpu=gpu, library=emulated_kernels())
    for recorded, launched in ((0, 0), (1, 0), (1, 1), (1, 2)):
        engine.infer({"image": pictures(graph_of("semantic"))[0]})
        assert (gpu.captured, gpu.launched) == (recorded, launched)


@pytest.mark.slow
@pytest.mark.parametrize("name", {name.split("-")[0]: name for name in reversed(BUILDERS)}.values())
def test_a_graph_can_hold_every_network(name: str) -> None:
    """No copy from the host and no value for it: tried on a device whose tensors have shapes and nothing else."""
    weights = build_model(name, 3).state_dict()
    network = static_graph(Checkpoint(name, CLASSES, weights, 0, {}, {}, imgsz=(256, 256))).module.to("meta")
    with torch.no_grad():  # in inference mode a dispatch mode sees composite operations whole
        network(torch.zeros(1, 3, 256, 256, device="meta"))
        with HostTensors() as host:
            network(torch.zeros(1, 3, 256, 256, device="meta"))
    assert host.count == 0


def paint(frame: Frame, outputs: dict[str, np.ndarray], engine: TorchEngine, painting: Painting) -> Frame:
    """Return the frame as the stages of the CPU paint it."""
    spec, placed = engine.spec, Letterbox.fit((frame.height, frame.width), SIZE)
    picture = {name: values[0] for name, values in outputs.items()}
    if isinstance(spec.decoder, SemanticDecoder):
        found = decode_semantic(picture, spec, placed)
        return render_semantic(frame, found, spec.classes, palette=spec.decoder.palette, style=painting.style)
    instances = decode(picture, spec, placed, conf=painting.conf, max_det=painting.max_det)
    return render(frame, instances, spec.classes, style=painting.style)


@pytest.mark.parametrize("kind", ["solov2", "semantic"])
def test_frames_are_prepared_and_painted_where_the_network_is(place: Place, kind: str) -> None:
    engine = open_small(kind, place)
    assert isinstance(engine, FrameEngine)
    painting = Painting(conf=0.2, max_det=5, style=Style(labels=False))
    for size in ((45, 91), (64, 96), (64, 96), (64, 96)):  # the last by the graph
        frame = Frame((World(3, height=size[0], width=size[1]).render(50).rgb,), "rgb24")
        found, painted = engine.infer_frame(frame, painting)
        np.testing.assert_array_equal(painted.planes[0], paint(frame, found, engine, painting).planes[0])
        assert (painted.planes[0] != frame.planes[0]).any()
    expected = engine.infer({"image": prepare(frame, engine.spec.input)[0]})
    if kind == "semantic":
        assert (found["labels"] == expected["labels"]).mean() > 0.99
    else:
        np.testing.assert_allclose(found["det_scores"][:, :5], expected["det_scores"][:, :5], atol=0.05)


def test_a_closed_engine_says_so(place: Place) -> None:
    engine = TorchEngine(graph_of("solo"), place.device, gpu=place.gpu, library=place.library)
    engine.close()
    with pytest.raises(EngineError, match="the engine is closed"):
        engine.infer({"image": np.zeros((1, 3, *SIZE), np.float32)})
    engine.close()


def test_without_the_kernels_nothing_is_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOLO_RT_KERNELS", str(tmp_path / "none.so"))
    with pytest.raises(EngineError, match=r"SOLO_RT_KERNELS=.*none\.so: no such file"):
        TorchEngine(graph_of("solo"), torch.device("cpu"), gpu=HostGpu())


@pytest.mark.parametrize("multiply", [torch.matmul, Tensor.matmul, torch.bmm, lambda a, b: a @ b])
def test_products_of_computed_tensors_stay_in_range(place: Place, multiply: Callable[[Tensor, Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    maps = (100 * torch.randn(1, 8, 500)).half().to(place.device)
    with half_precision(place.device):
        found = multiply(maps, maps.transpose(1, 2))
        layer = nn.functional.linear(maps, maps.new_ones(2, 500, dtype=torch.float32))
    assert (found.dtype, layer.dtype) == (torch.float32, torch.float16)
    expected = maps.double() @ maps.double().transpose(1, 2)
    assert expected.max() > 65504
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1)


def test_weights_beyond_float16_are_refused() -> None:
    graph = graph_of("solo")
    with torch.no_grad():
        next(graph.module.backbone.parameters()).fill_(1e5)  # type: ignore[union-attr]
    with pytest.raises(EngineError, match=r"weight of 'backbone.* is beyond float16"):
        to_half(graph.module)


def test_the_run_time_opens_checkpoints_by_their_device(tmp_path: Path) -> None:
    model = build_model("fast-scnn", 3)
    path = tmp_path / "x.pt"
    save_checkpoint(Checkpoint("fast-scnn", CLASSES, model.state_dict(), 0, {}, {}, imgsz=(64, 96)), path)
    engine = open_engine(path, device="cpu", precision="fp32")
    assert isinstance(engine, CheckpointEngine)
    assert engine.backend.startswith("torch cpu, ")
    if not torch.cuda.is_available():
        with pytest.raises(EngineError, match=r"^device cuda: PyTorch cannot use it .*; use cpu$"):
            open_torch(path, device=Device("cuda"))


def test_on_the_cpu_a_checkpoint_has_the_threads_that_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    weights = build_model("fast-scnn", 3).state_dict()
    save_checkpoint(Checkpoint("fast-scnn", CLASSES, weights, 0, {}, {}, imgsz=(64, 96)), path)
    before = torch.get_num_threads()
    try:
        for asked in (1, 3):
            with closing(open_engine(path, device="cpu", threads=asked)) as engine, ThreadPoolExecutor(1) as others:
                assert engine.backend == f"torch cpu, {asked} thread{'s' if asked > 1 else ''}"
                assert others.submit(torch.get_num_threads).result() == asked, "a pipeline computes on its own thread"
        open_engine(path, device="cpu").close()
        assert torch.get_num_threads() == 3, "nobody asked for another number"
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("opened_by", [open_engine, open_checkpoint])
def test_on_the_cpu_denormals_are_zero_in_all_threads(tmp_path: Path, opened_by: Callable[..., Engine]) -> None:
    class Weaken(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return image * 1e-20

    path = tmp_path / "x.pt"
    weights = build_model("fast-scnn", 3).state_dict()
    save_checkpoint(Checkpoint("fast-scnn", CLASSES, weights, 0, {}, {}, imgsz=(64, 96)), path)

    def compute() -> tuple[bool, bool]:
        torch.set_num_threads(2)
        with closing(opened_by(path, device=Device("cpu") if opened_by is open_checkpoint else "cpu")) as engine:
            assert isinstance(engine, CheckpointEngine)
            engine._module = Weaken()
            found = engine.infer({"image": np.full((1, 3, 1024, 1024), 1e-19, np.float32)})["labels"]
        return bool(found.any()), bool(np.float32(1e-20) * np.float32(1e-19) > 0)

    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(1) as other:  # whose threads of PyTorch are its own
            assert other.submit(compute).result() == (False, True)
    finally:
        torch.set_num_threads(before)


def test_on_a_gpu_a_checkpoint_is_not_in_fp32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "find_device", lambda device: torch.device("cuda", 0))
    (tmp_path / "x.pt").touch()
    with pytest.raises(
        UsageError, match=r"precision fp32: on a GPU a checkpoint is computed in fp16; leave it out, or us"
    ):
        open_engine(tmp_path / "x.pt", precision="fp32")


@pytest.mark.cuda
def test_the_run_time_opens_checkpoints_on_a_gpu(tmp_path: Path) -> None:
    open_gpu()
    model = build_model("solov2-nano", 3)
    path = tmp_path / "x.pt"
    save_checkpoint(Checkpoint("solov2-nano", CLASSES, model.state_dict(), 0, {}, {}, imgsz=(64, 96)), path)
    for device in ("auto", "cuda", "cuda:0"):
        engine = open_engine(path, device=device)
        assert isinstance(engine, TorchEngine)
        engine.close()


def test_a_forgotten_engine_does_not_wait_for_the_garbage_collector() -> None:
    graph = graph_of("semantic")
    image = pictures(graph)[0]
    gc.collect()
    gc.disable()
    try:
        engine = TorchEngine(graph, torch.device("cpu"), gpu=HostGpu(), library=emulated_kernels())
        engine.infer({"image": image})
        is_alive = weakref.ref(engine)
        del engine
        assert is_alive() is None
    finally:
        gc.enable()
