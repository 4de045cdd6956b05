"""Addresses of sources and sinks: what kind they are, whose home they mean, and what they show without secrets."""

from __future__ import annotations

import os
import re
from unicodedata import normalize


def scheme(uri: str) -> str:
    """Return the scheme in lower case, `"rtsp"` for `rtsp://host`; empty for a plain path."""
    head, separator, _ = uri.partition("://")
    return head.lower() if separator and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", head) else ""


def expand_home(uri: str) -> str:
    """Return the address with a leading `~` or `~user` as the home folder: quoted, it reaches us unexpanded.

    A file whose name begins so is reached by `./~`.
    """
    head, colon, rest = uri.partition(":~")
    if colon:  # of `labels:~/folder` and `coco:~/folder`
        return f"{head}:{os.path.expanduser(f'~{rest}')}"  # noqa: PTH111  as below
    return os.path.expanduser(uri)  # noqa: PTH111  a path would lose the slash that makes an output a folder


def split_name(uri: str) -> tuple[str, str]:
    """Return the name that an address was given, and the address: door and rtsp://host of `door=rtsp://host`.

    Without one the name is empty.
    """
    name, separator, address = uri.partition("=")
    name = normalize("NFC", name)  # as most keyboards write ü: one letter
    if separator and address and re.fullmatch(r"[^\W_][\w.-]*", name):
        return name, address
    return "", uri


def redact(uri: str) -> str:
    """Return the address without user, password, query and RTMP's stream key, fit for messages and logs.

    Plain paths are unchanged.

    Passwords may hold `/`, `?` and `@` unescaped. Hiding too much is a nuisance, hiding too little is a leak: all up to
    the last `@` is hidden, and all of it where a `?` before that `@` leaves open which part is the query.
    """
    name, address = split_name(uri)
    if name and scheme(address):
        return f"{name}={redact(address)}"
    kind = scheme(uri)
    if kind in ("", "test"):
        return re.sub(r"(\w+://)\S*@", r"\1***@", uri)  # of an address within an address
    start = uri[: len(kind) + 3]
    credentials, at, place = uri[len(start) :].rpartition("@")
    if "?" in credentials:
        return f"{start}***"
    path, question, _ = place.partition("?")
    if kind.startswith("rtmp") and path.count("/") > 1:
        path = path[: path.rindex("/")] + "/***"  # the name of a stream is what lets one send it
    return f"{start}{'***@' if at else ''}{path}{'?***' if question else ''}"
