"""Ctrl-C, SIGTERM and SIGHUP: the first asks for an end in good order, the second ends the process.

Python runs signal handlers on the main thread, and only between two of its own instructions: a call into native code,
or a write that nobody takes, would put them off for ever. So a thread watches for signals as well, by way of the file
that the interpreter's own C handler writes their numbers to.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from solo_rt.commands.lines import line
from solo_rt.commands.terminal import say

SHOW_CURSOR = "\x1b[?25h"  # a progress line may have hidden it
NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal that ended what the main thread did."""


class Interrupts:
    """While entered, on the main thread, the first signal sets `stop` and leaves its number in `number`.

    With `raises` it raises Interrupted there, too. Whoever is not done `within` seconds of it is ended, and what
    `doing` returns is blamed; the outputs are as finished as they are then.
    """

    def __init__(
        self, *, raises: bool = False, within: float | None = None, doing: Callable[[], str] = lambda: "it hangs"
    ) -> None:
        self.stop = threading.Event()
        self.number: int | None = None
        self._raises, self._within, self._doing = raises, within, doing
        self._before: dict[int, object] = {}
        self._wakeup_before = -1

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that a signal ended: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + (self.number or signal.SIGINT)

    def __enter__(self) -> Interrupts:
        for number in NUMBERS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
                self._before[number] = signal.signal(number, self._handle)
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._write_end, False)
        self._wakeup_before = signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        self._watcher = threading.Thread(target=self._watch, name="signal watcher", daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *_failure: object) -> None:
        signal.set_wakeup_fd(self._wakeup_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        os.write(self._write_end, b"\0")  # no signal has this number
        self._watcher.join()
        os.close(self._write_end)
        os.close(self._read_end)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.number = self.number or number
        self.stop.set()
        if self._raises:
            raise Interrupted

    def _watch(self) -> None:
        first: int | None = None
        deadline: float | None = None
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._read_end], [], [], left)[0]:
                complaint = f"not done within {self._within:g} s, so it is given up: {self._doing()}"
                say(line(complaint, level="error", fields={"exit_code": self.exit_code}))
                _leave(first or signal.SIGINT)
            for number in os.read(self._read_end, 64):
                if number == 0:
                    return
                if number in NUMBERS and first is not None:
                    _leave(number)
                if number in NUMBERS:
                    first = self.number = number
                    self.stop.set()
                    deadline = None if self._within is None else time.monotonic() + self._within


def _leave(number: int) -> None:
    if sys.stderr.isatty():
        say(SHOW_CURSOR)
    os._exit(128 + number)
