"""Workers: processes that are started, given jobs, listened to and ended."""

from __future__ import annotations

import logging
import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import wait

from solo_rt.cluster.worker import Job, Message, Outcome, Ready, Said, Start
from solo_rt.errors import EngineError, SoloRTError
from solo_rt.pipeline import Pipeline

# Without the current folder, in which a file could have the name of one of Python's modules.
_START = (
    "import sys; sys.path = [p for p in sys.path if p]; from solo_rt.cluster.worker import main; main(int(sys.argv[1]))"
)
MOST_DEATHS = 3  # of workers one after the other that open the model
log = logging.getLogger("solo_rt")


class Worker:
    """A process that works."""

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
        self.number = self._process.pid
        self.job: Job | None = None
        self.engine = ""  # once the model is open
        self._tell(start)

    def fileno(self) -> int:
        """Return what to wait for."""
        return self._connection.fileno()

    def give(self, job: Job) -> None:
        """Let it do a job."""
        self.job = job
        self._tell(job)

    def receive(self) -> Message:
        """Return what it says. Raises: EOFError, ConnectionError once it has ended."""
        message: Message = self._connection.recv()
        return message

    def end(self) -> str:
        """End it, if it has not ended by itself, and return how it did."""
        self._connection.close()
        self._process.kill()
        code = self._process.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def _tell(self, what: Start | Job) -> None:
        with suppress(ConnectionError):  # it has ended, which whoever listens gets to know
            self._connection.send(what)


class Crew:
    """Up to `size` workers, and new ones in the place of those that ended.

    The first opens the model alone: what it measures to choose an engine by is kept, and all others take the same.
    """

    def __init__(self, pipeline: Pipeline, *, size: int) -> None:
        self._start, self._size = Start(pipeline, log.level), size
        self._workers: list[Worker] = []
        self._deaths = 0  # of workers that opened the model, since one was ready
        self.died = 0  # of them all
        self._has_opened = False

    def fill(self, wanted: int) -> None:
        """Start workers until there are as many as are wanted and allowed."""
        while len(self._workers) < min(wanted, self._size if self._has_opened else 1):
            self._workers.append(Worker(self._start))

    def idle(self) -> list[Worker]:
        """Return those that wait for a job."""
        return [worker for worker in self._workers if worker.engine and worker.job is None]

    def listen(self, seconds: float) -> Iterator[tuple[Worker, Message | str]]:
        """Yield what workers say of their jobs within so many seconds; of one that has ended, how.

        Raises: what keeps a worker from opening the model.
        """
        by_descriptor = {worker.fileno(): worker for worker in self._workers}
        for descriptor in wait(list(by_descriptor), seconds):
            assert isinstance(descriptor, int)
            worker = by_descriptor[descriptor]
            try:
                message = worker.receive()
            except (EOFError, ConnectionError):
                yield worker, self._bury(worker)
                continue
            if isinstance(message, SoloRTError):
                raise message
            if isinstance(message, Ready):
                worker.engine, self._has_opened, self._deaths = message.engine, True, 0
            elif isinstance(message, Said):
                log.log(message.level, "%s%s", f"{worker.job.video}: " if worker.job else "", message.text)
            else:
                yield worker, message
                if isinstance(message, Outcome) and message.is_last:
                    self._workers.remove(worker)
                    worker.end()

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.end()
        self._workers.clear()

    def _bury(self, worker: Worker) -> str:
        """Return how a worker ended. Raises: EngineError where one after the other does before it is ready."""
        self._workers.remove(worker)
        how = worker.end()
        self.died += worker.job is not None or not worker.engine
        self._deaths += not worker.engine
        if self._deaths == MOST_DEATHS:
            raise EngineError(f"{MOST_DEATHS} workers ended while they opened the model, the last one with {how}")
        return how
