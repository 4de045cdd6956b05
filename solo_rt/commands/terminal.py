"""Standard output that takes any text, and standard error that holds nobody up.

Who reads the latter may be slow, stand still, leave, or never have been there.
"""

from __future__ import annotations

import io
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

MOST_PIECES = 1000  # that wait to be written; older ones are dropped
DRAIN_SECONDS = 0.5  # how long a process waits for its last words to be taken


class Patient(io.TextIOBase):
    """A text stream whose writes return at once; a thread hands them on, or drops them where nobody takes them."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._descriptor = stream.fileno()
        self._waiting: deque[bytes] = deque(maxlen=MOST_PIECES)
        self._change = threading.Condition()  # guards `_waiting` and `_is_idle`
        self._is_idle = True
        threading.Thread(target=self._hand_on, name="terminal", daemon=True).start()

    def write(self, text: str) -> int:
        with self._change:
            self._waiting.append(text.encode(self.encoding, self.errors))
            self._is_idle = False
            self._change.notify_all()
        return len(text)

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._descriptor

    def drain(self) -> None:
        """Wait until everything is written, but not for long."""
        deadline = time.monotonic() + DRAIN_SECONDS
        with self._change:
            while not self._is_idle and (left := deadline - time.monotonic()) > 0:
                self._change.wait(left)

    def _hand_on(self) -> None:
        while True:
            with self._change:
                while not self._waiting:
                    self._is_idle = True
                    self._change.notify_all()
                    self._change.wait()
                piece = memoryview(self._waiting.popleft())
            with suppress(OSError):  # the reader has left, or its disk is full: there is nobody to tell
                while piece:
                    piece = piece[os.write(self._descriptor, piece) :]


def write_any_text() -> None:
    """Let `sys.stdout` write what its encoding has no bytes for as escapes, as stderr does, and not fail.

    A file name may be no UTF-8, and a terminal may have fewer letters than a help text.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


@contextmanager
def patient_stderr() -> Iterator[None]:
    """Make `sys.stderr` a `Patient` one while the body runs."""
    before = sys.stderr
    try:
        before.fileno()
    except (AttributeError, OSError):  # a test's, which is in memory
        yield
        return
    stream = Patient(before)
    sys.stderr = stream
    try:
        yield
    finally:
        stream.drain()
        sys.stderr = before


def drain_stderr() -> None:
    """Wait, not for long, until what was written to `sys.stderr` is out: what follows on stdout comes after it."""
    if isinstance(sys.stderr, Patient):
        sys.stderr.drain()


def say(text: str) -> None:
    """Write a line to the standard error of the process, past everything, if that takes it at once."""
    with suppress(OSError):
        if select.select([], [2], [], 0)[1]:
            os.write(2, f"{text}\n".encode(errors="backslashreplace"))
