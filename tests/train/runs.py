"""Small training runs, and what two of them have in common."""

from __future__ import annotations

from dataclasses import replace

import torch

from solo_rt.train.checkpoint import Checkpoint
from solo_rt.train.recipe import Phase, Recipe
from solo_rt.train.settings import Settings


def tiny(*steps: int, lr: float = 1e-3, ema: float = 0.9, model: str = "solov2-nano") -> Recipe:
    phases = tuple(Phase((32 * (i + 1), 64 * (i + 1)), 2, steps=n) for i, n in enumerate(steps))
    return Recipe(
        model,
        phases,
        "adamw",
        lr=lr,
        lr_batch=None,
        weight_decay=0.01,
        decayed="weights",
        schedule="cosine",
        warmup_steps=2,
        clip=10.0,
        ema=ema,
    )


def settings(**changes: object) -> Settings:
    return replace(Settings("world:", workers=0, save_every=1, log_every=2), **changes)  # type: ignore[arg-type]


def assert_same_run(a: Checkpoint, b: Checkpoint) -> None:
    """Every tensor of the two states is bit-identical, those of the optimiser included."""
    assert a.step == b.step
    for mine, other in ((a.weights, b.weights), (a.training["weights"], b.training["weights"])):
        assert mine.keys() == other.keys()
        assert all(torch.equal(value, other[name]) for name, value in mine.items())
    states = [c.training["optimiser"]["state"] for c in (a, b)]
    assert states[0].keys() == states[1].keys() != set()
    for key, values in states[0].items():
        assert all(torch.equal(value, states[1][key][name]) for name, value in values.items())
