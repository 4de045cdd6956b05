"""Plans on disk: whole or absent, and only taken where they fit."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
from fakes import TINY_SPEC

from solo_rt.engine.plan import PlanKey, check_plan, make_plan, plan_path, read_content, read_plan, sidecar, write_plan
from solo_rt.errors import EngineError
from solo_rt.files import file_sha256

KEY = PlanKey("aa", "bb", "pp", "", "fp16", "10.16.1.11", "12", "NVIDIA H200 9.0", "linux-x86_64", 0, -1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = plan_path(tmp_path, Path("models/nano.onnx"), KEY)
    write_plan(replace(make_plan(path, b"plan", KEY, TINY_SPEC), agreement={"mask_iou": 0.998}), b"plan")
    return path


def test_what_is_written_is_read_again(path: Path) -> None:
    plan = read_plan(path)
    assert (plan.key, plan.spec, plan.agreement) == (KEY, TINY_SPEC, {"mask_iou": 0.998})
    assert path.read_bytes() == read_content(plan) == b"plan"
    assert plan.sha256 == file_sha256(path)
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, f"{path.name}.json"]


def test_every_part_of_the_key_changes_the_name(tmp_path: Path) -> None:
    others = {"precision": "int8", "workspace": 1, "level": 5}
    keys = [KEY, *(replace(KEY, **{f.name: others.get(f.name, "other")}) for f in fields(KEY))]
    assert len({plan_path(tmp_path, Path("a.onnx"), key) for key in keys}) == len(keys)


def test_missing_parts_are_named(path: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no such engine"):
        read_plan(tmp_path / "other.engine")
    sidecar(path).unlink()
    with pytest.raises(EngineError, match=r"expected nano\.fp16\..*\.json beside it"):
        read_plan(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "cannot be read"), ("[]", "expected format 3, got none"), ('{"solo_rt_plan": 3}', "'spec'")],
)
def test_a_damaged_description_is_refused(path: Path, text: str, message: str) -> None:
    sidecar(path).write_text(text)
    with pytest.raises(EngineError, match=message):
        read_plan(path)


def test_another_content_is_refused(path: Path) -> None:
    path.write_bytes(b"evil")
    with pytest.raises(EngineError, match="not what its description says"):
        read_content(read_plan(path))


def test_a_plan_that_was_cut_off_is_refused(path: Path) -> None:
    path.write_bytes(b"pl")
    with pytest.raises(EngineError, match="expected 4 bytes, got 2"):
        read_plan(path)


def test_a_description_from_before_the_hash_of_the_passes_says_that_it_is_old(path: Path) -> None:
    record = json.loads(sidecar(path).read_text())
    record["solo_rt_plan"] = 1
    del record["key"]["passes_sha256"]
    sidecar(path).write_text(json.dumps(record))
    with pytest.raises(EngineError, match="got 1: the engine was built with another solo-rt; build the engine again"):
        read_plan(path)


def test_an_unknown_field_is_refused(path: Path) -> None:
    record = json.loads(sidecar(path).read_text())
    record["key"]["colour"] = "red"
    sidecar(path).write_text(json.dumps(record))
    with pytest.raises(EngineError, match="colour"):
        read_plan(path)


def test_a_plan_of_another_machine_is_refused(path: Path) -> None:
    plan = read_plan(path)
    here = {"tensorrt": KEY.tensorrt, "gpu": KEY.gpu, "platform": KEY.platform}
    check_plan(plan, here)
    with pytest.raises(EngineError, match=r"built for gpu NVIDIA H200 9\.0, this machine has Orin 8\.7"):
        check_plan(plan, {**here, "gpu": "Orin 8.7"})
    with pytest.raises(EngineError, match=r"built for tensorrt 10\.16\.1\.11"):
        check_plan(plan, {**here, "tensorrt": "10.16.2.1"})


def test_a_plan_of_another_solo_rt_is_refused_without_its_hashes(path: Path) -> None:
    plan = read_plan(path)
    check_plan(plan, {"plugins": "bb", "passes_sha256": "pp"})
    with pytest.raises(EngineError, match=r"fp16\..*: it was built with another solo-rt; build the engine again"):
        check_plan(plan, {"plugins": "bb", "passes_sha256": "qq"})
    with pytest.raises(EngineError, match="it was built with another plugin library; build the engine again"):
        check_plan(plan, {"plugins": "cc", "passes_sha256": "pp"})


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot be written: No such file"):
        write_plan(make_plan(tmp_path / "nowhere" / "a.engine", b"", KEY, TINY_SPEC), b"")
