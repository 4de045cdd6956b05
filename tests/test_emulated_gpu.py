"""A GPU by our own library, on the emulated card, and in a context of pycuda's, which is pretended."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from card import NAME, Card, card

from solo_rt.errors import EngineError, UsageError
from solo_rt.gpu import cuda
from solo_rt.gpu.cuda import CONTEXT, PyCudaGpu, open_gpu

__all__ = ["card"]


def test_a_device_is_opened_by_its_number(card: Card) -> None:
    gpu = open_gpu(1)
    assert (gpu.name, gpu.cuda) == ("Emulated B 9.0", "13")
    with pytest.raises(EngineError, match="expected a CUDA device below 2, got 2"):
        open_gpu(2)


def test_without_the_library_nothing_is_opened(card: Card, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOLO_RT_KERNELS", str(tmp_path / "none.so"))
    with pytest.raises(EngineError, match=r"SOLO_RT_KERNELS=.*none\.so: no such file"):
        open_gpu()


def test_copies_go_both_ways_and_arrays_own_their_memory(card: Card) -> None:
    gpu = card.open()
    with gpu.bound():
        stream, buffer, there, back = gpu.stream(), gpu.allocate(24), *(gpu.pinned((2, 3), np.float32) for _ in "ab")
        there[:], back[:] = np.arange(6).reshape(2, 3), 0
        rows = there[1:]
        del there
        gpu.upload(buffer.ptr + 12, rows, stream)
        gpu.download(back[:1], buffer.ptr + 12, stream)
        assert not back.any(), "nothing is done before somebody waits"
        stream.synchronize()
        assert back.tolist() == [[3, 4, 5], [0, 0, 0]]
        with pytest.raises(EngineError, match=r"^CUDA error 1: .* \(solo_cuda_copy\)$"):
            gpu.upload(buffer.ptr + 16, rows, stream)  # beyond the end


def test_a_graph_is_destroyed_when_it_is_forgotten(card: Card) -> None:
    gpu, done, before = card.open(), [], card.state.graphs
    with gpu.bound():
        stream = gpu.stream()
        launch = gpu.capture(stream, lambda: card.enqueue(stream.handle, lambda: done.append(1)))
        stream.synchronize()
        assert (done, card.state.graphs) == ([], before + 1)
        launch()
        launch()
        stream.synchronize()
        assert done == [1, 1]
        del launch
    assert card.state.graphs == before


def test_what_is_forgotten_while_a_graph_is_recorded_is_released_behind_it(card: Card) -> None:
    gpu, frees = card.open(), []
    with gpu.bound():
        stream = gpu.stream()
        before = card.state.blocks

        def work() -> None:
            circle: list[object] = [gpu.allocate(64)]
            circle.append(circle)

        gc.disable()
        try:
            work()
            graph = gpu.capture(stream, lambda: frees.append(gc.collect()))
        finally:
            gc.enable()
        graph()
        stream.synchronize()
    assert frees[0] > 0
    assert card.state.blocks == before


def test_a_capture_that_fails_says_what_failed_and_leaves_the_stream_as_it_was(card: Card) -> None:
    gpu, done, before = card.open(), [], card.state.graphs
    with gpu.bound():
        stream = gpu.stream()

        def work() -> None:
            card.enqueue(stream.handle, lambda: done.append(1))
            raise EngineError("TensorRT failed on a frame: no memory")

        with pytest.raises(EngineError, match=r"^TensorRT failed on a frame: no memory$"):
            gpu.capture(stream, work)
        assert card.state.graphs == before
        gpu.capture(stream, lambda: None)()  # nobody else holds the right to record
        card.enqueue(stream.handle, lambda: done.append(2))
        stream.synchronize()
    assert done == [2]


def test_what_waits_cannot_be_recorded(card: Card) -> None:
    gpu = card.open()
    with gpu.bound():
        stream = gpu.stream()
        with pytest.raises(EngineError, match="CUDA error 900: operation not permitted when stream is capturing"):
            gpu.capture(stream, stream.synchronize)


def test_a_timer_tells_the_time_between_its_marks(card: Card) -> None:
    before = card.state.events
    gpu = card.open()
    with gpu.bound():
        stream = gpu.stream()
        timer = gpu.timer(stream)
        timer.begin()
        card.enqueue(stream.handle, lambda: None)
        timer.end()
        stream.synchronize()
        assert timer.seconds() == pytest.approx(2e-3)  # a mark and a piece of work
        assert card.state.events == before + 2
        del timer
    assert card.state.events == before


def test_an_unknown_context_is_refused(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONTEXT, "cupy")
    with pytest.raises(UsageError, match="SOLO_RT_CUDA_CONTEXT=cupy: expected primary or pycuda"):
        open_gpu()


class Driver(ModuleType):
    """The part of pycuda.driver that knows contexts, with the one that is current first; devices are numbers."""

    class Error(Exception):
        pass

    def __init__(self, current: SimpleNamespace | None) -> None:
        super().__init__("pycuda.driver")
        self.stack = [current] if current else []
        self.fails = False
        self.Context = SimpleNamespace(get_current=lambda: self.stack[-1] if self.stack else None)

    def init(self) -> None: ...

    def Device(self, index: int) -> SimpleNamespace:
        return SimpleNamespace(index=index, retain_primary_context=lambda: self.context(index, "primary"))

    def context(self, index: int, name: str) -> SimpleNamespace:
        def push() -> None:
            if self.fails:
                raise self.Error("cuCtxPushCurrent failed:\ninvalid device context")
            self.stack.append(made)

        made = SimpleNamespace(name=name, push=push, pop=lambda: self.stack.pop(), get_device=lambda: index)
        return made


@pytest.fixture
def pycuda(monkeypatch: pytest.MonkeyPatch) -> Driver:
    driver = Driver(None)
    driver.Device = lambda index: type("Device", (int,), {  # type: ignore[method-assign]
        "retain_primary_context": lambda device: driver.context(int(device), "primary"),
    })(index)  # fmt: skip
    package = ModuleType("pycuda")
    package.driver = driver  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)
    monkeypatch.setenv(CONTEXT, "pycuda")
    return driver


@pytest.mark.parametrize("name", ["theirs", "primary"])
def test_a_context_of_pycuda_is_shared(card: Card, pycuda: Driver, name: str) -> None:
    if name == "theirs":
        pycuda.stack.append(pycuda.context(0, "theirs"))
    before = list(pycuda.stack)
    gpu = open_gpu()
    assert isinstance(gpu, PyCudaGpu)
    assert gpu.name == NAME
    with gpu.bound():
        assert pycuda.stack[-1].name == name
        buffer = gpu.allocate(100)
    assert pycuda.stack == before
    freed: list[str] = []
    gpu.call.quietly = lambda *call: freed.append(pycuda.stack[-1].name)  # type: ignore[method-assign]
    del buffer
    assert freed == [name], "memory is freed in its context, whichever is current"
    assert pycuda.stack == before


def test_a_context_of_another_device_is_refused(card: Card, pycuda: Driver) -> None:
    pycuda.stack.append(pycuda.context(0, "theirs"))
    with pytest.raises(EngineError, match="expected a context of device 1, pycuda's is of another one"):
        open_gpu(1)


def test_failures_of_pycuda_are_one_line(card: Card, pycuda: Driver) -> None:
    gpu = open_gpu()
    buffer = gpu.allocate(8)
    pycuda.fails = True
    with pytest.raises(EngineError, match=r"^CUDA: cuCtxPushCurrent failed: invalid device context$"), gpu.bound():
        pass
    del buffer  # which is lost with its context, and no exception
    pycuda.fails = False


def test_without_pycuda_that_is_said(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONTEXT, "pycuda")
    monkeypatch.setitem(sys.modules, "pycuda", None)
    with pytest.raises(EngineError, match=r"SOLO_RT_CUDA_CONTEXT=pycuda: it cannot be imported .*; install it, or"):
        open_gpu()


def test_devices_are_counted_by_the_driver_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def count(pointer: object) -> int:
        pointer._obj.value = 3  # type: ignore[attr-defined]
        return 0

    driver = SimpleNamespace(cuInit=lambda flags: 0, cuDeviceGetCount=count)
    monkeypatch.setattr(cuda.ctypes, "CDLL", lambda name: driver)
    assert cuda.device_count() == 3
    driver.cuInit = lambda flags: 100  # no device
    assert cuda.device_count() == 0


def test_without_a_driver_there_are_no_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(cuda.ctypes, "CDLL", refuse)
    assert cuda.device_count() == 0
