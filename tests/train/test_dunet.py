"""DUpsampling, against the product of a matrix with each element of the map."""

from __future__ import annotations

import pytest
import torch

from solo_rt.train.models.dunet import STRIDE, WIDTH, DUpsampling


@pytest.mark.parametrize("size", [(16, 24), (8, 8), (13, 17)])
def test_each_element_gives_a_block_of_pixels(size: tuple[int, int]) -> None:
    """Also where the last blocks reach beyond the picture."""
    torch.manual_seed(0)
    classes, (height, width) = 3, size
    module = DUpsampling(classes)
    torch.nn.init.constant_(module.temperature, 2.0)
    x = torch.randn(2, WIDTH, -(-height // STRIDE), -(-width // STRIDE))
    with torch.no_grad():
        found = module(x, torch.empty(2, 3, height, width))
        matrix = module.expand.weight[:, :, 0, 0]  # [C * 64, 256]: class, row and column within the block
        expected = torch.empty(2, classes, height, width)
        for row in range(height):
            for column in range(width):
                block = x[:, :, row // STRIDE, column // STRIDE] @ matrix.T / 2
                expected[:, :, row, column] = block.view(2, classes, STRIDE, STRIDE)[..., row % STRIDE, column % STRIDE]
    torch.testing.assert_close(found, expected)
