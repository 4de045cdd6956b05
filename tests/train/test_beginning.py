"""How a training run begins: anew, from other weights, where it was cut off, or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from runs import assert_same_run, settings, tiny

from solo_rt.device import Device
from solo_rt.errors import DatasetError, UsageError
from solo_rt.train import loop
from solo_rt.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from solo_rt.train.data.semantic import open_semantic
from solo_rt.train.data.world_files import write_coco
from solo_rt.train.loop import Outcome, train
from solo_rt.train.models import build_model
from solo_rt.train.state import TrainingState
from solo_rt.train.task import make_task


def test_measuring_on_training_pictures_is_said(tmp_path: Path) -> None:
    data = write_coco(tmp_path / "data", images=2, size=(36, 64)).parent
    said: list[str] = []
    train(tiny(1), tmp_path / "a", settings(data=f"coco:{data}", val=1), on_start=said.append)
    assert f"coco:{data} has no parts: --val and --preview look at what is trained on" in "".join(said)
    said.clear()
    train(tiny(1), tmp_path / "b", settings(data=f"coco:{data}"), on_start=said.append)
    train(tiny(1), tmp_path / "c", settings(val=1), on_start=said.append)
    assert "no parts" not in "".join(said)


def test_held_out_pictures_that_are_missing_are_missed_at_once(tmp_path: Path) -> None:
    data = write_coco(tmp_path / "data", images=2, size=(36, 64)).parent
    (data / "annotations").mkdir()
    (data / "instances.json").rename(data / "annotations" / "instances_train2017.json")
    (data / "images").rename(data / "train2017")
    with pytest.raises(DatasetError, match=r"expected .*instances_val2017\.json"):
        train(tiny(1), tmp_path / "run", settings(data=f"coco:{data}", val=2))
    assert not (tmp_path / "run").exists()


def test_a_copied_checkpoint_is_gone_on_with_and_a_run_without_a_whole_one_is_left_alone(tmp_path: Path) -> None:
    train(tiny(2), tmp_path / "run", settings())
    for name in ("last.pt", "best.pt"):  # as a copy of a run has them where links are followed
        copy = tmp_path / name.removesuffix(".pt")
        copy.mkdir()
        (copy / name).write_bytes((tmp_path / "run" / "step-00000001.pt").read_bytes())
        said: list[str] = []
        assert train(tiny(2), copy, settings(resume="auto"), on_start=said.append).step == 2
        assert "resumed at step 1" in said
    for path in (tmp_path / "run").glob("step-*.pt"):
        path.write_bytes(path.read_bytes()[:-9])
    log = (tmp_path / "run" / "log.jsonl").read_bytes()
    with pytest.raises(UsageError, match="holds a run, but no whole checkpoint; move it away"):
        train(tiny(2), tmp_path / "run", settings(resume="auto"))
    assert (tmp_path / "run" / "log.jsonl").read_bytes() == log


def test_parts_with_other_classes_are_refused_at_once(tmp_path: Path) -> None:
    for part, names in (("train", ["sky", "road"]), ("val", ["sky", "road", "car"])):
        for folder in ("images", "labels"):
            (tmp_path / "data" / folder / part).mkdir(parents=True)
        picture = np.zeros((36, 64, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "data" / "images" / part / "a.png"), picture)
        cv2.imwrite(str(tmp_path / "data" / "labels" / part / "a.png"), picture[..., 0] + len(names) - 1)
    data = open_semantic(f"folder:{tmp_path / 'data'}", split="train")
    assert data.classes == ("class 0", "class 1", "class 2"), "numbers are those of all parts"
    coco = write_coco(tmp_path / "coco", images=2, size=(36, 64)).parent
    (coco / "annotations").mkdir()
    for part in ("train", "val"):
        record = json.loads((coco / "instances.json").read_text())
        for category in record["categories"]:
            category["name"] = f"{part} {category['name']}"
        (coco / "annotations" / f"instances_{part}2017.json").write_text(json.dumps(record))
        (coco / f"{part}2017").symlink_to("images")
    with pytest.raises(UsageError, match="part val has classes that part train has not: val "):
        train(tiny(1), tmp_path / "run", settings(data=f"coco:{coco}", val=1))
    assert not (tmp_path / "run").exists()


def test_existing_runs_are_not_overwritten(tmp_path: Path) -> None:
    train(tiny(1), tmp_path / "run", settings())
    with pytest.raises(UsageError, match="already holds a run"):
        train(tiny(1), tmp_path / "run", settings())


def test_another_run_is_not_resumed_and_what_differs_is_named(tmp_path: Path) -> None:
    train(tiny(3), tmp_path / "run", settings(max_steps=1))
    for recipe, changes, message in (
        (tiny(3, lr=0.5), {}, "lr was 0.001, is 0.5"),
        (tiny(3), {"seed": 4}, "seed was 0, is 4"),
        (tiny(3), {"augment": False}, "augment was True, is False"),
    ):
        with pytest.raises(UsageError, match=message):
            train(recipe, tmp_path / "run", settings(resume="auto", **changes))


def test_a_run_is_resumed_from_before_recipes_and_settings_could_say_so_much(tmp_path: Path) -> None:
    outcome = train(tiny(2), tmp_path / "run", settings(max_steps=1))
    old = load_checkpoint(outcome.checkpoint)
    said = {key: json.loads(old.training[key]) for key in ("recipe", "settings")}
    del said["recipe"]["label_step"], said["settings"]["qat"]
    training = {**old.training, **{key: json.dumps(value) for key, value in said.items()}}
    save_checkpoint(replace(old, training=training), tmp_path / "old.pt")
    with pytest.raises(UsageError, match="label_step was 1, is 2"):
        train(replace(tiny(2), label_step=2), tmp_path / "a", settings(resume=str(tmp_path / "old.pt")))
    assert train(tiny(2), tmp_path / "b", settings(resume=str(tmp_path / "old.pt"))).step == 2


def test_a_checkpoint_can_be_resumed_by_its_path(tmp_path: Path) -> None:
    recipe = tiny(3)
    whole = load_checkpoint(train(recipe, tmp_path / "whole", settings()).checkpoint)
    first = str(tmp_path / "whole" / "step-00000001.pt")
    resumed = train(recipe, tmp_path / "other", settings(resume=first))
    assert_same_run(whole, load_checkpoint(resumed.checkpoint))


def test_an_earlier_checkpoint_is_not_resumed_into_the_folder_of_what_came_after_it(tmp_path: Path) -> None:
    train(tiny(3), tmp_path / "run", settings())
    files = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    first = str(tmp_path / "run" / "step-00000001.pt")
    with pytest.raises(UsageError, match=r"already holds step-00000003\.pt, later than .* step 1 .*another --out"):
        train(tiny(3), tmp_path / "run", settings(resume=first))
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == files
    assert train(tiny(3), tmp_path / "run", settings(resume=str(tmp_path / "run" / "last.pt"))).step == 3


def test_a_run_resumed_at_its_end_leaves_a_checkpoint_in_its_folder(tmp_path: Path) -> None:
    whole = train(tiny(1), tmp_path / "run", settings())
    again = train(tiny(1), tmp_path / "other", settings(resume=str(whole.checkpoint)))
    assert again == Outcome(tmp_path / "other" / "last.pt", 1, False)
    assert_same_run(load_checkpoint(whole.checkpoint), load_checkpoint(again.checkpoint))


def test_a_frozen_recipe_trains_all_of_a_backbone_without_weights_and_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    recipe = replace(tiny(2), frozen=True)
    train(recipe, tmp_path / "a", settings(), on_start=said.append)
    assert any("none of it is frozen" in line for line in said)
    first = load_checkpoint(tmp_path / "a" / "last.pt")
    train(recipe, tmp_path / "b", settings(init=tmp_path / "a" / "last.pt"))
    then = load_checkpoint(tmp_path / "b" / "last.pt").training["weights"]
    fixed = [k for k in then if k.startswith(("backbone.conv1", "backbone.layer1")) or "running_mean" in k]
    assert fixed
    assert all(torch.equal(then[k], first.weights[k]) for k in fixed)
    assert not torch.equal(then["backbone.layer4.0.conv1.weight"], first.weights["backbone.layer4.0.conv1.weight"])
    resumed = train(recipe, tmp_path / "b", settings(resume="auto"))  # without --init, it is still the frozen run
    assert resumed.step == 2


def test_a_frozen_recipe_trains_all_of_a_backbone_that_other_weights_do_not_fit(tmp_path: Path) -> None:
    weights = build_model("solov2-light-r18", 2).state_dict()
    save_checkpoint(Checkpoint("solov2-light-r18", ("a", "b"), weights, 1, {}, {}), tmp_path / "light.pt")
    said: list[str] = []
    recipe = replace(tiny(2), frozen=True)
    other = settings(init=tmp_path / "light.pt", max_steps=1)
    outcome = train(recipe, tmp_path / "run", other, on_start=said.append)
    assert any("that the recipe freezes did not come along" in line for line in said)
    assert '"frozen": false' in load_checkpoint(outcome.checkpoint).training["recipe"]
    assert train(recipe, tmp_path / "run", replace(other, resume="auto", max_steps=None)).step == 2


def test_few_pictures_are_said_to_want_another_recipe(tmp_path: Path) -> None:
    data = write_coco(tmp_path / "data", images=2, size=(36, 64)).parent
    said: list[str] = []
    recipe = replace(tiny(1), optimiser="sgd")
    train(recipe, tmp_path / "run", settings(data=f"coco:{data}"), on_start=said.append)
    assert any("2 pictures are few for this recipe" in line for line in said)
    said.clear()
    train(
        recipe,
        tmp_path / "more",
        settings(data=f"coco:{data}", init=tmp_path / "run" / "last.pt"),
        on_start=said.append,
    )
    assert not any("are few for" in line for line in said), "what starts from weights may need no other recipe"


def test_linear_scaling_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    train(replace(tiny(1), lr_batch=16), tmp_path / "run", settings(), on_start=said.append)
    assert "lr 0.001 is for 16 pictures a step; scaled to 0.000125 for 2" in said


def test_settings_that_cannot_work_are_refused(tmp_path: Path) -> None:
    for changes, message in (
        ({"amp": "fp16"}, "--amp fp16 needs --device cuda"),
        ({"sync_bn": True}, "--sync-bn needs --device cuda"),
        ({"keep": 0}, "keep: expected at least 1"),
    ):
        with pytest.raises(UsageError, match=message):
            settings(**changes)
    for changes, message in (
        ({"data": "nowhere:x"}, "--data nowhere:x"),
        ({"device": Device("cuda")}, "no CUDA device"),
        ({"device": Device("auto")}, "--device auto: expected cpu, cuda or cuda:N"),
    ):
        if changes.get("device") == Device("cuda") and torch.cuda.is_available():
            continue
        with pytest.raises(UsageError, match=message):
            train(tiny(1), tmp_path / "run", settings(**changes))


def test_a_state_without_its_training_part_is_not_resumed(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(train(tiny(1), tmp_path / "run", settings()).checkpoint)
    with (
        loop.join_job(Device("cpu"), timeout=60) as job,
        pytest.raises(UsageError, match="no training state"),
    ):
        state = TrainingState(tiny(1), make_task(tiny(1), "world:", imgsz=(32, 64)), settings(), job)
        state.begin()
        state.restore(replace(checkpoint, training={}))
