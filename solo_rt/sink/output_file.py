"""The file behind a sink: locked, emptied when the first bytes are due, whole pieces only."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import av

from solo_rt.errors import SinkError, UsageError

WRITE_ERRORS = (OSError, av.FFmpegError)
LOOK_SECONDS = 0.5  # how often a file being written looks whether it is still where it was opened


class OutputFile:
    """A file written by one sink: locked once it is open, emptied when the first bytes are due.

    A failed write fails it until `resume`: nothing is added behind a torn piece.
    """

    def __init__(self, uri: str) -> None:
        """Create the file, or take the one that is there. Raises: OSError; UsageError if somebody else writes it."""
        self.uri = uri
        self.path = Path(uri)
        self.written = 0  # results, for messages
        self.failed = False
        self._descriptor = -1
        self._is_new = self._begun = False
        self._look_at = 0.0
        self._open()

    def stream(self) -> BinaryIO:
        """Return the file as Python's, for one who seeks in it; flush it before `writing` ends."""
        return os.fdopen(self._descriptor, "wb", closefd=False)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Run the body, which writes. Raises: SinkError when that fails, or the file is no longer at its path."""
        if self.failed:
            raise SinkError(f"output {self.uri}: it failed before; nothing is added to it")
        try:
            if not self._begun and self.is_regular:
                os.ftruncate(self._descriptor, 0)
            self._begun = True
            self._look()
            yield
        except WRITE_ERRORS as error:
            self.failed = True
            raise write_failure(self.uri, error, self.written) from error

    def rewind(self, size: int) -> None:
        """Let the next bytes go behind the first `size`. Raises: OSError for what is no file."""
        os.lseek(self._descriptor, size, os.SEEK_SET)

    def append(self, data: bytes) -> None:
        """Hand all of the data to the operating system, at once and unbuffered. Raises: OSError."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def cut(self, size: int) -> None:
        """Take away what a failed write has left behind the first `size` bytes, if that can be."""
        if self.is_regular:
            with suppress(OSError):
                os.ftruncate(self._descriptor, size)

    def resume(self, size: int) -> bool:
        """Go on behind the first `size` bytes, or in a new file where this one is gone; return whether that is so.

        Raises: SinkError while neither can be.
        """
        is_gone = self.is_regular and self._is_gone()
        try:
            if is_gone:
                before = self._descriptor
                self._open()
                os.close(before)
            elif self.is_regular:
                os.ftruncate(self._descriptor, size)
                os.lseek(self._descriptor, size, os.SEEK_SET)
        except OSError as error:
            raise SinkError(f"output {self.uri}: {error.strerror}") from error
        except UsageError as error:  # another process has the new one
            raise SinkError(str(error)) from error
        self.failed = False
        return is_gone

    def close(self) -> None:
        """Let go of the file; one that was created and never written to goes away again."""
        if self._descriptor >= 0:
            if self._is_new and not self._begun:
                self.remove()
            descriptor, self._descriptor = self._descriptor, -1
            with suppress(OSError):  # of a failed write, which has been reported
                os.close(descriptor)

    @property
    def is_closed(self) -> bool:
        return self._descriptor < 0

    def remove(self) -> None:
        """Take the file away, if it is still the one that was opened."""
        if self.is_regular and not self._is_gone():
            self.path.unlink(missing_ok=True)

    def _open(self) -> None:
        is_new = not os.path.lexists(self.uri)
        # Without O_NONBLOCK a pipe that nobody reads would keep us here for ever.
        descriptor = os.open(self.uri, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        try:
            os.set_blocking(descriptor, True)
            _lock(descriptor, self.uri)
            self.is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor, self._is_new, self._begun, self._look_at = descriptor, is_new, False, 0.0

    def _look(self) -> None:
        """Raise OSError if the file is no longer at its path; looks now and then."""
        now = time.monotonic()
        if self.is_regular and now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            if self._is_gone():
                raise OSError(errno.ENOENT, "it was removed or replaced by somebody else")

    def _is_gone(self) -> bool:
        try:
            return not os.path.samestat(os.fstat(self._descriptor), self.path.stat())
        except OSError:
            return True


def _lock(descriptor: int, uri: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(f"output {uri}: another process is writing it; choose another name") from error
    except OSError:
        pass  # not every file system has locks


def write_failure(uri: str, error: Exception, written: int) -> SinkError:
    """Return the error for a write that failed after `written` results."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return SinkError(f"output {uri}: writing failed after {written} frames: {reason}; what was written before is kept")
