"""The little of CUDA that an engine needs, through whichever of cuda-python, pycuda and torch is installed.

Memory, streams and graphs only: what computes is TensorRT, PyTorch or our kernels. Everything here belongs to one
device, and which one CUDA uses is a matter of the thread: it is used inside of `Gpu.bound`.
"""

from __future__ import annotations

import ctypes
import importlib.util
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from solo_rt.errors import EngineError, SoloRTError

BACKENDS = ("cuda", "pycuda", "torch")  # the module of each, in the order of preference
Array = NDArray[Any]


class Buffer(Protocol):
    """Memory on the device."""

    ptr: int  # device address
    nbytes: int


class Stream(Protocol):
    """A queue of work on the device, never the default one."""

    handle: int  # cudaStream_t

    def synchronize(self) -> None:
        """Wait until all work so far is done. Raises: EngineError for a failure of that work."""


class Timer(Protocol):
    """Two marks in a stream."""

    def begin(self) -> None:
        """Queue the first mark."""

    def end(self) -> None:
        """Queue the second mark."""

    def seconds(self) -> float:
        """Return the time of the device between both, once the stream has been waited for."""


class Gpu(Protocol):
    """One device."""

    name: str  # "NVIDIA H200 9.0": name and compute capability
    cuda: str  # major version of the runtime, "12"
    has_graphs: bool

    def bound(self) -> AbstractContextManager[None]:
        """Return a context in which CUDA uses this device on the calling thread. Cheap enough for every frame.

        What the package raises for a failure of CUDA in it, such as a lack of memory, leaves it as EngineError.
        """

    def allocate(self, nbytes: int) -> Buffer:
        """Return memory on the device. It is freed with the last reference to it. Raises: EngineError."""

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """Return an array in page-locked host memory, from and to which copies run beside the host. Owns its memory."""

    def stream(self) -> Stream: ...

    def timer(self, stream: Stream) -> Timer: ...

    def upload(self, target: Buffer, source: Array, stream: Stream) -> None:
        """Queue a copy of a pinned array to the device."""

    def download(self, target: Array, source: Buffer, stream: Stream) -> None:
        """Queue a copy from the device into a pinned array."""

    def capture(self, stream: Stream, work: Callable[[], None]) -> Callable[[], None]:
        """Record what `work` queues on `stream` as a graph, and return what launches it there."""


