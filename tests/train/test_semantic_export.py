"""Semantic networks as static graphs: labels or logits, the same as PyTorch's, in forms that every engine runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from solo_rt.builder import engine_spec
from solo_rt.builder.network import typed_model
from solo_rt.engine import open_engine
from solo_rt.engine.model_file import write_spec
from solo_rt.errors import ExportError, SpecError, UsageError
from solo_rt.pipeline import stream
from solo_rt.render.palette import PALETTE
from solo_rt.spec import Provenance
from solo_rt.train import export as export_module
from solo_rt.train.checkpoint import Checkpoint, save_checkpoint
from solo_rt.train.export import export
from solo_rt.train.export.channels_last import put_classes_last
from solo_rt.train.export.coarse import labels_of_coarse, leave_coarse
from solo_rt.train.export.graph import probe
from solo_rt.train.export.onnx_file import write_graph
from solo_rt.train.export.semantic import labels_of, semantic_graph
from solo_rt.train.models import build_model
from solo_rt.train.models.semantic import SemanticNetwork, SemanticOutput

CLASSES = ("road", "sky", "car", "person")
FORBIDDEN = {"BatchNormalization", "MaxUnpool", "NonZero", "Loop", "If", "GatherND", "ScatterND"}


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """Return a Fast-SCNN whose values are of the size that trained ones are."""
    torch.manual_seed(3)
    model = build_model("fast-scnn", len(CLASSES))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches, of which there is one
    with torch.no_grad():
        model.train()(torch.randn(4, 3, 64, 96))
    return model.eval()


@pytest.fixture(scope="module")
def checkpoint(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "last.pt"
    save_checkpoint(
        Checkpoint(
            "fast-scnn", CLASSES, network.state_dict(), 7, {}, {"seed": 5}, palette=PALETTE[4:8], unpainted=(1,)
        ),
        path,
    )
    return path


@pytest.fixture(scope="module")
def exported(checkpoint: Path) -> Callable[[str], tuple[Path, dict[str, float]]]:
    """Return a function from a kind of output to the exported file and its errors; each is exported once."""

    @cache
    def file_and_errors(kind: str) -> tuple[Path, dict[str, float]]:
        out = checkpoint.with_name(f"{kind}.onnx")
        return out, export(checkpoint, out, imgsz=(60, 90), output_kind=kind)  # type: ignore[arg-type]

    return file_and_errors


class TinyNetwork(SemanticNetwork):
    """Logits of a 1x1 convolution at a quarter of the size, enlarged."""

    num_classes, size_divisor, imgsz, aux_weights = 3, 4, (16, 24), ()

    def __init__(self, *, align_corners: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(3, 3, 4, stride=4), nn.BatchNorm2d(3)
        self.align_corners = align_corners

    def forward(self, image: Tensor) -> SemanticOutput:
        coarse = self.norm(self.conv(image))
        size = image.shape[-2:]
        return SemanticOutput(
            nn.functional.interpolate(coarse, size, mode="bilinear", align_corners=self.align_corners)
        )


@pytest.mark.parametrize("kind", ["labels", "logits"])
def test_export_reproduces_pytorch_in_a_simple_graph(exported, network, kind):
    out, errors = exported(kind)
    assert list(errors) == [kind]
    assert errors[kind] <= (0 if kind == "labels" else 1e-5)
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    operators = Counter(node.op_type for node in model.graph.node)
    assert not FORBIDDEN & set(operators)
    assert operators["MatMul"] == 6  # the pyramid's bins 2, 3 and 6
    engine = open_engine(out, device="cpu", backend="onnxruntime")
    assert engine.spec.decoder.palette == PALETTE[4:8]
    assert engine.spec.decoder.unpainted == (1,)
    assert (engine.spec.classes, engine.spec.provenance.seed) == (CLASSES, 5)
    image = probe(engine.spec)
    with torch.no_grad():
        logits = network(image).out.numpy()
    found = engine.infer({"image": image.numpy()})[kind]
    if kind == "logits":
        np.testing.assert_allclose(found, logits, atol=1e-3)
    else:
        assert found.dtype == np.uint8
        first, second = np.sort(logits, 1)[:, -1], np.sort(logits, 1)[:, -2]
        assert len(np.unique(found)) > 1
        np.testing.assert_array_equal(*(labels[first - second > 1e-4] for labels in (found, logits.argmax(1))))


def test_sizes_become_what_the_network_can_take(tmp_path):
    graph = semantic_graph(build_model("fast-scnn", 4), "x", CLASSES, Provenance(), imgsz=(1080, 1920), batch=1)
    assert (graph.spec.input.height, graph.spec.input.width, graph.spec.input.divisor) == (1088, 1920, 32)
    graph = semantic_graph(TinyNetwork(), "x", CLASSES[:3], Provenance(), imgsz=(13, 16), batch=2)
    assert (graph.spec.input.height, graph.spec.input.width, graph.spec.input.divisor) == (16, 16, 4)
    assert graph.spec.output_shapes == {"labels": (2, 16, 16)}


def test_without_a_palette_classes_have_the_colours_of_instances():
    names = tuple(f"class {i}" for i in range(40))
    graph = semantic_graph(TinyNetwork(), "x", names, Provenance(), imgsz=(16, 16), batch=1)
    assert graph.spec.decoder.palette == (*PALETTE, *PALETTE[:8])
    with pytest.raises(SpecError, match="one colour per class, got 4 for 3"):
        semantic_graph(TinyNetwork(), "x", CLASSES[:3], Provenance(), imgsz=(16, 16), batch=1, palette=PALETTE[:4])


@pytest.mark.parametrize("align_corners", [False, True])
def test_coarse_files_give_the_same_labels_through_the_run_time(tmp_path, align_corners):
    network = TinyNetwork(align_corners=align_corners).eval()
    graph = semantic_graph(network, "tiny", CLASSES[:3], Provenance(), imgsz=(32, 48), batch=2)
    write_graph(graph, tmp_path / "m.onnx")
    spec = leave_coarse(tmp_path / "m.onnx", graph.spec)
    model = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Conv", "Transpose"]
    assert len(model.graph.initializer) == 2
    engine = open_engine(tmp_path / "m.onnx", device="cpu", backend="onnxruntime")
    assert engine.spec == spec
    assert (spec.decoder.output, spec.decoder.enlarged) == ("coarse", "corners" if align_corners else "half_pixel")
    image = probe(spec)
    outputs = engine.infer({"image": image.numpy()})
    assert outputs["coarse"].shape == (2, 8, 12, 3)
    with torch.no_grad():
        np.testing.assert_array_equal(labels_of_coarse(outputs, spec)["labels"], labels_of(network(image).out).numpy())


@pytest.mark.parametrize("align_corners", [False, True])
def test_tensorrt_gets_the_labels_that_a_coarse_file_leaves_to_the_run_time(tmp_path, align_corners):
    network = TinyNetwork(align_corners=align_corners).eval()
    graph = semantic_graph(network, "tiny", CLASSES[:3], Provenance(), imgsz=(32, 48), batch=2)
    path = tmp_path / "m.onnx"
    write_graph(graph, path)
    spec = leave_coarse(path, graph.spec)
    model = typed_model(path, spec, "fp32")
    assert engine_spec(spec).output_shapes == graph.spec.output_shapes
    onnx.save(model, path)
    write_spec(path, engine_spec(spec))
    onnx.checker.check_model(onnx.load(path), full_check=True)
    image = probe(spec)
    labels = open_engine(path, device="cpu", backend="onnxruntime").infer({"image": image.numpy()})["labels"]
    with torch.no_grad():
        np.testing.assert_array_equal(labels, labels_of(network(image).out).numpy())


def test_networks_that_enlarge_nothing_have_no_coarse_file(tmp_path):
    network = TinyNetwork()
    network.forward = lambda image: SemanticOutput(
        nn.functional.pixel_shuffle(network.conv(image).repeat(1, 16, 1, 1), 4)
    )
    graph = semantic_graph(network, "shuffled", CLASSES[:3], Provenance(), imgsz=(32, 48), batch=1)
    write_graph(graph, tmp_path / "m.onnx")
    with pytest.raises(UsageError, match="shuffled does not end in logits enlarged bilinearly; choose labels"):
        leave_coarse(tmp_path / "m.onnx", graph.spec)


def test_export_of_coarse_logits_is_judged_by_its_labels(exported):
    files = [exported(kind)[0] for kind in ("labels", "coarse")]
    assert exported("coarse")[1] == exported("labels")[1] == {"labels": 0.0}
    source = "test://?size=150x97&frames=2"
    maps = [[result.semantic.labels for result in stream(source, model=path)] for path in files]
    differ = np.mean([labels != coarse for labels, coarse in zip(*maps, strict=True)])
    assert differ < 1e-3  # near ties


@pytest.mark.parametrize("align_corners", [False, True])
def test_classes_are_put_last_and_nothing_else_changes(tmp_path, align_corners):
    network = TinyNetwork(align_corners=align_corners).eval()
    graph = semantic_graph(network, "tiny", CLASSES[:3], Provenance(), imgsz=(32, 48), batch=2)
    write_graph(graph, tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    assert [node.op_type for node in model.graph.node] == ["Conv", "Transpose", "Resize", "ArgMax", "Cast"]
    assert {tensor.name for tensor in model.graph.initializer} <= {n for node in model.graph.node for n in node.input}
    image = probe(graph.spec)
    engine = open_engine(tmp_path / "m.onnx", device="cpu", backend="onnxruntime")
    found = engine.infer({"image": image.numpy()})["labels"]
    with torch.no_grad():
        logits = network(image).out
    np.testing.assert_array_equal(found, labels_of(logits).numpy())
    before = model.SerializeToString()
    put_classes_last(model)
    assert model.SerializeToString() == before


def test_logits_that_something_else_reads_stay_where_they_are():
    make = onnx.helper.make_node
    nodes = [
        make("Resize", ["x", "", "scales"], ["big"], mode="linear"),
        make("ArgMax", ["big"], ["best"], axis=1, keepdims=0),
    ]
    floats, integers = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    info = onnx.helper.make_tensor_value_info
    scales = onnx.numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")
    graph = onnx.helper.make_graph(
        nodes,
        "two",
        [info("x", floats, [1, 3, 4, 4])],
        [info("best", integers, [1, 8, 8]), info("big", floats, [1, 3, 8, 8])],
        [scales],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    put_classes_last(model)
    assert [node.op_type for node in model.graph.node] == ["Resize", "ArgMax"]
    del model.graph.output[1]
    put_classes_last(model)
    assert [node.op_type for node in model.graph.node] == ["Transpose", "Resize", "ArgMax"]
    onnx.checker.check_model(model, full_check=True)


@pytest.fixture
def tiny_graph(monkeypatch):
    """Make `export` write a tiny network, whatever the checkpoint holds."""
    graph = semantic_graph(TinyNetwork().eval(), "tiny", CLASSES[:3], Provenance(), imgsz=(32, 48), batch=1)
    monkeypatch.setattr(export_module, "static_graph", lambda *_, **__: graph)
    return graph


def test_a_graph_whose_labels_differ_fails_the_export(checkpoint, tiny_graph, tmp_path, monkeypatch):
    honest = export_module.write_graph

    def sabotage(graph, path):
        with torch.no_grad():
            graph.module.model.conv.bias[0] += 10
        honest(graph, path)

    monkeypatch.setattr(export_module, "write_graph", sabotage)
    with pytest.raises(ExportError, match="labels"):
        export(checkpoint, tmp_path / "bad.onnx", output_kind="coarse")
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_the_kind_it_is_asked_for(checkpoint, tiny_graph, tmp_path, solo):
    out = tmp_path / "m.onnx"
    code, said, _ = solo("export", checkpoint, "-o", out, "--output-kind", "coarse")
    assert code == 0
    assert "relative error to PyTorch: labels 0.0e+00" in said
    assert [output.name for output in onnx.load(out).graph.output] == ["coarse"]


def test_an_instance_network_has_no_output_kind(tmp_path):
    model = build_model("solov2-nano", 2)
    save_checkpoint(Checkpoint("solov2-nano", ("a", "b"), model.state_dict(), 0, {}, {}), tmp_path / "m.pt")
    with pytest.raises(UsageError, match="output kind labels: solov2-nano is no semantic network; leave it out"):
        export(tmp_path / "m.pt", tmp_path / "m.onnx", output_kind="labels")


def test_exported_models_run_from_the_command_line(exported, tmp_path, solo):
    """Odd frames, smaller and larger than the network's input, on threads and without: the same bytes."""
    model, _ = exported("labels")
    files = [tmp_path / "threads.jsonl", tmp_path / "sync.jsonl"]
    for size in ("91x51", "222x129"):
        source = f"test://?size={size}&frames=3"
        for path, flags in zip(files, ([], ["--sync"]), strict=True):
            assert solo("run", "--model", model, "--source", source, "--save-jsonl", path, *flags)[0] == 0
        assert files[0].read_bytes() == files[1].read_bytes()
        (result,) = stream(source, model=model, max_frames=1)
        assert result.semantic is not None
        assert result.semantic.dense().shape == tuple(int(side) for side in reversed(size.split("x")))
        assert sum(result.semantic.shares().values()) == pytest.approx(1)
