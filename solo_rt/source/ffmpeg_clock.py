"""How a thread comes out of FFmpeg before FFmpeg itself gives up.

Note [Leaving FFmpeg]. A thread inside FFmpeg can be asked for nothing, and PyAV offers no way to end its wait before
the time that was agreed on when it began. But FFmpeg asks whether to go on, ten times a second, and PyAV answers by
comparing two times, which it gets from `time.monotonic()`. So PyAV gets a clock that runs a million times as fast for a
thread that nobody waits for any more. Otherwise a server that hangs would hold a thread and a socket for ten seconds or
more; and if the interpreter ended meanwhile, the question would come to a Python that is no more, which kills the
process.
"""

from __future__ import annotations

import threading
import time

import av.container.core

_current = threading.local()  # of a thread: `is_over`, the event it comes out at


class _Clock:
    """Stands for the module `time` in PyAV."""

    def monotonic(self) -> float:
        """Return what `time.monotonic` does, or what ends every wait."""
        is_over: threading.Event | None = getattr(_current, "is_over", None)
        return time.monotonic() * (1e6 if is_over is not None and is_over.is_set() else 1)


def come_out_when(is_over: threading.Event) -> None:
    """Let the calling thread come out of FFmpeg, with an ExitError, a tenth of a second after the event is set.

    It must have opened the container itself, with a timeout.
    """
    _current.is_over = is_over


av.container.core.time = _Clock()
