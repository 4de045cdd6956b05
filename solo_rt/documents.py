"""Documents that users write, in TOML or JSON, and what they may have meant by a name that nobody knows."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from solo_rt.errors import UsageError

MOST_BYTES = 1 << 20  # of a file


def read_document(path: str | Path, what: str, *, kind: Literal["toml", "json"]) -> dict[str, object]:
    """Return the tables or the object of a file, which messages call `what`. Raises: UsageError."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES >> 20} MB")
        document = (
            _parse_toml(data.decode("utf-8-sig")) if kind == "toml" else json.loads(data, object_pairs_hook=_once)
        )
        if not isinstance(document, dict):
            raise ValueError(f"no object but {document!r:.40}")
    except OSError as error:
        raise UsageError(f"cannot read the {what} {str(path)!r}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{what} {path}: expected {kind.upper()}, got {error}") from error
    return document


def suggest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Return the known name that may have been meant, as a question; empty if none is like it."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1, cutoff=cutoff)
    return f"did you mean {close[0]}?" if close else ""


def list_known(known: Iterable[str]) -> str:
    """Return all known names, as the end of a message."""
    return f"known are {', '.join(known)}"


def _parse_toml(text: str) -> dict[str, object]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    document: dict[str, object] = tomllib.loads(text)
    return document


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return an object of JSON. Raises: ValueError for a key that stands there twice, as TOML does."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a key twice among {', '.join(key for key, _ in pairs):.60}")
    return found
