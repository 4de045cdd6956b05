"""What every sink is: it takes results one by one, in order, and leaves something complete behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, TypeVar

import av

from solo_rt.errors import SinkError
from solo_rt.types import Frame, Result

S = TypeVar("S", bound="Sink")

WRITE_ERRORS = (OSError, av.FFmpegError)


class Sink(Protocol):
    """Takes results. Used by one thread at a time; `close()` finishes the output and may be called again."""

    uri: str
    needs_picture: bool  # whether it shows the frame, so that drawing on it is worth the time
    takes_gpu_pictures: bool = False  # whether that picture may be on a GPU

    def write(self, result: Result) -> None:
        """Add one result; what it holds is not kept after the call. Raises: SinkError when the output failed."""

    def close(self) -> None:
        """Finish the output. Raises: SinkError when its end cannot be written."""

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, *_failure: object) -> None:
        self.close()


def picture_of(result: Result) -> Frame:
    """Return the annotated picture, or the frame itself where nothing was drawn."""
    return result.frame if result.rendered is None else result.rendered


class OutputFile:
    """A file being written by a sink. One failed write fails it for good: nothing is added behind a torn piece."""

    def __init__(self, uri: str) -> None:
        """Create the file, or empty the one that is there. Raises: OSError."""
        self.uri = uri
        self.path = Path(uri)
        self.written = 0  # results, for messages
        self.failed = False
        self.stream = self.path.open("wb")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Run the body, then hand what it wrote to the operating system. Raises: SinkError when either fails."""
        if self.failed:
            raise SinkError(f"output {self.uri}: it failed before; nothing is added to it")
        try:
            yield
            self.stream.flush()
        except WRITE_ERRORS as error:
            self.failed = True
            raise write_failure(self.uri, error, self.written) from error

    def close(self) -> None:
        with suppress(OSError):  # of a failed write, which has been reported; otherwise nothing is left to write
            self.stream.close()


def write_failure(uri: str, error: Exception, written: int) -> SinkError:
    """Return the error for a write that failed after `written` results."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return SinkError(f"output {uri}: writing failed after {written} frames: {reason}; what was written before is kept")
