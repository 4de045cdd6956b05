"""Denormals are zero where networks are computed, and what they were everywhere else."""

from __future__ import annotations

import platform
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from backends import BACKENDS
from fakes import STREET_SPEC, write_street_model
from onnx import helper, numpy_helper

from solo_rt import _native
from solo_rt.denormals import flushed_denormals
from solo_rt.engine import open_engine

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "aarch64"), reason="denormals are known of x86-64 and of ARM"
)
DENORMAL = np.float32(1e-39)


def keeps_denormals() -> bool:
    """Return whether this thread computes with denormals: as operands, and as results."""
    kept = [bool(DENORMAL * np.float32(4) > 0), bool(np.float32(1e-20) * np.float32(1e-19) > 0)]
    assert kept[0] == kept[1]
    return kept[0]


def test_they_are_zero_inside_and_as_before_afterwards():
    assert keeps_denormals()
    with flushed_denormals():
        assert not keeps_denormals()
        with flushed_denormals():
            assert not keeps_denormals()
        assert not keeps_denormals(), "as before the inner one"
    assert keeps_denormals()
    with pytest.raises(ZeroDivisionError), flushed_denormals():
        _ = 1 / 0
    assert keeps_denormals()


def test_threads_that_start_inside_take_them_for_zero_and_others_do_not():
    found = {}

    def look(name: str, after: threading.Event) -> None:
        after.wait(10)
        found[name] = keeps_denormals()

    inside = threading.Event()
    before = threading.Thread(target=look, args=("before", inside))
    before.start()
    with flushed_denormals():
        inside.set()
        during = threading.Thread(target=look, args=("during", inside))
        during.start()
        before.join()
        during.join()
    assert found == {"before": True, "during": False}


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("instruction_set", _native.instruction_sets())
def test_kernels_take_them_for_zero_in_all_their_threads(threads: int, instruction_set: str):
    x, weights = np.full((4, 64, 64, 16), DENORMAL), np.ones((16, 9), np.float32)
    y = np.empty_like(x)
    _native.depthwise_conv(x, weights, 1, 1, 1, y, threads, instruction_set)
    assert (y > 0).all()
    with flushed_denormals():
        _native.depthwise_conv(x, weights, 1, 1, 1, y, threads, instruction_set)
    assert not y.any()


@pytest.fixture(scope="module")
def weak(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model whose logits are the colours, 1e-20 times as large: a picture's of 1e-20 are denormal then."""
    spec = replace(
        STREET_SPEC,
        input=replace(STREET_SPEC.input, height=512, width=1024),
        decoder=replace(STREET_SPEC.decoder, output="logits"),
    )
    path = write_street_model(tmp_path_factory.mktemp("weak") / "weak.onnx", spec=spec)
    model = onnx.load(path)
    model.graph.node[0].CopyFrom(helper.make_node("Conv", ["image", "weights"], ["logits"]))
    weights = 1e-20 * np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    model.graph.initializer.append(numpy_helper.from_array(weights, "weights"))
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("threads", [1, 4])
def test_engines_take_them_for_zero_in_all_their_threads_and_leave_the_callers_as_it_is(
    weak: Path, backend: str, threads: int
):
    large, small = (np.full((1, 3, 512, 1024), value, np.float32) for value in (1, 1e-19))
    with (
        closing(open_engine(weak, backend=backend, device="cpu", threads=threads, precision="fp32")) as engine,
        ThreadPoolExecutor(1) as others,
    ):
        assert keeps_denormals(), "opening it changed the thread"
        for infer in (engine.infer, lambda inputs: others.submit(engine.infer, inputs).result()):
            np.testing.assert_allclose(infer({"image": large})["logits"], 1e-20, rtol=1e-6)
            assert not infer({"image": small})["logits"].any()
        assert keeps_denormals()
        assert others.submit(keeps_denormals).result()
