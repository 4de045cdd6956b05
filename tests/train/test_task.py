"""Tasks: network and data set of one kind, at the sizes of the recipe."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from solo_rt.device import Device
from solo_rt.errors import UsageError
from solo_rt.train.data.batches import load_parts
from solo_rt.train.data.world_files import write_coco
from solo_rt.train.distributed import join_job
from solo_rt.train.models import build_model
from solo_rt.train.recipes import RECIPES
from solo_rt.train.task import make_task

NANO, LIGHT, FAST = (RECIPES[name] for name in ("solov2-nano", "solov2-light-r18", "fast-scnn"))


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"coco:{write_coco(tmp_path_factory.mktemp('task') / 'coco', images=3, size=(90, 160)).parent}"


@pytest.mark.parametrize("name", ["solov2-nano", "fast-scnn"])
def test_the_losses_of_a_family_fit_its_network_and_its_data(name: str) -> None:
    task = make_task(RECIPES[name], "world:", imgsz=(64, 96))
    model = build_model(name, len(task.data.classes))
    part = next(load_parts(task.data, steps=range(1), batch=2, shuffled=task.shuffled))
    with join_job(Device("cpu"), timeout=60) as job:
        losses = task.losses(model, model(part.batch.images), part.batch, job)
    losses["total"].backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert all(p.grad is not None for p in model.parameters()), "a parameter that no loss reaches stops DDP"


def test_classes_count_by_their_rarity_where_pixels_are_labelled() -> None:
    task = make_task(replace(FAST, class_weights=1.1), "world:", imgsz=(64, 96))
    assert tuple(task.class_weights) == task.data.classes
    assert task.class_weights["background"] == min(task.class_weights.values())
    assert make_task(FAST, "world:", imgsz=(64, 96)).class_weights == {}
    with pytest.raises(UsageError, match="--class-weights auto is for labels of pixels, solov2-nano finds instances"):
        make_task(replace(NANO, class_weights=1.1), "world:", imgsz=(64, 96))


def test_the_world_has_a_background_for_semantic_networks_alone() -> None:
    instances, pixels = (make_task(recipe, "world:", imgsz=(64, 96)) for recipe in (NANO, FAST))
    assert pixels.data.classes == ("background", *instances.data.classes)
    assert (len(pixels.palette), pixels.unpainted, instances.palette) == (8, (0,), ())


def test_pictures_are_as_large_as_the_recipe_says(coco: str) -> None:
    scaled = make_task(replace(LIGHT, scales=(128, (64,))), coco, imgsz=(448, 768))
    sized = make_task(replace(LIGHT, scales=None), coco, imgsz=(96, 96))
    sizes = []
    for task in (scaled, sized):
        assert task.shuffled
        assert (task.tall is None) == (task is sized)
        part = next(load_parts(task.data, steps=range(1), batch=3))
        sizes.append(tuple(part.batch.images.shape[2:]))
    assert sizes == [(64, 128), (96, 96)]


def test_addresses_that_are_none_are_refused() -> None:
    with pytest.raises(UsageError, match=r"--data nowhere: expected one with objects \(world:, coco:DIR"):
        make_task(NANO, "nowhere", imgsz=(64, 96))
    with pytest.raises(UsageError, match="data set 'nowhere': expected one with classes of pixels"):
        make_task(FAST, "nowhere", imgsz=(64, 96))
