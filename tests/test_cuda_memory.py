"""What the packages behind `Gpu` are told, and how their failures are passed on; their CUDA is pretended."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from solo_rt.errors import EngineError, UsageError
from solo_rt.gpu import cuda


class Runtime:
    """The part of cuda-python that records graphs, and what was asked of it."""

    cudaError_t = SimpleNamespace(cudaSuccess=0)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.broken = False

    def __getattr__(self, name: str):
        def call(*arguments: object) -> tuple[object, ...]:
            self.asked.append(name.removeprefix("cuda"))
            if name == "cudaStreamEndCapture" and self.broken:
                return 901, None  # cudaErrorStreamCaptureInvalidated
            return 0, name

        return call

    def cudaGetErrorString(self, status: int) -> tuple[int, bytes]:
        return 0, b"operation failed due to a previous error during capture"


@pytest.fixture
def runtime() -> Runtime:
    return Runtime()


@pytest.fixture
def gpu(runtime: Runtime) -> cuda._CudaPython:
    made = object.__new__(cuda._CudaPython)
    made._rt, made._index = runtime, 0
    return made


STREAM = SimpleNamespace(handle=7)
RECORDED = ["StreamBeginCapture", "StreamEndCapture", "GraphInstantiate", "GraphDestroy"]


def test_a_graph_is_destroyed_when_it_is_forgotten(gpu: cuda._CudaPython, runtime: Runtime) -> None:
    launch = gpu.capture(STREAM, lambda: None)
    launch()
    launch()
    assert runtime.asked == [*RECORDED, "GraphLaunch", "GraphLaunch"]
    del launch
    assert runtime.asked[-1] == "GraphExecDestroy"


@pytest.mark.parametrize("broken", [False, True])
def test_a_capture_that_fails_says_what_failed(gpu: cuda._CudaPython, runtime: Runtime, broken: bool) -> None:
    def work() -> None:
        raise EngineError("TensorRT failed on a frame: no memory")

    runtime.broken = broken
    with pytest.raises(EngineError, match="TensorRT failed on a frame: no memory"):
        gpu.capture(STREAM, work)
    assert runtime.asked == ["StreamBeginCapture", "StreamEndCapture", *([] if broken else ["GraphDestroy"])]
    runtime.broken = False
    gpu.capture(STREAM, lambda: None)()  # nobody else holds the right to record


def test_a_capture_that_cannot_end_is_an_error(gpu: cuda._CudaPython, runtime: Runtime) -> None:
    runtime.broken = True
    with pytest.raises(EngineError, match="CUDA: operation failed due to a previous error during capture"):
        gpu.capture(STREAM, lambda: None)


def pytorch() -> cuda._Torch:
    made = object.__new__(cuda._Torch)
    made._torch, made._device = SimpleNamespace(cuda=SimpleNamespace(set_device=lambda device: None)), None
    return made


def test_failures_of_pytorch_are_one_line() -> None:
    with pytest.raises(EngineError, match=r"^CUDA: CUDA out of memory. Tried to allocate 2 GiB$"), pytorch().bound():
        raise RuntimeError("CUDA out of memory.\nTried to allocate 2 GiB")


@pytest.mark.parametrize("error", [UsageError("expected a picture"), EngineError("closed"), KeyError("image")])
def test_other_failures_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, pytorch().bound():
        raise error
    assert caught.value is error


class PyTorch:
    """The part of torch.cuda that records graphs, which in the end fails; `current` is the stream of the thread."""

    def __init__(self) -> None:
        self.cuda, self.current = self, "default"
        self.CUDAGraph = lambda: SimpleNamespace(replay=lambda: None)

    @contextmanager
    def stream(self, stream: str):
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def graph(self, graph: object, *, stream: str, capture_error_mode: str):
        self.current = stream
        try:
            yield
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")


@pytest.mark.parametrize("said", ["no memory", None])
def test_a_capture_of_pytorch_that_fails_says_what_failed(said: str | None) -> None:
    def work() -> None:
        assert made._torch.current == "side"
        if said is not None:
            raise EngineError(said)

    made = object.__new__(cuda._Torch)
    made._torch = PyTorch()
    error, text = (RuntimeError, "operation failed") if said is None else (EngineError, said)
    with pytest.raises(error, match=text):
        made.capture(SimpleNamespace(owner="side"), work)
    assert made._torch.current == "default"
    assert not cuda._capturing.locked()


def test_a_timer_asks_for_the_time_between_its_events(gpu: cuda._CudaPython, runtime: Runtime) -> None:
    runtime.cudaEventElapsedTime = lambda first, second: (0, 2.5)
    timer = gpu.timer(STREAM)
    timer.begin()
    timer.end()
    assert timer.seconds() == 0.0025
    del timer
    assert runtime.asked == ["EventCreate"] * 2 + ["EventRecord"] * 2 + ["EventDestroy"] * 2
