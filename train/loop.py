"""The training loop: from a recipe, a data set and settings to a folder with checkpoints, a log and its curves."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from solo_rt.errors import DatasetError, SinkError, UsageError
from solo_rt.train.checkpoint import Checkpoint, holds_run, load_checkpoint, newest_checkpoint, save_step
from solo_rt.train.curves import draw_curves
from solo_rt.train.data.batches import Part, fetch, load_parts, share_of
from solo_rt.train.distributed import Job, join_job
from solo_rt.train.forecast import forecast, suggest_recipe
from solo_rt.train.initial import load_backbone, start_from
from solo_rt.train.log import RunLog, read_log, require_tensorboard
from solo_rt.train.models.semantic import SemanticNetwork
from solo_rt.train.recipes import Recipe, count_steps
from solo_rt.train.settings import Settings
from solo_rt.train.state import TrainingState
from solo_rt.train.task import Task, make_task

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
    with join_job(settings.device, timeout=settings.timeout) as job:
        say = on_start if job.leads else lambda line: None
        state, task = _begin(recipe, out, settings, job, say)
        recipe = state.recipe
        if task.class_weights:
            say("class weights: " + ", ".join(f"{name} {value:.3g}" for name, value in task.class_weights.items()))
        place = f"{job.size} x {job.device}" + (f" in {settings.amp}" if settings.amp != "off" else "")
        say(f"{recipe.model}, {len(state.classes)} classes, {recipe.steps} steps on {place}")
        stopped = False
        with ExitStack() as stack:
            if job.leads:
                _make_folder(out)
                run_log = stack.enter_context(RunLog(out, step=state.step, tensorboard=settings.tensorboard))
            began, hours, tried = time.monotonic(), state.hours, state.step + TRIED
            end = min(recipe.steps, settings.max_steps or recipe.steps)
            for progress, stopped in _steps(state, task, end, stop):
                state.hours = hours + (time.monotonic() - began) / 3600
                final = stopped or state.step == end
                due = state.step % settings.save_every == 0
                measured, best = _measure(state, task) if due or state.step == recipe.steps else ({}, False)
                if not job.leads:
                    continue
                on_step(progress)
                if state.step == tried:
                    say(forecast(recipe, state.step, pictures_per_second=progress.pictures_per_second))
                if measured or state.step % settings.log_every == 0 or state.step == recipe.steps:
                    run_log.write(state.step, {**progress.values, **measured})
                if due or final:
                    _save(state, out, best=best, final=final)
                    _draw(state, task)
        if job.leads:
            draw_curves(read_log(out / "log.jsonl"), out / "curves.png")
    return Outcome(out / "last.pt", state.step, stopped or state.step < recipe.steps, job.leads)


def _begin(
    recipe: Recipe, out: Path, settings: Settings, job: Job, say: Callable[[str], None]
) -> tuple[TrainingState, Task]:
    """Return the state to go on from, a resumed one or a new one with its initial weights, and the first task."""
    checkpoint = _find_checkpoint(out, settings, job)
    if settings.qat and checkpoint is None and settings.init is None:
        raise UsageError("--qat goes on from a network that was trained without it; give its checkpoint as --init")
    task = _make_task(recipe, settings, 0)
    recipe = count_steps(recipe, len(task.data))
    was_frozen = checkpoint is not None and '"frozen": true' in checkpoint.training.get("recipe", "")
    if recipe.frozen and not (settings.init or settings.backbone_weights or was_frozen):
        recipe = replace(recipe, frozen=False)
        say("the backbone starts from nothing, so none of it is frozen; give it --backbone-weights")
    batch = recipe.phases[0].batch
    if recipe.lr_batch is not None and recipe.lr_batch != batch:
        rate = recipe.lr * batch / recipe.lr_batch
        say(f"lr {recipe.lr:g} is for {recipe.lr_batch} pictures a step; scaled to {rate:.3g} for {batch}")
    state = TrainingState(recipe, task, settings, job)
    semantic = isinstance(state.model, SemanticNetwork)
    hint = suggest_recipe(recipe, len(task.data), semantic=semantic)
    if hint and not (settings.init or settings.backbone_weights):
        say(hint)
    divisor = state.model.size_divisor
    for phase in recipe.phases:
        share_of(phase.batch, parts=settings.accumulate, size=job.size)
        if any(side % divisor for side in phase.imgsz):
            height, width = phase.imgsz
            raise UsageError(f"expected an input size divisible by {divisor}, got {height}x{width}; change --imgsz")
    if settings.val or settings.preview:
        task.held_out()  # if it is missing, now is the time to say so
    if checkpoint is None and settings.init:
        fit = start_from(settings.init, state.model, name=recipe.model, classes=task.data.classes)
        say(f"{settings.init}: {fit.describe()}")
    if checkpoint is None and settings.backbone_weights:
        say(f"{settings.backbone_weights}: {load_backbone(settings.backbone_weights, state.model).describe()}")
    state.begin()
    if checkpoint is not None:
        state.restore(checkpoint)
        say(f"resumed at step {state.step}")
        before = checkpoint.training["processes"]
        if before != job.size:
            say(f"the run had {before} processes and has {job.size} now: the same batches, but rounded differently")
    return state, task


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make {out}: {error.strerror}; choose another --out") from error


def _find_checkpoint(out: Path, settings: Settings, job: Job) -> Checkpoint | None:
    """Return the checkpoint to resume, the same in every process, or None to start anew."""
    if settings.resume == "off":
        if holds_run(out):
            raise UsageError(f"{out} already holds a run; choose another folder or --resume auto")
        return None
    if settings.resume != "auto":
        return load_checkpoint(Path(settings.resume))
    found = newest_checkpoint(out, lambda why: log.warning("passed over: %s", why)) if job.leads else None
    path = job.agree(str(found or ""))
    if not path and job.leads and holds_run(out):
        log.warning("%s holds no whole checkpoint; starting anew", out)
    return load_checkpoint(Path(path)) if path else None


def _make_task(recipe: Recipe, settings: Settings, number: int) -> Task:
    """Return the task of phase `number`."""
    return make_task(
        recipe,
        settings.data,
        imgsz=recipe.phases[number].imgsz,
        augment=settings.augment,
        seed=settings.seed * 10 + number,
        strict=settings.strict,
    )


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
            task = _make_task(recipe, settings, number)
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


def _measure(state: TrainingState, task: Task) -> tuple[dict[str, float], bool]:
    """Return the metrics of the averaged weights, if any are wanted, and whether the first is the best so far."""
    if not state.settings.val:
        return {}, False
    metrics = task.measure(state.averaged(), state.settings.val, state.job)
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


def _save(state: TrainingState, out: Path, *, best: bool, final: bool) -> None:
    """Write a checkpoint; a failure ends only a run that would lose its last one."""
    try:
        save_step(state.snapshot(), out, keep=state.settings.keep, best=best)
    except SinkError as error:
        if final:
            raise
        log.warning("%s; the run goes on with the checkpoint before", error)
