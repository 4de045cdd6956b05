"""Which plan fits a model, and which plans were built here."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import TINY_SPEC

from solo_rt.engine.plan import Plan, PlanKey, PlanPrecision, make_plan, plan_path, write_plan
from solo_rt.engine.plan_cache import NOTES, check_trust, find_plan, note_built
from solo_rt.errors import CacheError, EngineError
from solo_rt.files import cache_folder, file_sha256

MACHINE = {
    "gpu": "Fake 9.0",
    "tensorrt": "10.16.1.11",
    "cuda": "12",
    "platform": "linux-x86_64",
    "plugins": "bb",
    "passes_sha256": "pp",
}


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SOLO_RT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    path = tmp_path / "nano.onnx"
    path.write_bytes(b"onnx")
    return path


def write(model: Path, precision: PlanPrecision = "fp16", **changes: object) -> Plan:
    key = PlanKey(file_sha256(model), "bb", "pp", "", precision, "10.16.1.11", "12", "Fake 9.0", "linux-x86_64", 0, -1)
    key = replace(key, **changes)
    plan = make_plan(plan_path(cache_folder(), model, key), b"plan", key, TINY_SPEC)
    write_plan(plan, b"plan")
    return plan


def test_half_precision_is_preferred(model: Path) -> None:
    for precision in ("fp32", "int8", "fp16"):
        write(model, precision)
    assert find_plan(model, MACHINE).key.precision == "fp16"
    assert find_plan(model, MACHINE, is_fp32=True).key.precision == "fp32"


@pytest.mark.parametrize("levels", [(1, 5), (5, 1)])
def test_of_one_precision_the_last_one_built_is_taken(model: Path, levels: tuple[int, int]) -> None:
    for built_at, level in enumerate(levels):
        os.utime(write(model, level=level).path, (built_at, built_at))
    assert find_plan(model, MACHINE).key.level == levels[-1]


def test_where_nothing_is_in_float32_that_is_said_of_what_there_is(model: Path) -> None:
    write(model, "int8")
    assert find_plan(model, MACHINE, is_fp32=True).key.precision == "int8"  # `open_tensorrt` refuses it by its name


def test_plans_of_other_machines_models_and_damaged_ones_are_passed_over(model: Path) -> None:
    write(model, gpu="Orin 8.7")
    write(model, model_sha256="00")
    write(model, tensorrt="11.0.0.1").path.write_bytes(b"")
    with pytest.raises(EngineError, match=r"no engine of .*nano\.onnx fits this machine; make one with"):
        find_plan(model, MACHINE)
    fitting = write(model, "int8")
    assert find_plan(model, MACHINE).path == fitting.path


def test_a_model_is_found_whatever_its_name_means_in_a_pattern(model: Path) -> None:
    odd = model.rename(model.with_name("nano[v2].onnx"))
    plan = write(odd)
    assert find_plan(odd, MACHINE).path == plan.path


@pytest.mark.parametrize("ours", ["plugins", "passes_sha256"])
def test_a_stale_plan_is_passed_over_for_one_that_is_not(model: Path, ours: str) -> None:
    write(model, **{ours: "old"})
    with pytest.raises(EngineError, match="fits this machine"):
        find_plan(model, MACHINE)
    fresh = write(model, "fp32")
    assert find_plan(model, MACHINE).path == fresh.path


def test_a_changed_model_needs_a_new_plan(model: Path) -> None:
    write(model)
    model.write_bytes(b"other")
    with pytest.raises(EngineError, match="fits this machine"):
        find_plan(model, MACHINE)


def test_only_what_was_built_here_is_opened_without_being_asked(model: Path) -> None:
    plan = write(model)
    with pytest.raises(EngineError, match="use --trust"):
        check_trust(plan)
    note_built(plan)
    check_trust(plan)
    (cache_folder() / NOTES).unlink()
    (cache_folder() / NOTES).mkdir()  # which is no file that could be read, whoever asks
    with pytest.raises(EngineError, match="use --trust"):
        check_trust(plan)


def test_a_user_without_a_home_folder_is_told_where_to_have_a_cache(
    model: Path, request: pytest.FixtureRequest
) -> None:
    plan = write(model)
    request.getfixturevalue("homeless")
    for use in (lambda: find_plan(model, MACHINE), lambda: note_built(plan)):
        with pytest.raises(CacheError, match="set SOLO_RT_CACHE"):
            use()
    with pytest.raises(EngineError, match="use --trust"):
        check_trust(plan)
