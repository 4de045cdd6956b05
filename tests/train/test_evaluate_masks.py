"""COCO mask AP: the numbers of pycocotools, over the right classes, pictures and annotations."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fakes import TINY_SPEC, FakeEngine
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from solo_rt.engine import open_engine
from solo_rt.errors import DatasetError
from solo_rt.preprocess import Letterbox
from solo_rt.spec import InputSpec
from solo_rt.train.data.instances import InstanceSet, open_instances
from solo_rt.train.data.world_files import write_coco
from solo_rt.train.evaluate.comparison import annotated_instances, write_comparison
from solo_rt.train.evaluate.detections import Detection, common_classes, detect, detect_exactly, least_padding
from solo_rt.train.evaluate.instances import score_instances
from solo_rt.train.evaluate.masks import METRICS, score_masks
from solo_rt.train.models import build_model, published_scale

CATEGORIES = {"ant": 1, "cat": 90}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> InstanceSet:
    folder = tmp_path_factory.mktemp("world") / "coco"
    write_coco(folder, images=6, size=(180, 320))
    return open_instances(f"coco:{folder}")


def write_squares(folder: Path) -> tuple[InstanceSet, list[Detection]]:
    """Write 4 pictures with squares of two classes, and return detections that are shifted squares with noise."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    annotations, detections = [], []
    for picture in range(4):
        cv2.imwrite(str(folder / f"images/{picture}.png"), np.zeros((100, 120, 3), np.uint8))
        for _ in range(5):
            x, y, side = (int(v) for v in rng.integers((0, 0, 10), (60, 40, 50)))
            mask = np.zeros((100, 120), np.uint8, order="F")
            mask[y : y + side, x : x + side] = 1
            category = int(rng.choice([1, 90]))
            record = {"id": len(annotations), "image_id": picture, "category_id": category, "area": side * side}
            annotations.append(
                record
                | {
                    "bbox": [x, y, side, side],
                    "iscrowd": int(rng.random() < 0.1),
                    "segmentation": [[x, y, x + side, y, x + side, y + side, x, y + side]],
                }
            )
            shifted = np.roll(mask, rng.integers(-4, 5, 2), (0, 1))
            code = coco_mask.encode(np.asfortranarray(shifted))
            found = {"size": [100, 120], "counts": code["counts"].decode()}
            detections.append(
                Detection(image_id=picture, category_id=category, segmentation=found, score=float(rng.random()))
            )
    record = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 100, "width": 120} for n in range(4)],
        "categories": [{"id": 90, "name": "cat"}, {"id": 1, "name": "ant"}, {"id": 2, "name": "bee"}],
        "annotations": annotations,
    }
    (folder / "instances.json").write_text(json.dumps(record))
    return open_instances(f"coco:{folder}"), detections


def official_scores(path: Path, detections: list[Detection], categories: list[int]) -> np.ndarray:
    """Return what pycocotools says about the file itself, its annotations numbered from 1."""
    record = json.loads(path.read_text())
    record["annotations"] = [a | {"id": n} for n, a in enumerate(record["annotations"], 1)]
    (path.parent / "from1.json").write_text(json.dumps(record))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path.parent / "from1.json"))
        run = COCOeval(truth, truth.loadRes([dict(d) for d in detections]), "segm")
        run.params.catIds = categories
        run.evaluate()
        run.accumulate()
        run.summarize()
    return np.array(run.stats)


def test_numbers_are_those_of_pycocotools_although_ids_begin_at_0(tmp_path):
    data, detections = write_squares(tmp_path)
    for categories in (CATEGORIES, {"cat": 90}):
        scores = score_masks(data, detections, indices=range(4), categories=categories)
        expected = official_scores(tmp_path / "instances.json", detections, list(categories.values()))
        np.testing.assert_array_equal(list(scores.metrics.values()), expected)
        assert tuple(scores.metrics) == METRICS
        assert 0.1 < scores.metrics["AP"] < 0.9
        measured = [score["AP"] for score in scores.per_class.values()]
        assert np.mean(measured) == pytest.approx(scores.metrics["AP"])
        assert np.mean([score["AP50"] for score in scores.per_class.values()]) == pytest.approx(scores.metrics["AP50"])


