"""Standard input: `-`."""

from __future__ import annotations

import sys

from solo_rt.errors import UsageError
from solo_rt.source.address import Address
from solo_rt.source.demuxer import DEMUXERS


def pipe_address(uri: str) -> Address:
    """Return the address of standard input, which a program writes video to. Raises: UsageError for a terminal."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(f"source {uri}: expected video on standard input, got a terminal; pipe it in, or name a file")
    options = {"protocol_whitelist": "pipe", "format_whitelist": f"{DEMUXERS},image2pipe,jpeg_pipe,png_pipe"}
    return Address(uri, "pipe", "pipe:0", options=options, is_live=False)
