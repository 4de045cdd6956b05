"""Semantic pictures on their way into training: the world as labels, augmentation, batches."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from solo_rt.errors import DatasetError, UsageError
from solo_rt.train.data.samples import MEAN, STD
from solo_rt.train.data.semantic.augment import (
    BALANCED_SHARE,
    Augmentation,
    augment,
    change_colours,
    default_augmentation,
    mirror,
)
from solo_rt.train.data.semantic.base import Legend, SemanticSet
from solo_rt.train.data.semantic.training import SemanticTrainingSet, open_training_set
from solo_rt.train.data.semantic.world import LEGEND, class_map, held_out_world, training_world
from solo_rt.world import World

TWO = Legend(("left", "right"), ((0, 0, 0), (255, 255, 255)), mirrored=((0, 1),))
STILL = {"mirror": 0.0, "blur": 0.0, "jitter": 0.0}


def coordinates(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture whose colour tells where a pixel was, and labels that tell its column."""
    y, x = np.mgrid[:height, :width].astype(np.uint8)
    return np.stack([y, x, y ^ x], axis=-1), x % 200


def test_every_pixel_of_the_world_has_the_class_of_its_object() -> None:
    scene = World(5, height=90, width=160).render(40)
    labels = class_map(scene)
    for k, class_id in enumerate(scene.class_ids, 1):
        assert (labels[scene.ids == k] == class_id + 1).all()
    assert (labels[scene.ids == 0] == 0).all()
    assert LEGEND.classes[0] == "background"
    assert len(LEGEND.classes) == 8


def test_world_pictures_depend_on_their_number_alone_and_are_large_enough() -> None:
    first, second = (training_world(seed=3, size=(64, 96), length=50) for _ in range(2))
    for i in (0, 7, 49):
        _, image, labels = first[i]
        np.testing.assert_array_equal(image, second[i].image)
        assert image.shape == (*labels.shape, 3)
        assert 64 <= labels.shape[0] <= 96
    assert not np.array_equal(first[0].image[:64, :64], first[1].image[:64, :64])
    held_out = held_out_world(size=(90, 160), length=3)
    assert [held_out[i].labels.shape for i in range(len(held_out))] == [(90, 160)] * 3
    assert len(set(held_out.names)) == 3


