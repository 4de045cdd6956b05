"""Graphs of PyTorch's work, whose CUDA is pretended, and its failures in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from solo_rt.errors import EngineError, UsageError
from solo_rt.gpu.cuda import _recording
from solo_rt.train.engine import torch_gpu
from solo_rt.train.engine.torch_gpu import TorchGpu


class PyTorch:
    """The part of torch.cuda that records graphs, which in the end fails; `current` is the stream of the thread."""

    def __init__(self) -> None:
        self.current = "default"
        self.fails = True
        self.replayed: list[str] = []
        self.set_device = lambda device: None
        self.ExternalStream = lambda handle, device: "side"
        self.CUDAGraph = lambda: SimpleNamespace(replay=lambda: self.replayed.append(self.current))

    @contextmanager
    def stream(self, stream: str) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def graph(self, graph: object, *, stream: str, capture_error_mode: str) -> Iterator[None]:
        self.current = stream
        try:
            yield
        finally:
            if self.fails:
                raise RuntimeError("operation failed due to a previous error during capture")


@pytest.fixture
def pytorch(monkeypatch: pytest.MonkeyPatch) -> PyTorch:
    pretended = PyTorch()
    monkeypatch.setattr(torch_gpu.torch, "cuda", pretended)
    return pretended


def gpu() -> TorchGpu:
    made = object.__new__(TorchGpu)
    made._device = None  # type: ignore[assignment]
    return made


STREAM = SimpleNamespace(handle=7)


@pytest.mark.parametrize("said", ["no memory", None])
def test_a_capture_that_fails_says_what_failed(pytorch: PyTorch, said: str | None) -> None:
    def work() -> None:
        assert pytorch.current == "side"
        if said is not None:
            raise EngineError(said)

    with pytest.raises(EngineError, match=said or "^CUDA: operation failed due to a previous error during capture$"):
        gpu().capture(STREAM, work)  # type: ignore[arg-type]
    assert pytorch.current == "default"
    assert not _recording.locked()


def test_a_graph_is_launched_on_its_stream(pytorch: PyTorch) -> None:
    pytorch.fails = False
    launch = gpu().capture(STREAM, lambda: None)  # type: ignore[arg-type]
    pytorch.current = "default"
    launch()
    assert (pytorch.replayed, pytorch.current) == (["side"], "default")


def test_failures_of_pytorch_are_one_line(pytorch: PyTorch) -> None:
    with pytest.raises(EngineError, match=r"^CUDA: CUDA out of memory. Tried to allocate 2 GiB$"), gpu().bound():
        raise RuntimeError("CUDA out of memory.\nTried to allocate 2 GiB")


@pytest.mark.parametrize("error", [UsageError("expected a picture"), EngineError("closed"), KeyError("image")])
def test_other_failures_stay_what_they_are(pytorch: PyTorch, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, gpu().bound():
        raise error
    assert caught.value is error
