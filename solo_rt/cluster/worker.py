"""The process that runs the pipeline on one video after another, for `crew.py`.

It is told a `Start`, then a `Job` at a time. It says `Ready`, or what kept the model from being opened; then of every
job `Frames` now and then, `Said` for what is logged, and its `Outcome`. As a process of this machine, whose `main` is
here, it is told and says everything through a connection, pickled. When the other end goes, however that comes, the
process ends at once: what it was writing has no name yet.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

from solo_rt.cluster.outputs import Place, Written
from solo_rt.errors import EngineError, SinkError, SoloRTError, SourceError, UsageError
from solo_rt.files import file_sha256, sync
from solo_rt.pipeline import Hooks, Pipeline
from solo_rt.pipeline.report import Progress, RunReport
from solo_rt.pipeline.stages import check_options
from solo_rt.source import MAX_PIXELS
from solo_rt.source.ranges import WHOLE, Range
from solo_rt.source.video import VideoSource

OVERLAP_SECONDS = 1.0  # of a range with the one before it, where tracks are followed
FRAMES_SECONDS = 0.5  # between two words about how far a video is


@dataclass(frozen=True, slots=True)
class Start:
    """What holds for all videos."""

    pipeline: Pipeline  # without a source and sinks
    log_level: int


@dataclass(frozen=True, slots=True)
class Job:
    """A video, or a range of it, to run the pipeline on."""

    video: str  # its name
    path: Path
    places: tuple[Place, ...]
    range: Range = WHOLE


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is open."""

    engine: str


@dataclass(frozen=True, slots=True)
class Frames:
    """How many frames of the video are done."""

    count: int


@dataclass(frozen=True, slots=True)
class Said:
    """Something for the log."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job; `error` is why there are no results, `written` are the files of the others."""

    written: tuple[Written, ...] = ()
    frames: int = 0
    read: int = 0  # frames of the source, also those before the range, which are `lead`
    lead: int = 0
    instances: int | None = None
    damage: str | None = None
    error: str | None = None
    is_last: bool = False  # the worker ends, because its engine may be broken


Message = Ready | Frames | Said | Outcome | SoloRTError  # what a worker says


Say = Callable[[Message], None]  # for any thread


class _Log(logging.Handler):
    """Says what is logged."""

    def __init__(self, say: Say) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(Said(record.levelno, record.getMessage()))


def main(descriptor: int) -> None:
    """Work until the connection ends, or the engine may be broken; then end the process."""
    connection = Connection(descriptor)
    sending, jobs = threading.Lock(), queue.SimpleQueue[Job]()
    start: Start = connection.recv()

    def say(message: Message) -> None:
        with sending:
            connection.send(message)

    def listen() -> None:
        try:
            while True:
                jobs.put(connection.recv())
        finally:
            os._exit(0)

    threading.Thread(target=listen, name="listener", daemon=True).start()
    work(start, jobs, say)
    os._exit(0)  # whatever threads there are


def work(start: Start, jobs: queue.SimpleQueue[Job], say: Say) -> None:
    """Do jobs for ever, or until the model cannot be opened or an engine has failed; all is said."""
    logging.getLogger().addHandler(_Log(say))
    logging.getLogger("solo_rt").setLevel(start.log_level)
    try:
        _work(start.pipeline, jobs, say)
    except SoloRTError as error:
        say(error)
    except Exception as error:
        say(EngineError(f"{type(error).__name__}: {error} (a bug)"))


def _work(pipeline: Pipeline, jobs: queue.SimpleQueue[Job], say: Say) -> None:
    """Do jobs for ever, or until an engine has failed, which may do so again. Raises: what the model cannot be."""
    with closing(pipeline.open_model(live=False)) as engine:
        check_options(engine.spec, pipeline.options)
        say(Ready(engine.backend))
        while True:
            job = jobs.get()
            try:
                outcome = _run(replace(pipeline, model=engine), job, say)
            except (SourceError, SinkError, UsageError) as error:
                outcome = Outcome(error=str(error))
            except Exception as error:
                is_ours = isinstance(error, SoloRTError)
                text = str(error) if is_ours else f"{type(error).__name__}: {error} (a bug)"
                say(Outcome(error=text, is_last=True))
                return
            say(outcome)


def _run(pipeline: Pipeline, job: Job, say: Say) -> Outcome:
    """Return what became of a video, whose results are on the disk under the names of parts.

    Raises: as `Pipeline.run`; SinkError where results lack something.
    """
    told_at = time.monotonic()

    def tell(progress: Progress) -> None:
        nonlocal told_at
        if time.monotonic() >= told_at + FRAMES_SECONDS:
            told_at = time.monotonic()
            say(Frames(progress.processed))

    for place in job.places:
        place.part_path.unlink(missing_ok=True)
    sinks = [place.part for place in job.places]
    one = replace(pipeline, sinks=sinks, hooks=Hooks(on_progress=tell), name=job.video)
    with ExitStack() as stack:
        if job.range == WHOLE:
            report, lead = replace(one, source=str(job.path)).run(), 0
        else:
            source = stack.enter_context(closing(_open_range(job, pipeline)))
            report, lead = replace(one, source=source).run(), source.lead
    if report.failures:
        raise SinkError("; ".join(failure.reason for failure in report.failures))
    return Outcome(
        written=tuple(seal(place) for place in job.places if place.part_path.exists()),
        frames=report.processed,
        read=report.read,
        lead=lead,
        instances=report.instances,
        damage=_damage(report),
    )


def _open_range(job: Job, pipeline: Pipeline) -> VideoSource:
    lead = OVERLAP_SECONDS if pipeline.options.track else 0.0
    return VideoSource(str(job.path), max_pixels=MAX_PIXELS, threads=0, part=job.range, lead_seconds=lead)


def seal(place: Place) -> Written:
    """Return what is known of a file of results, which is on the disk then."""
    path = place.part_path
    sync(path)
    return Written(place.path, path.stat().st_size, file_sha256(path))


def _damage(report: RunReport) -> str | None:
    failed = f"{report.failed} frames failed and were left out" if report.failed else ""
    return "; ".join(filter(None, [report.damage, failed])) or None
