"""`solo-rt bench --backend tensorrt` on an emulated card with a TensorRT of numpy: the same command, with its times."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import numpy as np
from card import NAME, card
from fakes import TINY_SPEC, write_tiny_model
from trt_fakes import VERSION, install, write_fitting

from solo_rt.bench import measurement
from solo_rt.bench.laps import Pace
from solo_rt.bench.markdown import to_markdown
from solo_rt.bench.measurement import Order, measure
from solo_rt.bench.schema import mistakes
from solo_rt.engine.tensorrt import TensorRtEngine
from solo_rt.errors import EngineError

__all__ = ["card"]

PORTS = {
    "image": ("in", (1, 3, 32, 64), np.float32),
    **{
        name: ("out", tuple(4 if size == -1 else size for size in shape), np.float32)
        for name, shape in {**TINY_SPEC.output_shapes, "kernels": (1, 25, 4), "features": (1, 4, 8, 16)}.items()
    },
}
CLIP = "test://?size=80x48&frames=20&fps=200"


def open_fake(card, monkeypatch, tmp_path):
    """Let the measurement open an engine on the emulated card."""

    def compute(inputs):
        return {name: np.full(shape, 0.5, np.float32) for name, (way, shape, _) in PORTS.items() if way == "out"}

    install(monkeypatch, card, PORTS, compute)
    plan = write_fitting(tmp_path, TINY_SPEC)
    opened = []

    def open_engine(model, **asked):
        opened.append(asked)
        return TensorRtEngine(plan, b"plan", gpu=card.open(), lanes=2)

    monkeypatch.setattr(measurement, "open_engine", open_engine)
    monkeypatch.setattr(measurement, "QUICK", Pace(seconds=0.02, least=2, most=2))
    return opened


def test_the_same_command_measures_a_card(card, monkeypatch, tmp_path):
    opened = open_fake(card, monkeypatch, tmp_path)
    order = Order(str(write_tiny_model(tmp_path / "tiny.onnx")), CLIP, backend="tensorrt", quick=True)
    found = json.loads(json.dumps(measure(order, stop=threading.Event())))
    assert list(mistakes(found)) == []
    assert opened[0]["backend"] == "tensorrt"
    assert found["engine"] == f"tensorrt {VERSION} fp16, {NAME}"
    measured = found["layers"]["network"]["gpu_ms"]["device"]
    assert measured >= 2  # pieces of work: a graph, and the last mark
    assert "gpu_ms" not in found["layers"]["model"]
    assert f"{measured:.2f} ms on the card, copies included" in to_markdown(found)
    assert list(found["layers"]) == list(measurement.WHAT)


def test_without_a_card_it_says_so_before_anything_is_measured(solo, tmp_path):
    model = write_tiny_model(tmp_path / "tiny.onnx", spec=replace(TINY_SPEC, name="x"))
    code, out, err = solo("bench", "--quick", "--model", model, "--source", CLIP, "--backend", "tensorrt")
    assert (code, out) == (EngineError.exit_code, "")
    assert "no CUDA device was found" in err
