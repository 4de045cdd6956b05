"""The classes of a semantic model as PNG files in a folder, one per frame."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from solo_rt.decoders import Rgb
from solo_rt.errors import UsageError
from solo_rt.result import Result
from solo_rt.sink.address import split
from solo_rt.sink.base import Sink
from solo_rt.sink.pictures import FrameFiles
from solo_rt.types import UInt8

COMPRESSION = 1  # zlib's fastest: half again the size of its default, in less than half the time


class LabelSink(Sink):
    """`labels:folder`: a PNG with 8 bits per pixel and a palette, at the size of the frame. `close`: see `Sink`.

    A pixel's value is its class id, 255 for none; viewers show it in the colour of its class, 255 in black.
    """

    needs_picture = False
    can_resume = True

    def __init__(self, uri: str, palette: Sequence[Rgb], *, overwrite: bool) -> None:
        """Create the folder if there is none. Raises: as `FrameFiles`; UsageError without a palette."""
        if not palette:
            raise UsageError(f"output {uri}: labels are those of a semantic model, and this one finds instances")
        self.uri = uri
        self._palette = palette
        self._files = FrameFiles(uri, Path(split(uri)[1]), ".png", overwrite=overwrite)

    def write(self, result: Result) -> None:
        """Add the labels of one result. Raises: SinkError when the output failed."""
        semantic = result.semantic
        assert semantic is not None
        self._files.write(result.frame, lambda: encode_png(semantic.dense(), self._palette))

    def close(self) -> None:
        pass


def encode_png(labels: UInt8, palette: Sequence[Rgb]) -> bytes:
    """Return `uint8 [H, W]` as a PNG of indexed colours; values beyond the palette are black.

    Every row is stored as its difference to the one above, which is mostly zeros.
    Source: PNG specification (W3C), sections 5, 9.2 and 11.2. OpenCV writes no palettes.
    """
    height, width = labels.shape
    rows = np.empty((height, width + 1), np.uint8)
    rows[:, 0] = 2  # filter type "up"
    rows[0, 1:] = labels[0]
    np.subtract(labels[1:], labels[:-1], out=rows[1:, 1:])
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = palette
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)  # 8 bits, indexed colours, not interlaced
    chunks = [
        (b"IHDR", header),
        (b"PLTE", colours.tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), COMPRESSION)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
