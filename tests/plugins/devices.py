"""Where the CUDA kernels run in tests: on an NVIDIA GPU, or on the CPU by the emulator next to this file.

Both give memory with guard bytes behind it, and call the C functions of plugins/kernels/*_cuda.h.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

import numpy as np
import pytest
from card import build_emulated
from numpy.typing import NDArray

from solo_rt.errors import EngineError
from solo_rt.gpu.kernels import Kernels, Workspace
from solo_rt.gpu.native_library import find_kernels

GUARD = 256
FILL = 0xA5  # what memory holds before a kernel writes it

Array = NDArray[Any]


class Missing(Exception):
    """There is no GPU, or not what it takes to use it."""


class Buffer:
    """Device memory of one array; `offset` bytes are skipped in front, to test unaligned addresses."""

    def __init__(self, device: Device, array: Array, offset: int = 0) -> None:
        self.device, self.shape, self.dtype, self.offset = device, array.shape, array.dtype, offset
        self.nbytes = array.nbytes
        image = np.full(offset + array.nbytes + GUARD, FILL, np.uint8)
        image[offset : offset + array.nbytes] = np.frombuffer(array.tobytes(), np.uint8)
        self.memory = device.upload(image)

    @property
    def ptr(self) -> int:
        """Return the address of the first element."""
        return self.device.address(self.memory) + self.offset

    def numpy(self) -> Array:
        """Return a copy of the array, after everything on the device is done. Fails where a guard byte changed."""
        image = self.device.download(self.memory)
        end = self.offset + self.nbytes
        assert (image[: self.offset] == FILL).all(), "written before the beginning"
        assert (image[end:] == FILL).all(), "written behind the end"
        return image[self.offset : end].view(self.dtype).reshape(self.shape).copy()


class Device:
    """The C functions and the memory they work on."""

    library: ctypes.CDLL
    kernels: Kernels
    stream: int = 0

    def upload(self, image: Array) -> Any:
        """Return device memory with the bytes of `image`."""
        raise NotImplementedError

    def download(self, memory: Any) -> Array:
        """Return the bytes of device memory."""
        raise NotImplementedError

    def address(self, memory: Any) -> int:
        """Return the address of device memory."""
        raise NotImplementedError

    def array(self, array: Array, offset: int = 0) -> Buffer:
        """Return a device copy of `array`."""
        return Buffer(self, np.ascontiguousarray(array), offset)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Buffer:
        """Return device memory that holds FILL bytes."""
        return Buffer(
            self, np.full(int(np.prod(shape)) * np.dtype(dtype).itemsize, FILL, np.uint8).view(dtype).reshape(shape)
        )

    def workspace(self, name: str, *arguments: object) -> Buffer:
        """Return the workspace that a function asks for."""
        function = self.library[f"{name}_workspace"]
        function.restype = ctypes.c_int64
        return self.empty((max(1, function(*arguments)),), np.uint8)

    def scratch(self, nbytes: int) -> tuple[Buffer, Workspace]:
        """Return a workspace and what the kernels take it as."""
        memory = self.empty((max(1, nbytes),), np.uint8)
        return memory, Workspace(memory.ptr, memory.nbytes)

    def call(self, name: str, *arguments: object) -> int:
        """Return the status of a C function; buffers are passed as addresses and the stream last."""
        values = [ctypes.c_void_p(a.ptr) if isinstance(a, Buffer) else a for a in arguments]
        return int(self.library[name](*values, ctypes.c_void_p(self.stream)))


class Emulated(Device):
    """The kernels compiled for the CPU."""

    def __init__(self) -> None:
        path = build_emulated()
        self.library, self.kernels = ctypes.CDLL(str(path)), Kernels(path)

    def upload(self, image: Array) -> Array:
        aligned = np.empty(image.size + 256, np.uint8)
        start = -aligned.ctypes.data % 256
        aligned[start : start + image.size] = image
        return aligned[start : start + image.size]

    def download(self, memory: Array) -> Array:
        return memory

    def address(self, memory: Array) -> int:
        return int(memory.ctypes.data)


class Cuda(Device):
    """The kernels compiled by nvcc, with torch for memory and streams."""

    def __init__(self) -> None:
        try:
            import torch
        except ImportError as error:
            raise Missing("torch is not installed") from error
        if not torch.cuda.is_available():
            raise Missing("torch sees no CUDA device")
        try:
            self.path = find_kernels()
        except EngineError as error:
            raise Missing(str(error)) from error
        self.library, self.kernels = ctypes.CDLL(str(self.path)), Kernels(self.path)
        self.torch = torch
        self.use(torch.cuda.Stream())

    def use(self, stream: Any) -> None:
        """Run the next calls on a torch stream."""
        self.stream = stream.cuda_stream

    def upload(self, image: Array) -> Any:
        memory = self.torch.from_numpy(image).cuda()
        self.torch.cuda.synchronize()
        return memory

    def download(self, memory: Any) -> Array:
        self.torch.cuda.synchronize()
        return np.asarray(memory.cpu().numpy())

    def address(self, memory: Any) -> int:
        return int(memory.data_ptr())


def open_gpu() -> Cuda:
    """Return the GPU; without one skip the test, or fail it where SOLO_RT_REQUIRE_GPU=1 promises one."""
    try:
        return Cuda()
    except Missing as reason:
        if os.environ.get("SOLO_RT_REQUIRE_GPU") == "1":
            pytest.fail(str(reason))
        pytest.skip(str(reason))
