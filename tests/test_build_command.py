"""`solo-rt build-engine` as far as it goes without TensorRT: arguments, and the model it would build."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from command_line import Solo

from solo_rt import builder as build_engine
from solo_rt.builder import build_checked, compiler, engine_spec
from solo_rt.builder.compiler import BuildOptions
from solo_rt.builder.network import typed_model
from solo_rt.decoders import DetectionsDecoder, SoloV2Decoder
from solo_rt.engine import find_model, open_engine
from solo_rt.engine.model_file import int8_of, read_model, read_spec
from solo_rt.engine.operators import OPERATORS
from solo_rt.engine.plan import Plan, PlanPrecision, read_content, read_plan, sidecar
from solo_rt.engine.plan_cache import NOTES, check_trust
from solo_rt.errors import CacheError, EngineError, SoloRTError, UsageError
from solo_rt.progress import Show
from solo_rt.train.data.pictures import write_picture


def test_int8_needs_pictures(solo: Solo) -> None:
    code, _, err = solo("build-engine", "--int8")
    assert code == 2
    assert "--int8 needs --calib" in err


def test_a_fixed_input_cannot_be_changed_afterwards(solo: Solo) -> None:
    code, _, err = solo("build-engine", "--shapes", "448x768")
    assert code == 2
    assert "fixed at 256x448, batch 1; give the checkpoint" in err


def test_an_engine_is_not_built_again(tmp_path: Path, solo: Solo) -> None:
    (tmp_path / "a.engine").touch()
    code, _, err = solo("build-engine", "--model", tmp_path / "a.engine")
    assert (code, "expected an .onnx file or a checkpoint (.pt), got an engine" in err) == (2, True)


def test_a_checkpoint_may_be_in_the_home_folder(tmp_path: Path, solo: Solo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.pt").write_bytes(b"no checkpoint")
    assert f"{tmp_path / 'a.pt'}: not a file that torch.save wrote" in solo("build-engine", "--model=~/a.pt")[2]


def test_where_an_engine_cannot_be_written_is_said_before_the_work(tmp_path: Path, solo: Solo) -> None:
    code, _, err = solo("build-engine", "--output", tmp_path / "none" / "a.engine")
    assert (code, f"there is no folder {tmp_path / 'none'}" in err) == (2, True)


def test_the_output_is_an_engine(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in \.engine"):
        build_checked(find_model(), BuildOptions(), output=tmp_path / "a.plan")


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match=r"level in 0\.\.5"):
        BuildOptions(level=7)


def test_a_file_without_decoding_operators_is_sent_back_to_export(tmp_path: Path) -> None:
    model = onnx.load(find_model(None))
    kept = [node for node in model.graph.node if node.op_type not in OPERATORS]
    del model.graph.node[:], model.functions[:]
    model.graph.node.extend(kept)
    onnx.save(model, tmp_path / "old.onnx")
    with pytest.raises(UsageError, match="holds no decoding operators; export it again"):
        build_checked(tmp_path / "old.onnx", BuildOptions(), is_checked=False)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_model_for_the_builder_has_the_detections_alone(precision) -> None:
    model = read_model(find_model())
    path = (int8_of(model) if precision == "int8" else model).path
    model = typed_model(path, read_spec(path), precision)
    names = {output.name for output in model.graph.output}
    assert names == set(engine_spec(read_spec(path)).output_shapes)
    onnx.checker.check_model(model)
    (conv,) = (node for node in model.graph.node if node.op_type == OPERATORS[0])
    assert conv.input[0] == "scores"
    assert list(conv.input[1:]) == (
        [f"{n}.half" for n in ("kernels", "features")] if precision != "fp32" else ["kernels", "features"]
    )


def test_the_spec_of_an_engine_says_that_it_decodes() -> None:
    spec = engine_spec(read_spec(find_model(None)))
    assert spec.decoder == DetectionsDecoder(100, 4)
    assert engine_spec(spec) == spec


def test_the_spec_of_an_engine_tells_the_thresholds_that_were_built_in() -> None:
    decoder = SoloV2Decoder(
        (4,), (8,), score_threshold=0.2, mask_threshold=0.4, nms_pre=30, update_threshold=0.1, max_instances=50
    )
    found = engine_spec(replace(read_spec(find_model(None)), decoder=decoder)).decoder
    assert found == DetectionsDecoder(30, 4, score_threshold=0.2, mask_threshold=0.4, nms_pre=30, update_threshold=0.1)


@pytest.mark.parametrize(
    ("name", "backend", "message"),
    [
        ("a.engine", "onnxruntime", r"\.engine is for tensorrt"),
        ("a.pt", "tensorrt", r"\.pt is for torch"),
        ("a.onnx", "torch", r"expected a checkpoint \(\.pt\)"),
        ("a.txt", "auto", r"expected an \.onnx file"),
    ],
)
def test_a_backend_that_cannot_read_a_file_is_refused(tmp_path: Path, name: str, backend: str, message: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(UsageError, match=message):
        open_engine(tmp_path / name, backend=backend)


def test_tensorrt_without_a_device_is_an_engine_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("solo_rt.gpu.cuda.device_count", lambda: 0)
    with pytest.raises(EngineError, match="no CUDA device"):
        open_engine(None, backend="tensorrt")


@pytest.mark.parametrize(("precision", "cleared"), [("fp32", ["TF32"]), ("fp16", []), ("int8", [])])
def test_single_precision_is_not_tf32(precision: PlanPrecision, cleared: list[str]) -> None:
    asked: list[str] = []
    trt = SimpleNamespace(BuilderFlag=SimpleNamespace(TF32="TF32"))
    compiler._configure(trt, SimpleNamespace(clear_flag=asked.append), BuildOptions(precision))
    assert asked == cleared


class Builder:
    """Stands in for TensorRT: plans are numbered, nothing is compared."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.built = 0
        self.passes, self.plugins = "one", "1"
        monkeypatch.setenv("SOLO_RT_CACHE", str(folder / "cache"))
        monkeypatch.setattr(compiler, "find_plugins", lambda: folder / "libsolo_plugins.so")
        monkeypatch.setattr(compiler, "plugins_revision", lambda path: self.plugins)
        monkeypatch.setattr(compiler, "import_tensorrt", lambda: SimpleNamespace(__version__="10.16.1.11"))
        monkeypatch.setattr(compiler, "passes_sha256", lambda: self.passes)
        monkeypatch.setattr(build_engine, "typed_model", lambda *arguments: onnx.ModelProto())
        monkeypatch.setattr(build_engine, "build", self.build)
        monkeypatch.setattr(build_engine, "device_count", lambda: 0)

    def build(self, *_arguments: object, show: Show) -> bytes:
        self.built += 1
        return b"plan %d" % self.built


