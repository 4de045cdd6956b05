"""A GPU and a TensorRT made of numpy, for the parts of the engine that are about order, buffers and errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

VERSION = "10.16.1.11"


@dataclass
class FakeBuffer:
    memory: np.ndarray
    ptr: int = 0
    nbytes: int = 0


@dataclass
class FakeStream:
    """Runs what is queued when somebody waits, as late as a real one may."""

    handle: int
    work: list[Callable[[], None]] = field(default_factory=list)

    def synchronize(self) -> None:
        while self.work:
            self.work.pop(0)()


class FakeGpu:
    """Device memory by address; work is done on synchronisation."""

    def __init__(self, *, has_graphs: bool = True) -> None:
        self.name, self.cuda, self.has_graphs = "Fake 9.0", "12", has_graphs
        self.memory: dict[int, np.ndarray] = {}
        self.streams: dict[int, FakeStream] = {}
        self.captured = 0

    def allocate(self, nbytes: int) -> FakeBuffer:
        ptr = 256 * (len(self.memory) + 1)
        self.memory[ptr] = np.full(nbytes, 0xCD, np.uint8)
        return FakeBuffer(self.memory[ptr], ptr, nbytes)

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.zeros(shape, dtype)

    def stream(self) -> FakeStream:
        stream = FakeStream(len(self.streams) + 1)
        self.streams[stream.handle] = stream
        return stream

    def upload(self, target: FakeBuffer, source: np.ndarray, stream: FakeStream) -> None:
        stream.work.append(lambda: np.copyto(target.memory, source.reshape(-1).view(np.uint8)))

    def download(self, target: np.ndarray, source: FakeBuffer, stream: FakeStream) -> None:
        stream.work.append(lambda: np.copyto(target.reshape(-1).view(np.uint8), source.memory))

    def capture(self, stream: FakeStream, work: Callable[[], None]) -> Callable[[], None]:
        assert not stream.work, "nothing may be under way when a capture begins"
        self.captured += 1
        work()
        graph, stream.work = stream.work, []
        return lambda: stream.work.extend(graph)


def fake_tensorrt(gpu: FakeGpu, ports: dict[str, tuple[str, tuple[int, ...], Any]], compute: Any) -> SimpleNamespace:
    """Return a module that runs `compute(inputs) -> outputs` on the ports `name: (mode, shape, dtype)`.

    A plan whose bytes are b"broken" cannot be loaded.
    """

    class Context:
        def __init__(self) -> None:
            self.addresses: dict[str, int] = {}

        def set_tensor_address(self, name: str, ptr: int) -> None:
            self.addresses[name] = ptr

        def execute_async_v3(self, handle: int) -> bool:
            def run() -> None:
                views = {n: gpu.memory[p].view(ports[n][2]).reshape(ports[n][1]) for n, p in self.addresses.items()}
                found = compute({name: view for name, view in views.items() if ports[name][0] == "in"})
                for name, value in found.items():
                    np.copyto(views[name], value)

            gpu.streams[handle].work.append(run)
            return True

    class Engine:
        num_io_tensors = len(ports)

        def create_execution_context(self) -> Context:
            return Context()

        def get_tensor_name(self, i: int) -> str:
            return list(ports)[i]

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return ports[name][1]

        def get_tensor_dtype(self, name: str) -> Any:
            return ports[name][2]

        def get_tensor_mode(self, name: str) -> str:
            return ports[name][0]

    class Logger:
        Severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2)

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self.logger = logger

        def deserialize_cuda_engine(self, content: bytes) -> Engine | None:
            if content == b"broken":
                self.logger.log(1, "Serialization assertion failed.\nVersion tag does not match.")
                return None
            return Engine()

    return SimpleNamespace(
        __version__=VERSION,
        ILogger=Logger,
        Runtime=Runtime,
        TensorIOMode=SimpleNamespace(INPUT="in"),
        nptype=lambda dtype: dtype,
    )
