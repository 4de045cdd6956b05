"""`solo-rt inspect` of a TensorRT engine: what the file beside it says, without TensorRT and without a GPU."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import Solo
from fakes import STREET_SPEC, TINY_SPEC

from solo_rt.builder import engine_spec
from solo_rt.engine.plan import PlanKey, make_plan, sidecar, write_plan
from solo_rt.spec import ModelSpec, Provenance

KEY = PlanKey("aa", "bb", "pp", "", "fp16", "10.16.1.11", "12", "NVIDIA H200 9.0", "linux-x86_64", 64 << 20, 5)
AGREEMENT = {"found": 0.99612, "mask_iou": 0.998}


@pytest.fixture(autouse=True)
def _neither_tensorrt_nor_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("tensorrt", "pycuda", "cuda", "onnxruntime"):
        monkeypatch.setitem(sys.modules, module, None)


def write(
    folder: Path, key: PlanKey = KEY, spec: ModelSpec = TINY_SPEC, agreement: dict[str, float] = AGREEMENT
) -> Path:
    plan = replace(make_plan(folder / "tiny.engine", b"plan", key, engine_spec(spec)), agreement=agreement)
    write_plan(plan, b"plan")
    return plan.path


def rows(text: str) -> dict[str, str]:
    """Return what is printed, by what is printed before it."""
    return {name: value for name, _, value in (line.partition("  ") for line in text.splitlines()) if value}


def test_an_engine_is_shown_with_its_machine_and_its_gate(solo: Solo, tmp_path: Path) -> None:
    path = write(tmp_path)
    code, out, err = solo("inspect", path)
    assert (code, err) == (0, "")
    shown = {name: value.strip() for name, value in rows(out).items()}
    assert shown["model"] == "tiny, fp16 engine, 0.0 MB"
    assert shown["input"] == "image float32 [1, 3, 32, 64]"
    assert shown["outputs"] == "num_dets int32 [1, 1]"  # and five more
    assert shown["built for"] == "NVIDIA H200 9.0, CUDA 12, TensorRT 10.16.1.11, linux-x86_64, plugins bb"
    assert shown["options"] == "workspace 64 MB, level 5"
    assert shown["agreement with FP32"] == "found 0.9961, mask_iou 0.9980"
    assert shown["SHA-256 of passes"] == "pp"
    assert "SHA-256 of calibration" not in shown
    assert shown["recipe"] == "by hand"


def test_the_card_has_everything_the_file_says(solo: Solo, tmp_path: Path) -> None:
    path = write(tmp_path, spec=STREET_SPEC)
    code, out, _ = solo("inspect", path, "--json")
    card = json.loads(out)
    assert code == 0
    assert (card["path"], card["bytes"], card["precision"], card["agreement"]) == (str(path), 4, "fp16", AGREEMENT)
    assert card["built_for"] | card["options"] == {
        name: getattr(KEY, name) for name in ("gpu", "cuda", "tensorrt", "platform", "plugins", "workspace", "level")
    }
    assert (card["sha256"]["model"], card["sha256"]["passes"], len(card["sha256"]["engine"])) == ("aa", "pp", 64)
    assert card["outputs"] == {"labels": {"type": "uint8", "shape": [1, 24, 40]}}


def test_what_was_left_open_is_said(solo: Solo, tmp_path: Path) -> None:
    key = replace(KEY, gpu="", cuda="", workspace=0, level=-1)
    _, out, _ = solo("inspect", write(tmp_path, key, agreement={}))
    built_for = "no card in particular, TensorRT 10.16.1.11, linux-x86_64"
    for text in (built_for, "TensorRT's defaults", "not measured"):
        assert text in out


def change(path: Path, **parts: object) -> None:
    """Change fields of the key, or of the description, in the file beside an engine."""
    record = json.loads(sidecar(path).read_text())
    for name, value in parts.items():
        (record["key"] if name in record["key"] else record)[name] = value
    sidecar(path).write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"solo_rt_plan": 7}, "expected format 3, got 7"),
        ({"spec": {}}, "model spec has schema None"),
        ({"level": "5"}, "expected level of type int, got '5'"),
        ({"precision": "fp8"}, "expected precision fp32, fp16, int8, got 'fp8'"),
        ({"agreement": [1]}, "build the engine again"),
        ({"agreement": {"found": "all"}}, "build the engine again"),
        ({"key": 3}, "build the engine again"),
        ({"size": 7}, "expected 7 bytes, got 4"),
        ({"sha256": "00"}, "its content is not what its description says"),
    ],
)
def test_a_wrong_description_is_one_line(solo: Solo, tmp_path: Path, parts: dict[str, object], message: str) -> None:
    path = write(tmp_path)
    change(path, **parts)
    code, out, err = solo("inspect", path)
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert message in err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "expected tiny.engine.json beside it; build it with solo-rt build-engine"),
        (b"", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"[]", "expected format 3"),
        (b'{"solo_rt_plan": 3}', "expected 'spec', there is none"),
    ],
)
def test_a_missing_or_damaged_description_is_one_line(
    solo: Solo, tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = write(tmp_path)
    sidecar(path).unlink() if content is None else sidecar(path).write_bytes(content)
    code, out, err = solo("inspect", path)
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert message in err


def test_what_others_wrote_into_a_file_does_not_steer_the_terminal(solo: Solo, tmp_path: Path) -> None:
    spec = replace(TINY_SPEC, provenance=Provenance(data="\x1b]0;title\x07 cleared \x1b[2J"))
    code, out, _ = solo("inspect", write(tmp_path, spec=spec))
    assert (code, rows(out)["data"].strip()) == (0, "�]0;title� cleared �[2J")
