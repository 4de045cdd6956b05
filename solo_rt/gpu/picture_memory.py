"""Where a picture lies on the GPU while it is prepared and painted, and its way there and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solo_rt.gpu.cuda import Buffer, Gpu, Stream
from solo_rt.gpu.kernels import FORMATS, Kernels, Picture
from solo_rt.types import DevicePicture, Frame, UInt8

Array = NDArray[Any]


def describe(picture: DevicePicture) -> Picture:
    """Return a picture in NV12 as the kernels take it."""
    return Picture(picture.planes, picture.strides, picture.height, picture.width, FORMATS["nv12"])


class Block:
    """Page-locked memory and as much on the device. It only grows."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._host: Array = np.empty(0, np.uint8)
        self._device: Buffer | None = None

    def fit(self, nbytes: int) -> tuple[Array, Buffer]:
        """Return exactly `nbytes` on the host, and at least as many on the device."""
        if self._device is None or self._device.nbytes < nbytes:
            self._host, self._device = self._gpu.pinned((nbytes,), np.uint8), self._gpu.allocate(nbytes)
        return self._host[:nbytes], self._device


class PictureMemory:
    """Memory of one picture, used by one stream: rows without padding, planes one after another.

    A frame in host memory keeps its format there. One that is on the GPU already is copied as it is, in NV12, so that
    its decoder's memory is free again, painting does not change it, and a graph always finds it at the same address.
    """

    def __init__(self, gpu: Gpu, kernels: Kernels) -> None:
        self._gpu, self._kernels = gpu, kernels
        self._block = Block(gpu)
        self._planes: tuple[UInt8, ...] = ()  # views of the page-locked memory, as those of a frame
        self.picture = Picture()

    def fit(self, frame: Frame) -> None:
        """Make room for frames of the size and the format of this one."""
        h, w = frame.height, frame.width
        half_h, half_w = (h + 1) // 2, (w + 1) // 2
        name, shapes = "i420", [(h, w), (half_h, half_w), (half_h, half_w)]
        if frame.device is not None:
            name, shapes = "nv12", [(h, w), (half_h, 2 * half_w)]
        elif frame.pixel_format == "rgb24":
            name, shapes = "rgb24", [(h, 3 * w)]
        ends = np.cumsum([rows * stride for rows, stride in shapes]).tolist()
        starts = [0, *ends[:-1]]
        self._host, self._device = self._block.fit(ends[-1])
        planes: list[UInt8] = [self._host[a:b].reshape(shape) for a, b, shape in zip(starts, ends, shapes, strict=True)]
        if name == "nv12":
            planes = [planes[0], planes[1][:, ::2], planes[1][:, 1::2]]
        elif name == "rgb24":
            planes = [planes[0].reshape(h, w, 3)]
        self._planes = tuple(planes)
        places, strides = tuple(self._device.ptr + start for start in starts), tuple(stride for _, stride in shapes)
        self.picture = Picture(places, strides, h, w, FORMATS[name])

    def load(self, frame: Frame) -> None:
        """Copy a frame in host memory to where `upload` takes it from."""
        for target, plane in zip(self._planes, frame.planes, strict=True):
            np.copyto(target, plane)

    def upload(self, stream: Stream) -> None:
        """Queue the way to the device of what was loaded last."""
        self._gpu.upload(self._device.ptr, self._host, stream)

    def copy(self, source: DevicePicture, stream: Stream) -> None:
        """Queue the copy of a picture that is on the device already."""
        self._kernels.copy_picture(describe(source), self.picture, stream=stream.handle)

    def copy_to(self, target: DevicePicture, stream: Stream) -> None:
        """Queue the copy of what is here to a picture that stays on the device."""
        self._kernels.copy_picture(self.picture, describe(target), stream=stream.handle)

    def download(self, stream: Stream) -> None:
        """Queue the way back to where `fetch` takes it from."""
        self._gpu.download(self._host, self._device.ptr, stream)

    def fetch(self, frame: Frame) -> Frame:
        """Return a frame like `frame` in host memory, with planes of its own, of what was downloaded last."""
        return replace(frame, planes=tuple(plane.copy() for plane in self._planes), device=None)
