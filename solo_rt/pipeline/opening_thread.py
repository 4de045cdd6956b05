"""What is opened on a thread of its own, so that Ctrl-C is heard meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import ExitStack, closing
from typing import Generic, Protocol, TypeVar

POLL_SECONDS = 0.1  # how often who waits looks at its stop event

T = TypeVar("T", bound="Closable")


class Closable(Protocol):
    """Whatever must be closed once it is open."""

    def close(self) -> None: ...


class Opening(Generic[T]):
    """What is being opened, on a thread of its own so that the calling thread stays able to handle signals.

    Python runs signal handlers on the main thread only, and not while that sits in a native call such as reading a
    file from a server that does not answer. Unless it `may_hang`, a process that ends waits for it: native code that
    goes on while the interpreter takes itself down can crash it.
    """

    def __init__(self, open_it: Callable[[], T], *, may_hang: bool = True) -> None:
        self._future: Future[T] = Future()
        threading.Thread(target=self._open, args=(open_it,), name="solo-rt open", daemon=may_hang).start()

    def wait(self, stop: threading.Event) -> T:
        """Return what is open then. Raises: what opening it raises; KeyboardInterrupt once `stop` is set."""
        while not wait([self._future], POLL_SECONDS).done:
            if stop.is_set():
                raise KeyboardInterrupt
        return self._future.result()

    def close(self) -> None:
        """Close what was opened, now or as soon as it is."""
        self._future.add_done_callback(lambda done: None if done.exception() else done.result().close())

    def _open(self, open_it: Callable[[], T]) -> None:
        try:
            self._future.set_result(open_it())
        except BaseException as error:
            self._future.set_exception(error)


class Openings:
    """What one run opens: `stack` closes it, `stop` ends the waiting, and `on_step` is told what is waited for."""

    def __init__(self, stack: ExitStack, stop: threading.Event, on_step: Callable[[str], None] | None) -> None:
        self._stack, self._stop, self._on_step = stack, stop, on_step

    def begin(self, open_it: Callable[[], T], *, may_hang: bool = True) -> Opening[T]:
        """Begin to open what is closed with the run, or as soon as it is open if the run ends before."""
        return self._stack.enter_context(closing(Opening(open_it, may_hang=may_hang)))

    def finish(self, opening: Opening[T], doing: str) -> T:
        """Return what is open then. Raises: see `Opening.wait`."""
        if self._on_step is not None:
            self._on_step(doing)
        return opening.wait(self._stop)


def open_interruptibly(open_it: Callable[[], T], stop: threading.Event) -> T:
    """Return `open_it()`, unless `stop` is set before: then it is closed again. Raises: see `Opening.wait`."""
    opening = Opening(open_it)
    try:
        return opening.wait(stop)
    except BaseException:
        opening.close()
        raise
