"""One NVIDIA GPU, by the functions of our CUDA library: memory, streams, copies, graphs and timers.

What computes is TensorRT, PyTorch or our kernels. Everything here belongs to one device, and which one CUDA uses is a
matter of the thread: it is used inside of `Gpu.bound`. That is the device's primary context, which TensorRT, PyTorch
and everybody else has who asked for no other; who computes with pycuda in a context of their own, lets us share it.
"""

from __future__ import annotations

import ctypes
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ctypes import POINTER, byref, c_char_p, c_float, c_int32, c_int64, c_void_p
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from solo_rt.errors import EngineError, SoloRTError, UsageError
from solo_rt.gpu.native_library import Calls, find_kernels, load_function

CONTEXT = "SOLO_RT_CUDA_CONTEXT"  # environment variable: whose CUDA context engines work in, "primary" or "pycuda"
Array = NDArray[Any]
log = logging.getLogger(__name__)

_CALLS: dict[str, list[type[Any]]] = {
    "use_device": [c_int32],
    "ready": [],
    "describe_device": [c_char_p, c_int32],
    "allocate": [POINTER(c_void_p), c_int64],
    "free": [c_void_p],
    "allocate_host": [POINTER(c_void_p), c_int64],
    "free_host": [c_void_p],
    "copy": [c_void_p, c_void_p, c_int64, c_void_p],
    "create_stream": [POINTER(c_void_p)],
    "destroy_stream": [c_void_p],
    "synchronize": [c_void_p],
    "begin_capture": [c_void_p],
    "end_capture": [POINTER(c_void_p), c_void_p],
    "launch_graph": [c_void_p, c_void_p],
    "destroy_graph": [c_void_p],
    "create_event": [POINTER(c_void_p)],
    "record_event": [c_void_p, c_void_p],
    "elapsed": [POINTER(c_float), c_void_p, c_void_p],
    "destroy_event": [c_void_p],
}


class _Releases(threading.local):
    """What a thread that records a graph has yet to release: in a recording CUDA refuses it, and the recording with it.

    The garbage collector may come at any time.
    """

    put_off: list[Callable[[], None]] | None = None  # None while it records none


_recording, _releases = threading.Lock(), _Releases()


@contextmanager
def recording() -> Iterator[None]:
    """Return a context to record a graph in, of which a process may record one at a time."""
    with _recording:
        put_off = _releases.put_off = []
        try:
            yield
        finally:
            _releases.put_off = None
            for release in put_off:
                release()


class Handle:
    """Something of CUDA's, released when it is forgotten, which is never before the work on it is done."""

    def __init__(self, gpu: Gpu, make: str, release: str, *arguments: object) -> None:
        """Let a function make it, whose first argument is where to put the handle. Raises: EngineError."""
        value = c_void_p()
        gpu.call(make, byref(value), *arguments)
        self.handle: int = value.value or 0
        self._gpu, self._release = gpu, release

    def __del__(self) -> None:
        if hasattr(self, "_release"):
            self._gpu.release(self._release, self.handle)


class Buffer(Handle):
    """Memory on the device."""

    def __init__(self, gpu: Gpu, nbytes: int) -> None:
        super().__init__(gpu, "allocate", "free", nbytes)
        self.ptr, self.nbytes = self.handle, nbytes


class Stream(Handle):
    """A queue of work on the device, never the default one; `handle` is its cudaStream_t."""

    def __init__(self, gpu: Gpu) -> None:
        super().__init__(gpu, "create_stream", "destroy_stream")

    def synchronize(self) -> None:
        """Wait until all work so far is done. Raises: EngineError for a failure of that work."""
        self._gpu.call("synchronize", self.handle)


class Timer:
    """Two marks in a stream."""

    def __init__(self, gpu: Gpu, stream: Stream) -> None:
        self._gpu, self._stream = gpu, stream
        self._first, self._last = (Handle(gpu, "create_event", "destroy_event") for _ in range(2))

    def begin(self) -> None:
        """Queue the first mark."""
        self._gpu.call("record_event", self._first.handle, self._stream.handle)

    def end(self) -> None:
        """Queue the second mark."""
        self._gpu.call("record_event", self._last.handle, self._stream.handle)

    def seconds(self) -> float:
        """Return the time of the device between both, once the stream has been waited for."""
        milliseconds = c_float()
        self._gpu.call("elapsed", byref(milliseconds), self._first.handle, self._last.handle)
        return 1e-3 * milliseconds.value