def test_augmentation_is_decided_by_the_generator_alone() -> None:
    data = SemanticTrainingSet(training_world(size=(64, 96)), default_augmentation("world", (64, 96)))
    a, b, c = (data.sample(5, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.image, b.image)
    np.testing.assert_array_equal(a.labels, b.labels)
    assert a.image.shape != c.image.shape or not np.array_equal(a.image, c.image)


def test_a_crop_without_a_scale_is_a_part_of_the_picture() -> None:
    image, labels = coordinates(50, 70)
    how = Augmentation((32, 40), scales=(1.0, 1.0), **STILL)
    corners = set()
    for seed in range(20):
        part, truth = augment(image, labels, how, legend=LEGEND, rng=np.random.default_rng(seed))
        y, x = (int(v) for v in part[0, 0, :2])
        np.testing.assert_array_equal(part, image[y : y + 32, x : x + 40])
        np.testing.assert_array_equal(truth, labels[y : y + 32, x : x + 40])
        corners.add((y, x))
    assert len(corners) > 15


@pytest.mark.parametrize("factor", [0.5, 0.77, 1.3, 2.0])
def test_picture_and_labels_stay_together_when_resized(factor: float) -> None:
    """A column of the picture has the brightness of its label."""
    column = np.repeat(np.arange(0, 240, 4, dtype=np.uint8)[None], 40, 0)
    column = np.repeat(column, 4, 1)  # 40 x 240, every value four pixels wide
    image = np.repeat(column[..., None], 3, 2)
    how = Augmentation((24, 100), scales=(factor, factor), **STILL)
    part, labels = augment(image, column, how, legend=LEGEND, rng=np.random.default_rng(0))
    assert part.shape[:2] == labels.shape == (min(24, round(40 * factor)), 100)
    assert np.abs(part[..., 0].astype(int) - labels).max() <= 4
    assert set(np.unique(labels)) <= set(np.unique(column)), "labels must not be interpolated"


def test_the_scale_refers_to_the_short_side_where_there_is_one() -> None:
    image, labels = coordinates(50, 100)
    how = Augmentation((500, 500), short_side=100, scales=(1.5, 1.5), **STILL)
    part, _ = augment(image, labels, how, legend=LEGEND, rng=np.random.default_rng(0))
    assert part.shape == (150, 300, 3)


def test_mirroring_swaps_left_and_right() -> None:
    image, _ = coordinates(4, 6)
    labels = np.repeat(np.array([[0, 0, 1, 1, 255, 7]], np.uint8), 4, 0)
    mirrored, swapped = mirror(image, labels, TWO)
    np.testing.assert_array_equal(mirrored, image[:, ::-1])
    np.testing.assert_array_equal(swapped[0], [7, 255, 0, 0, 1, 1])
    again = mirror(mirrored, swapped, TWO)
    np.testing.assert_array_equal(again[1], labels)
    np.testing.assert_array_equal(mirror(image, labels, LEGEND)[1], labels[:, ::-1])


def test_a_balanced_crop_avoids_what_is_all_one_class() -> None:
    labels = np.zeros((40, 400), np.uint8)
    labels[:20, 300:] = 1
    image = np.zeros((40, 400, 3), np.uint8)

    def shares(balanced: bool) -> list[float]:
        how = Augmentation((40, 100), scales=(1.0, 1.0), balanced=balanced, **STILL)
        drawn = (augment(image, labels, how, legend=TWO, rng=np.random.default_rng(seed))[1] for seed in range(30))
        return [float((part == 0).mean()) for part in drawn]

    assert np.mean(np.array(shares(True)) > BALANCED_SHARE) < np.mean(np.array(shares(False)) > BALANCED_SHARE) / 2
    nothing = np.full((40, 400), 255, np.uint8)
    how = Augmentation((40, 100), balanced=True)
    assert (augment(image, nothing, how, legend=TWO, rng=np.random.default_rng(0))[1] == 255).all()


def test_jitter_keeps_grey_pictures_grey_and_shapes_in_place() -> None:
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(40, 200, (20, 30, 1), dtype=np.uint8), 3, 2)
    how = Augmentation((20, 30), scales=(1.0, 1.0), mirror=0.0, blur=0.0, jitter=0.2)
    changed, _ = augment(grey, np.zeros((20, 30), np.uint8), how, legend=TWO, rng=rng)
    assert np.ptp(changed.astype(int), axis=-1).max() <= 1
    assert np.corrcoef(grey.ravel(), changed.ravel())[0, 1] > 0.99
    assert not np.array_equal(grey, changed)


def test_colours_change_as_named() -> None:
    image = np.random.default_rng(0).integers(60, 190, (8, 9, 3), np.uint8)
    grey = np.repeat(image[..., :1], 3, axis=2)
    same = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0}
    np.testing.assert_array_equal(change_colours(image, **same), image)
    vivid = {**same, "saturation": 1.5}
    np.testing.assert_allclose(change_colours(grey, **vivid).astype(int), grey, atol=1)
    assert np.ptp(change_colours(image, **vivid).astype(int), axis=2).mean() > np.ptp(image, axis=2).mean()
    brighter = change_colours(image, **{**same, "brightness": 1.2}) / image.astype(float)
    np.testing.assert_allclose(brighter, 1.2, atol=0.01)
    flat = change_colours(image, **{**same, "contrast": 0.5}).astype(float)
    assert flat.mean() == pytest.approx(image.mean(), abs=3)
    assert flat.std() == pytest.approx(image.std() / 2, rel=0.03)


