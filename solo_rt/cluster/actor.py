"""The worker as Ray runs it: in the process of an actor, on a machine that must have what the run was begun with."""

from __future__ import annotations

import os
import pickle
import queue
import socket
import threading
from contextlib import suppress
from pathlib import Path

from solo_rt import __version__
from solo_rt.cluster.worker import Job, Message, Start, work
from solo_rt.engine import find_model
from solo_rt.errors import SoloRTError, UsageError
from solo_rt.files import file_sha256


class Actor:
    """Opens the model and does jobs on a thread of its own; `hear` and `give` may be called at once, each by one.

    What it is told is plain until it is sure that the other end is of its own version.
    """

    def __init__(self, version: str, model_sha256: str, folder: str, paths: list[str], start: bytes) -> None:
        """Begin, in the current folder of the other end, as far as it is there; `start` is a pickled `Start`.

        `paths` are of a file system that all machines share.
        """
        with suppress(OSError):  # then relative paths are not there either
            os.chdir(folder)
        self._said, self._jobs = queue.SimpleQueue[Message](), queue.SimpleQueue[Job]()
        arguments = (version, model_sha256, paths, start)
        threading.Thread(target=self._run, args=arguments, name="worker", daemon=True).start()

    def hear(self) -> Message:
        """Return the next thing it says, as long as that may take."""
        return self._said.get()

    def give(self, job: Job) -> None:
        """Let it do a job."""
        self._jobs.put(job)

    def _run(self, version: str, model_sha256: str, paths: list[str], start: bytes) -> None:
        try:
            check(version, model_sha256, paths, start)
        except SoloRTError as error:
            self._said.put(UsageError(f"worker on {socket.gethostname()}: {error}"))
        else:
            work(pickle.loads(start), self._jobs, self._said.put)


def check(version: str, model_sha256: str, paths: list[str], start: bytes) -> None:
    """Raise UsageError where this machine has not what the run was begun with."""
    if version != __version__:
        raise UsageError(f"expected solo-rt {version}, got {__version__}; install the same on all machines")
    for path in paths:
        if not Path(path).exists():
            raise UsageError(f"{path}: it is not there; expected a file system that all machines share")
    told: Start = pickle.loads(start)
    model = told.pipeline.model
    assert model is None or isinstance(model, (str, Path))
    file = find_model(model)
    if file_sha256(file) != model_sha256:
        raise UsageError(f"{file}: expected the model of the run, got another; give all machines the same file")