class Gpu:
    """One device, in its primary context."""

    def __init__(self, library: Path, index: int) -> None:
        """Raises: EngineError where the driver or the library does not fit the device."""
        self.call, self._index = Calls(library, _CALLS), index
        self.records = True  # graphs, until one cannot be recorded
        name = ctypes.create_string_buffer(256)
        with self.bound():
            self.call("ready")
            self.call("describe_device", name, len(name))
        self.name = name.value.decode()  # "NVIDIA H200 9.0": name and compute capability
        version: int = load_function(library, "solo_cuda_runtime_version", [], c_int32)()
        self.cuda = str(version // 1000)  # major version of the runtime

    @contextmanager
    def bound(self) -> Iterator[None]:
        """Return a context in which CUDA uses this device on the calling thread. Cheap enough for every frame.

        The thread goes on using it: going back to a device that it has not used would cost a context there.
        """
        self.call("use_device", self._index)
        yield

    def release(self, name: str, handle: int) -> None:
        """Call a function that releases something of this device, on any thread, once that records no graph."""
        if _releases.put_off is not None:
            _releases.put_off.append(partial(self.release, name, handle))
        else:
            self.call.quietly(name, handle)

    def allocate(self, nbytes: int) -> Buffer:
        """Return memory on the device. Raises: EngineError."""
        return Buffer(self, nbytes)

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """Return an array in page-locked host memory, from and to which copies run beside the host. Owns its memory."""
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = Handle(self, "allocate_host", "free_host", nbytes)
        holder = (ctypes.c_ubyte * nbytes).from_address(memory.handle)
        holder._memory = memory  # type: ignore[attr-defined]  # the array keeps the one alive, and that the other
        return np.ctypeslib.as_array(holder).view(dtype).reshape(shape)

    def stream(self) -> Stream:
        """Return a new stream. Raises: EngineError."""
        return Stream(self)

    def timer(self, stream: Stream) -> Timer:
        """Return a timer of what is queued on `stream`. Raises: EngineError."""
        return Timer(self, stream)

    def upload(self, target: int, source: Array, stream: Stream) -> None:
        """Queue a copy of a pinned array to an address on the device."""
        self.call("copy", target, source.ctypes.data, source.nbytes, stream.handle)

    def download(self, target: Array, source: int, stream: Stream) -> None:
        """Queue a copy from an address on the device into a pinned array."""
        self.call("copy", target.ctypes.data, source, target.nbytes, stream.handle)

    def capture(self, stream: Stream, work: Callable[[], None]) -> Callable[[], None]:
        """Record what `work` queues on `stream` as a graph, and return what launches it there. Raises: EngineError."""
        with recording():
            self.call("begin_capture", stream.handle)
            try:
                work()
            except BaseException:
                with suppress(EngineError):  # which would say less than what failed before
                    Handle(self, "end_capture", "destroy_graph", stream.handle)
                raise
            graph = Handle(self, "end_capture", "destroy_graph", stream.handle)
        return lambda: self.call("launch_graph", graph.handle, stream.handle)


class PyCudaGpu(Gpu):
    """A device in the context that is pycuda's current one where this is made, else in its primary context."""

    def __init__(self, library: Path, index: int) -> None:
        """Raises: EngineError without pycuda, or where its context is that of another device."""
        try:
            import pycuda.driver as driver
        except ImportError as error:
            raise EngineError(
                f"{CONTEXT}=pycuda: it cannot be imported ({error}); install it, or unset that"
            ) from error
        self._driver = driver
        driver.init()
        device = driver.Device(index)
        self._context = driver.Context.get_current()
        if self._context is None:
            self._context = device.retain_primary_context()
        elif self._context.get_device() != device:
            raise EngineError(f"{CONTEXT}=pycuda: expected a context of device {index}, pycuda's is of another one")
        super().__init__(library, index)

    @contextmanager
    def bound(self) -> Iterator[None]:
        """See `Gpu`."""
        try:
            self._context.push()
            try:
                yield
            finally:
                self._context.pop()  # pycuda aborts the process where a thread ends with a context
        except self._driver.Error as error:
            raise EngineError(f"CUDA: {' '.join(str(error).split())}") from error

    def release(self, name: str, handle: int) -> None:
        """See `Gpu`; what belongs to a context is released in it."""
        try:
            with self.bound():
                super().release(name, handle)
        except SoloRTError as error:
            log.debug("%s", error)


def device_count() -> int:
    """Return how many CUDA devices there are, 0 without a driver. Loads nothing but the driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = c_int32(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(byref(count)):
        return 0
    return count.value


def open_gpu(index: int = 0) -> Gpu:
    """Return device `index`, in the context that the environment names. Raises: EngineError, UsageError."""
    kinds = {"primary": Gpu, "pycuda": PyCudaGpu}
    wanted = os.environ.get(CONTEXT) or "primary"
    if wanted not in kinds:
        raise UsageError(f"{CONTEXT}={wanted}: expected {' or '.join(kinds)}")
    check_device(index)
    return kinds[wanted](find_kernels(), index)


def check_device(index: int) -> None:
    """Raise EngineError unless there are a driver and device `index`."""
    count = device_count()
    if not count:
        raise EngineError("no CUDA device was found; solo-rt doctor says more, and .onnx files run without one")
    if index >= count:
        raise EngineError(f"expected a CUDA device below {count}, got {index}")
