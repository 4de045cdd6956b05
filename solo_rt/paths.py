"""Keeps outputs from overwriting what is read, or each other."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from solo_rt.errors import UsageError
from solo_rt.uri import redact, scheme


def refuse_overwriting(source: str, model: Path, outputs: Sequence[str]) -> None:
    """Raise UsageError if an output is the source, one of its pictures, the model or another output.

    Addresses with a scheme are compared as they are, paths by the file they lead to. A folder counts as the source
    if the source's pictures lie in it, because the pictures written there could have their names.
    """
    seen: dict[str, str] = {}
    for output in outputs:
        known = seen.get(_identity(output))
        if known is not None:
            raise UsageError(f"two outputs are the same: {redact(known)} and {redact(output)}; give each its own path")
        seen[_identity(output)] = output
    read = {_identity(path): path for path in [*_files(source), str(model)]}
    for identity, output in seen.items():
        if identity in read:
            raise UsageError(f"output {redact(output)} would overwrite {redact(read[identity])}; choose another path")


def _files(source: str) -> Iterable[str]:
    """Return the files and folders a local source consists of."""
    if scheme(source):
        return [source]
    if not glob.has_magic(source) or Path(source).exists():
        return [source]
    matches = glob.glob(source, recursive=True)
    return {*matches, *(str(Path(match).parent) for match in matches)}


def _identity(uri: str) -> str:
    """Return the same text for everything that leads to the same file: by inode if it exists, else by path."""
    if scheme(uri):
        return uri
    try:
        status = os.stat(uri)
    except OSError:
        return str(Path(uri).resolve())
    return f"inode {status.st_dev}:{status.st_ino}"
