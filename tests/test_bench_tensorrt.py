"""`solo-rt bench --backend tensorrt` on a TensorRT made of numpy: the same command, with the times of the card."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import numpy as np
import pytest
from fakes import TINY_SPEC, write_tiny_model
from trt_fakes import VERSION, FakeGpu, LetterboxKernels, fake_tensorrt

from solo_rt.bench import measurement
from solo_rt.bench.laps import Pace
from solo_rt.bench.markdown import to_markdown
from solo_rt.bench.measurement import Order, measure
from solo_rt.bench.schema import mistakes
from solo_rt.engine import tensorrt
from solo_rt.engine.plan import PlanKey, machine_platform, make_plan, passes_sha256
from solo_rt.engine.tensorrt import TensorRtEngine
from solo_rt.errors import EngineError

PORTS = {
    "image": ("in", (1, 3, 32, 64), np.float32),
    **{
        name: ("out", tuple(4 if size == -1 else size for size in shape), np.float32)
        for name, shape in {**TINY_SPEC.output_shapes, "kernels": (1, 25, 4), "features": (1, 4, 8, 16)}.items()
    },
}
CLIP = "test://?size=80x48&frames=20&fps=200"


def open_fake(monkeypatch, tmp_path):
    """Let the measurement open an engine on a card of numpy."""
    gpu, library = FakeGpu(), tmp_path / "lib.so"
    library.write_bytes(b"elf")

    def compute(inputs):
        return {name: np.full(shape, 0.5, np.float32) for name, (way, shape, _) in PORTS.items() if way == "out"}

    monkeypatch.setattr(tensorrt, "import_tensorrt", lambda: fake_tensorrt(gpu, PORTS, compute))
    monkeypatch.setattr(tensorrt, "find_plugins", lambda: library)
    monkeypatch.setattr(tensorrt, "load_plugins", lambda trt, path: None)
    monkeypatch.setattr(tensorrt, "find_kernels", lambda: library)
    monkeypatch.setattr(tensorrt, "Kernels", lambda path: LetterboxKernels(gpu))
    key = PlanKey("aa", "bb", passes_sha256(), "", "fp16", VERSION, "12", "Fake 9.0", machine_platform(), 0, -1)
    plan = make_plan(tmp_path / "tiny.engine", b"plan", key, TINY_SPEC)
    opened = []

    def open_engine(model, **asked):
        opened.append(asked)
        return TensorRtEngine(plan, b"plan", gpu=gpu, lanes=2)

    monkeypatch.setattr(measurement, "open_engine", open_engine)
    monkeypatch.setattr(measurement, "QUICK", Pace(seconds=0.02, least=2, most=2))
    return opened


def test_the_same_command_measures_a_card(monkeypatch, tmp_path):
    opened = open_fake(monkeypatch, tmp_path)
    order = Order(str(write_tiny_model(tmp_path / "tiny.onnx")), CLIP, backend="tensorrt", quick=True)
    found = json.loads(json.dumps(measure(order, stop=threading.Event())))
    assert list(mistakes(found)) == []
    assert opened[0]["backend"] == "tensorrt"
    assert found["engine"] == f"tensorrt {VERSION} fp16, Fake 9.0"
    assert found["layers"]["network"]["gpu_ms"]["device"] == pytest.approx(2.0)
    assert "gpu_ms" not in found["layers"]["model"]
    assert "2.00 ms on the card, copies included" in to_markdown(found)
    assert list(found["layers"]) == list(measurement.WHAT)


def test_without_a_card_it_says_so_before_anything_is_measured(solo, tmp_path):
    model = write_tiny_model(tmp_path / "tiny.onnx", spec=replace(TINY_SPEC, name="x"))
    code, out, err = solo("bench", "--quick", "--model", model, "--source", CLIP, "--backend", "tensorrt")
    assert (code, out) == (EngineError.exit_code, "")
    assert "no CUDA device was found" in err