def test_truth_found_is_perfect_and_nothing_found_is_zero(tmp_path):
    data, detections = write_squares(tmp_path)
    truth = [
        Detection(
            image_id=data[i].id,
            category_id=data.category_ids[item.label],
            segmentation={"size": [100, 120], "counts": item.segmentation.rle((100, 120))["counts"].decode()},
            score=1.0,
        )
        for i in range(4)
        for item in data[i].annotations
        if not item.crowd
    ]
    assert score_masks(data, truth, indices=range(4), categories=CATEGORIES).metrics["AP"] == pytest.approx(1)
    nothing = score_masks(data, [], indices=range(4), categories=CATEGORIES | {"bee": 2})
    assert nothing.metrics["AP"] == 0
    assert nothing.per_class["bee"] == {"AP": -1.0, "AP50": -1.0, "objects": 0}
    assert sum(score["objects"] for score in nothing.per_class.values()) == len(truth)
    few = [d for d in detections if d["image_id"] == 2]
    assert score_masks(data, few, indices=[2], categories=CATEGORIES).metrics["AP"] > 0


def test_more_than_a_hundred_objects_of_a_picture_count_where_so_many_are_found(tmp_path):
    squares = [(x, y) for x in range(0, 120, 8) for y in range(0, 64, 8)]  # 120 of them
    boxes = [[x, y, 6, 6] for x, y in squares]
    record = {
        "images": [{"id": 1, "file_name": "a.png", "height": 64, "width": 120}],
        "categories": [{"id": 1, "name": "dot"}],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 1, "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0,
             "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]]}
            for n, (x, y, w, h) in enumerate(boxes, 1)
        ],
    }  # fmt: skip
    (tmp_path / "images").mkdir()
    (tmp_path / "instances.json").write_text(json.dumps(record))
    data = open_instances(f"coco:{tmp_path}")
    found = [
        Detection(image_id=1, category_id=1, segmentation=item.segmentation.rle((64, 120)), score=1 - n / 1000)
        for n, item in enumerate(data[0].annotations)
    ]
    metrics = score_masks(data, found, indices=[0], categories={"dot": 1}).metrics
    assert (metrics["AP"], metrics["AP50"], metrics["AR100"], metrics["AR10"]) == pytest.approx((1, 1, 1, 10 / 120))
    metrics = score_masks(data, found[:100], indices=[0], categories={"dot": 1}).metrics
    assert metrics["AR100"] == pytest.approx(100 / 120)


def test_classes_are_matched_by_name_and_the_others_named(tmp_path):
    data, detections = write_squares(tmp_path)
    assert common_classes(("dog", "cat", "ant"), data) == {"ant": 1, "cat": 90}
    scores = score_instances(data, detections, indices=range(4), classes=("dog", "cat"), protocol="by hand")
    assert scores.protocol == "by hand"
    assert (scores.only_in_model, scores.only_in_data) == (("dog",), ("ant", "bee"))
    assert (list(scores.per_class), scores.cityscapes, scores.images) == (["cat"], None, 4)
    expected = official_scores(tmp_path / "instances.json", detections, [90])
    np.testing.assert_array_equal(list(scores.metrics.values()), expected)
    with pytest.raises(DatasetError, match="no class in common: dog against ant, bee, cat"):
        score_instances(data, detections, indices=range(4), classes=("dog",), protocol="")


def test_native_path_scores_as_the_published_procedure(world):
    """The limit is a tenth of an AP point on hundreds of pictures; six small ones allow less of a promise."""
    engine = open_engine(None, precision="fp32")
    found, exact = (way(engine, world, range(6)) for way in (detect, detect_exactly))
    certain, expected = ([d for d in part if d["score"] > 0.6] for part in (found, exact))
    assert len(certain) == len(expected) > 10
    for one, other in zip(certain, expected, strict=True):
        assert {name: one[name] for name in ("image_id", "category_id")} == {
            name: other[name] for name in ("image_id", "category_id")
        }
        assert one["score"] == pytest.approx(other["score"], abs=2e-2)  # whole levels against fractions
    categories = common_classes(engine.spec.classes, world)
    fast, slow = (score_masks(world, d, indices=range(6), categories=categories).metrics for d in (found, exact))
    assert fast["AP"] == pytest.approx(slow["AP"], abs=5e-3)
    assert fast["AP50"] == pytest.approx(slow["AP50"], abs=5e-3)
    assert len(detect(engine, world, [1, 3], conf=0.5)) < len([d for d in found if d["image_id"] in (2, 4)])
    engine.close()


