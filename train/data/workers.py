"""The processes that load pictures: how they start, and that they end with the one that started them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.popen_spawn_posix import Popen
from multiprocessing.process import BaseProcess
from pathlib import Path

import cv2
import torch

from solo_rt.errors import UsageError

SAFE_PATH = "PYTHONSAFEPATH"  # since Python 3.11: do not look for modules in the current folder
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # signals that ask a run to end


class _Killed(Popen):
    """A process to which being asked to end is to be ended: workers ignore SIGTERM."""

    def terminate(self) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where torch would take it for an accident
        self.kill()


class _Worker(SpawnProcess):
    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Popen:
        return _Killed(process_obj)


class WorkerContext(SpawnContext):
    """Starts workers by spawning: a fork would copy the locks of the threads that run here.

    However this process ends, they do: multiprocessing terminates them on the way out before it waits for them, and
    torch's look every five seconds whether it is still there.
    """

    Process = _Worker


@contextmanager
def safe_start() -> Iterator[None]:
    """Keep signals, and a `types.py` in the current folder in Python's place, from processes that start meanwhile.

    Raises: UsageError where Python is too old for that and there is such a file.
    """
    if sys.version_info < (3, 11):
        found = [path.name for path in Path().glob("*.py") if path.stem in sys.stdlib_module_names]
        if found:
            raise UsageError(f"{found[0]} here hides a module of Python; change the folder, or give --workers 0")
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    # A process inherits what is blocked: until `begin_worker` a signal would end it, and the run with it.
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
    try:
        resource_tracker.ensure_running()  # it ignores all but SIGHUP, and unblocks here what it ignores
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
        yield
    finally:
        os.environ.pop(SAFE_PATH)
        if before is not None:
            os.environ[SAFE_PATH] = before
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)


def begin_worker(_worker: int) -> None:
    """Use one thread, and leave signals to the training process: it finishes its step and ends its workers itself."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    for number in ENDINGS:
        signal.signal(number, signal.SIG_IGN)
