"""Files that appear whole or not at all, their hashes, and the folder of what can be made again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from solo_rt.errors import CacheError

CACHE = "SOLO_RT_CACHE"  # environment variable: another place for the folder


@contextmanager
def replaced_file(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Give the path of a file to write, which takes the place of `path` when the body ends, and goes when it fails.

    A kill leaves `path` as it was. With `durable` a power cut does, too, and nothing is lost after the return: else a
    file system may keep the new name and not what is behind it. It costs a wait for the disk, so it is for what took
    long to make, plans and checkpoints. Raises: OSError.
    """
    # Of this write alone, and short enough for any name.
    part = path.with_name(f".{path.name[:32]}.{token_hex(4)}.part")
    try:
        yield part
        if durable:
            sync(part)
        part.replace(path)
        if durable:
            sync(path.parent)
    finally:
        with suppress(OSError):
            part.unlink()


def replace_file(path: Path, content: bytes | memoryview, *, durable: bool = False) -> None:
    """Write a file whole or not at all; see `replaced_file`. Raises: OSError."""
    with replaced_file(path, durable=durable) as part:
        part.write_bytes(content)


def file_hash(path: Path, kind: str) -> str:
    """Return the hash of a file in hexadecimal; `kind` is what hashlib calls it."""
    digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    return file_hash(path, "sha256")


def cache_folder() -> Path:
    """Return the folder of what can be made again: SOLO_RT_CACHE, or solo-rt in the user's cache folder.

    Raises: CacheError for a user without a home folder, as in a container that is run under a number of its own.
    """
    chosen = os.environ.get(CACHE)
    try:
        return Path(chosen or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "solo-rt")
    except RuntimeError as error:
        raise CacheError(f"this user has no home folder to keep anything in; set {CACHE} to a folder") from error


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
