"""Measuring while training: the numbers of `solo-rt eval`, of the pictures as they are, whatever they are padded to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from command_line import Solo
from torch import Tensor, nn

from solo_rt.engine import Engine
from solo_rt.progress import OnProgress
from solo_rt.spec import MEAN, STD
from solo_rt.train import validation
from solo_rt.train.checkpoint import Checkpoint, save_checkpoint
from solo_rt.train.data.instances import InstanceSet, open_instances
from solo_rt.train.data.instances.world import held_out_world as held_out_instances
from solo_rt.train.data.left_out import LeftOut
from solo_rt.train.data.semantic.world import held_out_world
from solo_rt.train.data.world_files import write_coco
from solo_rt.train.distributed import Job
from solo_rt.train.evaluate.confusion import count_pixels, summarise
from solo_rt.train.evaluate.detections import Detection, detect
from solo_rt.train.models import build_model
from solo_rt.train.models.semantic import SemanticNetwork, SemanticOutput
from solo_rt.train.validation import draw_instances, draw_labels, measure_instances, measure_semantic
from solo_rt.world import CLASSES

ALONE = Job(0, 1, torch.device("cpu"))


class Bright(SemanticNetwork):
    """Calls what is bright class 3, the rest background, and the padding class 5."""

    size_divisor = 32

    def forward(self, images: Tensor) -> SemanticOutput:
        grey = (images[0] * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]).mean(0)
        found = torch.where(grey > 128.5, 3, 0)
        found[(images[0] == 0).all(0)] = 5
        return SemanticOutput(nn.functional.one_hot(found, 8).permute(2, 0, 1)[None].float())


@pytest.mark.parametrize(("size", "pictures"), [((45, 70), 3), ((64, 96), 1), ((33, 64), 99)])
def test_metrics_are_those_of_the_unpadded_pictures(size: tuple[int, int], pictures: int) -> None:
    data = held_out_world(size=size, length=4)
    confusion = np.zeros((8, 9), np.int64)
    for index in range(min(pictures, 4)):
        found = np.where(data[index].image.mean(axis=2) > 128.5, 3, 0).astype(np.uint8)
        confusion += count_pixels(data[index].labels, found, classes=8)
    scores = measure_semantic(Bright(), data, pictures=pictures, job=ALONE)
    assert scores["val_mIoU"] == pytest.approx(summarise(confusion)["mIoU"], abs=1e-3)
    assert scores["val_pixel_accuracy"] == pytest.approx(summarise(confusion)["pixel_accuracy"], abs=1e-3)


def test_instances_are_found_as_eval_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, solo: Solo) -> None:
    uri = f"coco:{write_coco(tmp_path / 'data', images=2, size=(90, 160)).parent}"
    torch.manual_seed(0)
    model = build_model("solov2-nano", len(CLASSES)).eval()
    with torch.no_grad():  # objects everywhere, so that there is something to compare
        model.head.solo_cate.bias.fill_(-1)
        model.head.solo_kernel.weight.normal_(0, 0.3)
    save_checkpoint(Checkpoint("solov2-nano", CLASSES, model.state_dict(), 0, {}, {}), tmp_path / "x.pt")
    results = tmp_path / "results.json"
    options = ("--data", uri, "--device", "cpu", "--results", results, "--json")
    code, out, _ = solo("eval", "--model", tmp_path / "x.pt", *options)
    assert code == 0
    metrics = json.loads(out)["metrics"]

    found: list[Detection] = []
    monkeypatch.setattr(validation, "detect", lambda *given, **_: found.extend(detect(*given)) or found)
    scores = measure_instances(
        model,
        open_instances(uri),
        name="solov2-nano",
        classes=CLASSES,
        imgsz=model.imgsz,
        pictures=99,
        job=ALONE,
    )
    assert scores == {"val_AP": metrics["AP"], "val_AP50": metrics["AP50"]}
    assert found == json.loads(results.read_text()) != []


def test_a_network_is_measured_with_its_own_grids(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(validation, "detect", lambda engine, *_, **__: seen.append(engine.spec.decoder.grids) or [])
    model = build_model("solov2-nano", len(CLASSES), grids=(9, 7, 5, 3, 2)).eval()
    data = held_out_instances(size=(90, 160), length=1)
    measure_instances(model, data, name="solov2-nano", classes=CLASSES, imgsz=(64, 96), pictures=1, job=ALONE)
    assert seen == [(9, 7, 5, 3, 2)]


@pytest.mark.parametrize("model", ["fast-scnn", "solov2-nano"])
def test_some_pictures_from_all_over_are_drawn(tmp_path: Path, model: str) -> None:
    network = build_model(model, len(CLASSES) + (model == "fast-scnn")).eval()
    if model == "fast-scnn":
        draw_labels(network, held_out_world(size=(45, 70), length=20), tmp_path / "sheet.png")
    else:
        data = held_out_instances(size=(45, 70), length=20)
        draw_instances(network, data, tmp_path / "sheet.png", name=model, classes=CLASSES, imgsz=(64, 96))
    assert cv2.imread(str(tmp_path / "sheet.png")).shape[0] > 8 * 300
    assert validation._spread(20, 8) == [0, 3, 5, 8, 11, 14, 16, 19]
    assert validation._spread(3, 8) == [0, 1, 2]


def test_photographs_are_measured_at_the_size_of_the_file_to_be() -> None:
    seen: list[tuple[int, ...]] = []

    class Watching(Bright):
        def forward(self, images: Tensor) -> SemanticOutput:
            seen.append(tuple(images.shape[2:]))
            return super().forward(images)

    data = held_out_world(size=(48, 96))
    own, fitted = (measure_semantic(Watching(), data, pictures=2, job=ALONE, imgsz=size) for size in (None, (32, 40)))
    assert seen == [(64, 96)] * 2 + [(32, 64)] * 2  # what 20x40 is padded to: a file has 32x40
    assert fitted["val_pixel_accuracy"] == pytest.approx(own["val_pixel_accuracy"], abs=0.1)


def test_measuring_ends_when_asked_to() -> None:
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 1

    assert measure_semantic(Bright(), held_out_world(size=(36, 64)), pictures=200, job=ALONE, stop=stop) == {}
    assert len(asked) == 3  # before both pictures, and in the end
    asked.clear()
    model = build_model("solov2-nano", len(CLASSES)).eval()
    options = {"name": "solov2-nano", "classes": CLASSES, "imgsz": (64, 96), "pictures": 200, "job": ALONE}
    assert measure_instances(model, held_out_instances(size=(90, 160)), **options, stop=stop) == {}
    assert len(asked) == 3


def test_every_process_scores_what_all_of_them_find(monkeypatch: pytest.MonkeyPatch) -> None:
    data = held_out_instances(size=(90, 160), length=6)
    shares: list[list[int]] = []
    waiting: list[Detection] = []  # what the processes before found, for there is but one here

    def find_all(
        engine: Engine, data: InstanceSet, indices: Sequence[int], *, left_out: LeftOut, on_image: OnProgress
    ) -> list[Detection]:
        shares.append(list(indices))
        return [
            Detection(
                image_id=data[i].id,
                category_id=item.label + 1,
                segmentation=item.segmentation.rle((90, 160)),
                score=1.0,
            )
            for i in indices
            for item in data[i].annotations
        ]

    def collect(job: Job, found: list[Detection]) -> list[Detection]:
        if not found:  # no pictures that could not be read
            return found
        waiting.extend(found)
        return list(waiting)

    monkeypatch.setattr(validation, "detect", find_all)
    monkeypatch.setattr(Job, "collect", collect)
    monkeypatch.setattr(Job, "any", lambda job, own: own)
    model = build_model("solov2-nano", len(CLASSES)).eval()
    options = {"name": "solov2-nano", "classes": CLASSES, "imgsz": (64, 128), "pictures": 5}
    half, whole = (
        measure_instances(model, data, job=Job(rank, 2, torch.device("cpu")), **options) for rank in range(2)
    )
    assert shares == [[0, 2, 4], [1, 3]]
    assert whole == {"val_AP": 1.0, "val_AP50": 1.0}
    assert half["val_AP"] < 1
