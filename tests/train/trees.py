"""Small synthetic data sets on disk, laid out as the real ones."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from solo_rt.train.data.semantic.palettes import voc_palette


def write_palette_png(path: Path, ids: np.ndarray, *, bits: int = 8) -> None:
    """Write ids as a PNG with VOC's palette, as VOC's masks are: the colours say nothing to a reader of grey values."""
    height, width = ids.shape
    places = ids.astype(np.uint8)[..., None] >> np.arange(bits - 1, -1, -1) & 1
    rows = np.packbits(places.reshape(height, -1), axis=1)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    colours = np.array(voc_palette(1 << bits), np.uint8).tobytes()
    header = struct.pack(">IIBBBBB", width, height, bits, 3, 0, 0, 0)
    chunks = {b"IHDR": header, b"PLTE": colours, b"IDAT": zlib.compress(lines), b"IEND": b""}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks.items()
        )
    )
