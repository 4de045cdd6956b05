"""Training samples: the quarter-size masks, boxes and centres, and the padded batch."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from solo_rt.spec import MEAN, STD
from solo_rt.train.data.samples import MASK_STRIDES, Sample, collate, sample_from_ids
from solo_rt.train.data.world_dataset import WorldDataset


def targets(mask: np.ndarray) -> dict[int, np.ndarray]:
    """Return the mask targets of one object by stride."""
    image = np.zeros((*mask.shape, 3), np.uint8)
    sample = sample_from_ids(image, mask.astype(np.uint8), np.array([0]), imgsz=mask.shape)
    return {4: sample.masks, 8: sample.masks_8, 16: sample.masks_16}


@pytest.mark.parametrize("density", [0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("stride", MASK_STRIDES)
def test_masks_shrink_as_opencv_shrinks_them(density: float, stride: int) -> None:
    mask = np.random.default_rng(0).random((64, 96)) < density
    expected = cv2.resize(mask.astype(np.uint8), (96 // stride, 64 // stride), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(targets(mask)[stride], expected[None])


def test_two_of_the_four_central_pixels_decide() -> None:
    for count in range(5):
        mask = np.zeros((16, 16), bool)
        mask[[1, 1, 2, 2][:count], [1, 2, 1, 2][:count]] = True
        mask[0, :4] = mask[3, :4] = True  # the border of the block has no say
        assert targets(mask)[4][0, 0, 0] == (count >= 2)


def test_sample_measures_objects_in_pixels() -> None:
    ids = np.zeros((30, 50), np.uint8)
    ids[10:20, 5:45] = 1
    ids[12, 7] = 2
    sample = sample_from_ids(np.zeros((30, 50, 3), np.uint8), ids, np.array([4, 2]), imgsz=(32, 64))
    assert sample.masks.shape == (2, 8, 16)
    np.testing.assert_array_equal(sample.labels, [4, 2])
    np.testing.assert_array_equal(sample.boxes, [[5, 10, 45, 20], [7, 12, 8, 13]])
    np.testing.assert_allclose(sample.centres[1], [7, 12])
    np.testing.assert_allclose(sample.centres[0], [24.5, 14.5], atol=0.1)
    assert len(sample_from_ids(sample.image, ids, np.array([4, 2]), imgsz=(32, 64), min_area=2).labels) == 1


def test_collate_pads_with_the_mean_colour() -> None:
    image = np.full((20, 40, 3), 200, np.uint8)
    nothing = np.zeros((20, 40), np.uint8)
    one = nothing + 1
    samples = [sample_from_ids(image, ids, np.array([0]), imgsz=(32, 64)) for ids in (nothing, one, one)]
    batch = collate(samples, imgsz=(32, 64))
    assert batch.images.shape == (3, 3, 32, 64)
    assert batch.image_index.tolist() == [1, 2]
    assert not batch.images[:, :, 20:].any()
    assert not batch.images[:, :, :, 40:].any()
    torch.testing.assert_close(batch.images[0, :, 0, 0], (200 - torch.tensor(MEAN)) / torch.tensor(STD))


def test_collate_without_a_size_takes_that_of_the_largest_picture() -> None:
    def sample(height: int, width: int) -> Sample:
        ids = np.ones((height, width), np.uint8)
        return sample_from_ids(np.zeros((height, width, 3), np.uint8), ids, np.array([3]), imgsz=(height, width))

    batch = collate([sample(32, 80), sample(48, 16)])
    assert batch.images.shape == (2, 3, 64, 96)
    for stride in MASK_STRIDES:
        masks = batch.masks_at(stride)
        assert masks.shape == (2, 64 // stride, 96 // stride)
        assert [mask.sum() * stride**2 for mask in masks] == [32 * 80, 48 * 16]
        assert masks[0, : 32 // stride, : 80 // stride].all()


def test_a_batch_without_objects_is_a_batch() -> None:
    empty = Sample(
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((0, 8, 8), np.uint8),
        np.zeros((0, 4, 4), np.uint8),
        np.zeros((0, 2, 2), np.uint8),
        np.zeros(0, np.int64),
        np.zeros((0, 4), np.float32),
        np.zeros((0, 2), np.float32),
    )
    batch = collate([empty, empty], imgsz=(32, 32))
    assert [batch.masks_at(stride).shape for stride in MASK_STRIDES] == [(0, 8, 8), (0, 4, 4), (0, 2, 2)]
    assert batch.boxes.shape == (0, 4)


def test_the_world_as_data_set_is_reproducible_and_fits() -> None:
    first, second = (WorldDataset(seed=1, imgsz=(64, 96)) for _ in range(2))
    for i in (0, 17, 39):
        a, b = (data.sample(i, np.random.default_rng(i)) for data in (first, second))
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.masks, b.masks)
        assert a.image.shape[0] <= 64
        assert a.image.shape[1] <= 96
        assert a.masks.shape[1:] == (16, 24)
    images = [first.sample(i, np.random.default_rng(0)).image for i in (0, 8)]
    assert not np.array_equal(images[0].ravel()[:99], images[1].ravel()[:99])
    assert first.name(8) != first.name(0)


def test_a_batch_moves_whole() -> None:
    world = WorldDataset(seed=0, imgsz=(64, 96))
    batch = world.collate([world.sample(0, np.random.default_rng(0))])
    moved = batch.to(torch.device("meta"))
    for name in batch.__slots__:
        before, after = getattr(batch, name), getattr(moved, name)
        assert (after.device.type, after.shape, after.dtype) == ("meta", before.shape, before.dtype)
    assert moved.images.is_contiguous(memory_format=torch.channels_last)
