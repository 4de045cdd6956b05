"""TensorRT itself on a GPU: an engine is built, checked and run by the commands that a user types."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from command_line import Solo
from gpu_memory import require_gpu

import solo_rt
from solo_rt.builder.agreement import agreement

pytestmark = pytest.mark.tensorrt

WORLD = "test://?seed=11&size=640x360&frames=12"


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_engine_finds_what_the_model_finds(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, solo: Solo
) -> None:
    require_gpu()
    if importlib.util.find_spec("tensorrt") is None:
        pytest.skip("TensorRT is not installed; see docs/tensorrt.md")
    monkeypatch.setenv("SOLO_RT_CACHE", str(tmp_path))
    assert solo("build-engine", f"--{precision}")[0] == 0
    found, expected = (
        list(solo_rt.stream(WORLD, backend=backend, render=True)) for backend in ("tensorrt", "onnxruntime")
    )
    assert len(found) == len(expected) == 12
    measured = agreement((a.instances, b.instances) for a, b in zip(expected, found, strict=True))
    assert measured["found"] > 0.95
    assert measured["mask_iou"] > 0.98
    assert all(result.rendered is not None for result in found)