def fake_gpu(index: int) -> SimpleNamespace:
    return SimpleNamespace(name=f"Fake {index}", cuda="13", bound=nullcontext)


@pytest.mark.parametrize(
    ("cards", "gpu", "said"),
    [(0, "", "for no card in particular, to be looked at"), (2, "Fake 1", "not compared with the FP32 model; solo-rt")],
)
def test_a_plan_that_is_not_compared_is_for_the_card_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, solo: Solo, cards: int, gpu: str, said: str
) -> None:
    Builder(monkeypatch, tmp_path)
    monkeypatch.setattr(build_engine, "device_count", lambda: cards)
    monkeypatch.setattr(build_engine, "open_gpu", fake_gpu)
    code, _, err = solo("build-engine", "--no-check", "--device", 1)
    assert code == 0
    assert said in err
    (path,) = tmp_path.glob("cache/*.engine")
    plan = read_plan(path)
    assert (plan.key.gpu, plan.key.cuda, plan.agreement) == (gpu, "13" if gpu else "", {})


def test_without_onnx_the_way_to_it_is_said(monkeypatch: pytest.MonkeyPatch, solo: Solo) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, err = solo("build-engine")
    assert code == 2
    assert err == "solo-rt: error: build-engine needs onnx; install it with pip install onnx\n"


