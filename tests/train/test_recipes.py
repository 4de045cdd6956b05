"""Recipes: rates at every step, parameter groups without gaps, and what a user changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from solo_rt.errors import UsageError
from solo_rt.train.models import BUILDERS, build_model
from solo_rt.train.optimiser import learning_rate, make_optimiser, parameter_groups, set_rate
from solo_rt.train.recipe import Phase, Recipe, adapt, count_steps
from solo_rt.train.recipes import RECIPES, find_recipe


def plan(schedule: str, steps: int = 100, **changes: object) -> Recipe:
    recipe = Recipe("m", (Phase((32, 32), 16, steps=steps),), "sgd", 0.01, None, 1e-4, "all", schedule)  # type: ignore[arg-type]
    return replace(recipe, **changes)  # type: ignore[arg-type]


def test_the_polynomial_schedule_is_right_at_its_ends_and_beyond() -> None:
    recipe = plan("poly")
    assert learning_rate(recipe, 0) == 0.01
    assert learning_rate(recipe, 50) == pytest.approx(0.01 * 0.5**0.9)
    assert learning_rate(recipe, 99) == pytest.approx(0.01 * 0.01**0.9)
    for step in (100, 101, 5000):  # a resumed run past its end must not get complex numbers
        assert learning_rate(recipe, step) == 0.0


def test_warming_up_ends_at_the_peak_and_the_schedule_has_the_remaining_steps() -> None:
    recipe = plan("poly", warmup_steps=20)
    assert learning_rate(recipe, 0) == pytest.approx(0.01 / 3)
    assert learning_rate(recipe, 10) == pytest.approx(0.01 * (1 / 3 + 2 / 3 / 2))
    assert learning_rate(recipe, 20) == 0.01
    assert learning_rate(recipe, 60) == pytest.approx(0.01 * 0.5**0.9)


@pytest.mark.parametrize(("epochs", "drops"), [(12, (9, 11)), (36, (27, 33))])
def test_steps_drop_at_the_published_epochs(epochs: int, drops: tuple[int, int]) -> None:
    recipe = plan("steps", steps=10 * epochs)
    rates = [learning_rate(recipe, 10 * epoch + place) for epoch in range(epochs) for place in (0, 9)]
    expected = [0.01 * 0.1 ** sum(epoch >= drop for drop in drops) for epoch in range(epochs) for _ in (0, 9)]
    assert rates == pytest.approx(expected)


def test_the_other_schedules() -> None:
    assert {learning_rate(plan("constant"), step) for step in (0, 50, 99, 200)} == {0.01}
    assert learning_rate(plan("cosine"), 50) == pytest.approx(0.005)
    assert learning_rate(plan("cosine"), 100) == learning_rate(plan("cosine"), 300) == 0


def test_rates_scale_with_the_batch_of_each_phase() -> None:
    phases = (Phase((32, 32), 8, steps=10), Phase((64, 64), 32, steps=10))
    recipe = plan("constant", phases=phases, lr_batch=16)
    assert [learning_rate(recipe, step) for step in (0, 9, 10, 19, 20)] == pytest.approx([0.005] * 2 + [0.02] * 3)
    assert [recipe.phase_at(step).batch for step in (0, 9, 10, 99)] == [8, 8, 32, 32]


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_is_complete(name: str) -> None:
    recipe = count_steps(RECIPES[name], 1000)
    steps = sorted({recipe.warmup_steps, *range(0, recipe.steps, max(1, recipe.steps // 200))})
    rates = [learning_rate(recipe, step) for step in steps]
    assert max(rates) == pytest.approx(
        recipe.lr * (recipe.phases[0].batch / (recipe.lr_batch or recipe.phases[0].batch))
    )
    assert rates[-1] < max(rates)


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.model in BUILDERS])
def test_every_parameter_is_in_exactly_one_group(name: str) -> None:
    with torch.device("meta"):
        model = build_model(RECIPES[name].model, 3)
    groups = parameter_groups(model, RECIPES[name])
    ids = [id(p) for group in groups for p in group["params"]]
    assert sorted(ids) == sorted(id(p) for p in model.parameters())


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, groups=4))
        self.head = nn.Conv2d(4, 2, 1)
        self.tied = self.head
        self.fixed = nn.Parameter(torch.zeros(2), requires_grad=False)


def test_groups_follow_the_module_tree() -> None:
    model = Small()
    recipe = plan("poly", decayed="weights", head_lr=10.0)
    found = {
        (group["weight_decay"], group["lr_factor"]): {id(p) for p in group["params"]}
        for group in parameter_groups(model, recipe)
    }
    conv, norm, depthwise = model.backbone
    assert found == {
        (1e-4, 1.0): {id(conv.weight)},
        (0.0, 1.0): {id(p) for p in (conv.bias, norm.weight, norm.bias, depthwise.weight, depthwise.bias)},
        (1e-4, 10.0): {id(model.head.weight)},
        (0.0, 10.0): {id(model.head.bias)},
    }
    assert {g["weight_decay"] for g in parameter_groups(model, replace(recipe, decayed="all"))} == {1e-4}


@pytest.mark.parametrize(("channels", "decay"), [(1, 1e-4), (2, 0.0), (4, 0.0)])
def test_filters_of_one_channel_each_do_not_decay_where_there_are_several(channels: int, decay: float) -> None:
    conv = nn.Conv2d(channels, channels, 3, groups=channels, bias=False)
    (group,) = parameter_groups(conv, plan("poly", decayed="weights"))
    assert group["weight_decay"] == decay


def test_heads_learn_faster_by_their_factor() -> None:
    recipe = plan("poly", head_lr=10.0)
    for kind in ("sgd", "adamw"):
        optimiser = make_optimiser(Small(), replace(recipe, optimiser=kind))
        set_rate(optimiser, 0.002)
        assert {group["lr"] for group in optimiser.param_groups} == {0.002, 0.02}
        assert all(group.get("momentum", 0.9) == 0.9 for group in optimiser.param_groups)


def test_epochs_become_steps_and_warming_up_stays_short() -> None:
    recipe = plan("steps", phases=(Phase((32, 32), 16, epochs=12),), warmup_steps=500)
    assert count_steps(recipe, 117_266).steps == round(12 * 117_266 / 16)
    assert count_steps(recipe, 117_266).warmup_steps == 500
    few = count_steps(recipe, 8)
    assert (few.steps, few.warmup_steps) == (6, 0)
    assert count_steps(recipe, 1).steps == 1


def test_the_recipe_made_for_the_data_comes_first() -> None:
    assert find_recipe("fast-scnn", "world:") == "fast-scnn-world"
    assert find_recipe("fast-scnn", "cityscapes:/data") == "fast-scnn"
    assert find_recipe("solov2-nano", "world:") == "solov2-nano"
    assert find_recipe("fast-scnn-tramac", "voc:") == "fast-scnn"
    assert find_recipe("fast-scnn-tramac", "world:") == "fast-scnn-world"
    assert find_recipe("pspnet-r50", "voc:") == "pspnet"
    assert find_recipe("cgnet", "camvid-trainval:") == "cgnet-camvid"
    with pytest.raises(UsageError, match=r"no recipe for 'solov2-x'.*solov2-nano"):
        find_recipe("solov2-x", "world:")


def test_a_user_changes_what_is_wanted() -> None:
    nano, light = RECIPES["solov2-nano"], RECIPES["solov2-light-r18"]
    assert adapt(nano, model="solov2-nano") == nano
    assert adapt(light, model="mine", epochs=2).phases == (Phase((448, 768), 16, epochs=2),)
    assert adapt(light, model="mine", steps=9, batch=4, imgsz=(64, 96)).phases == (Phase((64, 96), 4, steps=9),)
    assert [p.steps for p in adapt(nano, model="m", steps=100).phases] == [50, 50]
    camvid = RECIPES["fast-scnn-camvid"]  # two phases in epochs
    scaled = adapt(camvid, model="m", steps=12).phases
    assert [(p.imgsz, p.steps, p.epochs) for p in scaled] == [((256, 352), 2, 0.0), ((384, 512), 10, 0.0)]
    uneven = (Phase((32, 32), 4, epochs=10), Phase((64, 64), 2, epochs=5))  # as many steps each
    assert [p.steps for p in adapt(nano, model="m", phases=uneven, steps=8).phases] == [4, 4]
    assert adapt(camvid, model="m", imgsz=(64, 96)).phases == (Phase((64, 96), 8, epochs=240),)
    assert adapt(nano, model="m", imgsz=(64, 96)).phases == (Phase((64, 96), 16, steps=6000),)
    assert adapt(nano, model="m", imgsz=(64, 96), epochs=3).phases == (Phase((64, 96), 16, epochs=3),)
    assert adapt(nano, model="m", phases=(Phase((32, 32), 2, steps=7),)).steps == 7
    assert adapt(light, model="m", batch=4).scales == (768, (512, 480, 448, 416, 384, 352))
    assert adapt(light, model="m", imgsz=(64, 96)).scales is None
    weighted = adapt(nano, model="m", class_weights="auto")
    assert weighted.class_weights == 1.1
    assert adapt(weighted, model="m").class_weights == 1.1
    assert adapt(weighted, model="m", class_weights="off").class_weights is None
    fine = adapt(nano, model="m", grids=(5, 4, 3, 2, 1))
    assert (nano.grids, fine.grids, adapt(fine, model="m").grids) == (None, (5, 4, 3, 2, 1), (5, 4, 3, 2, 1))
    changed = adapt(light, model="m", lr=0.5, ema=0.9, frozen=False)
    assert (changed.lr, changed.lr_batch, changed.ema, changed.frozen) == (0.5, None, 0.9, False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 3, "epochs": 3.0}, "got both"),
        ({"epochs": 3.0}, "--epochs needs a recipe of one phase, this one has 2"),
    ],
)
def test_lengths_that_contradict_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        adapt(RECIPES["solov2-nano"], model="m", **changes)  # type: ignore[arg-type]
    mixed = (Phase((32, 32), 4, epochs=10), Phase((64, 64), 2, steps=5))
    with pytest.raises(UsageError, match="--steps needs phases that are all in steps or all in epochs"):
        adapt(RECIPES["solov2-nano"], model="m", phases=mixed, steps=3)


def test_impossible_recipes_and_phases_are_refused() -> None:
    for values in ({"batch": 0, "steps": 1}, {"batch": 1}, {"batch": 1, "steps": 1, "epochs": 1.0}):
        with pytest.raises(UsageError, match="either steps or epochs"):
            Phase((32, 32), **values)  # type: ignore[arg-type]
    for changes in ({"label_step": 0}, {"class_weights": 1.0}):
        with pytest.raises(UsageError, match="class weights above 1"):
            plan("poly", **changes)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="positive rate"):
        plan("poly", lr=0.0)
