"""`solo-rt eval` of TensorRT engines, on an emulated card that gives what ONNX Runtime gives: the same numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
import pytest
from card import Card, card
from command_line import Solo
from fakes import STREET_SPEC, write_street_model
from trt_fakes import VERSION, install, write_fitting

from solo_rt.builder import engine_spec
from solo_rt.engine import find_model
from solo_rt.engine.model_file import read_spec
from solo_rt.engine.plan import Plan, read_plan, sidecar
from solo_rt.engine.plan_cache import note_built
from solo_rt.files import cache_folder, file_sha256
from solo_rt.train.data.world_files import write_coco

__all__ = ["card"]

TYPES = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(uint8)": np.uint8}


@dataclass
class Workshop:
    """A machine with an emulated card, and the means to run `solo-rt eval` on it."""

    folder: Path
    card: Card
    patch: pytest.MonkeyPatch
    solo: Solo

    def build(self, model: Path, *, noted: bool = True, decodes: bool = True) -> Plan:
        """Return a plan in the cache that computes what an engine of `model` has for outputs, by ONNX Runtime.

        An engine that does not decode by itself has its raw outputs, as one of another network than SOLOv2.
        """
        session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        spec = engine_spec(read_spec(model)) if decodes else read_spec(model)
        (taken,) = session.get_inputs()
        given = [output for output in session.get_outputs() if output.name in spec.output_shapes]
        names = [output.name for output in given]
        zeros = {taken.name: np.zeros(taken.shape, np.float32)}
        shapes = {name: value.shape for name, value in zip(names, session.run(names, zeros), strict=True)}
        ports = {taken.name: ("in", tuple(taken.shape), np.float32)}
        ports |= {output.name: ("out", shapes[output.name], TYPES[output.type]) for output in given}

        def compute(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return dict(zip(names, session.run(names, dict(inputs)), strict=True))

        install(self.patch, self.card, ports, compute)
        cache_folder().mkdir(exist_ok=True)
        plan = write_fitting(cache_folder(), spec, model=model.stem, model_sha256=file_sha256(model))
        if noted:
            note_built(plan)
        return plan

    def eval(self, *arguments: object) -> tuple[int, str, str]:
        """Return exit code, stdout and stderr."""
        return self.solo("eval", *arguments)


@pytest.fixture
def workshop(card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, solo: Solo) -> Workshop:
    monkeypatch.setenv("SOLO_RT_CACHE", str(tmp_path / "cache"))
    return Workshop(tmp_path, card, monkeypatch, solo)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = write_coco(tmp_path_factory.mktemp("world") / "coco", images=3, size=(180, 320)).parent
    return f"coco:{folder}"


def test_instances_of_an_engine_score_as_those_of_its_file(workshop: Workshop, world: str) -> None:
    model = find_model(None)
    plan = workshop.build(model)
    scores, found = [], []
    for chosen in (["--backend", "onnxruntime"], ["--model", plan.path], ["--backend", "tensorrt"]):
        results = workshop.folder / "results.json"
        code, out, err = workshop.eval("--data", world, *chosen, "--results", results, "--overwrite", "--json")
        assert code == 0, err
        scores.append(json.loads(out))
        found.append(json.loads(results.read_text()))
    single, *halves = scores
    assert single["metrics"]["AP"] > 0.3
    limits = "the best 500 candidates above 0.1, masks above 0.5, the best 100 instances of 0.05 or more"
    assert single.pop("protocol") == f"network input 256x448, {limits}, by onnxruntime cpu"
    for half, detections in zip(halves, found[1:], strict=True):
        assert half.pop("protocol") == f"network input 256x448, {limits}, by tensorrt {VERSION} fp16"
        assert half == single
        assert len(detections) == len(found[0])
        for one, other in zip(detections, found[0], strict=True):
            assert one.pop("score") == pytest.approx(other["score"], abs=5e-6)
            assert one == {name: value for name, value in other.items() if name != "score"}
    assert workshop.card.state.waits, "the frames went through the card"


def test_what_decodes_itself_can_be_asked_for_more_certain_instances_only(workshop: Workshop, world: str) -> None:
    plan = workshop.build(find_model(None))
    options = ("--model", plan.path, "--data", world, "--max-images", 1)
    code, out, _ = workshop.eval(*options, "--conf", 0.3)
    assert (code, "the best 100 instances of 0.3 or more" in out) == (0, True)
    code, out, err = workshop.eval(*options, "--exact")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "this engine decodes them itself; leave --exact out, or measure the .onnx file it was built of" in err


def test_raw_outputs_of_an_engine_can_be_decoded_as_published(workshop: Workshop, world: str) -> None:
    plan = workshop.build(find_model(None), decodes=False)
    options = ("--data", world, "--max-images", 1, "--exact", "--json")
    single, half = (
        json.loads(workshop.eval(*options, *chosen)[1])
        for chosen in (["--backend", "onnxruntime"], ["--model", plan.path])
    )
    assert single.pop("protocol").startswith("published procedure, network input 256x448, ")
    assert half.pop("protocol").startswith("published procedure, network input 256x448, ")
    assert half == single


def test_parts_by_an_engine_and_by_its_file_are_not_put_together(workshop: Workshop, world: str) -> None:
    workshop.build(find_model(None))
    parts = [workshop.folder / f"{i}.json" for i in (1, 2, 3)]
    backends = ("tensorrt", "tensorrt", "onnxruntime")
    for i, (part, backend) in enumerate(zip(parts, backends, strict=True), 1):
        options = ("--data", world, "--shard", f"{min(i, 2)}/2", "--results", part)
        assert workshop.eval(*options, "--backend", backend)[0] == 0
    code, out, _ = workshop.eval("--merge", *parts[:2], "--json")
    assert (code, json.loads(out)["images"]) == (0, 3)
    assert "expected model" in workshop.eval("--merge", parts[0], parts[2])[2]
    code, _, err = workshop.eval("--merge", *parts[:2], "--record")
    assert (code, "the numbers are kept in .onnx files" in err) == (2, True)


def test_numbers_of_an_engine_are_not_recorded_in_its_file(workshop: Workshop, world: str) -> None:
    workshop.build(find_model(None))
    code, _, err = workshop.eval("--data", world, "--backend", "tensorrt", "--record")
    assert (code, "measure the .onnx file itself, without --backend tensorrt" in err) == (2, True)


def test_an_engine_from_elsewhere_needs_trust(workshop: Workshop, world: str) -> None:
    plan = workshop.build(find_model(None), noted=False)
    options = ("--model", plan.path, "--data", world, "--max-images", 1)
    code, _, err = workshop.eval(*options)
    assert (code, "use --trust" in err) == (1, True)
    assert workshop.eval(*options, "--trust")[0] == 0


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--backend", "onnxruntime"], 2, ".engine is for tensorrt"),
        (["--device", "cpu"], 2, "device cpu: expected auto, cuda or cuda:N with the tensorrt backend"),
    ],
)
def test_options_that_do_not_fit_an_engine_are_refused(
    workshop: Workshop, world: str, options: list[str], code: int, message: str
) -> None:
    plan = workshop.build(find_model(None))
    found, _, err = workshop.eval("--model", plan.path, "--data", world, *options)
    assert (found, message in err) == (code, True)


def test_an_engine_that_is_not_there_or_old_is_one_line(workshop: Workshop, world: str) -> None:
    code, _, err = workshop.eval("--data", world, "--backend", "tensorrt")
    assert (code, err.count("\n")) == (1, 1)
    plan = workshop.build(find_model(None))
    description = json.loads(sidecar(plan.path).read_text())
    sidecar(plan.path).write_text(json.dumps({**description, "solo_rt_plan": 1}))
    code, _, err = workshop.eval("--model", plan.path, "--data", world)
    assert (code, err.count("\n")) == (1, 1)
    assert "built with another solo-rt; build the engine again" in err
    assert "no engine of" in workshop.eval("--data", world, "--backend", "tensorrt")[2]


@pytest.mark.parametrize(("output", "flip"), [("labels", False), ("logits", False), ("logits", True)])
def test_labels_of_an_engine_score_as_those_of_its_file(workshop: Workshop, output: str, flip: bool) -> None:
    street = workshop.folder / "street"
    for folder in ("images", "labels"):
        (street / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i, size in enumerate([(24, 40), (48, 80), (31, 33)]):
        cv2.imwrite(str(street / "images" / f"{i}.png"), rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        cv2.imwrite(str(street / "labels" / f"{i}.png"), rng.integers(0, 3, size, dtype=np.uint8))
    (street / "classes.json").write_text(json.dumps({"classes": STREET_SPEC.classes}))
    spec = replace(STREET_SPEC, decoder=replace(STREET_SPEC.decoder, output=output))
    model = write_street_model(workshop.folder / "street.onnx", spec=spec)
    plan = workshop.build(model)
    assert read_plan(plan.path).spec == spec
    options: list[object] = ["--data", f"folder:{street}", "--json", *(["--flip"] if flip else [])]
    measure: Callable[..., object] = lambda *chosen: json.loads(workshop.eval(*options, *chosen)[1])  # noqa: E731
    single = measure("--model", model, "--backend", "onnxruntime")
    halves = measure("--model", plan.path), measure("--model", model, "--backend", "tensorrt")
    assert single.pop("protocol").endswith("by onnxruntime cpu")
    for half in halves:
        assert half.pop("protocol").endswith(f"by tensorrt {VERSION} fp16")
        assert half == single