def test_blur_spreads_a_point_by_up_to_a_pixel() -> None:
    point = np.zeros((21, 21, 3), np.uint8)
    point[10, 10] = 255
    how = Augmentation((21, 21), scales=(1.0, 1.0), mirror=0.0, blur=1.0, jitter=0.0)
    spreads = []
    for seed in range(40):
        blurred, _ = augment(point, point[..., 0], how, legend=TWO, rng=np.random.default_rng(seed))
        over_columns = blurred[..., 0].sum(0) / blurred[..., 0].sum()
        spreads.append(np.sqrt(over_columns @ np.square(np.arange(21) - 10)))
    assert min(spreads) == 0
    assert 0.8 < max(spreads) < 1.1


def test_a_batch_is_padded_with_the_mean_colour_and_with_ignored() -> None:
    image, labels = coordinates(20, 30)
    data = SemanticSet("test", LEGEND, ("a",), lambda index: (image, labels % 8))
    training = SemanticTrainingSet(data, Augmentation((32, 64), scales=(1.0, 1.0), **STILL))
    batch = training.collate([training.sample(0, np.random.default_rng(0))] * 2).to(torch.device("cpu"))
    assert batch.images.shape == (2, 3, 32, 64)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert (batch.labels.shape, batch.labels.dtype) == ((2, 32, 64), torch.uint8)
    assert not batch.images[:, :, 20:].any()
    assert not batch.images[:, :, :, 30:].any()
    assert (batch.labels[:, 20:] == 255).all()
    assert (batch.labels[:, :, 30:] == 255).all()
    np.testing.assert_array_equal(batch.labels[0, :20, :30].numpy(), labels % 8)
    expected = (torch.from_numpy(image).permute(2, 0, 1) - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[
        :, None, None
    ]
    torch.testing.assert_close(batch.images[1, :, :20, :30], expected)


def test_training_sets_travel_to_other_processes() -> None:
    training = SemanticTrainingSet(training_world(size=(32, 64)), default_augmentation("world", (32, 64)))
    copy = pickle.loads(pickle.dumps(training))
    a, b = (data.sample(3, np.random.default_rng(0)) for data in (training, copy))
    np.testing.assert_array_equal(a.image, b.image)
    assert copy.classes == LEGEND.classes


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"got 2 classes \(1 distinct\) and 1 colours"):
        Legend(("a", "a"), ((0, 0, 0),))
    with pytest.raises(UsageError, match=r"got crop \(0, 32\)"):
        Augmentation((0, 32))
    data = SemanticSet("test", TWO, ("odd",), lambda i: (np.zeros((4, 5, 3), np.uint8), np.zeros((4, 6), np.uint8)))
    with pytest.raises(DatasetError, match="test odd: expected a picture and labels of one size, got 4x5 and 4x6"):
        data[0]


def test_data_sets_open_by_address_with_the_augmentation_that_suits_them() -> None:
    training = open_training_set("world:", imgsz=(64, 96), seed=2)
    assert training.augmentation == default_augmentation("world", (64, 96))
    assert training.collate([training.sample(1, np.random.default_rng(0))]).images.shape == (1, 3, 64, 96)
    assert training.name(1) == "world-2-000001"
    zoomed = open_training_set("world:", imgsz=(64, 96), zoom=(1.0, 2.0))
    assert (zoomed.augmentation.short_side, zoomed.augmentation.scales) == (None, (1.0, 2.0))
    assert default_augmentation("cityscapes").crop == (512, 1024)
    assert default_augmentation("cityscapes").short_side is None
    assert default_augmentation("voc") == default_augmentation("ade20k", (480, 480))
    with pytest.raises(UsageError, match=r"data set 'nothing:': expected one with classes of pixels .*folder:DIR"):
        open_training_set("nothing:")


def test_pictures_that_are_not_augmented_are_only_cropped() -> None:
    plain = open_training_set("world:", imgsz=(64, 96), seed=2, augmented=False)
    whole = plain.data[1].image
    for seed in range(5):
        part = plain.sample(1, np.random.default_rng(seed)).image
        parts = np.lib.stride_tricks.sliding_window_view(whole, part.shape)
        assert (parts == part).all(axis=(-3, -2, -1)).any()
