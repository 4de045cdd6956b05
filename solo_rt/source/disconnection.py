"""Why a stream gives no more pictures."""

from __future__ import annotations

import errno

import av


class Disconnected(Exception):
    """No further picture comes; says why. `is_final` if trying again is no use."""

    def __init__(
        self, reason: str, *, is_final: bool = False, is_stall: bool = False, has_ended: bool = False, missing: str = ""
    ) -> None:
        super().__init__(reason)
        self.is_final = is_final
        self.is_stall = is_stall  # connected, and still no picture
        self.has_ended = has_ended  # in good order
        self.missing = missing  # what a film that has ended lacks, in words


_FINAL = (
    av.error.ProtocolNotFoundError,
    av.error.DemuxerNotFoundError,
    av.error.DecoderNotFoundError,
    av.error.HTTPUnauthorizedError,
    av.error.HTTPForbiddenError,
    av.error.HTTPNotFoundError,
    PermissionError,
    FileNotFoundError,
)


def is_input_output(error: Exception) -> bool:
    """Return whether it is FFmpeg's word for an end that it did not expect, and for a server that is none."""
    return isinstance(error, OSError) and error.errno == errno.EIO


def disconnected(error: Exception) -> Disconnected:
    """Return what an exception of PyAV means for a stream."""
    is_stall = isinstance(error, av.error.ExitError)
    return Disconnected(_reason(error), is_final=isinstance(error, _FINAL), is_stall=is_stall)


def _reason(error: Exception) -> str:
    """Return what went wrong without the address, which PyAV puts into the texts of its exceptions."""
    if isinstance(error, av.error.ExitError):
        return "no answer in time"
    if isinstance(error, av.error.ProtocolNotFoundError):
        return "the FFmpeg of this PyAV does not speak its protocol; build PyAV against one that does"
    return str(getattr(error, "strerror", None) or type(error).__name__)
