"""What a recipe is: everything a run is determined by, beside the data and the seed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from solo_rt.errors import UsageError

EVENNESS = 1.1  # of class weights: a class of 1 % of the pixels counts three times as much as one of 30 %


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of training at one input size; its length is given in steps or in epochs."""

    imgsz: tuple[int, int]  # height, width of the network input, or of the crop
    batch: int  # pictures per optimiser step, over all processes
    steps: int = 0
    epochs: float = 0.0

    def __post_init__(self) -> None:
        is_long = self.epochs == math.inf
        if min(self.imgsz) < 1 or self.batch < 1 or self.steps < 0 or (self.steps > 0) == (self.epochs > 0) or is_long:
            raise UsageError(f"a phase needs a size, a batch and either steps or epochs, got {self}")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is trained."""

    model: str
    phases: tuple[Phase, ...]
    optimiser: Literal["adamw", "adam", "sgd"]  # sgd has a momentum of 0.9
    lr: float  # peak learning rate, reached after the warm-up
    lr_batch: int | None  # pictures per step that `lr` is meant for: other batches scale it linearly; None: no scaling
    weight_decay: float
    decayed: Literal["all", "weights"]  # "weights": no decay of biases, normalisation and depthwise kernels
    schedule: Literal["constant", "cosine", "poly", "steps"]
    warmup_steps: int = 0
    warmup_from: float = 1 / 3  # of the peak
    clip: float | None = None  # L2 norm of the gradient
    ema: float = 0.0  # decay of the averaged weights, which are what is exported; 0: the weights themselves are
    head_lr: float = 1.0  # times the rate of the backbone
    frozen: bool = False  # stem and first stage fixed, batch norm as it came: for a backbone that comes with weights
    scales: tuple[int, tuple[int, ...]] | None = None  # longest side of a picture, choices of the shortest; None: imgsz
    hard_pixels: bool = False  # semantic pictures: learn from the hard pixels only
    coarse_aux: bool = False  # semantic pictures: compare auxiliary outputs at their own size, which is faster
    label_step: int = 1  # semantic pictures: learn from one row and column of the labels in so many, which is faster
    class_weights: float | None = None  # semantic pictures: rare classes count more by this evenness; None: all alike
    zoom: tuple[float, float] | None = None  # semantic pictures: factors of their own size; None: as usual for the data
    whole: tuple[int, int] | None = None  # input for a whole picture, where phases show crops; None: as in the last one
    grids: tuple[int, ...] | None = None  # instances: cells along each side, by level; None: those of the network

    def __post_init__(self) -> None:
        if self.label_step < 1 or (self.class_weights is not None and self.class_weights <= 1):
            raise UsageError(f"a recipe needs steps of labels from 1 and class weights above 1, got {self}")
        if not self.lr > 0 or not 0 <= self.ema < 1 or not 0 <= self.warmup_from <= 1 or not self.phases:
            raise UsageError(f"a recipe needs a positive rate, an average decay in [0, 1) and phases, got {self}")

    @property
    def imgsz(self) -> tuple[int, int]:
        """Height and width of the network input that the checkpoint is exported at."""
        return self.whole or self.phases[-1].imgsz

    @property
    def steps(self) -> int:
        return sum(phase.steps for phase in self.phases)

    def phase_at(self, step: int) -> Phase:
        """Return the phase that holds `step`; past the end, the last."""
        for phase in self.phases:
            if step < phase.steps:
                return phase
            step -= phase.steps
        return self.phases[-1]


def count_steps(recipe: Recipe, pictures: int) -> Recipe:
    """Return the recipe with epochs of `pictures` turned into steps; warming up takes at most a tenth of them."""
    phases = [
        replace(phase, epochs=0.0, steps=max(1, round(phase.epochs * pictures / phase.batch)))
        if phase.epochs
        else phase
        for phase in recipe.phases
    ]
    warmup_steps = min(recipe.warmup_steps, sum(phase.steps for phase in phases) // 10)
    return replace(recipe, phases=tuple(phases), warmup_steps=warmup_steps)


def adapt(
    recipe: Recipe,
    *,
    model: str,
    phases: tuple[Phase, ...] = (),
    imgsz: tuple[int, int] | None = None,
    batch: int | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    lr: float | None = None,
    ema: float | None = None,
    class_weights: Literal["auto", "off"] | None = None,
    grids: tuple[int, ...] | None = None,
    frozen: bool = True,
) -> Recipe:
    """Return the recipe for `model` with what a user wants otherwise; what is None stays.

    `phases` replaces all phases; `imgsz` makes one phase of them, as long as they were, with the batch of the last.
    Either replaces the scales that a recipe draws pictures at. `steps` or `epochs` then set the length of one phase, or
    `steps` scales those of several. `lr` is taken as it is, whatever the batch. `class_weights` are those
    of the recipe, with "auto" `EVENNESS` where it has none, with "off" none.
    Raises: UsageError for a length in both units, one in epochs for several phases, or one in steps for phases in both.
    """
    if steps is not None and epochs is not None:
        raise UsageError("expected --steps or --epochs, got both")
    resized = bool(phases) or imgsz is not None
    phases = phases or recipe.phases
    if imgsz is not None:
        last = phases[-1]
        total = sum(phase.steps for phase in phases)
        epochs_all = sum(phase.epochs for phase in phases)
        phases = (Phase(imgsz, last.batch, steps=total, epochs=0 if total else epochs_all),)
    if batch is not None:
        phases = tuple(replace(phase, batch=batch) for phase in phases)
    if len(phases) == 1 and (steps or epochs):
        phases = (replace(phases[0], steps=steps or 0, epochs=epochs or 0.0),)
    elif epochs is not None:
        raise UsageError(f"--epochs needs a recipe of one phase, this one has {len(phases)}; give --imgsz, or --steps")
    elif steps is not None:
        if len({phase.steps > 0 for phase in phases}) > 1:
            raise UsageError("--steps needs phases that are all in steps or all in epochs; give --imgsz")
        shares = [phase.steps or phase.epochs / phase.batch for phase in phases]
        phases = tuple(
            replace(phase, epochs=0.0, steps=max(1, round(share * steps / sum(shares))))
            for phase, share in zip(phases, shares, strict=True)
        )
    return replace(
        recipe,
        model=model,
        phases=phases,
        scales=None if resized else recipe.scales,
        lr=recipe.lr if lr is None else lr,
        lr_batch=recipe.lr_batch if lr is None else None,
        ema=recipe.ema if ema is None else ema,
        class_weights=None if class_weights == "off" else recipe.class_weights or (EVENNESS if class_weights else None),
        whole=None if resized else recipe.whole,
        grids=grids or recipe.grids,
        frozen=recipe.frozen and frozen,
    )
