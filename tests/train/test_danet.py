"""Both kinds of attention against their definitions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from solo_rt.train.models.danet import ChannelAttention, PositionAttention


def position_by_position(layer: PositionAttention, x: Tensor) -> Tensor:
    """Return `x [B, C, H, W]` after position attention, a pixel at a time: equations 1 and 2 of the paper."""
    b, _, h, w = x.shape
    result = x.clone()
    query, key, value = layer.query(x), layer.key(x), layer.value(x)
    for i in range(b):
        for row in range(h):
            for column in range(w):
                energies = (query[i, :, row, column, None, None] * key[i]).sum(0)  # [H, W]
                shares = (energies - energies.max()).exp()
                seen = (value[i] * shares / shares.sum()).sum((1, 2))
                result[i, :, row, column] += layer.strength * seen
    return result


def channel_by_channel(layer: ChannelAttention, x: Tensor) -> Tensor:
    """Return `x [B, C, H, W]` after channel attention, a channel at a time, subtracting as the paper's code does."""
    b, c, *_ = x.shape
    result = x.clone()
    for i in range(b):
        for j in range(c):
            products = (x[i, j] * x[i]).sum((1, 2))  # [C]
            shares = (products.max() - products).softmax(0)
            result[i, j] += layer.strength * (shares[:, None, None] * x[i]).sum(0)
    return result


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (4, 2)])
@pytest.mark.parametrize("batch", [1, 2])
def test_products_attend_as_loops_do(batch: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.randn(batch, 16, *size, dtype=torch.float64)
    position, channel = PositionAttention(16).double(), ChannelAttention().double()
    with torch.no_grad():
        position.strength.fill_(0.7)
        channel.strength.fill_(-1.3)
        torch.testing.assert_close(position(x), position_by_position(position, x))
        torch.testing.assert_close(channel(x), channel_by_channel(channel, x))


def test_attention_starts_without_an_effect() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 16, 3, 4)
    assert torch.equal(PositionAttention(16)(x), x)
    assert torch.equal(ChannelAttention()(x), x)


def test_products_too_large_for_half_precision_have_no_share() -> None:
    x = torch.zeros(1, 2, 1, 64)
    x[0, 0], x[0, 1, :, 0] = 100, 1  # the first channel with itself gives 640,000, with the second 100
    attention = ChannelAttention()
    with torch.no_grad():
        attention.strength.fill_(1)
        torch.testing.assert_close(attention.half()(x.half()).float(), attention.float()(x))
