"""The optimiser of a recipe: parameter groups from the module tree, and the learning rate of each step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from solo_rt.train.recipe import Recipe

MOMENTUM = 0.9
POWER = 0.9  # of the polynomial schedule
DROPS = (9 / 12, 11 / 12)  # of all steps: where the "steps" schedule divides the rate by ten


def make_optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimiser of the trainable parameters of `model`; `set_rate` gives it its learning rates."""
    groups = parameter_groups(model, recipe)
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=MOMENTUM)
    if recipe.optimiser == "adam":
        return torch.optim.Adam(groups, lr=recipe.lr)
    return torch.optim.AdamW(groups, lr=recipe.lr)


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Return the trainable parameters in groups of one decay and one `lr_factor`, each in exactly one group.

    What is inside `model.backbone` learns at the rate of the recipe, the rest `head_lr` times as fast; a model without
    a backbone learns as a whole at the rate of the recipe.
    """
    backbone = getattr(model, "backbone", model)
    in_backbone = {id(p) for p in backbone.parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    seen: set[int] = set()
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            if not parameter.requires_grad or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            decays = recipe.decayed == "all" or (parameter.ndim > 1 and not _is_depthwise(module))
            factor = 1.0 if id(parameter) in in_backbone else recipe.head_lr
            groups.setdefault((recipe.weight_decay if decays else 0.0, factor), []).append(parameter)
    trainable = [p for p in model.parameters() if p.requires_grad]
    grouped = [p for group in groups.values() for p in group]
    assert sorted(map(id, trainable)) == sorted(map(id, grouped)), "a parameter is in no group, or in two"
    return [{"params": group, "weight_decay": decay, "lr_factor": factor} for (decay, factor), group in groups.items()]


def _is_depthwise(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give each group `rate` times its factor."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["lr_factor"]


def learning_rate(recipe: Recipe, step: int) -> float:
    """Return the rate of `step`, counted from 0: a linear warm-up, then the schedule over the steps that remain.

    The first step after the warm-up has the peak rate. "poly" is (1 - t/T)^0.9 (Chen et al. 2016), "cosine" goes down
    to zero, "steps" has a tenth from 3/4 and a hundredth from 11/12 of all steps on, the 9th and 11th of 12 epochs.
    Past the end the rate is that of the end: 0 for "poly" and "cosine".
    """
    peak = recipe.lr
    if recipe.lr_batch is not None:
        peak *= recipe.phase_at(step).batch / recipe.lr_batch
    if step < recipe.warmup_steps:
        return peak * (recipe.warmup_from + (1 - recipe.warmup_from) * step / recipe.warmup_steps)
    progress = min(1.0, (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps))
    match recipe.schedule:
        case "constant":
            return peak
        case "cosine":
            return peak * 0.5 * (1 + math.cos(math.pi * progress))
        case "poly":
            return float(peak * (1 - progress) ** POWER)
        case "steps":
            return float(peak * 0.1 ** sum(step >= round(drop * recipe.steps) for drop in DROPS))
