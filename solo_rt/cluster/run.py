"""A run over an archive: what is not done yet is given to workers, and noted once it is."""

from __future__ import annotations

import errno
import logging
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from secrets import token_hex

from solo_rt.cluster.actors import Actors
from solo_rt.cluster.archive import Archive
from solo_rt.cluster.crew import Crew, Employer, Worker
from solo_rt.cluster.manifest import Entry, Manifest
from solo_rt.cluster.outputs import RANGES, places_of
from solo_rt.cluster.processes import Processes
from solo_rt.cluster.report import ArchiveProgress, ArchiveReport
from solo_rt.cluster.results import entry_of, forget_ranges, publish, put_together
from solo_rt.cluster.units import Queue, Unit
from solo_rt.cluster.videos import Video
from solo_rt.cluster.worker import Frames, Job, Outcome
from solo_rt.errors import UsageError
from solo_rt.source.ranges import WHOLE

PARTS = ".parts"  # folder of what is being written, inside that of the results
MOST_TRIES = 2  # of a video whose worker dies
POLL_SECONDS = 0.1
# What is wrong with a name, or is in its way, and with no other.
OF_ONE_NAME = {
    *(errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL),
    *(errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY),
}

log = logging.getLogger(__name__)


def process_archive(
    archive: Archive,
    *,
    stop: threading.Event | None = None,
    on_progress: Callable[[ArchiveProgress], None] = lambda _: None,
) -> ArchiveReport:
    """Do what is not done yet of an archive and return what became of it.

    Videos that have changed since, and those that failed, are done again. Setting `stop` ends the run within a moment;
    like one that is killed it can be taken up by another. `on_progress` is called ten times a second.
    Raises: UsageError, SourceError, SpecError, EngineError for what is true of all videos; UsageError if another run is
    at it, or the folder holds results of another model, other options or another version; OSError where results cannot
    be written.
    """
    videos, settings = archive.videos(), archive.settings()
    # Of this run alone: workers of one that was cut off may still write. A relative path could begin like `coco:`.
    parts = archive.folder.absolute() / PARTS / token_hex(4)
    with ExitStack() as stack:
        employer = stack.enter_context(closing(_employer(archive, str(settings["model"]), [parts, videos[0].path])))
        try:
            archive.folder.mkdir(parents=True, exist_ok=True)
            manifest = stack.enter_context(closing(Manifest(archive.folder, settings)))
        except OSError as error:
            raise UsageError(f"{archive.folder}: {error.strerror}; choose another folder for the results") from error
        stack.callback(shutil.rmtree, parts.parent, ignore_errors=True)
        return _Run(archive, videos, manifest, parts).finish(employer, stop or threading.Event(), on_progress)


def _employer(archive: Archive, model_sha256: str, paths: list[Path]) -> Employer:
    if archive.cluster is None:
        return Processes(size=archive.size, threads=archive.threads)
    return Actors(
        archive.cluster,
        workers=archive.workers,
        threads=archive.pipeline.threads,
        device=archive.pipeline.device,
        model_sha256=model_sha256,
        paths=paths,
    )


def _unnamed(error: OSError) -> Outcome:
    """Return what becomes of a video whose result cannot have its name. Raises: the error, if it is another one."""
    if error.errno not in OF_ONE_NAME:
        raise error
    return Outcome(error=f"{error.filename2 or error.filename}: {error.strerror}; its result cannot be called so")


