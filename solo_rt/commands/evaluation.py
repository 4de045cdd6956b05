"""An evaluation as `solo-rt eval` runs it: by itself, or in parts by processes that share the cores."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from tempfile import TemporaryDirectory

from solo_rt.commands.lines import tell
from solo_rt.commands.measured import open_measured
from solo_rt.cpu import allowed_cores
from solo_rt.engine import Precision, candidate_of
from solo_rt.errors import EngineError, SoloRTError
from solo_rt.progress import OnProgress
from solo_rt.train.evaluate.detections import ResizableEngine, Scale
from solo_rt.train.evaluate.instances import evaluate_instances
from solo_rt.train.evaluate.semantic import Counted, evaluate_pixels
from solo_rt.train.evaluate.shards import WHOLE, Findings, Shard, Subject, merge_parts, write_part
from solo_rt.train.evaluate.tallies import merge_tallies, write_tally
from solo_rt.train.evaluate.views import Views

MOST_DEATHS = 2  # of processes that work on one part
# The engine that the model is open on; pictures done and in all; what went wrong; the part is written.
Told = str | tuple[int, int] | SoloRTError | None


@dataclass(frozen=True)
class Evaluation:
    """What is measured, and how."""

    subject: Subject
    semantic: bool
    backend: str
    device: str
    precision: Precision
    trusted: bool
    exact: bool = False
    scale: Scale | None = None
    conf: float = 0.0
    views: Views | None = None  # of a semantic model
    strict: bool = False

    def find(
        self,
        shard: Shard = WHOLE,
        *,
        pictures: Path | None = None,
        on_open: Callable[[str], None] = lambda engine: None,
        on_image: OnProgress = lambda done, total: None,
    ) -> Counted | Findings:
        """Return what the model finds in a part of the pictures, and draw some of a semantic one.

        `on_open` is called with the engine that the model is open on, as `Engine.backend` says it.
        Raises: as `open_measured`; DatasetError.
        """
        path = Path(self.subject.model)
        engine = open_measured(
            path,
            backend=self.backend,
            device=self.device,
            precision=self.precision,
            trusted=self.trusted,
            exact=self.exact,
            logits=self.semantic,
        )
        with closing(engine):
            on_open(engine.backend)
            if self.semantic:
                views = self.views or Views()
                return evaluate_pixels(
                    engine,
                    self.subject,
                    shard=shard,
                    views=views,
                    pictures=pictures,
                    strict=self.strict,
                    on_image=on_image,
                )
            if self.exact and shard.part == 1 and not isinstance(engine, ResizableEngine):
                size = f"{engine.spec.input.height}x{engine.spec.input.width}"
                tell(f"{path} has one input size: pictures are padded to {size}, not less")
            return evaluate_instances(
                engine,
                self.subject,
                shard=shard,
                exact=self.exact,
                scale=self.scale,
                conf=self.conf,
                strict=self.strict,
                on_image=on_image,
            )

    def find_in_parts(self, workers: int, on_image: OnProgress) -> Counted | Findings:
        """Return what so many processes find together, each with a part of the pictures and its own cores.

        The first opens the model alone and chooses an engine; all others are told to take the same. One that dies is
        begun again, once. Raises: as `find`; EngineError for a part of which two died.
        """
        with TemporaryDirectory() as folder, ExitStack() as stack:
            files = [Path(folder) / f"{part}.json" for part in range(1, workers + 1)]
            parts = [
                stack.enter_context(closing(_Part(self, Shard(part, workers), file)))
                for part, file in enumerate(files, start=1)
            ]
            parts[0].start()
            while not all(part.is_done for part in parts):
                listening = {part.connection: part for part in parts if part.is_running}
                for connection in wait(list(listening)):
                    assert isinstance(connection, Connection)
                    listening[connection].hear()
                    on_image(sum(part.done for part in parts), sum(part.total for part in parts))
                if parts[0].engine:
                    for part in parts:
                        part.start(parts[0].engine)
            return merge_tallies(files) if self.semantic else merge_parts(files)


class _Part:
    """A part of an evaluation, and the process that works on it."""

    def __init__(self, evaluation: Evaluation, shard: Shard, file: Path) -> None:
        self._evaluation, self._shard, self._file = evaluation, shard, file
        self.done = self.total = self._deaths = 0  # the first two are pictures
        self.engine = ""  # that the model is open on
        self.is_running = self.is_done = False

    def start(self, engine: str = "") -> None:
        """Start the process, unless it runs or has done all, with an engine as the one that calls itself so."""
        if self.is_running or self.is_done:
            return
        choice = candidate_of(engine)
        if choice is not None:
            self._evaluation = replace(self._evaluation, backend=choice.backend, precision=choice.precision)
        context = get_context("spawn")
        self.connection, theirs = context.Pipe(duplex=False)
        cores = allowed_cores()[self._shard.part - 1 :: self._shard.parts] or allowed_cores()
        told = self._evaluation, self._shard, self._file, cores, theirs
        self._process = context.Process(target=_work, args=told, daemon=True)
        self._process.start()
        theirs.close()
        self.is_running = True

    def hear(self) -> None:
        """Take what the process says. Raises: what it has failed with; EngineError once it has died too often."""
        try:
            told: Told = self.connection.recv()
        except EOFError:
            self.close()
            self._deaths += 1
            if self._deaths == MOST_DEATHS:
                raise EngineError(
                    f"part {self._shard.part} of {self._shard.parts}: two processes that worked on it died"
                ) from None
            self.start(self.engine)
            return
        if isinstance(told, SoloRTError):
            raise told
        if told is None:
            self.is_done = True
            self.close()
        elif isinstance(told, str):
            self.engine, self.done, self.total = told, 0, 0
        else:
            self.done, self.total = told

    def close(self) -> None:
        """End the process, if it runs."""
        if self.is_running:
            self.is_running = False
            self._process.kill()
            self._process.join()
            self._process.close()
            self.connection.close()


def _work(evaluation: Evaluation, shard: Shard, file: Path, cores: Sequence[int], connection: Connection) -> None:
    """Write what is found in a part to a file."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one, and ends it
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    with suppress(BrokenPipeError):  # nobody waits for it any more
        try:
            found = evaluation.find(
                shard,
                on_open=connection.send,
                on_image=lambda done, total: connection.send((done, total)),
            )
            if isinstance(found, Counted):
                write_tally(file, shard, found)
            else:
                write_part(file, shard, found)
        except SoloRTError as error:
            connection.send(error)
        else:
            connection.send(None)
