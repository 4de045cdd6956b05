"""Export: a self-describing file that computes what the checkpoint computes, or no file at all."""

from __future__ import annotations

import errno
import json
import os
import signal
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import onnx
import pytest
import torch
from command_line import Solo

from solo_rt import engine as engine_module
from solo_rt.builder import comparison, engine_spec
from solo_rt.engine import Engine, open_engine
from solo_rt.engine import precision as precision_module
from solo_rt.engine.model_file import read_spec, record_metrics
from solo_rt.errors import EngineError, ExportError, SinkError, SourceError, SpecError, UsageError
from solo_rt.spec import METADATA_KEY, ModelSpec
from solo_rt.train import export as export_module
from solo_rt.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from solo_rt.train.export import export, static_graph
from solo_rt.train.export.graph import StaticGraph
from solo_rt.train.export.onnx_file import OPSET
from solo_rt.train.models import build_model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("run") / "last.pt"
    model = build_model("solov2-nano", 2)
    save_checkpoint(
        Checkpoint("solov2-nano", ("cat", "dog"), model.state_dict(), 7, {}, {"seed": 5, "recipe": "none"}), path
    )
    return path


def test_export_writes_a_self_describing_file(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "pets.onnx"
    errors = export(checkpoint, out, imgsz=(64, 96))
    assert set(errors) == {"scores", "kernels", "features"}
    assert max(errors.values()) <= 1e-4
    model = onnx.load(out)
    onnx.checker.check_model(model)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET), ("solo_rt", 1)]
    spec = ModelSpec.from_json({entry.key: entry.value for entry in model.metadata_props}[METADATA_KEY])
    assert spec.classes == ("cat", "dog")
    assert (spec.input.height, spec.input.width) == (64, 96)
    assert spec.provenance.seed == 5
    shapes = {o.name: tuple(d.dim_value for d in o.type.tensor_type.shape.dim) for o in model.graph.output}
    heads = {"scores": (1, 968, 2), "kernels": (1, 968, 48), "features": (1, 48, 16, 24)}
    assert shapes == {**heads, **engine_spec(spec).output_shapes}
    assert not any(node.op_type == "BatchNormalization" for node in model.graph.node)

    record_metrics(out, spec, {"AP": 0.5})
    again = ModelSpec.from_json({e.key: e.value for e in onnx.load(out).metadata_props}[METADATA_KEY])
    assert again.provenance.metrics == {"AP": 0.5}


def test_the_size_is_that_of_the_training_or_of_the_network(checkpoint: Path) -> None:
    """At another size than it was trained at, a small network may find nothing at all."""
    source = load_checkpoint(checkpoint)
    for trained, given, expected in (
        (None, None, (256, 448)),
        ((64, 96), None, (64, 96)),
        ((64, 96), (96, 64), (96, 64)),
    ):
        found = static_graph(replace(source, imgsz=trained), imgsz=given).spec.input
        assert (found.height, found.width) == expected


def test_a_file_can_be_for_pictures_with_many_instances(checkpoint: Path) -> None:
    source = load_checkpoint(checkpoint)
    usual, dense, sparse = (static_graph(source, max_det=most).spec.decoder for most in (None, 300, 20))
    assert [(d.max_instances, d.nms_pre) for d in (usual, dense, sparse)] == [(100, 500), (300, 1500), (20, 500)]  # type: ignore[union-attr]
    weights = build_model("fast-scnn", 2).state_dict()
    with pytest.raises(UsageError, match="--max-det is for networks of instances, fast-scnn labels pixels"):
        static_graph(Checkpoint("fast-scnn", ("a", "b"), weights, 0, {}, {}), imgsz=(32, 64), max_det=300)


WORLD = "test://?size=96x64&frames=20"


def test_what_bf16_costs_is_noted(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, solo: Solo
) -> None:
    pytest.importorskip("openvino")
    asked: list[str] = []

    def opened(path: Path, *, precision: str, **_: object) -> Engine:
        asked.append(precision)
        return open_engine(path, backend="onnxruntime", threads=1, precision="fp32")

    monkeypatch.setattr(precision_module, "has_bf16", lambda: True)
    monkeypatch.setattr(engine_module, "open_engine", opened)
    monkeypatch.setattr(comparison, "measure_loss", lambda one, other, seen: ("masks", 0.00042 * len(list(seen))))
    out = tmp_path / "pets.onnx"
    code, said, _ = solo("export", checkpoint, "--imgsz", "64x96", "-o", out, "--calib", WORLD)
    assert (code, said.splitlines()[1], asked) == (0, "bf16 loses 0.17 points of masks", ["fp32", "bf16"])
    assert read_spec(out).costs == {"bf16": 0.0017}


