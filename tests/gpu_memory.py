"""Pictures at addresses, where the memory of the pretended GPU is that of the host."""

from __future__ import annotations

import ctypes

import numpy as np

from solo_rt.types import DevicePicture, UInt8


def planes_of(picture: DevicePicture) -> tuple[UInt8, UInt8, UInt8]:
    """Return Y, U and V that lie at the picture's addresses, as views."""
    half_height, wide = (picture.height + 1) // 2, (picture.width + 1) // 2 * 2
    luma, chroma = (
        np.ctypeslib.as_array((ctypes.c_uint8 * (stride * rows)).from_address(address)).reshape(rows, stride)
        for address, stride, rows in zip(picture.planes, picture.strides, (picture.height, half_height), strict=True)
    )
    return luma[:, : picture.width], chroma[:, :wide:2], chroma[:, 1:wide:2]