def test_a_builder_that_needs_a_card_says_why_it_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    class Logger:
        Severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2)

    def start(logger: Any) -> object:
        logger.log(1, "CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    trt = SimpleNamespace(__version__="10.16.1.11", ILogger=Logger, Builder=start)
    monkeypatch.setattr(compiler, "import_tensorrt", lambda: trt)
    with pytest.raises(EngineError, match=r"TensorRT 10\.16\.1\.11 cannot build here: CUDA init.* with error: 35"):
        compiler.build(onnx.ModelProto(), BuildOptions())


@pytest.mark.parametrize("part", ["passes", "plugins"])
def test_a_plan_is_built_again_when_its_makers_change(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, part: str
) -> None:
    builder = Builder(monkeypatch, tmp_path)
    first, again = (build_checked(find_model(), BuildOptions(), is_checked=False) for _ in range(2))
    assert (first.is_new, again.is_new, again.plan) == (True, False, first.plan)
    setattr(builder, part, "two")
    other = build_checked(find_model(), BuildOptions(), is_checked=False)
    assert other.is_new
    assert other.plan.path != first.plan.path, "the old one stays for the solo-rt that built it"


@pytest.mark.parametrize("agrees", [True, False])
def test_a_plan_gets_its_name_once_it_was_compared_on_the_gpu_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, agrees: bool
) -> None:
    Builder(monkeypatch, tmp_path)
    opened: list[object] = []

    def compare(model: Path, candidate: object, precision: str, uri: str | None) -> dict[str, float]:
        assert not list(tmp_path.glob("cache/*.engine*"))
        if not agrees:
            raise EngineError("differs too much")
        return {"found": 1.0}

    def open_plan(plan: Plan, content: bytes, *, gpu: SimpleNamespace) -> SimpleNamespace:
        opened.append((content, gpu.name))
        return SimpleNamespace(close=lambda: opened.append("closed"))

    monkeypatch.setattr(build_engine, "open_gpu", fake_gpu)
    monkeypatch.setattr(build_engine, "TensorRtEngine", open_plan)
    monkeypatch.setattr(build_engine, "_gate", compare)
    with nullcontext() if agrees else pytest.raises(EngineError, match="differs too much"):
        assert build_checked(find_model(), BuildOptions(), device=1).plan.agreement == {"found": 1.0}
    assert opened == [(b"plan 1", "Fake 1"), "closed"]
    assert len(list(tmp_path.glob("cache/*.engine"))) == agrees


@pytest.mark.parametrize(("folder", "said"), [("black", "finds nothing on the pictures of"), ("none", "none")])
def test_pictures_that_nothing_can_be_compared_on_are_said_before_the_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str, said: str
) -> None:
    builder = Builder(monkeypatch, tmp_path)
    monkeypatch.setattr(build_engine, "open_gpu", fake_gpu)
    (tmp_path / "black").mkdir()
    write_picture(tmp_path / "black" / "0.png", np.zeros((64, 112, 3), np.uint8))
    with pytest.raises(SoloRTError, match=said):
        build_checked(find_model(), BuildOptions(), calibration=str(tmp_path / folder))
    assert builder.built == 0


def test_a_plan_that_was_not_compared_is_built_again_to_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    builder = Builder(monkeypatch, tmp_path)
    monkeypatch.setattr(build_engine, "device_count", lambda: 1)
    monkeypatch.setattr(build_engine, "open_gpu", fake_gpu)
    monkeypatch.setattr(build_engine, "TensorRtEngine", lambda *_, **__: SimpleNamespace(close=lambda: None))
    monkeypatch.setattr(build_engine, "_gate", lambda *_: {"found": 1.0})
    found = [
        build_checked(find_model(), BuildOptions(), is_checked=is_checked)
        for is_checked in (False, False, True, True, False)
    ]
    assert [(built.is_new, bool(built.plan.agreement)) for built in found] == [
        (True, False), (False, False), (True, True), (False, True), (False, True),
    ]  # fmt: skip
    assert builder.built == 2


