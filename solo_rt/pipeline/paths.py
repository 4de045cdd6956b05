"""Names of sources for outputs, and what keeps outputs from overwriting what is read, or each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar
from unicodedata import normalize

from solo_rt.errors import UsageError
from solo_rt.sink import refuse_overwrite
from solo_rt.sink.address import pattern
from solo_rt.uri import redact, scheme, split_name

PLACE = "{source}"  # in the address of an output: the name of its source

T = TypeVar("T")


def address(of: T | Path) -> T | str:
    """Return the address of a file, or what is none of `Path`'s as it is."""
    return str(of) if isinstance(of, Path) else of


def name_sources(uris: Sequence[str]) -> dict[str, str]:
    """Return the addresses by short names that are fit for files: `cam0` of cam0.avi, `camera-0`, `host-path`.

    `door=rtsp://...` is called door, unless a file is called that. Raises: UsageError if two are to have one name.
    """
    given = [("", uri) if Path(uri).exists() else split_name(uri) for uri in uris]
    taken = [name for name, _ in given if name]
    for name in taken:
        if taken.count(name) > 1:
            raise UsageError(f"two sources are called {name}; choose another name for one of them")
    named: dict[str, str] = {}
    for name, uri in given:
        if not name:
            base, number = _short_name(uri), 2
            name = base
            while name in taken:
                name, number = f"{base}-{number}", number + 1
            taken.append(name)
        named[name] = uri
    return named


def _short_name(uri: str) -> str:
    shown = redact(uri).partition("?")[0]
    base = shown.partition("://")[2] if scheme(uri) else Path(shown).stem if "/" in shown or "." in shown else shown
    return re.sub(r"[^\w.-]+", "-", normalize("NFC", base)).strip("-.") or "source"


def refuse_overwriting(source: str | None, model: Path | None, outputs: Sequence[str]) -> None:
    """Raise UsageError if an output is the source, the folder of its pictures, the model or another output.

    None is what was opened before, and has no name.
    """
    seen: dict[str, str] = {}
    for output in outputs:
        if source is not None:
            refuse_overwrite(source, output)
        identity = _identity(output)
        if model is not None and identity == _identity(str(model)):
            raise UsageError(f"output {output} would overwrite the model; choose another path")
        if identity in seen:
            raise UsageError(
                f"two outputs are the same: {redact(seen[identity])} and {redact(output)}; give each its own path"
            )
        seen[identity] = output


def _identity(uri: str) -> str:
    """Return the same text for everything that leads to the same file: by inode if it exists, else by path."""
    if scheme(uri):
        return uri
    path = Path(pattern(uri))
    try:
        status = path.stat()
    except OSError:
        return str(path.resolve())
    return f"inode {status.st_dev}:{status.st_ino}"