def device_count() -> int:
    """Return how many CUDA devices there are, 0 without a driver. Loads nothing but the driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


def open_gpu(index: int = 0, *, backend: str | None = None) -> Gpu:
    """Return device `index`. Raises: EngineError without a driver, such a device or one of the packages."""
    count = device_count()
    if not count:
        raise EngineError("no CUDA device was found; solo-rt doctor says more, --backend onnxruntime needs none")
    if index >= count:
        raise EngineError(f"expected a CUDA device below {count}, got {index}")
    backends: dict[str, Callable[[int], Gpu]] = {"cuda": _CudaPython, "pycuda": _PyCuda, "torch": _Torch}
    for name in [backend] if backend else BACKENDS:
        if _is_installed(name):
            return backends[name](index)
    raise EngineError("TensorRT needs cuda-python, pycuda or torch for its memory; pip install cuda-python")


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec({"cuda": "cuda.bindings"}.get(name, name)) is not None
    except ModuleNotFoundError:  # of the package around it
        return False


_capturing = threading.Lock()  # held by whoever records a graph, of which a process may record one at a time


@contextmanager
def _translated(kind: type[Exception]) -> Iterator[None]:
    """Turn the exceptions of a package into EngineError, in one line."""
    try:
        yield
    except SoloRTError:
        raise
    except kind as error:
        raise EngineError(f"CUDA: {' '.join(str(error).split())}") from error


class _CudaPython:
    """NVIDIA's cuda-python: the runtime API as it is."""

    has_graphs = True

    def __init__(self, index: int) -> None:
        from cuda.bindings import runtime

        self._rt, self._index = runtime, index
        properties = self._call(runtime.cudaGetDeviceProperties(index))
        name = properties.name.decode().rstrip("\0")
        self.name = f"{name} {properties.major}.{properties.minor}"
        self.cuda = str(self._call(runtime.cudaRuntimeGetVersion()) // 1000)

    @contextmanager
    def bound(self) -> Iterator[None]:
        self._call(self._rt.cudaSetDevice(self._index))
        yield

    def _call(self, answer: tuple[Any, ...]) -> Any:
        status, *values = answer
        if status != self._rt.cudaError_t.cudaSuccess:
            text = self._rt.cudaGetErrorString(status)[1].decode()
            raise EngineError(f"CUDA: {text}")
        return values[0] if len(values) == 1 else tuple(values)

    def allocate(self, nbytes: int) -> Buffer:
        return _Owned(self._call(self._rt.cudaMalloc(nbytes)), nbytes, self._rt.cudaFree)

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = _Owned(self._call(self._rt.cudaMallocHost(nbytes)), nbytes, self._rt.cudaFreeHost)
        return memory.as_array().view(dtype).reshape(shape)

    def stream(self) -> Stream:
        handle = self._call(self._rt.cudaStreamCreateWithFlags(self._rt.cudaStreamNonBlocking))
        return _Handle(handle, lambda: self._call(self._rt.cudaStreamSynchronize(handle)), self._rt.cudaStreamDestroy)

    def timer(self, stream: Stream) -> Timer:
        first, second = (self._call(self._rt.cudaEventCreate()) for _ in range(2))
        return _Timer(
            lambda: self._call(self._rt.cudaEventRecord(first, stream.handle)),
            lambda: self._call(self._rt.cudaEventRecord(second, stream.handle)),
            lambda: self._call(self._rt.cudaEventElapsedTime(first, second)),
            lambda: [self._rt.cudaEventDestroy(event) for event in (first, second)],
        )

    def upload(self, target: Buffer, source: Array, stream: Stream) -> None:
        kind = self._rt.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call(self._rt.cudaMemcpyAsync(target.ptr, source.ctypes.data, source.nbytes, kind, stream.handle))

    def download(self, target: Array, source: Buffer, stream: Stream) -> None:
        kind = self._rt.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call(self._rt.cudaMemcpyAsync(target.ctypes.data, source.ptr, target.nbytes, kind, stream.handle))

    def capture(self, stream: Stream, work: Callable[[], None]) -> Callable[[], None]:
        rt, mode = self._rt, self._rt.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        with _capturing:
            self._call(rt.cudaStreamBeginCapture(stream.handle, mode))
            try:
                work()
            except BaseException:
                _, graph = rt.cudaStreamEndCapture(stream.handle)  # fails as well, and says less than the exception
                if graph is not None:
                    rt.cudaGraphDestroy(graph)
                raise
            graph = self._call(rt.cudaStreamEndCapture(stream.handle))
        try:
            ready = self._call(rt.cudaGraphInstantiate(graph, 0))
        finally:
            rt.cudaGraphDestroy(graph)
        return _Graph(
            lambda: self._call(rt.cudaGraphLaunch(ready, stream.handle)), lambda: rt.cudaGraphExecDestroy(ready)
        )


class _PyCuda:
    """pycuda, in the primary context of the device, which TensorRT's runtime uses as well."""

    has_graphs = False

    def __init__(self, index: int) -> None:
        import pycuda.driver as driver

        driver.init()
        device = driver.Device(index)
        self._driver = driver
        self._context = device.retain_primary_context()
        major, minor = device.compute_capability()
        self.name = f"{device.name()} {major}.{minor}"
        self.cuda = str(driver.get_version()[0])

    @contextmanager
    def bound(self) -> Iterator[None]:
        with _translated(self._driver.Error):
            self._context.push()
            try:
                yield
            finally:
                self._context.pop()  # pycuda aborts the process where a thread ends with a context

    def allocate(self, nbytes: int) -> Buffer:
        memory = self._driver.mem_alloc(nbytes)
        return _Owned(int(memory), nbytes, lambda _: memory.free())

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        array: Array = self._driver.pagelocked_empty(shape, dtype)
        return array

    def stream(self) -> Stream:
        stream = self._driver.Stream(1)  # CU_STREAM_NON_BLOCKING
        return _Handle(stream.handle, stream.synchronize, lambda _: None, stream)

    def timer(self, stream: Stream) -> Timer:
        first, second = self._driver.Event(), self._driver.Event()
        queue = stream.owner  # type: ignore[attr-defined]
        return _Timer(lambda: first.record(queue), lambda: second.record(queue), lambda: second.time_since(first))

    def upload(self, target: Buffer, source: Array, stream: Stream) -> None:
        self._driver.memcpy_htod_async(target.ptr, source, stream.owner)  # type: ignore[attr-defined]

    def download(self, target: Array, source: Buffer, stream: Stream) -> None:
        self._driver.memcpy_dtoh_async(target, source.ptr, stream.owner)  # type: ignore[attr-defined]

    def capture(self, stream: Stream, work: Callable[[], None]) -> Callable[[], None]:
        raise EngineError("pycuda has no CUDA graphs; install cuda-python")


class _Torch:
    """PyTorch, where it is there anyway."""

    has_graphs = True

    def __init__(self, index: int) -> None:
        import torch

        self._torch = torch
        self._device = torch.device("cuda", index)
        major, minor = torch.cuda.get_device_capability(index)
        self.name = f"{torch.cuda.get_device_name(index)} {major}.{minor}"
        self.cuda = str(torch.version.cuda).split(".")[0]

    @contextmanager
    def bound(self) -> Iterator[None]:
        with _translated(RuntimeError):
            self._torch.cuda.set_device(self._device)
            yield

    def allocate(self, nbytes: int) -> Buffer:
        memory = self._torch.empty(nbytes, dtype=self._torch.uint8, device=self._device)
        return _Owned(memory.data_ptr(), nbytes, lambda _: None, memory)

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = self._torch.empty(nbytes, dtype=self._torch.uint8, pin_memory=True)
        array: Array = memory.numpy().view(dtype).reshape(shape)
        return array

    def stream(self) -> Stream:
        stream = self._torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        return _Handle(stream.cuda_stream, stream.synchronize, lambda _: None, stream)

    def timer(self, stream: Stream) -> Timer:
        first, second = (self._torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        queue = stream.owner  # type: ignore[attr-defined]
        return _Timer(lambda: first.record(queue), lambda: second.record(queue), lambda: first.elapsed_time(second))

    def upload(self, target: Buffer, source: Array, stream: Stream) -> None:
        flat = self._torch.from_numpy(source.reshape(-1).view(np.uint8))
        with self._torch.cuda.stream(stream.owner):  # type: ignore[attr-defined]
            target.owner[: source.nbytes].copy_(flat, non_blocking=True)  # type: ignore[attr-defined]

    def download(self, target: Array, source: Buffer, stream: Stream) -> None:
        flat = self._torch.from_numpy(target.reshape(-1).view(np.uint8))
        with self._torch.cuda.stream(stream.owner):  # type: ignore[attr-defined]
            flat.copy_(source.owner[: target.nbytes], non_blocking=True)  # type: ignore[attr-defined]

    def capture(self, stream: Stream, work: Callable[[], None]) -> Callable[[], None]:
        cuda, owner = self._torch.cuda, stream.owner  # type: ignore[attr-defined]
        graph = cuda.CUDAGraph()
        failure: BaseException | None = None
        # PyTorch waits for the whole device before it records, which fails while another thread does; where it fails to
        # end, it leaves its stream behind, which the outer context puts back, and says less than what failed before.
        try:
            with _capturing, cuda.stream(owner), cuda.graph(graph, stream=owner, capture_error_mode="thread_local"):
                try:
                    work()
                except BaseException as error:
                    failure = error
                    raise
        except RuntimeError:
            if failure is None:
                raise
            raise failure from failure.__cause__

        def launch() -> None:
            with cuda.stream(owner):
                graph.replay()

        return launch


class _Owned:
    """An address and what frees it, or what keeps it alive."""

    def __init__(self, ptr: Any, nbytes: int, free: Callable[[Any], Any], owner: Any = None) -> None:
        self.ptr, self.nbytes, self.owner = int(ptr), nbytes, owner
        self._free = free

    def as_array(self) -> Array:
        """Return host memory as bytes; the array keeps it alive."""
        holder = (ctypes.c_ubyte * self.nbytes).from_address(self.ptr)
        holder._memory = self  # type: ignore[attr-defined]
        return np.ctypeslib.as_array(holder)

    def __del__(self) -> None:
        self._free(self.ptr)


class _Graph:
    """Launches a recorded graph, and destroys it when it is forgotten, which is never before a launch is done."""

    def __init__(self, launch: Callable[[], Any], destroy: Callable[[], Any]) -> None:
        self._launch, self._destroy = launch, destroy

    def __call__(self) -> None:
        self._launch()

    def __del__(self) -> None:
        self._destroy()


class _Timer:
    """Two events, by what is done with them."""

    def __init__(
        self,
        begin: Callable[[], Any],
        end: Callable[[], Any],
        milliseconds: Callable[[], float],
        destroy: Callable[[], Any] = lambda: None,
    ) -> None:
        self._begin, self._end, self._milliseconds, self._destroy = begin, end, milliseconds, destroy

    def begin(self) -> None:
        self._begin()

    def end(self) -> None:
        self._end()

    def seconds(self) -> float:
        return 1e-3 * self._milliseconds()

    def __del__(self) -> None:
        self._destroy()


class _Handle:
    """A stream's handle and what waits for it."""

    def __init__(
        self, handle: Any, synchronize: Callable[[], Any], destroy: Callable[[Any], Any], owner: Any = None
    ) -> None:
        self.handle, self.owner = int(handle), owner
        self._synchronize, self._destroy = synchronize, destroy

    def synchronize(self) -> None:
        """See `Stream`."""
        with _translated(Exception):  # pycuda's and torch's own ones
            self._synchronize()

    def __del__(self) -> None:
        self._destroy(self.handle)
