"""The training loop."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from solo_rt.errors import SoloRTError, UsageError
from solo_rt.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from solo_rt.train.data.batches import load_parts
from solo_rt.train.data.samples import Batch
from solo_rt.train.data.world_dataset import WorldDataset
from solo_rt.train.losses import solo_losses
from solo_rt.train.models import build_model
from solo_rt.train.models.solov2 import VARIANTS, SoloV2
from solo_rt.train.recipes import Phase, Recipe
from solo_rt.train.targets import assign
from solo_rt.train.task import make_task

SAVE_EVERY = 250  # steps
LOG_EVERY = 20

OnStep = Callable[[int, dict[str, float]], None]


def train(
    recipe: Recipe,
    out: Path,
    *,
    seed: int = 0,
    device: str = "cpu",
    workers: int = 1,
    resume: bool = False,
    command: str = "",
    on_step: OnStep = lambda step, values: None,
) -> Path:
    """Train on the procedural world and return the path of the checkpoint, `out/last.pt`.

    Writes `out/log.jsonl`, one line every few steps. `on_step(step, values)` is called after each step.
    Raises: UsageError when `out` holds a run and `resume` is off, or the other way round;
    SoloRTError when the loss is no longer finite.
    """
    path = out / "last.pt"
    if path.exists() != resume:
        raise UsageError(
            f"{out} already holds a run; choose another folder or --resume"
            if path.exists()
            else f"nothing to resume in {out}"
        )
    out.mkdir(parents=True, exist_ok=True)
    run = _Run(recipe, seed=seed, device=torch.device(device), command=command)
    if resume:
        run.restore(load_checkpoint(path))
    started, already = time.monotonic(), run.hours
    with (out / "log.jsonl").open("a") as file:
        for phase, batch in _batches(recipe, seed=seed, workers=workers, done=run.step):
            values = run.advance(phase, batch)
            run.hours = already + (time.monotonic() - started) / 3600
            on_step(run.step, values)
            if run.step % LOG_EVERY == 0:
                file.write(json.dumps({"step": run.step, **values}) + "\n")
                file.flush()
            if run.step % SAVE_EVERY == 0 or run.step == recipe.steps:
                save_checkpoint(run.checkpoint(), path)
    return path


def _batches(recipe: Recipe, *, seed: int, workers: int, done: int) -> Iterator[tuple[Phase, Any]]:
    """Yield the batches from step `done` on. What a batch holds depends on the seed and its step alone."""
    first = 0
    for number, phase in enumerate(recipe.phases):
        skip = max(0, done - first)
        first += phase.steps
        if skip >= phase.steps:
            continue
        task = make_task(recipe.model, "world:", imgsz=phase.imgsz, seed=seed * 10 + number)
        steps = range(skip, phase.steps)
        parts = load_parts(
            task.data, steps=steps, batch=phase.batch, seed=seed, shuffled=task.shuffled, workers=workers
        )
        for part in parts:
            yield phase, part.batch


class _Run:
    """A model being trained: weights, their average, optimiser and position in the schedule."""

    def __init__(self, recipe: Recipe, *, seed: int, device: torch.device, command: str) -> None:
        torch.manual_seed(seed)
        self.recipe, self.seed, self.device, self.command = recipe, seed, device, command
        self.step, self.hours = 0, 0.0
        self.model = build_model(recipe.model, len(WorldDataset.classes)).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average: dict[str, Tensor] = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.optimiser = torch.optim.AdamW(_parameter_groups(self.model, recipe.weight_decay), lr=recipe.lr)
        self.cuda = device.type == "cuda"
        self.scaler = torch.amp.GradScaler("cuda", enabled=self.cuda)

    def advance(self, phase: Phase, batch: Batch) -> dict[str, float]:
        """Take one optimiser step and return what to log."""
        recipe = self.recipe
        rate = learning_rate(recipe, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        batch = batch.to(self.device)
        config = VARIANTS[recipe.model]
        zoom = phase.imgsz[0] / config.imgsz[0]  # the scale ranges are in pixels of the final input size
        ranges = [(low * zoom, high * zoom) for low, high in config.scale_ranges]
        self.model.train()
        with torch.autocast(self.device.type, dtype=torch.float16, enabled=self.cuda):
            heads = self.model(batch.images)
        losses = solo_losses(heads, batch, assign(batch, grids=config.grids, scale_ranges=ranges))
        values = {name: float(value.detach()) for name, value in losses._asdict().items()}
        if not math.isfinite(values["total"]):
            raise SoloRTError(f"loss is no longer finite at step {self.step}: {values}; lower the learning rate")
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(losses.total).backward()
        self.scaler.unscale_(self.optimiser)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.step += 1
        decay = min(recipe.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1 - decay)
                else:
                    self.average[name].copy_(value)
        return {**values, "lr": rate, "gradient_norm": float(norm)}

    def checkpoint(self) -> Checkpoint:
        """Return everything needed to export or to go on."""
        return Checkpoint(
            model=self.recipe.model,
            classes=WorldDataset.classes,
            weights=self.average,
            step=self.step,
            training={
                "weights": self.model.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "scaler": self.scaler.state_dict(),
            },
            provenance={
                "recipe": json.dumps(asdict(self.recipe)),
                "command": self.command,
                "data": "procedural world of solo-rt, drawn while training",
                "seed": self.seed,
                "training_hours": round(self.hours, 3),
                "hardware": f"{torch.get_num_threads()} CPU threads" if not self.cuda else torch.cuda.get_device_name(),
            },
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from `checkpoint`. Raises: UsageError when it belongs to another model or was stripped."""
        if checkpoint.model != self.recipe.model or not checkpoint.training:
            raise UsageError(f"checkpoint of {checkpoint.model} cannot be resumed as {self.recipe.model}")
        self.model.load_state_dict(checkpoint.training["weights"])
        self.optimiser.load_state_dict(checkpoint.training["optimiser"])
        self.scaler.load_state_dict(checkpoint.training["scaler"])
        self.average = {k: v.to(self.device) for k, v in checkpoint.weights.items()}
        self.step, self.hours = checkpoint.step, float(checkpoint.provenance["training_hours"])


def learning_rate(recipe: Recipe, step: int) -> float:
    """Return the rate of `step`: a linear warm-up, then a cosine down to zero at the last step."""
    if step < recipe.warmup_steps:
        return recipe.lr * (step + 1) / recipe.warmup_steps
    progress = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * progress))


def _parameter_groups(model: SoloV2, weight_decay: float) -> list[dict[str, Any]]:
    """Return the parameters in two groups: biases and normalisation are not decayed."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
