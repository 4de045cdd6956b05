"""The training loop: from a recipe, a data set and settings to a folder with checkpoints, a log and its curves."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from solo_rt.denormals import flushed_denormals
from solo_rt.errors import DatasetError, SinkError, UsageError
from solo_rt.train.beginning import begin, make_folder, task_of
from solo_rt.train.checkpoint import save_step
from solo_rt.train.curves import draw_curves
from solo_rt.train.data.batches import LoaderLost, Part, fetch, load_parts
from solo_rt.train.distributed import join_job
from solo_rt.train.forecast import forecast
from solo_rt.train.log import RunLog, read_log, require_tensorboard
from solo_rt.train.recipe import Recipe
from solo_rt.train.settings import Settings
from solo_rt.train.state import TrainingState
from solo_rt.train.task import Task

WINDOW = 20  # steps over which speed is averaged
TRIED = 5  # steps after which it is said how long the others will take; the first ones are slower

log = logging.getLogger("solo_rt.train")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, after a step."""

    step: int
    steps: int
    values: dict[str, float]  # losses, rate and norm of the gradient of this step
    pictures_per_second: float  # of the last steps, over all processes
    waiting: float  # share of the time that the last steps waited for data


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run left."""

    checkpoint: Path  # `last.pt` in the folder of the run
    step: int
    stopped: bool  # before its end, on request
    leads: bool = True  # whether this process is the one of the job that talks to the user


def train(
    recipe: Recipe,
    out: Path,
    settings: Settings,
    *,
    stop: threading.Event | None = None,
    on_start: Callable[[str], None] = lambda line: None,
    on_step: Callable[[Progress], None] = lambda progress: None,
) -> Outcome:
    """Train until the recipe ends, `stop` is set or `settings.max_steps` are done, and return what is in `out`.

    Every process of a job started by torchrun calls it alike; the leading one writes checkpoints, `log.jsonl` and
    `curves.png`, and calls `on_start` with lines that say what is done and `on_step` after each step.
    Raises: UsageError for arguments that do not fit each other, the data or the run in `out`; SoloRTError when a loss
    is not finite or a process is lost; SinkError when the last checkpoint cannot be written.
    """
    if settings.tensorboard:
        require_tensorboard()
    stop = stop or threading.Event()
    with flushed_denormals(), join_job(settings.device, timeout=settings.timeout) as job:
        say = on_start if job.leads else lambda line: None
        state, task = begin(recipe, out, settings, job, say)
        recipe = state.recipe
        for line in _introduce(state, task):
            say(line)
        stopped = False
        with ExitStack() as stack:
            if job.leads:
                make_folder(out)
                run_log = stack.enter_context(RunLog(out, step=state.step, tensorboard=settings.tensorboard))
            began, hours, tried = time.monotonic(), state.hours, state.step + TRIED
            end = min(recipe.steps, settings.max_steps or recipe.steps)
            if job.leads and not (out / "best.pt").exists():
                state.best = -math.inf  # whatever another folder holds
            for progress, stopped in _saving_when_lost(_steps(state, task, end, stop), state, out):
                state.hours = hours + (time.monotonic() - began) / 3600
                is_last = state.step == recipe.steps
                final = stopped or state.step == end
                due = state.step % settings.save_every == 0
                measures = settings.val > 0 and not stopped and (due or is_last)
                if job.leads:
                    on_step(progress)
                    if state.step == tried:
                        say(forecast(recipe, state.step, pictures_per_second=progress.pictures_per_second))
                    if not measures and (state.step % settings.log_every == 0 or is_last):
                        run_log.write(state.step, progress.values)  # first: what a resumed run repeats is dropped
                    if due or final:
                        _save(state, out, best=False, final=final)
                measured, best = _measure(state, task, stop) if measures else ({}, False)
                if job.leads:
                    if measures:
                        run_log.write(state.step, {**progress.values, **measured})
                    if best:
                        _save(state, out, best=True, final=False)  # again: it says how good the best is
                    if due or final:
                        _draw(state, task)
                if measures and not measured:
                    stopped = True
                    break
        if job.leads:
            if not (out / "last.pt").exists():  # resumed at its end, from another folder
                _save(state, out, best=False, final=True)
            _draw_curves(out)
    return Outcome(out / "last.pt", state.step, stopped or state.step < recipe.steps, job.leads)


def _introduce(state: TrainingState, task: Task) -> Iterator[str]:
    """Yield lines that say what is trained, and on what."""
    recipe, settings, job = state.recipe, state.settings, state.job
    if task.class_weights:
        yield "class weights: " + ", ".join(f"{name} {value:.3g}" for name, value in task.class_weights.items())
    place = f"{job.size} x {job.device}" + (f" in {settings.amp}" if settings.amp != "off" else "")
    yield f"{recipe.model}, {len(state.classes)} classes, {recipe.steps} steps on {place}"


def _steps(state: TrainingState, task: Task, end: int, stop: threading.Event) -> Iterator[tuple[Progress, bool]]:
    """Take steps up to number `end` and yield, after each, how far we are and whether to stop here."""
    recipe, settings, job = state.recipe, state.settings, state.job
    last = 0
    for number, phase in enumerate(recipe.phases):
        first, last = last, last + phase.steps
        until = min(last, end)
        if state.step >= until:
            continue
        if number:
            task = task_of(recipe, settings, number)
        parts = load_parts(
            task.data,
            steps=range(state.step - first, until - first),
            batch=phase.batch,
            parts=settings.accumulate,
            rank=job.rank,
            size=job.size,
            seed=settings.seed * 10 + number,
            shuffled=task.shuffled,
            tall=task.tall,
            workers=settings.workers,
            pin=job.device.type == "cuda",
            strict=settings.strict,
        )
        data = _Timed(fetch(parts, job.device))
        recent: deque[tuple[float, float]] = deque([(time.perf_counter(), 0.0)], maxlen=WINDOW)
        while state.step < until:
            values, stopped = state.advance(data, task.losses, names=task.data.name, stop=stop.is_set)
            recent.append((time.perf_counter(), data.seconds))
            seconds, waited = (max(b - a, 1e-9) for a, b in zip(recent[0], recent[-1], strict=True))
            speed = (len(recent) - 1) * phase.batch / seconds
            yield Progress(state.step, recipe.steps, values, speed, waited / seconds), stopped
            if stopped:
                return


def _saving_when_lost(
    steps: Iterator[tuple[Progress, bool]], state: TrainingState, out: Path
) -> Iterator[tuple[Progress, bool]]:
    """Yield the steps; write a checkpoint where the processes that load pictures are lost. Raises: LoaderLost."""
    try:
        yield from steps
    except LoaderLost:
        if state.job.leads and state.step:
            _save(state, out, best=False, final=False)
        raise


class _Timed:
    """Passes on what `parts` yields and counts the `seconds` it takes to."""

    def __init__(self, parts: Iterator[Part]) -> None:
        self._parts, self.seconds = parts, 0.0

    def __iter__(self) -> _Timed:
        return self

    def __next__(self) -> Part:
        began = time.perf_counter()
        try:
            return next(self._parts)
        finally:
            self.seconds += time.perf_counter() - began


def _measure(state: TrainingState, task: Task, stop: threading.Event) -> tuple[dict[str, float], bool]:
    """Return the metrics of the averaged weights, none if stopped meanwhile, and whether the first is the best yet."""
    network = state.averaged()
    state.job.share(network)  # statistics of batch normalisation are those of each process's own pictures
    metrics = task.measure(network, state.settings.val, state.job, stop.is_set)
    if not metrics:
        return {}, False
    value = next(iter(metrics.values()))
    best = value > state.best
    state.best = max(state.best, value)
    return metrics, best


def _draw(state: TrainingState, task: Task) -> None:
    """Draw what the averaged weights find in held-out pictures, if that is wanted; a failure ends no run."""
    path = state.settings.preview
    if path is None:
        return
    try:
        task.draw(state.averaged(), path)
    except (UsageError, DatasetError) as error:
        log.warning("no preview: %s", error)


def _draw_curves(out: Path) -> None:
    try:
        draw_curves(read_log(out / "log.jsonl"), out / "curves.png")
    except OSError as error:
        log.warning("no curves: %s", error)


def _save(state: TrainingState, out: Path, *, best: bool, final: bool) -> None:
    """Write a checkpoint; a failure ends only a run that would lose its last one."""
    try:
        save_step(state.snapshot(), out, keep=state.settings.keep, best=best)
    except SinkError as error:
        if final:
            raise
        log.warning("%s; the run goes on with the checkpoint before", error)
