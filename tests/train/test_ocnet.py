"""Attention in tiles, against one tile after the other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from solo_rt.train.models.ocnet import TILES, HalvedContext, ObjectContext, attend


def tile_by_tile(key: Tensor, value: Tensor, tiles: int) -> Tensor:
    """Return the same with a loop over tiles, of which some may be empty, and over the pixels of each."""
    b, d, h, w = key.shape
    found = torch.full_like(value, torch.nan)
    for i in range(tiles):
        for j in range(tiles):
            bottom = h if i == tiles - 1 else (i + 1) * (h // tiles)
            right = w if j == tiles - 1 else (j + 1) * (w // tiles)
            places = [(y, x) for y in range(i * (h // tiles), bottom) for x in range(j * (w // tiles), right)]
            for n in range(b):
                for y, x in places:
                    scores = torch.stack([key[n, :, y, x] @ key[n, :, v, u] for v, u in places]) / d**0.5
                    values = torch.stack([value[n, :, v, u] for v, u in places])
                    found[n, :, y, x] = scores.softmax(0) @ values
    return found


@pytest.mark.parametrize("tiles", TILES)
@pytest.mark.parametrize("size", [(1, 1), (4, 5), (6, 12), (7, 6), (13, 8)])
def test_tiles_at_once_are_tiles_one_by_one(tiles: int, size: tuple[int, int]) -> None:
    """Also where they leave a remainder, and where there are more of them than pixels."""
    torch.manual_seed(0)
    key, value = torch.randn(2, 4, *size), torch.randn(2, 3, *size)
    torch.testing.assert_close(attend(key, value, tiles=tiles), tile_by_tile(key, value, tiles))


def test_gradients_are_those_of_the_loop() -> None:
    torch.manual_seed(0)
    key, value = torch.randn(1, 4, 5, 7, requires_grad=True), torch.randn(1, 3, 5, 7, requires_grad=True)
    weight = torch.randn(1, 3, 5, 7)
    found, expected = (
        torch.autograd.grad((result * weight).sum(), (key, value))
        for result in (attend(key, value, tiles=2), tile_by_tile(key, value, 2))
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_a_context_is_nothing_at_first_and_half_a_map_keeps_its_size() -> None:
    x = torch.randn(2, 512, 5, 7)
    assert not ObjectContext(256)(x).any()
    assert HalvedContext()(x).shape == x.shape
