"""One array out of a MATLAB file, as SBD stores its labels.

Source: MathWorks, "MAT-File Format", chapter 1 (level 5). Little endian only, which all of SBD is.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from solo_rt.errors import DatasetError

HEADER_BYTES = 128
MATRIX, COMPRESSED = 14, 15  # data types
STRUCT_CLASS, UINT8_CLASS = 2, 9  # array types


def read_struct_field(path: Path, variable: str, field: str) -> NDArray[np.uint8]:
    """Return `uint8 [H, W]`, the array `field` of the struct `variable`.

    Raises: DatasetError when the file cannot be read or holds no such array.
    """
    try:
        data = path.read_bytes()
        for kind, body in _elements(data[HEADER_BYTES:]):
            if kind == COMPRESSED:
                ((kind, body),) = _elements(zlib.decompress(body))
            if kind == MATRIX:
                name, fields = _struct_fields(body)
                if name == variable and field in fields:
                    return _uint8_array(fields[field])
    except OSError as error:
        raise DatasetError(f"cannot read labels {path}: {error.strerror}; is the data set complete?") from error
    except (struct.error, zlib.error, ValueError, IndexError) as error:
        raise DatasetError(f"cannot read labels {path}: {error}; is the data set complete?") from error
    raise DatasetError(f"labels {path}: expected {variable}.{field}, an array of bytes, found none")


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield data type and content of the elements one after another (little endian)."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<II", data, at)
        if kind >> 16:  # small element: both in the first four bytes, the content in the next four
            kind, size = kind & 0xFFFF, kind >> 16
            yield kind, data[at + 4 : at + 4 + size]
            at += 8
            continue
        if at + 8 + size > len(data):
            raise ValueError("it ends early")
        yield kind, data[at + 8 : at + 8 + size]
        at += 8 + size + (0 if kind == COMPRESSED else -size % 8)


def _struct_fields(matrix: bytes) -> tuple[str, dict[str, bytes]]:
    """Return the name of a matrix and, where it is a single struct, the matrices in its fields; no fields otherwise."""
    parts = list(_elements(matrix))
    name = parts[2][1].decode("ascii")
    if parts[0][1][0] != STRUCT_CLASS:
        return name, {}
    (width,) = struct.unpack("<i", parts[3][1])
    names = parts[4][1]
    fields = [names[i : i + width].split(b"\0")[0].decode("ascii") for i in range(0, len(names), width)]
    return name, dict(zip(fields, (body for _, body in parts[5:]), strict=False))


def _uint8_array(matrix: bytes) -> NDArray[np.uint8]:
    flags, dimensions, _, real = (body for _, body in list(_elements(matrix))[:4])
    if flags[0] != UINT8_CLASS:
        raise ValueError(f"expected bytes, got array type {flags[0]}")
    height, width = struct.unpack("<ii", dimensions)
    return np.frombuffer(real, np.uint8).reshape(width, height).T.copy()  # columns one after another
