"""Pictures at addresses: in the memory of a pretended GPU, which is the host's, or of a real one."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

import numpy as np
import pytest

from solo_rt.errors import EngineError
from solo_rt.gpu.cuda import device_count
from solo_rt.gpu.nvcodec import try_nvdec, try_nvenc
from solo_rt.gpu.primary_context import PrimaryContext
from solo_rt.types import DevicePicture, UInt8


def planes_of(picture: DevicePicture) -> tuple[UInt8, UInt8, UInt8]:
    """Return Y, U and V that lie at the picture's addresses, as views."""
    half_height, wide = (picture.height + 1) // 2, (picture.width + 1) // 2 * 2
    luma, chroma = (
        np.ctypeslib.as_array((ctypes.c_uint8 * (stride * rows)).from_address(address)).reshape(rows, stride)
        for address, stride, rows in zip(picture.planes, picture.strides, (picture.height, half_height), strict=True)
    )
    return luma[:, : picture.width], chroma[:, :wide:2], chroma[:, 1:wide:2]


def downloaded(picture: DevicePicture, context: PrimaryContext) -> tuple[UInt8, UInt8, UInt8]:
    """Return Y, U and V of a picture in the memory of a real GPU."""
    rows = (picture.height, (picture.height + 1) // 2)
    copies = [np.empty((count, stride), np.uint8) for count, stride in zip(rows, picture.strides, strict=True)]
    for copy, address in zip(copies, picture.planes, strict=True):
        used = copy.nbytes - copy.shape[1] + (picture.width + 1) // 2 * 2  # padding may end with the memory
        places = ctypes.c_void_p(copy.ctypes.data), ctypes.c_uint64(address)
        with context.current():
            context._call("cuMemcpyDtoH_v2", *places, ctypes.c_size_t(used))
    addresses = tuple(copy.ctypes.data for copy in copies)
    there = DevicePicture(addresses, picture.strides, picture.height, picture.width, owner=copies)  # type: ignore[arg-type]
    luma, u, v = planes_of(there)
    return luma.copy(), u.copy(), v.copy()  # views of what ends here


def require_gpu() -> None:
    """Skip the test without a GPU, or fail it where SOLO_RT_REQUIRE_GPU=1 promises one."""
    if not device_count():
        if os.environ.get("SOLO_RT_REQUIRE_GPU") == "1":
            pytest.fail("there is no GPU")
        pytest.skip("there is no GPU")


def require_nvenc() -> None:
    """Skip the test on a GPU that has no encoder, as those of data centres, or in a container without its library."""
    _require(lambda: try_nvenc(256, 256, options={}), "unsupported device", "No capable devices")


def require_nvdec() -> None:
    """Skip the test on a GPU in a container without the decoder's library."""
    _require(try_nvdec)


def _require(attempt: Callable[[], None], *missing: str) -> None:
    require_gpu()
    try:
        attempt()
    except EngineError as error:
        if any(text in str(error) for text in ("Cannot load lib", *missing)):
            pytest.skip(str(error))
        raise
