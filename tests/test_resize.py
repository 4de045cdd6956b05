"""The step of the numpy reference that stands for an operation of PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from solo_rt.decode.resize import resize_bilinear


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
