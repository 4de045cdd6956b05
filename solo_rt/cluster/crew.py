"""A crew: workers that are hired, given jobs, listened to and ended, wherever they are."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from solo_rt.cluster.worker import Job, Message, Outcome, Ready, Said, Start
from solo_rt.engine import candidate_of, without_threads
from solo_rt.errors import EngineError, SoloRTError, UsageError
from solo_rt.pipeline import Pipeline

MOST_WORKERS = 1024
MOST_DEATHS = 3  # of workers one after the other that open the model
HIRE_SECONDS = 30.0  # without a new worker, once one could not begin
log = logging.getLogger("solo_rt")


def check_workers(workers: int | None) -> None:
    """Raise UsageError for a number of workers that cannot be; None leaves it open."""
    if workers is not None and not 1 <= workers <= MOST_WORKERS:
        raise UsageError(f"workers must be at least 1, and at most {MOST_WORKERS}, got {workers}")


class Worker(Protocol):
    """Somebody who works, in a process of its own."""

    name: str  # that no other worker of this run or of one before it has, and fit for a file
    job: Job | None
    engine: str  # once the model is open

    def give(self, job: Job) -> None:
        """Let it do a job."""

    def receive(self) -> Message:
        """Return what it says. Raises: EOFError, ConnectionError once it has ended."""

    def end(self) -> str:
        """End it, if it has not ended by itself, and return how it did."""


class Employer(Protocol):
    """Where workers come from."""

    threads: int  # of the engine of each

    @property
    def size(self) -> int:
        """How many workers there are, at most; that may change."""

    def hire(self, start: Start) -> Worker:
        """Return a new worker, who opens the model."""

    def wait(self, workers: Sequence[Worker], seconds: float) -> Sequence[Worker]:
        """Return those of the workers who have something to say, or have ended, once there are some, or time is up."""

    def close(self) -> None:
        """Let go of what workers are hired by."""


class Crew:
    """Workers of an employer, and new ones in the place of those that ended.

    The first opens the model alone and chooses an engine, unless one is named; all others are told to take the same.
    """

    def __init__(self, pipeline: Pipeline, employer: Employer, *, engine: str = "") -> None:
        """`engine`, as `Engine.backend` says it, is what computed the results that there are."""
        self._pipeline = replace(pipeline, threads=employer.threads)
        self._employer = employer
        self._workers: list[Worker] = []
        self._deaths = 0  # of workers that opened the model, since one was ready
        self.died = 0  # of them all
        self._is_open = False  # the model, by one of them
        self._hires_from = 0.0  # by time.monotonic()
        self._is_found = bool(engine)  # not chosen by a worker of this run
        self._take(engine)

    def fill(self, wanted: int) -> None:
        """Hire workers until there are as many as are wanted and allowed."""
        if time.monotonic() < self._hires_from:
            return
        while len(self._workers) < min(wanted, self._employer.size if self._is_open else 1):
            self._workers.append(self._employer.hire(Start(self._pipeline, log.level)))

    def idle(self) -> list[Worker]:
        """Return those that wait for a job."""
        return [worker for worker in self._workers if worker.engine and worker.job is None]

    def listen(self, seconds: float) -> Iterator[tuple[Worker, Message | str]]:
        """Yield what workers say of their jobs within so many seconds; of one that has ended, how.

        Raises: what keeps a worker from opening the model, and EngineError where one has another engine than the first
        or one after the other ends before it is ready, if no other one is.
        """
        for worker in self._employer.wait(self._workers, seconds):
            try:
                message = worker.receive()
            except (EOFError, ConnectionError):
                yield worker, self._bury(worker)
                continue
            if isinstance(message, SoloRTError):
                self._dismiss(worker, message)
            elif isinstance(message, Ready):
                self._welcome(worker, message.engine)
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

    def _take(self, engine: str) -> None:
        """Let all workers from now on take this engine."""
        self._engine = without_threads(engine)
        choice = candidate_of(engine)
        if choice is not None:
            self._pipeline = replace(self._pipeline, backend=choice.backend, precision=choice.precision)

    def _welcome(self, worker: Worker, engine: str) -> None:
        if not self._engine:
            self._take(engine)
        if without_threads(engine) != self._engine:
            error = f"worker {worker.name} computes on {engine}, others on {self._engine}, so that results would differ"
            self._dismiss(worker, EngineError(error))
            return
        worker.engine, self._deaths, self._is_open = engine, 0, True

    def _explained(self, error: SoloRTError) -> SoloRTError:
        """Return an error with what it has to do with results that there are."""
        if self._is_found and not self._is_open:
            return type(error)(f"{error}; what is done was computed on {self._engine}, and the rest has to be as well")
        return error

    def _bury(self, worker: Worker) -> str:
        """Return how a worker ended. Raises: EngineError where one after the other does before it is ready."""
        self._workers.remove(worker)
        how = worker.end()
        self.died += worker.job is not None or not worker.engine
        self._deaths += not worker.engine
        if self._deaths == MOST_DEATHS:
            self._deaths = 0
            self._do_without(
                EngineError(f"{MOST_DEATHS} workers ended while they opened the model, the last one with {how}")
            )
        return how

    def _dismiss(self, worker: Worker, error: SoloRTError) -> None:
        """End a worker that cannot begin, as one on a machine with another version. Raises: as `_do_without`."""
        self._workers.remove(worker)
        worker.end()
        self._do_without(error)

    def _do_without(self, error: SoloRTError) -> None:
        """Go on with those that are ready. Raises: the error, explained, where nobody is."""
        if not any(worker.engine for worker in self._workers):
            raise self._explained(error)
        log.warning("%s; the others go on, and another one is tried in %g s", error, HIRE_SECONDS)
        self._hires_from = time.monotonic() + HIRE_SECONDS
