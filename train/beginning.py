"""How a training run begins: anew, from other weights, or where it was cut off."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from solo_rt.errors import UsageError
from solo_rt.train.checkpoint import Checkpoint, holds_run, load_checkpoint, newest_checkpoint, require_newest
from solo_rt.train.data.batches import share_of
from solo_rt.train.distributed import Job
from solo_rt.train.forecast import suggest_recipe
from solo_rt.train.initial import load_backbone, start_from
from solo_rt.train.models.semantic import SemanticNetwork
from solo_rt.train.recipe import Recipe, count_steps
from solo_rt.train.settings import Settings
from solo_rt.train.state import TrainingState, frozen_tensors
from solo_rt.train.task import Task, make_task

log = logging.getLogger("solo_rt.train")


def begin(
    recipe: Recipe, out: Path, settings: Settings, job: Job, say: Callable[[str], None]
) -> tuple[TrainingState, Task]:
    """Return the state to go on from, a resumed one or a new one with its initial weights, and the first task."""
    checkpoint = _find_checkpoint(out, settings, job)
    begins_with = settings.init or settings.backbone_weights
    if settings.qat and checkpoint is None and settings.init is None:
        raise UsageError("--qat goes on from a network that was trained without it; give its checkpoint as --init")
    task = task_of(recipe, settings, 0)
    recipe = count_steps(recipe, len(task.data))
    if recipe.frozen and checkpoint is None and not begins_with:
        recipe = replace(recipe, frozen=False)
        say("the backbone starts from nothing, so none of it is frozen; give it --backbone-weights")
    if checkpoint is not None:
        was_frozen = '"frozen": true' in checkpoint.training.get("recipe", "")
        recipe = replace(recipe, frozen=recipe.frozen and was_frozen)
    batch = recipe.phases[0].batch
    if recipe.lr_batch is not None and recipe.lr_batch != batch:
        rate = recipe.lr * batch / recipe.lr_batch
        say(f"lr {recipe.lr:g} is for {recipe.lr_batch} pictures a step; scaled to {rate:.3g} for {batch}")
    state = TrainingState(recipe, task, settings, job)
    semantic = isinstance(state.model, SemanticNetwork)
    hint = suggest_recipe(recipe, len(task.data), semantic=semantic)
    if hint and not begins_with:
        say(hint)
    for phase in recipe.phases:
        share_of(phase.batch, parts=settings.accumulate, size=job.size)
        height, width = phase.imgsz
        divisor = state.model.size_divisor
        if height % divisor or width % divisor:
            raise UsageError(f"expected an input size divisible by {divisor}, got {height}x{width}; change --imgsz")
    if settings.val or settings.preview:  # what is amiss with them is said now
        _check_held_out(task, settings, semantic=semantic, say=say)
    if checkpoint is None:
        _take_weights(state, task, settings, say)
    state.begin()
    if checkpoint is not None:
        state.restore(checkpoint)
        say(f"resumed at step {state.step}")
        before = checkpoint.training["processes"]
        if before != job.size:
            say(f"the run had {before} processes and has {job.size} now: the same batches, but rounded differently")
    return state, task


def _check_held_out(task: Task, settings: Settings, *, semantic: bool, say: Callable[[str], None]) -> None:
    """Raise UsageError unless part val can be measured and drawn by what is trained on part train."""
    held_out = task.held_out()
    if not held_out.has_parts:
        say(f"{settings.data} has no parts: --val and --preview look at what is trained on; see docs/data.md")
    strangers = sorted(set(held_out.classes) - set(task.data.classes))
    if strangers and (semantic or len(strangers) == len(set(held_out.classes))):
        raise UsageError(
            f"{settings.data}: part val has classes that part train has not: {', '.join(strangers[:5])}; give both "
            "parts the same ones, or leave --val and --preview out"
        )


def _take_weights(state: TrainingState, task: Task, settings: Settings, say: Callable[[str], None]) -> None:
    """Give a new network the weights that it is to start from, if there are any, and say what fitted."""
    recipe = state.recipe
    if settings.init:
        fit = start_from(settings.init, state.model, name=recipe.model, classes=task.data.classes)
        say(f"{settings.init}: {fit.describe()}")
        lacking = frozen_tensors(state.model).intersection(fit.missing + fit.misshaped)
        if recipe.frozen and lacking:
            state.recipe = replace(recipe, frozen=False)
            say(f"{len(lacking)} tensors that the recipe freezes did not come along, so none of it is frozen")
    if settings.backbone_weights:
        say(f"{settings.backbone_weights}: {load_backbone(settings.backbone_weights, state.model).describe()}")


def make_folder(out: Path) -> None:
    """Make the folder of a run. Raises: UsageError."""
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
        checkpoint = load_checkpoint(Path(settings.resume))
        require_newest(checkpoint, out)
        return checkpoint
    found = newest_checkpoint(out, lambda why: log.warning("passed over: %s", why)) if job.leads else None
    path = job.agree(str(found or ""))
    if not path and holds_run(out):
        raise UsageError(f"{out} holds a run, but no whole checkpoint; move it away, or choose another --out")
    return load_checkpoint(Path(path)) if path else None


def task_of(recipe: Recipe, settings: Settings, number: int) -> Task:
    """Return the task of phase `number`."""
    return make_task(
        recipe,
        settings.data,
        imgsz=recipe.phases[number].imgsz,
        augment=settings.augment,
        seed=settings.seed * 10 + number,
        strict=settings.strict,
    )
