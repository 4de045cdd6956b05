"""Pictures on a GPU that outlive the work on them, as the encoder there takes them."""

from __future__ import annotations

from solo_rt.gpu.cuda import Buffer, Gpu
from solo_rt.types import DevicePicture

_ALIGNMENT = 256  # bytes, of a row


class PicturePool:
    """Memory for pictures of even sizes. That of a picture which nobody holds any more is used again.

    Nothing is freed before the pool is: NVENC remembers the addresses of all pictures that it was given.
    """

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._free: dict[int, list[Buffer]] = {}  # by bytes; lists are appended to by any thread, which takes no lock

    def take(self, height: int, width: int) -> DevicePicture:
        """Return a picture in NV12 to write to, of an even size; U and V begin where Y ends, with the same stride.

        That is what NVENC assumes, which is told the address of Y alone.
        """
        stride = -(-width // _ALIGNMENT) * _ALIGNMENT
        nbytes = stride * height * 3 // 2
        free = self._free.setdefault(nbytes, [])
        buffer = free.pop() if free else self._gpu.allocate(nbytes)
        return DevicePicture((buffer.ptr, buffer.ptr + stride * height), (stride, stride), height, width,
                             owner=_Loan(buffer, free))  # fmt: skip


class _Loan:
    """Gives a buffer back when it is forgotten."""

    def __init__(self, buffer: Buffer, free: list[Buffer]) -> None:
        self._buffer, self._free = buffer, free

    def __del__(self) -> None:
        self._free.append(self._buffer)
