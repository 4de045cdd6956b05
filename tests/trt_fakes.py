"""A GPU and a TensorRT made of numpy, for the parts of the engine that are about order, buffers and errors."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from solo_rt import _native
from solo_rt.gpu.kernels import Kernels, LetterboxTarget, Picture

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
    waits: int = 0

    def synchronize(self) -> None:
        self.waits += 1
        while self.work:
            self.work.pop(0)()


class FakeGpu:
    """Memory by address, all of it real; work is done on synchronisation. `copied` are the bytes up and down."""

    def __init__(self, *, has_graphs: bool = True) -> None:
        self.name, self.cuda, self.has_graphs = "Fake 9.0", "12", has_graphs
        self.memory: dict[int, np.ndarray] = {}
        self.streams: dict[int, FakeStream] = {}
        self.captured = 0
        self.copied: list[tuple[str, int]] = []
        self._bound: list[int] = []  # threads

    @contextmanager
    def bound(self) -> Iterator[None]:
        self._bound.append(threading.get_ident())
        try:
            yield
        finally:
            self._bound.remove(threading.get_ident())

    def _check_bound(self) -> None:
        assert threading.get_ident() in self._bound, "CUDA would use another device on this thread"

    def allocate(self, nbytes: int) -> FakeBuffer:
        self._check_bound()
        whole = np.full(nbytes + 255, 0xCD, np.uint8)
        start = -whole.ctypes.data % 256
        memory = whole[start : start + nbytes]
        self.memory[memory.ctypes.data] = memory
        return FakeBuffer(memory, memory.ctypes.data, nbytes)

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.zeros(shape, dtype)

    def stream(self) -> FakeStream:
        self._check_bound()
        stream = FakeStream(len(self.streams) + 1)
        self.streams[stream.handle] = stream
        return stream

    def timer(self, stream: FakeStream) -> SimpleNamespace:
        """Return two marks, which are 2 ms apart if all work was done between them in the order it was queued."""
        marks: list[str] = []
        return SimpleNamespace(
            begin=lambda: stream.work.append(lambda: marks.append("begin")),
            end=lambda: stream.work.append(lambda: marks.append("end")),
            seconds=lambda: 0.002 if marks == ["begin", "end"] else -1.0,
        )

    def upload(self, target: FakeBuffer, source: np.ndarray, stream: FakeStream) -> None:
        self._check_bound()
        self.copied.append(("up", source.nbytes))
        stream.work.append(lambda: np.copyto(target.memory[: source.nbytes], source.reshape(-1).view(np.uint8)))

    def download(self, target: np.ndarray, source: FakeBuffer, stream: FakeStream) -> None:
        self._check_bound()
        self.copied.append(("down", target.nbytes))
        stream.work.append(lambda: np.copyto(target.reshape(-1).view(np.uint8), source.memory[: target.nbytes]))

    def capture(self, stream: FakeStream, work: Callable[[], None]) -> Callable[[], None]:
        assert not stream.work, "nothing may be under way when a capture begins"
        self.captured += 1
        try:
            work()
        finally:
            graph, stream.work = stream.work, []
        return lambda: stream.work.extend(graph)


class QueuedKernels(Kernels):
    """Kernels of a library for the CPU, which run when a stream of a `FakeGpu` does, one at a time."""

    _running = threading.Lock()  # the emulator has one block at a time

    def __init__(self, path: Any, gpu: FakeGpu) -> None:
        super().__init__(path)
        self._gpu = gpu

    def _call(self, name: str, *arguments: object) -> None:
        held = [type(a).from_buffer_copy(a) if isinstance(a, ctypes.Structure) else a for a in arguments]
        launch = super()._call

        def run() -> None:
            with self._running:
                launch(name, *held)

        self._gpu.streams[arguments[-1]].work.append(run)  # type: ignore[index]


class LetterboxKernels:
    """The letterbox of the CPU as the kernel of a `FakeGpu`, for pictures of RGB; there is no other kernel."""

    def __init__(self, gpu: FakeGpu) -> None:
        self._gpu = gpu

    def letterbox(self, picture: Picture, target: LetterboxTarget, tensor: int, *, stream: int) -> None:
        shape, mean, std = (picture.height, picture.width, 3), tuple(target.mean), tuple(target.std)
        assert picture.strides[0] == 3 * picture.width
        rgb = self._gpu.memory[picture.planes[0]][: int(np.prod(shape))].reshape(shape)
        resized = (target.resized_height, target.resized_width)
        out = self._gpu.memory[tensor].view(np.float32).reshape(3, target.height, target.width)
        self._gpu.streams[stream].work.append(lambda: _native.letterbox((rgb,), False, False, resized, mean, std, out))


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
