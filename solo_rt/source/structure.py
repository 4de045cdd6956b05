"""What the structure of a video file tells of missing bytes: its end cut off, a piece torn out of the middle.

Demuxers find their way around both and do not say so. Formats that are not named here tell nothing.
Source: ISO/IEC 13818-1 (TS), RFC 8794 and 9559 (Matroska), ISO/IEC 14496-12 (MP4), GIF89a, PNG third edition.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

_TS_SYNC, _TS_NULL = 0x47, 0x1FFF
_SEGMENT, _CLUSTER, _BLOCK_GROUP = 0x18538067, 0x1F43B675, 0xA0
_BLOCKS = (0xA3, 0xA1)  # SimpleBlock, Block
_FARTHEST = 1 << 24  # bytes from one packet to the next; more is not looked at


class Structure:
    """The bytes of one file. `container` is FFmpeg's name of its format, the first one where it has several."""

    def __init__(self, path: Path, container: str) -> None:
        self._file: BinaryIO = path.open("rb")
        self._size = os.fstat(self._file.fileno()).st_size
        self._container = container
        self._counters: dict[int, int] = {}  # of a TS, by PID
        self._fragment: int | None = None  # the last one's number
        self._stride = next((n for n in (188, 192, 204) if self._at(0, 1) == self._at(n, 1) == b"\x47"), 0)

    def close(self) -> None:
        self._file.close()

    def is_cut_off(self, last: int) -> bool:
        """Return whether the file ends before what it consists of does; the last packet is at `last`."""
        if self._container == "mpegts" and self._stride:
            whole = self._size - self._size % self._stride
            return self._at(whole, 1) == b"\x47" or self.is_torn(last, whole - self._stride)
        ends = {"mov": self._boxes_end, "matroska": self._segment_end, "gif": self._gif_end, "apng": self._png_end}
        end = ends.get(self._container)
        return end is not None and end() > self._size

    def is_torn(self, start: int, stop: int) -> bool:
        """Return whether bytes are missing between two packets of a stream, by their positions in the file."""
        if not 0 <= start < stop <= start + _FARTHEST:
            return False
        if self._container == "mpegts" and self._stride == 188:
            return self._skips_counter(self._at(start, stop + self._stride - start))
        if self._container == "matroska":
            return not self._leads(start, stop)
        return self._container == "mov" and self._skips_fragment(self._at(start, stop - start))

    def declared_frames(self) -> int | None:
        """Return the number of frames that an animated PNG says it has; None for other files."""
        head = self._at(0, 1 << 16) if self._container == "apng" else b""
        at = head.find(b"acTL")
        return int.from_bytes(head[at + 4 : at + 8], "big") if at >= 0 else None

    def _at(self, start: int, size: int) -> bytes:
        self._file.seek(start)
        return self._file.read(size)

    def _skips_counter(self, data: bytes) -> bool:
        """Return whether TS packets are out of step or their counters, one in each stream, leave numbers out."""
        count, rest = divmod(len(data), self._stride)
        heads = np.frombuffer(data, np.uint8, count * self._stride).reshape(count, self._stride)[:, :4]
        skips = rest > 0 or bool((heads[:, 0] != _TS_SYNC).any())
        heads = heads[heads[:, 3] & 0x10 > 0]  # only packets with a payload count
        pids, counters = (heads[:, 1] & 0x1F).astype(int) << 8 | heads[:, 2], heads[:, 3] & 0xF
        for pid in set(pids.tolist()) - {_TS_NULL}:
            own = counters[pids == pid].astype(int)
            steps = np.diff(own, prepend=self._counters.get(pid, own[0])) & 0xF
            skips |= bool((steps > 1).any())  # a packet may be sent twice
            self._counters[pid] = int(own[-1])
        return skips

    def _skips_fragment(self, data: bytes) -> bool:
        at, skips = data.find(b"mfhd"), False
        while at >= 0:
            number = int.from_bytes(data[at + 8 : at + 12], "big")
            skips |= self._fragment is not None and number > self._fragment + 1
            self._fragment, at = number, data.find(b"mfhd", at + 1)
        return skips

    def _leads(self, start: int, stop: int) -> bool:
        """Return whether elements follow one another from the block at `start` to the one at `stop`."""
        before = self._at(max(0, start - 9), min(9, start))
        sizes = (n for n in range(1, len(before)) if before[-n - 1] in _BLOCKS and 9 - before[-n].bit_length() == n)
        at = start - next(sizes, 0) - 1
        while at < stop:
            code, payload, size = self._element(at)
            if payload == stop and code in _BLOCKS:
                return True
            if not code:
                return False
            at = payload if code in (_SEGMENT, _CLUSTER, _BLOCK_GROUP) else payload + size
        return False

    def _element(self, at: int) -> tuple[int, int, int]:
        """Return id, start of the payload and size of the element; the id is 0 where there is none."""
        head = self._at(at, 12)
        n = 9 - head[0].bit_length() if head else 9
        if n > 4 or len(head) <= n or not head[n]:
            return 0, at, 0
        m = 9 - head[n].bit_length()
        size = int.from_bytes(head[n : n + m], "big") & (1 << 7 * m) - 1
        unknown = size == (1 << 7 * m) - 1  # a live recording
        return int.from_bytes(head[:n], "big"), at + n + m, 0 if unknown else size

    def _segment_end(self) -> int:
        _, payload, size = self._element(0)
        _, payload, size = self._element(payload + size)
        return payload + size

    def _boxes_end(self) -> int:
        at = 0
        while at + 8 <= self._size:
            head = self._at(at, 16)
            size = int.from_bytes(head[:4], "big")
            if size == 0:  # to the end of the file
                return self._size
            at += max(8, int.from_bytes(head[8:], "big") if size == 1 else size)
        return at + 8 * any(self._at(at, 8))

    def _png_end(self) -> int:
        at, kind = 8, b""
        while kind != b"IEND" and at < self._size:
            head = self._at(at, 8)
            at, kind = at + 12 + int.from_bytes(head[:4], "big"), head[4:]
        return at if kind == b"IEND" else self._size + 1

    def _gif_end(self) -> int:
        with suppress(IndexError):
            flags = self._at(10, 1)[0]
            at = 13 + _palette(flags)
            while (kind := self._at(at, 1)[0]) != 0x3B:
                if kind == 0x2C:
                    at += 11 + _palette(self._at(at + 9, 1)[0])
                elif kind == 0x21:
                    at += 2
                else:
                    break
                while n := self._at(at, 1)[0]:
                    at += 1 + n
                at += 1
            else:
                return at + 1
        return self._size + 1


def _palette(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