@pytest.mark.parametrize(("native", "installed", "reason"), [
    (False, True, "this CPU has no instructions for bf16"), (True, False, "OpenVINO is not installed"),
])  # fmt: skip
def test_costs_that_cannot_be_measured_are_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, solo: Solo, native: bool, installed: bool, reason: str
) -> None:
    monkeypatch.setattr(precision_module, "has_bf16", lambda: native)
    monkeypatch.setattr(
        import_module("solo_rt.commands.export"), "find_spec", lambda name: object() if installed else None
    )
    code, _, err = solo("export", tmp_path / "none.pt", "-o", tmp_path / "x.onnx", "--calib", WORLD)
    assert (code, reason in err) == (EngineError.exit_code, True)


def test_pictures_that_are_not_there_are_said_before_the_work(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, solo: Solo
) -> None:
    monkeypatch.setattr(precision_module, "has_bf16", lambda: True)
    monkeypatch.setattr(import_module("solo_rt.commands.export"), "find_spec", lambda name: object())
    out = tmp_path / "pets.onnx"
    code, _, err = solo("export", checkpoint, "-o", out, "--calib", tmp_path / "none.mp4")
    assert (code, "none.mp4" in err, out.exists()) == (SourceError.exit_code, True, False)


def test_a_wrong_graph_fails_the_export_and_leaves_nothing(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = export_module.write_graph

    def sabotage(graph: StaticGraph, path: Path) -> None:
        bias = graph.module.head.head.solo_kernel.bias
        with torch.no_grad():
            bias.add_(0.01)
        honest(graph, path)
        with torch.no_grad():
            bias.sub_(0.01)

    monkeypatch.setattr(export_module, "write_graph", sabotage)
    with pytest.raises(ExportError, match="kernels"):
        export(checkpoint, tmp_path / "bad.onnx", imgsz=(64, 96))
    assert list(tmp_path.iterdir()) == []


def test_bad_requests_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="divisible by 32"):
        export(checkpoint, tmp_path / "x.onnx", imgsz=(60, 96))
    with pytest.raises(UsageError, match="expected at most 16777216 pixels, as 4096x4096, got 4128x4096"):
        export(checkpoint, tmp_path / "x.onnx", imgsz=(4128, 4096))
    with pytest.raises(UsageError, match=r"\.onnx"):
        export(checkpoint, tmp_path / "x.pt", imgsz=(64, 96))
    with pytest.raises(UsageError, match="no folder"):
        export(checkpoint, tmp_path / "nowhere" / "x.onnx", imgsz=(64, 96))
    with pytest.raises(UsageError, match="no checkpoint"):
        export(tmp_path / "none.pt", tmp_path / "x.onnx")


@pytest.mark.parametrize("what", ["read-only", "long", "folder", "full"])
def test_an_output_that_cannot_be_written_is_one_line_and_leaves_nothing(
    what: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, error, why = tmp_path / "x.onnx", UsageError, "it is a folder"
    if what == "folder":
        out.mkdir()
    elif what == "long":
        out, why = tmp_path / f"{'x' * 300}.onnx", os.strerror(errno.ENAMETOOLONG)
    else:
        number = errno.EROFS if what == "read-only" else errno.ENOSPC
        error, why = (UsageError if what == "read-only" else SinkError), os.strerror(number)

        def fail(*_: object, **__: object) -> None:
            raise OSError(number, why)

        place = (Path, "touch") if what == "read-only" else (export_module, "write_graph")
        monkeypatch.setattr(*place, fail)
    before = list(tmp_path.iterdir())
    with pytest.raises(error, match=f"cannot write .*: {why}"):
        export(checkpoint, out, imgsz=(64, 96))
    assert list(tmp_path.iterdir()) == before


def test_sigterm_in_the_middle_leaves_nothing_and_exit_code_143(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, solo: Solo
) -> None:
    def killed(_graph: StaticGraph, path: Path) -> None:
        path.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(export_module, "write_graph", killed)
    before = signal.getsignal(signal.SIGTERM)
    code, _, err = solo("export", checkpoint, "--imgsz", "64x96", "-o", tmp_path / "x.onnx")
    assert code == 143
    assert err.strip() == "solo-rt: interrupted"  # click ends the line of the ^C first
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == before


def test_foreign_files_are_not_checkpoints(tmp_path: Path) -> None:
    text, foreign = tmp_path / "a.pt", tmp_path / "b.pt"
    text.write_text(json.dumps({}))
    torch.save({"state_dict": {}}, foreign)
    for path in (text, foreign):
        with pytest.raises(UsageError, match="not a"):
            load_checkpoint(path)
