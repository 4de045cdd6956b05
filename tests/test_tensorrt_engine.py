"""The TensorRT engine on a fake device: lanes, order of copies, and every way a plan can be refused."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import TINY_SPEC
from trt_fakes import VERSION, FakeGpu, FakeStream, fake_tensorrt

from solo_rt.device import Device
from solo_rt.engine import tensorrt
from solo_rt.engine.plan import Plan, PlanKey, machine_platform, make_plan, passes_sha256, plan_path, write_plan
from solo_rt.engine.tensorrt import TensorRtEngine, open_tensorrt
from solo_rt.errors import EngineError, SpecError
from solo_rt.gpu import cuda

SIZE = (1, 3, 32, 64)
PORTS = {"image": ("in", SIZE, np.float32), "sum": ("out", (1, 3), np.float32), "double": ("out", SIZE, np.float32)}


def compute(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"sum": inputs["image"].sum((2, 3)), "double": 2 * inputs["image"]}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeGpu:
    gpu = FakeGpu()
    library = tmp_path / "libsolo_plugins.so"
    library.write_bytes(b"elf")
    monkeypatch.setattr(tensorrt, "import_tensorrt", lambda: fake_tensorrt(gpu, PORTS, compute))
    monkeypatch.setattr(tensorrt, "find_plugins", lambda: library)
    monkeypatch.setattr(tensorrt, "load_plugins", lambda trt, path: None)
    monkeypatch.setattr(tensorrt, "plugins_revision", lambda path: "1")
    monkeypatch.setattr(tensorrt, "open_gpu", lambda index: gpu)
    monkeypatch.setattr(tensorrt, "find_kernels", lambda: library)
    monkeypatch.setattr(tensorrt, "Kernels", lambda path: None)
    return gpu


@pytest.fixture
def plan(gpu: FakeGpu, tmp_path: Path) -> Plan:
    return write(tmp_path)


def write(folder: Path, **changes: object) -> Plan:
    key = PlanKey("aa", "1", passes_sha256(), "", "fp16", VERSION, "12", "Fake 9.0", machine_platform(), 0, -1)
    key = replace(key, **changes)
    plan = make_plan(plan_path(folder, Path("tiny.onnx"), key), b"plan", key, TINY_SPEC)
    write_plan(plan, b"plan")
    return plan


def open_plan(plan: Plan) -> TensorRtEngine:
    return open_tensorrt(plan.path, device=Device("auto"), lanes=None, trusted=True)


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SIZE).astype(np.float32)


@pytest.mark.parametrize("has_graphs", [True, False])
def test_every_frame_gives_its_own_result(gpu: FakeGpu, plan: Plan, has_graphs: bool) -> None:
    gpu.has_graphs = has_graphs
    engine = TensorRtEngine(plan, b"plan", gpu=gpu, lanes=2)
    assert engine.lanes == 2
    assert engine.backend == f"tensorrt {VERSION} fp16, Fake 9.0"
    kept = [engine.infer({"image": picture(i)}) for i in range(5)]
    for i, outputs in enumerate(kept):  # they belong to the caller: later frames change nothing
        np.testing.assert_array_equal(outputs["double"], 2 * picture(i))
        np.testing.assert_allclose(outputs["sum"], picture(i).sum((2, 3)), rtol=1e-6)
    assert gpu.captured == (2 if has_graphs else 0)  # one per lane
    engine.close()


def test_two_threads_share_the_lanes_without_mixing_frames(gpu: FakeGpu, plan: Plan) -> None:
    engine = TensorRtEngine(plan, b"plan", gpu=gpu, lanes=2)
    wrong: list[int] = []

    def work(first: int) -> None:
        for i in range(first, first + 50):
            if not np.array_equal(engine.infer({"image": picture(i)})["double"], 2 * picture(i)):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(1000 * t,)) for t in range(3)]  # more threads than lanes
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    engine.close()


def test_a_device_that_failed_is_closed_without_another_failure(
    gpu: FakeGpu, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(stream: FakeStream) -> None:
        raise EngineError("CUDA: an illegal memory access was encountered")

    engine = TensorRtEngine(plan, b"plan", gpu=gpu, lanes=2)
    monkeypatch.setattr(FakeStream, "synchronize", fail)
    with pytest.raises(EngineError, match="illegal memory access"):
        engine.infer({"image": picture(0)})
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.infer({"image": picture(0)})


def test_a_closed_engine_says_so(gpu: FakeGpu, plan: Plan) -> None:
    engine = TensorRtEngine(plan, b"plan", gpu=gpu)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.infer({"image": picture(0)})


def test_a_plan_that_tensorrt_refuses_gives_its_reason(gpu: FakeGpu, plan: Plan) -> None:
    with pytest.raises(EngineError, match=r"cannot load it: Serialization assertion failed\. Version tag does not"):
        TensorRtEngine(plan, b"broken", gpu=gpu)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gpu": "Orin 8.7"}, "built for gpu Orin 8.7, this machine has Fake 9.0"),
        ({"tensorrt": "10.3.0.26"}, "built for tensorrt 10.3.0.26"),
        ({"platform": "linux-riscv"}, "built for platform linux-riscv"),
        ({"plugins": "00"}, "built with another plugin library; build the engine again"),
        ({"passes_sha256": "00"}, "built with another solo-rt; build the engine again"),
    ],
)
def test_a_plan_from_elsewhere_is_refused(gpu: FakeGpu, plan: Plan, changes: dict[str, str], message: str) -> None:
    other = write(plan.path.parent, **changes)
    with pytest.raises(EngineError, match=message):
        open_plan(other)


def test_a_plan_that_was_changed_is_refused_even_when_trusted(plan: Plan) -> None:
    plan.path.write_bytes(b"evil")
    with pytest.raises(EngineError, match="not what its description says"):
        open_plan(plan)


def test_a_plan_is_read_once(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    genuine = Path.open

    def spy(path: Path, *arguments: object, **options: object) -> object:
        read.append(path.suffix)
        return genuine(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", spy)
    open_plan(plan).close()
    assert (read.count(".engine"), read.count(".json")) == (1, 1)


def test_dynamic_shapes_are_refused(gpu: FakeGpu, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = {**PORTS, "image": ("in", (-1, 3, 32, 64), np.float32)}
    monkeypatch.setattr(tensorrt, "import_tensorrt", lambda: fake_tensorrt(gpu, ports, compute))
    with pytest.raises(SpecError, match="fixed shapes"):
        TensorRtEngine(plan, b"plan", gpu=gpu)


def test_without_a_device_tensorrt_is_not_even_imported(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "device_count", lambda: 0)
    monkeypatch.setattr(tensorrt, "open_gpu", cuda.open_gpu)
    monkeypatch.setattr(tensorrt, "import_tensorrt", lambda: pytest.fail("imported"))
    with pytest.raises(EngineError, match="no CUDA device was found"):
        open_plan(plan)


def test_a_device_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "device_count", lambda: 2)
    with pytest.raises(EngineError, match="expected a CUDA device below 2, got 2"):
        cuda.open_gpu(2)


def test_without_any_package_for_memory_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "device_count", lambda: 1)
    monkeypatch.setattr(cuda.importlib, "util", SimpleNamespace(find_spec=lambda name: None))
    with pytest.raises(EngineError, match="pip install cuda-python"):
        cuda.open_gpu()


def test_a_timed_call_gives_the_same_and_says_where_its_time_went(gpu: FakeGpu, plan: Plan) -> None:
    engine = TensorRtEngine(plan, b"plan", gpu=gpu, lanes=1)
    for i in range(4):  # the last ones by a graph
        outputs, times = engine.infer_timed({"image": picture(i)})
        np.testing.assert_array_equal(outputs["double"], 2 * picture(i))
        assert times.device == 0.002, "the marks are around all work"
        assert times.enqueue > 0
        assert times.wait > 0
    assert gpu.captured == 1
    engine.close()
