"""What is known of an encoded picture before it is decoded: its size, whether more follow, whether a PNG is damaged.

A bomb of a few kilobytes is refused before it becomes gigabytes.
"""

from __future__ import annotations

import struct
import zlib

from solo_rt.types import UInt8

_HEADER_BYTES = 1 << 20  # EXIF blocks and thumbnails may stand before the size of a JPEG


def picture_size(data: UInt8) -> tuple[int, int] | None:
    """Return width and height of the encoded picture `uint8 [N]`; None where the header does not tell.

    Reads PNG, JPEG, BMP, WebP and TIFF, whose decoders allocate first and fail later. PPM and PGM hold their pixels
    uncompressed and cannot lie. Source: the formats' specifications.
    """
    head = data[:_HEADER_BYTES].tobytes()
    try:
        if head.startswith(b"\x89PNG\r\n\x1a\n"):
            return struct.unpack(">II", head[16:24])
        if head.startswith(b"BM"):
            width, height = struct.unpack("<ii", head[18:26])
            return abs(width), abs(height)  # a negative height means top-down
        if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
            return _webp_size(head)
        if head[:2] in (b"II", b"MM"):
            return _tiff_size(data, "<" if head.startswith(b"II") else ">")
        if head.startswith(b"\xff\xd8"):
            return _jpeg_size(head)
    except (struct.error, IndexError):
        pass  # cut off inside the header: the decoder will say so
    return None


def holds_several(data: UInt8) -> bool:
    """Return whether the encoded picture `uint8 [N]` is the first of several: animated PNG or WebP, TIFF of pages."""
    head = data[:_HEADER_BYTES].tobytes()
    try:
        if head.startswith(b"\x89PNG"):
            return head.find(b"acTL", 0, head.find(b"IDAT")) > 0
        if head[8:16] == b"WEBPVP8X":
            return bool(head[20] & 2)
        if head[:2] in (b"II", b"MM"):
            order = "<" if head.startswith(b"II") else ">"
            following = _tiff_directory(data, order)[1]
            return following > 0 and not _tiff_directory(data, order, following)[0].get(254, 0) & 1  # not a thumbnail
    except (struct.error, IndexError):
        pass
    return False


def is_damaged_png(data: UInt8) -> bool:
    """Return whether checksums say that the picture is a damaged PNG, of which libpng would complain on stderr."""
    view = data.data
    if bytes(view[:8]) != b"\x89PNG\r\n\x1a\n":
        return False
    at, kind = 8, b""
    while kind != b"IEND":
        kind, end = bytes(view[at + 4 : at + 8]), at + 8 + int.from_bytes(view[at : at + 4], "big")
        is_needed = not kind[:1].islower()
        if end + 4 > len(view) or (
            is_needed and zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big")
        ):
            return True
        at = end + 4
    return False


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(head):
        if head[at] != 0xFF:
            return None
        marker = head[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            return width, height
        else:
            at += 2 + struct.unpack(">H", head[at + 2 : at + 4])[0]
    return None


def _webp_size(head: bytes) -> tuple[int, int] | None:
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L":
        bits = struct.unpack("<I", head[21:25])[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", head[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None


def _tiff_size(data: UInt8, order: str) -> tuple[int, int] | None:
    size = _tiff_directory(data, order)[0]
    return (size[256], size[257]) if {256, 257} <= size.keys() else None  # ImageWidth, ImageLength


def _tiff_directory(data: UInt8, order: str, start: int = 0) -> tuple[dict[int, int], int]:
    """Return numbers by tag of a directory, the first unless it is given, and where the next one is; 0 if none is.

    Directories may stand anywhere in the file.
    """
    version, first = struct.unpack(f"{order}HI", data[2:8].tobytes())
    if version != 42:  # BigTIFF and others
        return {}, 0
    start = start or first
    count = struct.unpack(f"{order}H", data[start : start + 2].tobytes())[0]
    numbers = {}
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, _ = struct.unpack(f"{order}HHI", data[at : at + 8].tobytes())
        if tag in (254, 256, 257):  # as SHORT or LONG
            value = data[at + 8 : at + 12].tobytes()
            numbers[tag] = struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", value)[0]
    end = start + 2 + 12 * count
    return numbers, struct.unpack(f"{order}I", data[end : end + 4].tobytes())[0]
