"""The training loop: it learns, logs, and continues where it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from solo_rt.errors import SoloRTError, UsageError
from solo_rt.train.checkpoint import load_checkpoint
from solo_rt.train.loop import learning_rate, train
from solo_rt.train.recipes import RECIPES, Phase, Recipe, find_recipe


def tiny(*steps: int, lr: float = 1e-3) -> Recipe:
    phases = tuple(Phase((32 * (i + 1), 64 * (i + 1)), n, 2) for i, n in enumerate(steps))
    return Recipe("solov2-nano", phases, lr=lr, weight_decay=0.01, warmup_steps=2, clip=10.0, ema=0.9)


def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("solo_rt.train.loop.SAVE_EVERY", 1)
    recipe = tiny(2, 2)
    whole = load_checkpoint(train(recipe, tmp_path / "whole", workers=0))

    class Killed(Exception):
        pass

    def kill(step: int, values: dict[str, float]) -> None:
        if step == 3:
            raise Killed

    with pytest.raises(Killed):
        train(recipe, tmp_path / "cut", workers=0, on_step=kill)
    assert load_checkpoint(tmp_path / "cut" / "last.pt").step == 2
    resumed = load_checkpoint(train(recipe, tmp_path / "cut", workers=0, resume=True))
    assert resumed.step == whole.step == 4
    for name, value in whole.weights.items():
        torch.testing.assert_close(resumed.weights[name], value, rtol=0, atol=0)


def test_steps_are_reported_and_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("solo_rt.train.loop.LOG_EVERY", 2)
    seen = []
    train(tiny(4), tmp_path / "run", workers=0, on_step=lambda step, values: seen.append((step, values)))
    assert [step for step, _ in seen] == [1, 2, 3, 4]
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    assert lines[0]["total"] == pytest.approx(lines[0]["focal"] + lines[0]["dice"], rel=1e-5)


def test_existing_runs_are_not_overwritten_nor_missing_ones_resumed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to resume"):
        train(tiny(1), tmp_path / "run", resume=True)
    train(tiny(1), tmp_path / "run", workers=0)
    with pytest.raises(UsageError, match="already holds a run"):
        train(tiny(1), tmp_path / "run")


def test_a_diverging_run_stops_with_its_losses(tmp_path: Path) -> None:
    with pytest.raises(SoloRTError, match="no longer finite"):
        train(tiny(30, lr=1e18), tmp_path / "run", workers=0)


def test_the_rate_warms_up_and_ends_at_zero() -> None:
    recipe = RECIPES["solov2-nano"]
    rates = [learning_rate(recipe, step) for step in range(recipe.steps)]
    assert rates[0] < rates[recipe.warmup_steps - 1] == recipe.lr == max(rates)
    assert rates[-1] < 1e-3 * recipe.lr
    assert all(a >= b for a, b in zip(rates[recipe.warmup_steps :], rates[recipe.warmup_steps + 1 :], strict=False))


def test_unknown_recipes_are_refused() -> None:
    with pytest.raises(UsageError, match="solov2-nano"):
        find_recipe("solov2-x")


@pytest.mark.slow
def test_a_hundred_steps_learn_something(tmp_path: Path) -> None:
    values: list[dict[str, float]] = []
    recipe = Recipe("solov2-nano", (Phase((64, 128), 100, 8),), 2e-3, 0.02, 20, 10.0, 0.99)
    train(recipe, tmp_path / "run", workers=0, on_step=lambda step, v: values.append(v))
    first, last = (sum(v["total"] for v in part) / 10 for part in (values[:10], values[-10:]))
    assert last < 0.75 * first
