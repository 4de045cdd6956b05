"""The CUDA context of a GPU that everybody in a process shares, by way of the driver API (cuda.h).

The runtime API, which engines and PyTorch use, works in it; FFmpeg may, and addresses of the one then mean the same to
the other.
"""

from __future__ import annotations

import ctypes

from solo_rt.errors import EngineError

_BLOCKING_SYNC = 4  # CU_CTX_SCHED_BLOCKING_SYNC


def share_primary_context(gpu: int) -> None:
    """Let the primary context of a GPU wait by blocking, else FFmpeg refuses it. Engines come afterwards.

    Raises: EngineError.
    """
    driver, device = _Driver(), ctypes.c_int()
    flags, active = ctypes.c_uint(), ctypes.c_int()
    driver.call("cuInit", 0)
    driver.call("cuDeviceGet", ctypes.byref(device), gpu)
    driver.call("cuDevicePrimaryCtxGetState", device, ctypes.byref(flags), ctypes.byref(active))
    if flags.value != _BLOCKING_SYNC:
        try:
            driver.call("cuDevicePrimaryCtxSetFlags_v2", device, _BLOCKING_SYNC)
        except EngineError:
            if not active.value:  # else somebody was there before; FFmpeg will say so if it is to use the context
                raise


class PrimaryContext:
    """The primary context of GPU number `gpu`, kept open; a source of frames on that GPU waits in it."""

    def __init__(self, gpu: int) -> None:
        """Retain it. Raises: EngineError."""
        share_primary_context(gpu)
        self._driver, self._device, self._context = _Driver(), ctypes.c_int(), ctypes.c_void_p()
        self._driver.call("cuDeviceGet", ctypes.byref(self._device), gpu)
        self._driver.call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), self._device)

    def synchronize(self) -> None:
        """Wait for what FFmpeg has queued, which is on the default stream. Raises: EngineError for its failure."""
        self._driver.call("cuCtxPushCurrent_v2", self._context)
        try:
            self._driver.call("cuStreamSynchronize", None)
        finally:
            self._driver.call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))

    def close(self) -> None:
        """Release it. May be called again."""
        if self._context:
            self._context = ctypes.c_void_p()
            self._driver.call("cuDevicePrimaryCtxRelease_v2", self._device)


class _Driver:
    """The CUDA driver API, cuda.h."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcuda.so.1")

    def call(self, name: str, *arguments: object) -> None:
        """Call a function. Raises: EngineError for a status other than success."""
        status = self._library[name](*arguments)
        if status:
            raise EngineError(f"CUDA: {name} failed with error {status} of the driver")