@pytest.mark.parametrize(
    ("model", "precision", "measured", "instead"),
    [
        ("solov2-nano", "fp16", {"found": 0.97, "mask_iou": 0.98}, ""),
        ("solov2-nano", "fp16", {"found": 0.9699, "mask_iou": 1.0}, "use --fp32"),
        ("solov2-nano", "fp16", {"found": 1.0, "mask_iou": 0.9799}, "use --fp32"),
        ("solov2-nano", "int8", {"found": 0.9, "mask_iou": 0.9}, ""),
        ("solov2-nano", "fp32", {"found": 0.98, "mask_iou": 1.0}, "report it, with what solo-rt doctor says"),
        ("fast-scnn", "fp16", {"labels": 0.999}, ""),
        ("fast-scnn", "fp16", {"labels": 0.9989}, "use --fp32"),
        ("fast-scnn", "int8", {"labels": 0.99}, ""),
        ("fast-scnn", "int8", {"labels": 0.9899}, "use --fp32"),
    ],
)
def test_what_sees_too_little_is_refused(
    monkeypatch: pytest.MonkeyPatch, model: str, precision: PlanPrecision, measured: dict[str, float], instead: str
) -> None:
    asked: list[str] = []

    def frames(uri: str, most: int) -> list[object]:
        asked.append(uri)
        return []

    monkeypatch.setattr(build_engine, "open_engine", lambda *_, **__: SimpleNamespace(close=lambda: None))
    monkeypatch.setattr(build_engine, "frames", frames)
    monkeypatch.setattr(build_engine, "compare", lambda reference, candidate, pictures: measured)
    candidate = SimpleNamespace(spec=read_spec(find_model(model)))
    for uri in (None, "a.mp4"):
        with pytest.raises(EngineError, match=instead + "$") if instead else nullcontext():
            assert build_engine._gate(Path("a.onnx"), candidate, precision, uri) == measured
    assert asked == ["test://?frames=80", "a.mp4"]


@pytest.mark.parametrize("description", ['{"solo_rt_plan": 1}', "", None])
def test_what_cannot_be_taken_is_replaced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, description: str | None
) -> None:
    builder = Builder(monkeypatch, tmp_path)
    output = tmp_path / "a.engine"
    output.write_bytes(b"old")
    if description is not None:
        sidecar(output).write_text(description)
    assert build_checked(find_model(), BuildOptions(), output=output, is_checked=False).is_new
    assert not build_checked(find_model(), BuildOptions(), output=output, is_checked=False).is_new
    assert (builder.built, output.read_bytes()) == (1, b"plan 1")


@pytest.mark.parametrize(
    "spoil", [lambda path: path.write_bytes(b"evil 1"), lambda path: path.with_name(NOTES).unlink()]
)
def test_a_plan_that_nobody_would_open_is_built_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    """One whose content was changed, and one that is not known to have been built here."""
    builder = Builder(monkeypatch, tmp_path)
    spoil(build_checked(find_model(), BuildOptions(), is_checked=False).plan.path)
    built = build_checked(find_model(), BuildOptions(), is_checked=False)
    assert (built.is_new, builder.built, read_content(built.plan)) == (True, 2, b"plan 2")
    check_trust(built.plan)


@pytest.mark.parametrize("output", [None, "a.engine"])
def test_a_user_without_a_home_folder_hears_of_it_before_the_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest, output: str | None
) -> None:
    builder = Builder(monkeypatch, tmp_path)
    request.getfixturevalue("homeless")
    given = None if output is None else tmp_path / output
    with pytest.raises(CacheError, match="set SOLO_RT_CACHE"):
        build_checked(find_model(), BuildOptions(), output=given, is_checked=False)
    assert builder.built == 0


@pytest.mark.parametrize("output", [None, "a.engine"])
def test_a_cache_that_cannot_be_written_is_found_before_the_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, output: str | None
) -> None:
    """As in a container whose user may not write to its home folder."""
    builder = Builder(monkeypatch, tmp_path)
    monkeypatch.setenv("SOLO_RT_CACHE", str(tmp_path / "file" / "cache"))
    (tmp_path / "file").touch()
    given = None if output is None else tmp_path / output
    with pytest.raises(EngineError, match=r"cache: cannot be written: Not a directory; set SOLO_RT_CACHE"):
        build_checked(find_model(), BuildOptions(), output=given, is_checked=False)
    assert (builder.built, given is not None and given.exists()) == (0, False)
