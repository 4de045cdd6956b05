"""Workers that are processes of this machine."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import wait

from solo_rt.cluster.crew import Worker
from solo_rt.cluster.worker import Job, Message, Start

# Without the current folder, in which a file could have the name of one of Python's modules.
_START = (
    "import sys; sys.path = [p for p in sys.path if p]; from solo_rt.cluster.worker import main; main(int(sys.argv[1]))"
)


class Process:
    """A process that works. See `Worker`."""

    def __init__(self, start: Start) -> None:
        self._connection, theirs = multiprocessing.Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # what is logged comes to us
                start_new_session=True,  # Ctrl-C is for us, who end it
            )
        self.name = str(self._process.pid)
        self.job: Job | None = None
        self.engine = ""
        self._tell(start)

    def fileno(self) -> int:
        """Return what to wait for."""
        return self._connection.fileno()

    def give(self, job: Job) -> None:
        self.job = job
        self._tell(job)

    def receive(self) -> Message:
        try:
            message: Message = self._connection.recv()
        except OSError as error:  # also of one that was killed within a word
            raise EOFError from error
        return message

    def end(self) -> str:
        self._connection.close()
        self._process.kill()
        code = self._process.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def _tell(self, what: Start | Job) -> None:
        with suppress(ConnectionError):  # it has ended, which whoever listens gets to know
            self._connection.send(what)


class Processes:
    """Hires processes. See `Employer`."""

    def __init__(self, *, size: int, threads: int) -> None:
        self.size, self.threads = size, threads

    def hire(self, start: Start) -> Process:
        return Process(start)

    def wait(self, workers: Sequence[Worker], seconds: float) -> list[Worker]:
        by_descriptor = {worker.fileno(): worker for worker in workers if isinstance(worker, Process)}
        return [by_descriptor[ready] for ready in wait(list(by_descriptor), seconds) if isinstance(ready, int)]

    def close(self) -> None:
        pass
