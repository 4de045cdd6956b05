"""A network being trained: its weights, their average, the optimiser, and how a step changes them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import MISSING, asdict, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from solo_rt.errors import SoloRTError, UsageError
from solo_rt.train.checkpoint import Checkpoint
from solo_rt.train.data.batches import Part
from solo_rt.train.distributed import Job
from solo_rt.train.models import build_model
from solo_rt.train.models.network import Network
from solo_rt.train.models.semantic import SemanticNetwork
from solo_rt.train.optimiser import learning_rate, make_optimiser, set_rate
from solo_rt.train.recipe import Recipe
from solo_rt.train.settings import Settings
from solo_rt.train.task import LossFunction, Task

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}
FROZEN = ("conv1", "bn1", "layer1")  # stem and first stage of a backbone

Lap = Callable[[str], None]  # hears the name of each stretch of a step when it ends, for benchmarks
Names = Callable[[int], str]  # of a picture, by its index


def seed_step(seed: int, step: int, rank: int) -> None:
    """Make all chance of PyTorch in `step` depend on the arguments alone, so that no state need be stored for it."""
    torch.manual_seed(int(np.random.SeedSequence([seed, 7, step, rank]).generate_state(1)[0]))


class TrainingState:
    """What a run changes from step to step. Every process of a job has one.

    They stay equal, but for the statistics of batch normalisation, of which the leading process's count.
    """

    def __init__(self, recipe: Recipe, task: Task, settings: Settings, job: Job) -> None:
        self.recipe, self.settings, self.job = recipe, settings, job
        self.classes, self.palette, self.unpainted = task.data.classes, task.palette, task.unpainted
        self.step, self.hours, self.best = 0, 0.0, -math.inf
        self._measured: Network | None = None
        torch.manual_seed(settings.seed)
        self.model = build_model(recipe.model, len(self.classes), grids=recipe.grids)
        if isinstance(self.model, SemanticNetwork):
            self.model.label_step = recipe.label_step

    def begin(self) -> None:
        """Move the model, with whatever weights it has by now, to the device and make its optimiser."""
        recipe, settings, job = self.recipe, self.settings, self.job
        if recipe.frozen:
            _freeze(self.model)
        if settings.sync_bn and job.size > 1:
            self.model = nn.SyncBatchNorm.convert_sync_batchnorm(self.model)
        if settings.qat:
            from solo_rt.train.quantised import round_convolutions  # brings the quantiser along

            round_convolutions(self.model, recipe.phases[0].imgsz)
        self.model.to(
            job.device, memory_format=torch.channels_last if settings.channels_last else torch.preserve_format
        )  # type: ignore[call-overload]
        self.set_modes()
        if settings.compile:
            self.model.compile()
        # DDP averages gradients over processes and, unlike the default, is told so when a parameter has none: a bug.
        self.network: nn.Module = self.model
        if job.size > 1:
            self.network = DistributedDataParallel(self.model, gradient_as_bucket_view=True)
        self.optimiser = make_optimiser(self.model, recipe)
        self.scaler = torch.amp.GradScaler("cuda", enabled=settings.amp == "fp16")
        self.trainable = [p for p in self.model.parameters() if p.requires_grad]
        self._live = self.model.state_dict()  # shares its memory with the model
        self.average = {k: v.detach().clone() for k, v in self._live.items()} if recipe.ema else self._live

    def set_modes(self) -> None:
        """Put the model into training mode; a frozen recipe, and rounding, keep batch normalisation as it came."""
        self.model.train()
        if self.recipe.frozen or self.settings.qat:
            for module in self.model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def advance(
        self,
        parts: Iterable[Part],
        losses: LossFunction,
        *,
        names: Names = str,
        stop: Callable[[], bool] = lambda: False,
        lap: Lap = lambda stretch: None,
    ) -> tuple[dict[str, float], bool]:
        """Take one optimiser step on a batch; return what to log and whether `stop()` of any process asks to end here.

        Of `parts`, on the device, as many are taken as the settings say. The values are means over parts and processes.
        Raises: SoloRTError, leaving the weights as they were, when a loss or the gradient is not finite; UsageError
        when the network needs more pictures at a time.
        """
        settings, job = self.settings, self.job
        seed_step(settings.seed, self.step, job.rank)
        rate = learning_rate(self.recipe, self.step)
        set_rate(self.optimiser, rate)
        count = settings.accumulate
        sums: dict[str, Tensor] = {}
        seen: list[int] = []
        for number, part in enumerate(parts, 1):
            lap("data")
            seen += part.indices
            batch = part.batch
            images = batch.images if settings.channels_last else batch.images.contiguous()
            last = number == count
            hold = self.network.no_sync() if job.size > 1 and not last else nullcontext()  # type: ignore[operator]
            with hold:
                with torch.autocast(job.device.type, dtype=PRECISIONS.get(settings.amp), enabled=settings.amp != "off"):
                    outputs = self._forward(images)
                lap("forward")
                found = losses(self.model, outputs, batch, job)
                lap("loss")
                # Not before the forward pass: on a CPU, memory freed there is paged in again, which is 8 % of a step.
                if number == 1:
                    self.optimiser.zero_grad(set_to_none=True)
                self.scaler.scale(found["total"] / count).backward()
                lap("backward")
            for name, value in found.items():
                sums[name] = value.detach() / count + sums.get(name, 0.0)
            if last:
                break  # before more data is asked for
        self.scaler.unscale_(self.optimiser)
        norm = nn.utils.clip_grad_norm_(self.trainable, self.recipe.clip or math.inf)
        sums |= {"gradient_norm": norm, "stop": norm.new_tensor(float(stop()))}
        own = torch.stack([value.float() for value in sums.values()])
        # The only time a step waits for the GPU; before the weights change, so that they stay finite.
        values = dict(zip(sums, job.mean(own).tolist(), strict=True))
        stopping = values.pop("stop") > 0
        self._require_finite(values, dict(zip(sums, own.tolist(), strict=True)), seen, names)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.step += 1
        self._follow()
        lap("step")
        return {**values, "lr": rate}, stopping

    def _forward(self, images: Tensor) -> Any:
        try:
            return self.network(images)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise UsageError(
                f"{self.recipe.model} normalises what it sees of whole pictures over a batch: expected at least 2 at a "
                "time in each process, got 1; give a larger --batch or a smaller --accumulate"
            ) from error

    def averaged(self) -> Network:
        """Return a network in evaluation mode with the averaged weights of now."""
        if self._measured is None:
            fresh = build_model(self.recipe.model, len(self.classes), grids=self.recipe.grids)
            self._measured = fresh.to(self.job.device).eval()
        self._measured.load_state_dict(self.average)
        return self._measured

    def _follow(self) -> None:
        """Move the average a little towards the weights, faster in the beginning."""
        if self.average is self._live:
            return
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        floats = [key for key, value in self._live.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.average[k] for k in floats], [self._live[k] for k in floats], 1 - decay)
        for key in self._live.keys() - set(floats):
            self.average[key].copy_(self._live[key])

    def _require_finite(self, values: dict[str, float], own: dict[str, float], seen: list[int], names: Names) -> None:
        """Raise SoloRTError, with what a user needs to find out why, if `values`, over all processes, are not finite.

        `own` are those of this process. A gradient may overflow where the loss is scaled: then the step is skipped.
        """
        step = self.step + 1
        if not math.isfinite(values["total"]):
            text, remedy = f"loss is no longer finite at step {step}", "lower --lr"
            if self.job.size > 1 and math.isfinite(own["total"]):
                raise SoloRTError(f"{text} in another process")
        elif not math.isfinite(values["gradient_norm"]) and not self.scaler.is_enabled():
            text, remedy = f"the loss is finite but not its gradient at step {step}", "lower --lr, try --amp off"
        else:
            return
        pictures = ", ".join(f"{names(index)} ({index})" for index in seen)
        parts = ", ".join(f"{name} {value:.4g}" for name, value in own.items() if name != "stop")
        raise SoloRTError(f"{text}: {parts}; pictures: {pictures}; {remedy} or look at these pictures")

    def snapshot(self) -> Checkpoint:
        """Return everything needed to export or to go on."""
        cuda = self.job.device.type == "cuda"
        return Checkpoint(
            model=self.recipe.model,
            classes=self.classes,
            weights=self.average,
            step=self.step,
            training={
                "weights": self._live,
                "optimiser": self.optimiser.state_dict(),
                "scaler": self.scaler.state_dict(),
                "recipe": json.dumps(asdict(self.recipe)),
                "settings": json.dumps(self.settings.decisive),
                "processes": self.job.size,
                "best": self.best,
            },
            palette=self.palette,
            unpainted=self.unpainted,
            imgsz=self.recipe.imgsz,
            grids=self.recipe.grids,
            provenance={
                "recipe": json.dumps(asdict(self.recipe)),
                "command": self.settings.command,
                "data": self.settings.data,
                "seed": self.settings.seed,
                "training_hours": round(self.hours, 3),
                "hardware": torch.cuda.get_device_name() if cuda else f"{torch.get_num_threads()} CPU threads",
            },
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from `checkpoint`. Raises: UsageError naming what differs when it belongs to another run."""
        then = checkpoint.training
        if "recipe" not in then:
            raise UsageError("this checkpoint has no training state of today's; give it as --init to start a new run")
        now = {**asdict(self.recipe), **self.settings.decisive, "classes": list(self.classes)}
        defaults = {
            item.name: item.default
            for kind in (Recipe, Settings)
            for item in fields(kind)
            if item.default is not MISSING
        }
        before = {
            **defaults,
            **json.loads(then["recipe"]),
            **json.loads(then["settings"]),
            "classes": list(checkpoint.classes),
        }
        changed = [f"{key} was {before.get(key)}, is {now[key]}" for key in now if _plain(now[key]) != before.get(key)]
        if changed:
            raise UsageError(
                f"cannot resume a run that was another: {'; '.join(changed)}; "
                "give the options it was started with, or start anew with --init"
            )
        for key, value in then["weights"].items():
            self._live[key].copy_(value)
        if self.average is not self._live:
            for key, value in checkpoint.weights.items():
                self.average[key].copy_(value)
        self.optimiser.load_state_dict(then["optimiser"])
        self.scaler.load_state_dict(then["scaler"])
        self.step, self.hours = checkpoint.step, float(checkpoint.provenance["training_hours"])
        self.best = float(then["best"])


def _plain(value: object) -> object:
    """Return `value` as JSON would bring it back."""
    return json.loads(json.dumps(value))


def frozen_tensors(model: nn.Module) -> frozenset[str]:
    """Return which tensors of `model` a frozen recipe leaves as they came, so that they must come from somewhere."""
    stages = tuple(f"backbone.{name}." for name in FROZEN)
    kept = [key for key in model.state_dict() if key.startswith(stages) or "running_" in key]
    return frozenset(key for key in kept if not key.endswith("num_batches_tracked"))


def _freeze(model: nn.Module) -> None:
    """Fix the stem and the first stage of the backbone."""
    backbone = getattr(model, "backbone", None)
    parts = [part for name in FROZEN if isinstance(part := getattr(backbone, name, None), nn.Module)]
    if len(parts) != len(FROZEN):
        raise UsageError("this recipe freezes the first stage of a ResNet, which the model has not; give --no-freeze")
    for part in parts:
        part.requires_grad_(False)
