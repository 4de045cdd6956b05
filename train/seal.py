"""The SHA-256 of an archive in the archive itself: it ends with that of all before, as the comment of a zip file."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import IO

MARK = b"solo-rt sha256 "
LENGTH = len(MARK) + 64
CHUNK = 1 << 20  # bytes


def seal(file: IO[bytes]) -> str:
    """Seal the archive in `file`, open for reading and writing, and return the SHA-256 of the whole."""
    file.seek(-2, os.SEEK_END)  # there the length of its comment is; APPNOTE.TXT, 4.3.16
    file.write(LENGTH.to_bytes(2, "little"))
    digest = _digest(file, file.tell())
    mark = MARK + digest.hexdigest().encode()
    file.write(mark)
    digest.update(mark)
    return digest.hexdigest()


def read_seal(path: Path) -> tuple[bool | None, str]:
    """Return whether what the seal says is true, None without one, and the SHA-256 of the whole file."""
    with path.open("rb") as file:
        digest = _digest(file, max(0, path.stat().st_size - LENGTH))
        mark = file.read()
    is_true = mark == MARK + digest.hexdigest().encode() if mark.startswith(MARK) else None
    digest.update(mark)
    return is_true, digest.hexdigest()


def _digest(file: IO[bytes], left: int) -> hashlib._Hash:
    """Return the SHA-256 of the first `left` bytes of a file, read up to there."""
    file.seek(0)
    digest = hashlib.sha256()
    while left and (chunk := file.read(min(CHUNK, left))):
        digest.update(chunk)
        left -= len(chunk)
    return digest
