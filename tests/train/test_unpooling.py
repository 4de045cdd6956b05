"""Max-pooling with places and its inverse, against the framework's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from solo_rt.train.models.parts.unpooling import max_pool_taps, max_unpool


@pytest.mark.parametrize("values", ["noise", "ties", "constant"])
@pytest.mark.parametrize("size", [(2, 2), (6, 10), (16, 8)])
def test_unpooling_is_that_of_the_framework_bit_by_bit(values: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size)
    if values == "ties":
        x = x.round().clamp(-1, 1)
    if values == "constant":
        x = torch.full_like(x, -2.0)
    pooled, indices = F.max_pool2d(x, 2, return_indices=True)
    found, taps = max_pool_taps(x)
    assert torch.equal(found, pooled)
    other = torch.randn_like(pooled)  # what is put back is not what was taken out
    assert torch.equal(max_unpool(other, taps), F.max_unpool2d(other, indices, 2))


def test_gradients_pass_through_the_taps_alone() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 2, 4, 6)
    _, indices = F.max_pool2d(x, 2, return_indices=True)
    _, taps = max_pool_taps(x)
    values, weight = torch.randn(1, 2, 2, 3, requires_grad=True), torch.randn(1, 2, 4, 6)
    found, expected = (
        torch.autograd.grad((unpooled * weight).sum(), values)[0]
        for unpooled in (max_unpool(values, taps), F.max_unpool2d(values, indices, 2))
    )
    assert torch.equal(found, expected)
