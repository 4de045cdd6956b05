"""Max-pooling with places and its inverse, against the framework's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from solo_rt.train.models.parts.unpooling import max_pool_places, max_unpool


@pytest.mark.parametrize("learning", [False, True])
@pytest.mark.parametrize("values", ["noise", "ties", "constant"])
@pytest.mark.parametrize("size", [(2, 2), (6, 10), (16, 8)])
def test_unpooling_is_that_of_the_framework_bit_by_bit(values: str, size: tuple[int, int], learning: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size)
    if values == "ties":
        x = x.round().clamp(-1, 1)
    if values == "constant":
        x = torch.full_like(x, -2.0)
    pooled, indices = F.max_pool2d(x, 2, return_indices=True)
    found, places = max_pool_places(x, learning=learning)
    assert torch.equal(found, pooled)
    other = torch.randn_like(pooled)  # what is put back is not what was taken out
    assert torch.equal(max_unpool(other, places, learning=learning), F.max_unpool2d(other, indices, 2))


@pytest.mark.parametrize("learning", [False, True])
def test_gradients_pass_through_the_places_alone(learning: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 2, 4, 6)
    _, indices = F.max_pool2d(x, 2, return_indices=True)
    _, places = max_pool_places(x, learning=learning)
    values, weight = torch.randn(1, 2, 2, 3, requires_grad=True), torch.randn(1, 2, 4, 6)
    found, expected = (
        torch.autograd.grad((unpooled * weight).sum(), values)[0]
        for unpooled in (max_unpool(values, places, learning=learning), F.max_unpool2d(values, indices, 2))
    )
    assert torch.equal(found, expected)


def test_places_are_taps_that_engines_have_unless_it_learns_on_a_cpu() -> None:
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    for given, learning, wanted in ((x, False, 3), (-x, False, 0), (x, True, 5)):  # indices: rows of four
        assert max_pool_places(given, learning=learning)[1][0, 0, 0, 0] == wanted
    pooled, places = max_pool_places(x.to("meta"), learning=True)  # as on a GPU, for one that learns
    assert max_unpool(pooled, places, learning=True).shape == x.shape


def test_half_precision_stays_it_under_autocast() -> None:
    x = torch.randn(1, 2, 4, 6).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        pooled, places = max_pool_places(x, learning=True)
        assert max_unpool(pooled, places, learning=True).dtype == torch.bfloat16
