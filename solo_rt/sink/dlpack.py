"""Pictures on a GPU as PyAV takes them for its encoders: two tensors of the DLPack exchange (see its dlpack.h).

Nothing is copied: a picture stays as it is until FFmpeg has let go of it.
"""

from __future__ import annotations

import ctypes
from contextlib import nullcontext
from typing import Any

import av
from av.video import frame as video_frame

from solo_rt.gpu.primary_context import PrimaryContext
from solo_rt.types import DevicePicture

CPU, CUDA = 1, 2  # DLDeviceType


class _Tensor(ctypes.Structure):
    """DLManagedTensor with its DLTensor, whose structures of one and two numbers are written out."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("type_code", ctypes.c_uint8),
        ("type_bits", ctypes.c_uint8),
        ("type_lanes", ctypes.c_uint16),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
        ("manager_ctx", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    ]


_UNSIGNED = 1  # kDLUInt
_held: dict[int, object] = {}  # what a tensor in somebody's hands is made of, by its address


def _forget(address: int) -> None:
    del _held[address]


_let_go = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_forget)
_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype, _new_capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


class _Plane:
    """Rows of bytes as a tensor [height, width]; whoever takes it calls its deleter in the end."""

    def __init__(self, picture: DevicePicture, index: int, device: tuple[int, int]) -> None:
        self._picture, self._index, self._device = picture, index, device

    def __dlpack__(self, *, stream: int | None = None) -> Any:
        picture, index = self._picture, self._index
        sizes = (ctypes.c_int64 * 2)(picture.height // (1 + index), picture.width)
        strides = (ctypes.c_int64 * 2)(picture.strides[index], 1)
        tensor = _Tensor(
            picture.planes[index], *self._device, 2, _UNSIGNED, 8, 1, ctypes.addressof(sizes),
            ctypes.addressof(strides), 0, None, ctypes.cast(_let_go, ctypes.c_void_p),
        )  # fmt: skip
        address = ctypes.addressof(tensor)
        _held[address] = (tensor, sizes, strides, picture)
        return _new_capsule(address, b"dltensor", None)  # taken at once, so that nobody has to delete the capsule


class GpuContext:
    """The primary context of GPU number `gpu`, kept open, and FFmpeg's view of it."""

    def __init__(self, gpu: int) -> None:
        """Raises: EngineError."""
        self.primary = PrimaryContext(gpu)
        self.view = video_frame.CudaContext(gpu, primary_ctx=False, current_ctx=True)

    def close(self) -> None:
        """Release the context. May be called again."""
        self.primary.close()


def to_video_frame(picture: DevicePicture, context: GpuContext | None) -> av.VideoFrame:
    """Return an FFmpeg picture in NV12 that is the given one, on the GPU of the context.

    Without a context the picture is in host memory. Its size is even, and U and V begin where Y ends, with the same
    stride: NVENC is told the address of Y alone.
    Raises: ValueError for another one.
    """
    (luma, chroma), (stride, other) = picture.planes, picture.strides
    if chroma != luma + stride * picture.height or stride != other:
        raise ValueError(f"picture on a GPU: expected U and V right behind Y, got {picture.planes}, {picture.strides}")
    view = None if context is None else context.view
    device = (CPU, 0) if view is None else (CUDA, view.device_id)
    planes = tuple(_Plane(picture, index, device) for index in range(2))
    with nullcontext() if context is None else context.primary.current():  # which FFmpeg takes with the first picture
        return av.VideoFrame.from_dlpack(
            planes, format="nv12", width=picture.width, height=picture.height, cuda_context=view
        )
