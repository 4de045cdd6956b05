"""The TensorRT engine on an emulated card: lanes, order of copies, and every way a card or a plan can be refused."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from card import EXISTING, NAME, Card, SpiedGpu, card
from fakes import TINY_SPEC
from trt_fakes import VERSION, install, write_fitting

from solo_rt.device import Device
from solo_rt.engine import open_engine
from solo_rt.engine.plan import Plan
from solo_rt.engine.tensorrt import TensorRtEngine, open_tensorrt
from solo_rt.errors import EngineError, SpecError, UsageError
from solo_rt.files import file_sha256
from solo_rt.gpu import cuda

__all__ = ["card"]

SIZE = (1, 3, 32, 64)
PORTS = {"image": ("in", SIZE, np.float32), "sum": ("out", (1, 3), np.float32), "double": ("out", SIZE, np.float32)}


def compute(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"sum": inputs["image"].sum((2, 3)), "double": 2 * inputs["image"]}


@pytest.fixture
def gpu(card: Card, monkeypatch: pytest.MonkeyPatch) -> SpiedGpu:
    install(monkeypatch, card, PORTS, compute)
    return card.open()


@pytest.fixture
def plan(gpu: SpiedGpu, tmp_path: Path) -> Plan:
    return write_fitting(tmp_path, TINY_SPEC)


def open_plan(plan: Plan, device: str = "auto") -> TensorRtEngine:
    return open_tensorrt(plan.path, device=Device.parse(device), lanes=None, trusted=True)


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SIZE).astype(np.float32)


@pytest.mark.parametrize("records", [True, False])
def test_every_frame_gives_its_own_result(gpu: SpiedGpu, plan: Plan, records: bool) -> None:
    gpu.records = records
    engine = TensorRtEngine(plan, b"plan", gpu=gpu, lanes=2)
    assert engine.lanes == 2
    assert engine.backend == f"tensorrt {VERSION} fp16, {NAME}"
    kept = [engine.infer({"image": picture(i)}) for i in range(5)]
    for i, outputs in enumerate(kept):  # they belong to the caller: later frames change nothing
        np.testing.assert_array_equal(outputs["double"], 2 * picture(i))
        np.testing.assert_allclose(outputs["sum"], picture(i).sum((2, 3)), rtol=1e-6)
    assert gpu.captured == (2 if records else 0)  # one per lane
    engine.close()


def test_a_device_beyond_the_first_is_used(card: Card, gpu: SpiedGpu, tmp_path: Path) -> None:
    """The emulator refuses work on the streams of another device than the thread's."""
    engine = open_plan(write_fitting(tmp_path, TINY_SPEC, gpu="Emulated B 9.0"), "cuda:1")
    for i in range(4):
        threads = [threading.Thread(target=engine.infer, args=({"image": picture(i)},)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    np.testing.assert_array_equal(engine.infer({"image": picture(9)})["double"], 2 * picture(9))
    engine.close()


def test_an_engine_is_not_taken_for_one_in_fp32_unless_it_is_one(gpu: SpiedGpu, plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="precision fp32: this engine is in fp16; leave it out, or give an engine of"):
        open_engine(plan.path, precision="fp32", trusted=True)
    single = write_fitting(tmp_path, TINY_SPEC, precision="fp32")
    engine = open_tensorrt(single.path, device=Device("auto"), lanes=None, is_fp32=True, trusted=True)
    assert " fp32, " in engine.backend
    engine.close()


def test_of_a_model_the_engine_in_fp32_is_opened_where_that_is_asked_for(
    gpu: SpiedGpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOLO_RT_CACHE", str(tmp_path))
    model = tmp_path / "tiny.onnx"
    model.write_bytes(b"a model")
    for precision in ("fp32", "fp16"):
        write_fitting(tmp_path, TINY_SPEC, precision=precision, model_sha256=file_sha256(model))
    for is_fp32, precision in ((True, "fp32"), (False, "fp16")):
        engine = open_tensorrt(model, device=Device("auto"), lanes=None, is_fp32=is_fp32, trusted=True)
        assert f" {precision}, " in engine.backend
        engine.close()


def test_nothing_is_left_on_the_card(card: Card, gpu: SpiedGpu, plan: Plan) -> None:
    names = (*EXISTING, "room")
    before = [getattr(card.state, name) for name in names]
    engine = TensorRtEngine(plan, b"plan", gpu=gpu, lanes=2)
    for i in range(6):
        engine.infer_timed({"image": picture(i)})
    assert [getattr(card.state, name) for name in names] != before
    engine.close()
    del engine
    assert [getattr(card.state, name) for name in names] == before


def test_what_cannot_be_recorded_is_queued_anew_and_that_is_said_once(
    card: Card, gpu: SpiedGpu, plan: Plan, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch, card, PORTS, compute)
    engine = TensorRtEngine(plan, b"plan", gpu=gpu, lanes=2)
    recorded = card.enqueue

    def enqueue_and_wait(stream: int, work: object) -> bool:
        """As a layer that waits for the host."""
        return recorded(stream, work) and gpu.call("synchronize", stream) is None  # type: ignore[arg-type,func-returns-value]

    monkeypatch.setattr(card, "enqueue", enqueue_and_wait)
    with caplog.at_level(logging.WARNING):
        for i in range(8):
            np.testing.assert_array_equal(engine.infer({"image": picture(i)})["double"], 2 * picture(i))
    assert gpu.captured == 1
    assert [record.message for record in caplog.records] == [
        "work is queued anew for every frame, as it cannot be recorded as a CUDA graph: CUDA error 900: operation not "
        "permitted when stream is capturing (solo_cuda_synchronize)"
    ]
    engine.close()


@pytest.mark.parametrize("error", [1, 719])  # of one call, and of the card
def test_every_call_may_fail(card: Card, gpu: SpiedGpu, plan: Plan, error: int) -> None:
    """Whichever it is, the caller hears of it or gets the right result, and a card that is well goes on."""
    heard: list[str] = []
    for call in range(200):
        gpu.records = True
        engine = TensorRtEngine(plan, b"plan", gpu=gpu, lanes=1)
        with card.failing(call, error):
            for i in range(4):
                try:
                    found = engine.infer({"image": picture(i)})
                except EngineError as failure:
                    heard.append(str(failure))
                else:
                    np.testing.assert_array_equal(found["double"], 2 * picture(i))
            failed = card.state.calls > call
            engine.close()
        if not failed:
            break
        if error < 700:
            engine = TensorRtEngine(plan, b"plan", gpu=gpu, lanes=1)
            np.testing.assert_array_equal(engine.infer({"image": picture(7)})["double"], 2 * picture(7))
            engine.close()
    assert not failed
    assert len(heard) > 10  # of a graph that cannot be made nobody hears
    assert all(text.startswith((f"CUDA error {error}", "TensorRT failed on a frame")) for text in heard)


def test_two_threads_share_the_lanes_without_mixing_frames(gpu: SpiedGpu, plan: Plan) -> None:
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


def test_a_closed_engine_says_so(gpu: SpiedGpu, plan: Plan) -> None:
    engine = TensorRtEngine(plan, b"plan", gpu=gpu)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.infer({"image": picture(0)})


def test_an_engine_may_be_closed_while_it_computes_and_others_wait(
    card: Card, gpu: SpiedGpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, go_on = threading.Event(), threading.Event()

    def wait(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        started.set()
        go_on.wait(10)
        return compute(inputs)

    install(monkeypatch, card, PORTS, wait)
    plan = write_fitting(tmp_path, TINY_SPEC)
    before = {name: getattr(card.state, name) for name in EXISTING}
    engine = TensorRtEngine(plan, b"plan", gpu=gpu, lanes=1)
    ends: list[object] = []

    def infer() -> None:
        try:
            ends.append(engine.infer({"image": np.ones(SIZE, np.float32)}).keys())
        except EngineError as error:
            ends.append(str(error))

    threads = [threading.Thread(target=call, daemon=True) for call in (infer, infer, infer, engine.close)]
    threads[0].start()
    assert started.wait(10)
    for thread in threads[1:]:
        thread.start()
        thread.join(0.1)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert len(ends) == 3
    assert "the engine is closed; open another one" in ends
    assert {name: getattr(card.state, name) for name in EXISTING} == before


def test_a_plan_that_tensorrt_refuses_gives_its_reason(gpu: SpiedGpu, plan: Plan) -> None:
    with pytest.raises(EngineError, match=r"cannot load it: Serialization assertion failed\. Version tag does not"):
        TensorRtEngine(plan, b"broken", gpu=gpu)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gpu": "Orin 8.7"}, f"built for gpu Orin 8.7, this machine has {NAME}"),
        ({"tensorrt": "10.3.0.26"}, "built for tensorrt 10.3.0.26"),
        ({"cuda": "12"}, "built for cuda 12, this machine has 13"),
        ({"platform": "linux-riscv"}, "built for platform linux-riscv"),
        ({"plugins": "0"}, "built with another plugin library; build the engine again"),
        ({"passes_sha256": "00"}, "built with another solo-rt; build the engine again"),
    ],
)
def test_a_plan_from_elsewhere_is_refused(gpu: SpiedGpu, tmp_path: Path, changes: dict[str, str], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        open_plan(write_fitting(tmp_path, TINY_SPEC, **changes))


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


def test_dynamic_shapes_are_refused(card: Card, gpu: SpiedGpu, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, card, {**PORTS, "image": ("in", (-1, 3, 32, 64), np.float32)}, compute)
    with pytest.raises(SpecError, match="fixed shapes"):
        TensorRtEngine(plan, b"plan", gpu=gpu)


def test_without_a_device_tensorrt_is_not_even_imported(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "device_count", lambda: 0)
    monkeypatch.setattr("solo_rt.engine.tensorrt.import_tensorrt", lambda: pytest.fail("imported"))
    with pytest.raises(EngineError, match="no CUDA device was found"):
        open_plan(plan)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"driver": 12020}, r"^CUDA: the driver knows CUDA 12\.2, .*\.so was built with 13\.0; install a newer driver, "
         r"or build it again with CUDA 12\.2 or older"),
        ({"image": 209}, r"^CUDA error 209: .*; the library was built for other cards; build it again on this machine"),
        ({"image": 222}, r"^CUDA error 222: .*built by a newer CUDA than the driver knows; install a newer driver"),
        ({"room": 1000}, r"^CUDA error 2: out of memory; end what else uses the memory of the card, or let fewer"),
    ],
)  # fmt: skip
def test_a_card_that_cannot_work_says_why_and_what_to_do(
    card: Card, plan: Plan, state: dict[str, int], message: str
) -> None:
    for name, value in state.items():
        setattr(card.state, name, value)
    with pytest.raises(EngineError, match=message) as refused:
        open_plan(plan)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("state", "changes", "cards", "message"),
    [
        ({"image": 209}, {}, 1, "the library was built for other cards; build it again on this machine"),
        ({"driver": 12020}, {}, 1, "install a newer driver, or build it again with CUDA 12.2"),
        ({"room": 1000}, {}, 1, "out of memory; end what else uses the memory of the card"),
        ({}, {"tensorrt": "10.3.0.26"}, 1, "build it here with solo-rt build-engine"),
        ({}, {"gpu": "Orin 8.7"}, 1, "build it here with solo-rt build-engine"),
        ({}, {}, 0, "no CUDA device was found; solo-rt doctor says more, and .onnx files run without one"),
    ],
)
@pytest.mark.parametrize("command", [("run", "--source"), ("eval", "--data")])
def test_a_command_on_such_a_card_ends_with_that_line_alone(
    card: Card,
    gpu: SpiedGpu,
    tmp_path: Path,
    solo: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    state: dict[str, int],
    changes: dict[str, str],
    cards: int,
    message: str,
) -> None:
    monkeypatch.setattr(cuda, "device_count", lambda: cards)
    for name, value in state.items():
        setattr(card.state, name, value)
    plan = write_fitting(tmp_path, TINY_SPEC, **changes)
    code, out, err = solo(*command, "test://?frames=2&size=64x32", "--model", plan.path, "--trust")
    assert (code, out) == (EngineError.exit_code, "")
    (line,) = err.splitlines()
    assert line.startswith("solo-rt: error: ")
    assert message in line
