"""The entry point of `solo-rt`: signals count from the first instruction on; the rest is loaded afterwards."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType


def main() -> None:
    """Run the command line and end the process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN or number != signal.SIGHUP:  # nohup
            signal.signal(number, _leave)
    _fill_standard_streams()
    # numpy's idle threads sleep at once: those it starts spin for 60 ms of CPU time, and the start waits for the cores.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    # The converter of other formats, which no command uses, takes longer to load than the rest of OpenVINO.
    sys.modules["openvino.tools.ovc"] = None  # type: ignore[assignment]
    from solo_rt.cli import main as run_command_line

    try:
        run_command_line()
    except SystemExit as end:
        _end(end.code if isinstance(end.code, int) else 1)


def _leave(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)  # nothing has been done yet that wants finishing


def _fill_standard_streams() -> None:
    """Open what the shell has closed: a file opened later would take its number, and get what is meant for people."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def _end(code: int) -> None:
    """End the process, also if one of our threads is inside native code that will never come back."""
    import threading

    if any(thread.name.startswith("solo-rt ") for thread in threading.enumerate()):
        # The interpreter would take itself down around that thread, which aborts the process (exit codes 134 and 139).
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(code)
    with suppress(OSError):
        sys.stdout.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a reader who left did not take is not tried again
    sys.exit(code)


if __name__ == "__main__":
    main()