@pytest.mark.parametrize(
    ("size", "name", "resized", "padded"),
    [  # height, width; the table of sizes that the released configurations give
        ((1080, 1920), "solov2-light-r50", (432, 768), (448, 768)),
        ((480, 640), "solov2-light-r50", (448, 597), (448, 608)),
        ((427, 640), "solov2-light-r50", (448, 671), (448, 672)),
        ((1920, 1080), "solov2-light-r50", (768, 432), (768, 448)),
        ((1080, 1920), "decoupled-solo-light-r50", (479, 852), (480, 864)),
        ((480, 640), "solov2-light-512-dcn-r50", (512, 683), (512, 704)),
        ((1080, 1920), "solov2-r50", (750, 1333), (768, 1344)),
        ((480, 640), "solo-r50", (800, 1067), (800, 1088)),
        ((427, 640), "solov2-r101-dcn", (800, 1199), (800, 1216)),
        ((1, 2000), "solov2-light-r50", (1, 768), (32, 768)),
    ],
)
def test_least_padding_is_that_of_the_published_code(size, name, resized, padded):
    with torch.device("meta"):
        scale = published_scale(name, build_model(name, 2).imgsz)
    box = least_padding(size, scale, divisor=32)
    assert (box.resized, box.input_size) == (resized, padded)


def test_a_network_of_another_size_than_the_published_is_measured_at_its_own():
    assert published_scale("solov2-r50", (256, 448)) == (448, 256)


def test_sized_models_see_every_picture_with_the_least_padding(tmp_path):
    data, _ = write_squares(tmp_path)  # 100x120 each
    cv2.imwrite(str(tmp_path / "images/2.png"), np.zeros((60, 20, 3), np.uint8))
    record = json.loads((tmp_path / "instances.json").read_text())
    record["images"][2] |= {"height": 60, "width": 20}
    spec = replace(TINY_SPEC, classes=("ant", "bee", "cat"))
    (tmp_path / "instances.json").write_text(json.dumps(record | {"annotations": []}))
    data = open_instances(f"coco:{tmp_path}")
    asked: list[tuple[int, int]] = []

    class Sized(FakeEngine):
        test_scale = (64, 32)

        def resized(self, imgsz: tuple[int, int]) -> FakeEngine:
            asked.append(imgsz)
            return FakeEngine(spec=replace(spec, input=InputSpec(*imgsz)))

    found = detect_exactly(Sized(spec=spec), data, range(4))
    assert asked == [(64, 32)]  # 20x60 becomes 21x64; 100x120 becomes 32x38 and so 32x64, which the model has
    detect_exactly(Sized(spec=spec), data, [0], scale=(100, 50))
    assert asked.pop() == (64, 64)  # 50x60
    assert {d["image_id"]: d["segmentation"]["size"] for d in found}.items() <= {
        n: [60, 20] if n == 2 else [100, 120] for n in range(4)
    }.items()
    assert found


