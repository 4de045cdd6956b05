"""Training samples of annotated pictures: every number as the reference gets it, the long way."""

from __future__ import annotations

import json
import logging
import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from solo_rt.errors import UsageError
from solo_rt.spec import MEAN, STD
from solo_rt.train.data.batches import load_parts
from solo_rt.train.data.instances import Annotation
from solo_rt.train.data.instances.augment import Augmentation, Scales, usual_scales
from solo_rt.train.data.instances.masks import Cutout, Polygons, RunLengths
from solo_rt.train.data.instances.placement import Axis, centre_of_mass, place_mask
from solo_rt.train.data.instances.training import InstanceTrainingSet, make_sample, open_instance_training
from solo_rt.train.data.samples import MASK_STRIDES


def shrink_slowly(mask: np.ndarray, size: tuple[int, int], *, mirrored: bool, stride: int) -> np.ndarray:
    """Resize, mirror and pad a whole mask, then shrink it with OpenCV: what the released code does."""
    resized = cv2.resize(mask, (size[1], size[0]), interpolation=cv2.INTER_NEAREST)
    if mirrored:
        resized = resized[:, ::-1]
    padded = np.zeros([-(-side // 32) * 32 for side in size], np.uint8)
    padded[: size[0], : size[1]] = resized
    target = (padded.shape[1] // stride, padded.shape[0] // stride)
    return cv2.resize(padded, target, interpolation=cv2.INTER_LINEAR)


def centre_slowly(mask: np.ndarray, size: tuple[int, int], *, mirrored: bool) -> np.ndarray:
    resized = cv2.resize(mask, (size[1], size[0]), interpolation=cv2.INTER_NEAREST)
    ys, xs = np.nonzero(resized[:, ::-1] if mirrored else resized)
    return np.array([xs.mean(), ys.mean()])


def cut(mask: np.ndarray) -> Cutout:
    return RunLengths(coco_mask.encode(np.asfortranarray(mask))["counts"]).cut_out(mask.shape)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_targets_and_centres_are_those_of_whole_masks(data):
    side = st.integers(1, 70)
    height, width, new_height, new_width = (data.draw(side) for _ in range(4))
    mirrored = data.draw(st.booleans())
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    mask = np.zeros((height, width), np.uint8)
    y, x = rng.integers(0, height), rng.integers(0, width)
    part = mask[y : y + int(rng.integers(1, 40)), x : x + int(rng.integers(1, 40))]
    part[...] = rng.random(part.shape) < rng.choice([0.02, 0.5, 1])
    rows, columns = Axis.make(height, new_height), Axis.make(width, new_width, mirrored=mirrored)
    cutout = cut(mask)
    for stride in MASK_STRIDES:
        out = np.zeros((-(-new_height // stride), -(-new_width // stride)), np.uint8)
        place_mask(cutout, rows, columns, stride=stride, out=out)
        expected = shrink_slowly(mask, (new_height, new_width), mirrored=mirrored, stride=stride)
        np.testing.assert_array_equal(out, expected[: out.shape[0], : out.shape[1]])
        assert not expected[out.shape[0] :].any()
        assert not expected[:, out.shape[1] :].any()
    centre = centre_of_mass(cutout, rows, columns)
    if cv2.resize(mask, (new_width, new_height), interpolation=cv2.INTER_NEAREST).any():
        np.testing.assert_allclose(centre, centre_slowly(mask, (new_height, new_width), mirrored=mirrored), rtol=1e-6)
    else:
        assert centre is None


def test_real_sizes_agree_too():
    rng = np.random.default_rng(4)
    for size, new in (((427, 640), (800, 1199)), ((480, 640), (352, 469)), ((1024, 2048), (667, 1333))):
        mask = np.zeros(size, np.uint8)
        cv2.ellipse(mask, (size[1] // 2, size[0] // 3), (size[1] // 3, size[0] // 4), 20, 0, 360, 1, -1)
        mask &= (rng.random(size) < 0.9).astype(np.uint8)
        rows, columns = Axis.make(size[0], new[0]), Axis.make(size[1], new[1], mirrored=True)
        out = np.zeros((-(-new[0] // 4), -(-new[1] // 4)), np.uint8)
        place_mask(cut(mask), rows, columns, stride=4, out=out)
        expected = shrink_slowly(mask, new, mirrored=True, stride=4)
        np.testing.assert_array_equal(out, expected[: out.shape[0], : out.shape[1]])
        np.testing.assert_allclose(
            centre_of_mass(cut(mask), rows, columns), centre_slowly(mask, new, mirrored=True), rtol=1e-6
        )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four pictures: with two objects, with a crowd only, with none, and a portrait with one."""
    sizes = {1: (40, 60), 2: (40, 60), 3: (33, 50), 4: (80, 40)}
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for number, size in sizes.items():
        cv2.imwrite(str(tmp_path / f"images/{number}.png"), rng.integers(0, 256, (*size, 3), np.uint8))
    shape = [10, 5, 40, 5, 40, 25, 10, 25]
    fields = {"category_id": 3, "bbox": [10, 5, 30, 20], "area": 600, "iscrowd": 0, "segmentation": [shape]}
    changes = [
        {"image_id": 1},
        {"image_id": 1, "category_id": 1, "bbox": [50, 0, 10, 40], "segmentation": [[50, 0, 60, 0, 60, 40, 50, 40]]},
        {"image_id": 1, "segmentation": {"size": [40, 60], "counts": [2400]}, "area": 0},
        {"image_id": 1, "bbox": [1, 1, 0.5, 9]},
        {"image_id": 2, "iscrowd": 1},
        {"image_id": 4},
    ]
    record = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": h, "width": w} for n, (h, w) in sizes.items()],
        "categories": [{"id": 1, "name": "post"}, {"id": 3, "name": "slab"}],
        "annotations": [fields | change for change in changes],
    }
    (tmp_path / "instances.json").write_text(json.dumps(record))
    return tmp_path


def test_unaugmented_sample_is_the_picture_as_the_run_time_sees_it(folder):
    data = open_instance_training(f"coco:{folder}", imgsz=(64, 96), augmented=False)
    assert (len(data), data.classes, data.name(3)) == (4, ("post", "slab"), "4.png")
    sample = data.sample(0, np.random.default_rng(0))
    assert sample.image.shape == (64, 96, 3)
    original = cv2.imread(str(folder / "images/1.png"))[..., ::-1]
    np.testing.assert_array_equal(sample.image, cv2.resize(original, (96, 64), interpolation=cv2.INTER_LINEAR))
    assert sample.labels.tolist() == [1, 0]
    np.testing.assert_allclose(sample.boxes, np.array([[10, 5, 40, 25], [50, 0, 60, 40]]) * 1.6, rtol=1e-6)
    assert sample.masks.shape == (2, 16, 24)
    assert sample.masks[0].sum() == 12 * 8  # 48 x 32 pixels in blocks of 4 x 4
    np.testing.assert_allclose(sample.centres[0], [39.5, 23.5])
    portrait = data.sample(3, np.random.default_rng(0))
    assert portrait.image.shape == (64, 32, 3)
    batch = data.collate([sample, portrait])
    assert batch.images.shape == (2, 3, 64, 96)
    assert batch.image_index.tolist() == [0, 0, 1]
    assert not batch.images[1, :, :, 32:].any()
    colour = (torch.from_numpy(portrait.image[5, 5].copy()) - torch.tensor(MEAN)) / torch.tensor(STD)
    torch.testing.assert_close(batch.images[1, :, 5, 5], colour)


def test_pictures_without_objects_stay(folder):
    data = open_instance_training(f"coco:{folder}", imgsz=(64, 96))
    assert [len(data.sample(i, np.random.default_rng(0)).labels) for i in range(4)] == [2, 0, 0, 1]


def test_objects_that_are_not_trained_on_are_counted_and_named(folder, caplog):
    caplog.set_level(logging.INFO, logger="solo_rt")
    data = open_instance_training(f"coco:{folder}", imgsz=(64, 96)).data
    objects = [item for i in range(4) for item in data[i].annotations]
    untrained = [n for n, item in enumerate(objects) if not data.trained(item) and not item.crowd]
    assert untrained == data.read.untrained().tolist() == [2, 3]
    told = [record.getMessage() for record in caplog.records]
    assert told[:2] == [
        "1.png: not trained on: an object of area 0 in 10, 5, 40, 25",
        "1.png: not trained on: an object of area 600 in 1, 1, 1.5, 10",
    ]
    assert "2 of 6 objects are not trained on: nothing is in their masks" in told[2]
    assert len(told) == 3


@pytest.mark.parametrize("change", [{"bbox": [0.1, 0.1, 0.4, 0.4]}, {"iscrowd": 1}, None])
def test_a_set_without_anything_to_learn_from_is_a_warning(folder, caplog, change):
    record = json.loads((folder / "instances.json").read_text())
    record["annotations"] = [item | change for item in record["annotations"]] if change else []
    (folder / "instances.json").write_text(json.dumps(record))
    open_instance_training(f"coco:{folder}", imgsz=(64, 96))
    assert f"there is no object to learn from, of {len(record['annotations'])} annotations" in caplog.text


def test_scales_of_a_recipe_give_sizes_and_batches_of_their_own(folder):
    scales = Scales(90, (48, 32))
    data = open_instance_training(f"coco:{folder}", scales=scales)
    rng = np.random.default_rng(0)
    shapes = {data.sample(0, rng).image.shape[:2] for _ in range(20)}
    assert shapes == {(48, 72), (32, 48)}
    assert {data.sample(3, rng).image.shape[:2] for _ in range(20)} == {(90, 45), (64, 32)}  # the long side decides
    batch = data.collate([data.sample(0, np.random.default_rng(2)), data.sample(3, np.random.default_rng(0))])
    assert [side % 32 for side in batch.images.shape[2:]] == [0, 0]
    assert batch.masks.shape[1:] == (batch.images.shape[2] // 4, batch.images.shape[3] // 4)
    fixed = open_instance_training(f"coco:{folder}", scales=scales, imgsz=(32, 64))
    assert {fixed.sample(0, rng).image.shape[:2] for _ in range(20)} == {(32, 48)}
    assert data.tall().tolist() == [False, False, False, True]  # such pictures share no batch with the others
    assert fixed.tall() is None
    assert usual_scales((448, 768)) == Scales(768, (448, 392, 336))
    with pytest.raises(UsageError, match="expected a long side and short sides"):
        Scales(90, ())


def test_a_square_picture_shares_batches_with_tall_ones(folder):
    data = open_instance_training(f"coco:{folder}", scales=Scales(90, (48,)))
    sizes = np.array([(40, 40), (40, 41), (41, 40), (1, 1)])
    tall = InstanceTrainingSet(replace(data.data, sizes=sizes), data.augmentation).tall()
    assert tall.tolist() == [True, False, True, True]


def test_mirrored_sample_is_the_mirror_image(folder):
    data = open_instance_training(f"coco:{folder}", imgsz=(64, 96), augmented=False)
    how = Augmentation(data.augmentation.scales, mirror=1.0)
    mirrored = InstanceTrainingSet(data.data, how, imgsz=(64, 96)).sample(0, np.random.default_rng(0))
    plain = data.sample(0, np.random.default_rng(0))
    np.testing.assert_array_equal(mirrored.image, plain.image[:, ::-1])
    np.testing.assert_array_equal(mirrored.masks, plain.masks[:, :, ::-1])
    np.testing.assert_allclose(mirrored.boxes[:, [2, 1, 0, 3]], np.abs(plain.boxes - [96, 0, 96, 0]), rtol=1e-6)
    np.testing.assert_allclose(mirrored.centres, np.abs(plain.centres - [95, 0]), rtol=1e-6)


def test_object_that_vanishes_is_left_out():
    speck = Annotation(0, (5, 5, 6, 6), 1.0, False, Cutout(5, 5, np.ones((1, 1), np.uint8)))
    slab = Annotation(1, (0, 0, 30, 30), 9.0, False, Polygons((np.array([0, 0, 30, 0, 30, 30.0]),)))
    rows = columns = Axis.make(64, 16)
    sample = make_sample(np.zeros((16, 16, 3), np.uint8), [speck, slab], (64, 64), rows, columns, mirrored=False)
    assert sample.labels.tolist() == [1]


def test_same_chance_same_sample_in_any_process(folder):
    data = open_instance_training(f"coco:{folder}", imgsz=(64, 96))
    copy = pickle.loads(pickle.dumps(data))
    for seed in range(5):
        one, other = (d.sample(seed % 4, np.random.default_rng(seed)) for d in (data, copy))
        for name in one.__slots__:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    different = [data.sample(0, np.random.default_rng(seed)).image.tobytes() for seed in range(20)]
    assert len(set(different)) > 3  # three sizes, mirrored or not
    (part,) = load_parts(data, steps=range(1), batch=4, workers=0)
    assert part.batch.images.shape == (4, 3, 64, 96)
