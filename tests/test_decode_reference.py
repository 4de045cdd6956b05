"""The steps of the numpy reference that stand for operations of PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from solo_rt.decode import points_nms
from solo_rt.decode.resize import resize_bilinear


def test_points_nms_looks_up_and_left_only():
    score_map = np.array([[5, 4, 4], [4, 5, 6], [3, 5, 1]], np.float32)
    #   (0, 1) is below its left neighbour; (0, 2) equals its left one and stays, as do both 5s of the diagonal.
    expected = np.array([[5, 0, 4], [0, 5, 6], [0, 5, 0]], np.float32)
    np.testing.assert_array_equal(points_nms(score_map), expected)


def test_points_nms_keeps_plateaus_and_separates_classes():
    plateau = np.full((3, 2, 4, 4), 0.5, np.float32)
    np.testing.assert_array_equal(points_nms(plateau), plateau)
    score_map = np.zeros((2, 1, 2), np.float32)
    score_map[0, 0, 0] = 0.9
    score_map[:, 0, 1] = 0.8
    assert points_nms(score_map)[:, 0, 1].tolist() == [0, np.float32(0.8)]


@pytest.mark.parametrize("grid", [1, 2, 5, 12])
def test_points_nms_is_the_max_pool_of_the_original(grid):
    torch = pytest.importorskip("torch")
    score_map = np.round(np.random.default_rng(grid).random((3, 4, grid, grid)), 1).astype(np.float32)  # with ties
    pooled = torch.nn.functional.max_pool2d(torch.from_numpy(score_map), 2, stride=1, padding=1)[:, :, :-1, :-1]
    np.testing.assert_array_equal(points_nms(score_map), score_map * (score_map == pooled.numpy()))


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (20, 28), (23, 9), (10, 14)])
def test_resize_is_that_of_pytorch(size):
    torch = pytest.importorskip("torch")
    images = np.random.default_rng(0).random((2, 5, 7)).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(images)[None], size, mode="bilinear", align_corners=False
    )[0]
    np.testing.assert_allclose(resize_bilinear(images, size), expected.numpy(), atol=1e-6)


def test_resize_of_nothing():
    assert resize_bilinear(np.empty((0, 3, 4), np.float32), (6, 8)).shape == (0, 6, 8)
