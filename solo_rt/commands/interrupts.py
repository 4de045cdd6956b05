"""Ctrl-C and SIGTERM: the first asks the run to end in good order, the second ends the process."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType, TracebackType

SHOW_CURSOR = b"\x1b[?25h"  # a progress line may have hidden it


class Interrupts:
    """While entered, on the main thread, SIGINT and SIGTERM set `stop` and leave their number in `number`."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.number: int | None = None
        self._before: dict[int, object] = {}

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that a signal ended: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + (self.number or signal.SIGINT)

    def __enter__(self) -> Interrupts:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.stop.is_set():
            if sys.stderr.isatty():
                os.write(2, SHOW_CURSOR + b"\n")
            os._exit(128 + number)
        self.number = number
        self.stop.set()