class _Run:
    """A run that has the manifest."""

    def __init__(self, archive: Archive, videos: list[Video], manifest: Manifest, parts: Path) -> None:
        self._archive, self._videos, self._manifest, self._parts = archive, videos, manifest, parts
        todo = [video for video in videos if not manifest.has(video)]
        self._before = len(videos) - len(todo)
        self._queue = Queue(todo, manifest, archive.cut)
        self._under_way: dict[Worker, Unit] = {}
        self._frames: dict[Worker, int] = {}  # of the units under way
        self._frames_done = 0
        self._deaths: Counter[Unit] = Counter()
        self._noted: list[Entry] = []  # of videos

    def finish(
        self, employer: Employer, stop: threading.Event, on_progress: Callable[[ArchiveProgress], None]
    ) -> ArchiveReport:
        """Run to the end and return what happened."""
        started = time.perf_counter()
        shutil.rmtree(self._parts.parent, ignore_errors=True)  # of a run that was killed
        self._parts.mkdir(parents=True)
        with closing(Crew(self._archive.pipeline, employer, engine=self._manifest.engine)) as crew:
            while (self._queue or self._under_way) and not stop.is_set():
                self._queue.prepare(employer.size)
                crew.fill(len(self._queue) + len(self._under_way))
                for worker in crew.idle():
                    if self._queue:
                        self._give(worker, self._queue.take())
                for worker, message in crew.listen(POLL_SECONDS):
                    if isinstance(message, Frames):
                        self._frames[worker] = message.count
                    elif isinstance(message, Outcome):
                        self._note(worker, message)
                    elif isinstance(message, str) and worker in self._under_way:
                        self._try_again(worker, message)
                frames = self._frames_done + sum(self._frames.values())
                on_progress(ArchiveProgress(self._before + len(self._noted), len(self._videos), frames))
        if not self._queue and not self._under_way:
            shutil.rmtree(self._archive.folder / RANGES, ignore_errors=True)
        return self._report(crew.died, employer.size, time.perf_counter() - started)

    def _give(self, worker: Worker, unit: Unit) -> None:
        self._under_way[worker] = unit
        places = places_of(self._archive.outputs, unit.video, unit.range, parts=self._parts, worker=worker.name)
        worker.give(Job(unit.video.name, unit.video.path, places, unit.range))

    def _try_again(self, worker: Worker, how: str) -> None:
        """Let somebody else do what a worker died of, unless that has happened before."""
        unit = self._under_way[worker]
        self._deaths[unit] += 1
        if self._deaths[unit] == MOST_TRIES:
            self._note(worker, Outcome(error=f"{MOST_TRIES} workers ended while they worked on it, with {how}"))
        else:
            self._frames.pop(worker, None)
            self._queue.put_back(self._under_way.pop(worker))

    def _note(self, worker: Worker, outcome: Outcome) -> None:
        """Give results their names, then say in the manifest that they are there. Raises: OSError."""
        unit, job = self._under_way.pop(worker), worker.job
        assert job is not None
        worker.job = None
        self._frames.pop(worker, None)
        self._frames_done += outcome.frames
        if not self._queue.is_wanted(unit):
            return
        try:
            publish(job, outcome, self._archive.folder)
        except OSError as error:
            outcome = _unnamed(error)
        if unit.range != WHOLE and outcome.error is not None:
            log.info("%s: a range of it failed, so that it is done whole: %s", unit.video.name, outcome.error)
            self._do_whole(unit.video)
            return
        entry = entry_of(unit.video, unit.range, outcome, worker.engine)
        self._manifest.add(entry)
        if unit.range == WHOLE:
            self._noted.append(entry)
        else:
            self._complete(unit.video)

    def _complete(self, video: Video) -> None:
        """Put the ranges of a video together, if they are all there."""
        entries = self._queue.complete(video)
        if entries is None:
            return
        one = self._archive
        tracked = one.pipeline.options.track
        try:
            entry = put_together(video, entries, one.outputs, folder=one.folder, parts=self._parts, tracked=tracked)
        except ValueError as error:
            log.info("%s: its ranges do not go together, so that it is done whole: %s", video.name, error)
            self._do_whole(video)
            return
        except OSError as error:
            entry = entry_of(video, WHOLE, _unnamed(error), entries[0].engine)
        self._manifest.add(entry)
        self._noted.append(entry)
        forget_ranges(video, one.outputs, one.folder)

    def _do_whole(self, video: Video) -> None:
        self._queue.drop(video)
        self._queue.put_back(Unit(video))

    def _report(self, died: int, workers: int, seconds: float) -> ArchiveReport:
        entries = [self._manifest.entries[v.name] for v in self._videos if v.name in self._manifest.entries]
        counted = [entry.instances for entry in self._noted if entry.instances is not None]
        done = [entry for entry in self._noted if entry.error is None]
        return ArchiveReport(
            videos=len(self._videos),
            before=self._before,
            done=len(done),
            failed={entry.video: entry.error for entry in self._noted if entry.error is not None},
            damaged={entry.video: entry.damage for entry in entries if entry.damage is not None},
            left=len(self._videos) - self._before - len(self._noted),
            frames=sum(entry.frames for entry in done),
            instances=sum(counted) if counted else None,
            died=died,
            workers=workers,
            seconds=seconds,
        )
