"""The CUDA context of a GPU that everybody in a process shares, by way of the driver API (cuda.h).

The runtime API, which engines and PyTorch use, works in it; FFmpeg does when it is current where FFmpeg is given the
GPU, and addresses of the one then mean the same to the other.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

from solo_rt.errors import EngineError


class PrimaryContext:
    """The primary context of GPU number `gpu`, kept open."""

    def __init__(self, gpu: int) -> None:
        """Retain it. Raises: EngineError."""
        try:
            self._library = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise EngineError("CUDA: there is no driver; solo-rt doctor says more") from error
        self._device, self._context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuInit", 0)
        self._call("cuDeviceGet", ctypes.byref(self._device), gpu)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), self._device)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Return a context in which it is the current one of the calling thread. Raises: EngineError."""
        self._call("cuCtxPushCurrent_v2", self._context)
        try:
            yield
        finally:
            self._call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))

    def synchronize(self) -> None:
        """Wait for what FFmpeg has queued, which is on the default stream. Raises: EngineError for its failure."""
        with self.current():
            self._call("cuStreamSynchronize", None)

    def close(self) -> None:
        """Release it. May be called again."""
        if self._context:
            self._context = ctypes.c_void_p()
            self._call("cuDevicePrimaryCtxRelease_v2", self._device)

    def _call(self, name: str, *arguments: object) -> None:
        status = self._library[name](*arguments)
        if status:
            raise EngineError(f"CUDA: {name} failed with error {status} of the driver")