def bilinear(image, size):
    """Return `image` resized as OpenCV's INTER_LINEAR, before rounding: plainly, from the definition."""
    for axis, length in enumerate(size):
        cells = image.shape[axis]
        at = np.clip((np.arange(length) + 0.5) * cells / length - 0.5, 0, cells - 1)
        low = np.minimum(at.astype(int), cells - 2)
        share = (at - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        image = image.take(low, axis) * (1 - share) + image.take(low + 1, axis) * share
    return image


@pytest.mark.parametrize("size", [(100, 120), (60, 20), (37, 91)])
def test_pictures_are_resized_to_whole_levels_as_published(tmp_path, size):
    write_squares(tmp_path)
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "images/0.png"), image[..., ::-1])
    record = json.loads((tmp_path / "instances.json").read_text())
    record["images"][0] |= {"height": size[0], "width": size[1]}
    (tmp_path / "instances.json").write_text(json.dumps(record | {"annotations": []}))
    seen = []

    class Watching(FakeEngine):
        def infer(self, inputs):
            seen.append(inputs["image"])
            return super().infer(inputs)

    spec = replace(TINY_SPEC, classes=("ant", "bee", "cat"))
    detect_exactly(Watching(spec=spec), open_instances(f"coco:{tmp_path}"), [0])
    ((planes,),) = seen
    box = Letterbox.fit(size, (32, 64))
    h, w = box.resized
    levels = planes[:, :h, :w].transpose(1, 2, 0) * np.array(spec.input.std) + spec.input.mean
    assert np.abs(levels - levels.round()).max() < 1e-4
    off = np.abs(levels - bilinear(image.astype(float), box.resized))
    assert (off.max() < 0.8, off.mean() < 0.3) == (True, True)  # OpenCV rounds more than once
    assert not planes[:, h:].any()
    assert not planes[:, :, w:].any()


def test_comparison_shows_truth_beside_finds(world, tmp_path):
    engine = open_engine(None)
    found = detect(engine, world, [0, 2])
    engine.close()
    write_comparison(tmp_path / "pairs.png", world, found, indices=[0, 2])
    sheet = cv2.imread(str(tmp_path / "pairs.png"))
    assert sheet.shape == (2 * 270 + 3 * 8, 2 * 480 + 3 * 8, 3)
    tiles = [sheet[y : y + 270, x : x + 480].astype(int) for y in (8, 286) for x in (8, 496)]
    plain = [cv2.resize(world[i].load()[..., ::-1], (480, 270), interpolation=cv2.INTER_AREA) for i in (0, 2)]
    for i, tile in enumerate(tiles):
        assert np.abs(tile - plain[i // 2]).mean() > 1
    assert np.abs(tiles[0] - tiles[1]).mean() < np.abs(tiles[0] - tiles[2]).mean()
    write_comparison(tmp_path / "none.png", world, [], indices=[0])
    none = cv2.imread(str(tmp_path / "none.png"))
    assert np.array_equal(none[8:278, 496:976], plain[0])


@pytest.mark.parametrize(("side", "is_labelled"), [(6, False), (60, True)])
def test_labels_that_would_hide_the_objects_are_left_out_of_a_comparison(tmp_path, side, is_labelled):
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images/0.png"), np.zeros((100, 120, 3), np.uint8))
    x, y = 30, 30
    corners = [x, y, x + side, y, x + side, y + side, x, y + side]
    record = {
        "images": [{"id": 0, "file_name": "0.png", "height": 100, "width": 120}],
        "categories": [{"id": 1, "name": "ant"}],
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 1, "area": side**2, "iscrowd": 0, "bbox": [x, y, side, side]}
            | {"segmentation": [corners]}
        ],
    }
    (tmp_path / "instances.json").write_text(json.dumps(record))
    write_comparison(tmp_path / "sheet.png", open_instances(f"coco:{tmp_path}"), [], indices=[0])
    tile = cv2.imread(str(tmp_path / "sheet.png"))[8:408, 8:488]
    assert tile[4 * y + 8, 4 * x + 8].any()
    around = (4 * (x - 2), 4 * (y - 2), 4 * (x + side + 2), 4 * (y + side + 2))
    tile[around[1] : around[3], around[0] : around[2]] = 0
    assert tile.any() == is_labelled


def test_annotations_drawn_as_instances_keep_their_pixels(world):
    for index in range(6):
        picture = world[index]
        items = [item for item in picture.annotations if not item.crowd]
        instances = annotated_instances(picture)
        assert len(instances) == len(items)
        for i, item in enumerate(items):
            expected = item.segmentation.cut_out(picture.size).dense(picture.size)
            np.testing.assert_array_equal(instances.dense(i), expected)
