"""What OpenVINO made of a model, kept for the next start: loading it takes a fifth of the time of compiling.

A file holds the SHA-256 of what follows and then that, so what a full disk or another hand has left is never loaded.
"""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from solo_rt.files import cache_folder, replace_file

FOLDER = "compiled"  # in the cache folder
KEPT = 16  # models; the one that has been left alone longest makes room
_DIGEST = sha256().digest_size


def recall(key: str) -> bytes | None:
    """Return what is kept under a key, a name of a file; None where there is nothing, or nothing whole."""
    try:
        path = _path(key)
        content = path.read_bytes()
    except OSError:
        return None
    with suppress(OSError):  # a folder that can only be read is of use as well
        os.utime(path)
    digest, kept = content[:_DIGEST], content[_DIGEST:]
    return kept if sha256(kept).digest() == digest else None


def remember(key: str, content: bytes) -> None:
    """Keep something under a key. Where the folder cannot be written, or there is none, nothing is kept."""
    with suppress(OSError):
        path = _path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, sha256(content).digest() + content)
        for old in sorted(path.parent.iterdir(), key=_used, reverse=True)[KEPT:]:
            old.unlink(missing_ok=True)


def _used(path: Path) -> float:
    """Return when a file was used last; one that another process has just removed was never."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _path(key: str) -> Path:
    return cache_folder() / FOLDER / key
