"""Criss-cross attention, against a loop over pixels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from solo_rt.train.models.ccnet import criss_cross


def pixel_by_pixel(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return the same from lists of the pixels in the row and in the column of each one."""
    b, _, h, w = query.shape
    found = torch.empty_like(value)
    for n in range(b):
        for y in range(h):
            for x in range(w):
                cross = [(y, u) for u in range(w)] + [(v, x) for v in range(h) if v != y]
                scores = torch.stack([query[n, :, y, x] @ key[n, :, v, u] for v, u in cross])
                values = torch.stack([value[n, :, v, u] for v, u in cross])
                found[n, :, y, x] = scores.softmax(0) @ values
    return found


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, requires_grad=True)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 1), (4, 4), (5, 7)])
def test_matrix_products_are_the_loop_over_pixels(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    query, key, value, weight = noise(2, 4, *size), noise(2, 4, *size), noise(2, 3, *size), torch.randn(2, 3, *size)
    found, expected = criss_cross(query, key, value), pixel_by_pixel(query, key, value)
    torch.testing.assert_close(found, expected)
    gradients = (torch.autograd.grad((x * weight).sum(), (query, key, value)) for x in (found, expected))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_half_precision_stays_finite() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 4, 5, 7) for _ in range(3))
    found = criss_cross(query.half(), key.half(), value.half())
    torch.testing.assert_close(found.float(), criss_cross(query, key, value), atol=5e-3, rtol=5e-3)


def test_what_is_at_one_pixel_reaches_all_others_the_second_time() -> None:
    """Through the row of one corner of the rectangle between two pixels, and the column of another."""
    torch.manual_seed(0)
    query, key, value = noise(1, 4, 5, 7), noise(1, 4, 5, 7), noise(1, 3, 5, 7)
    once = criss_cross(query, key, value)
    for result, reached in ((once, 5 + 7 - 1), (criss_cross(query, key, once), 5 * 7)):
        (gradient,) = torch.autograd.grad(result[0, :, 2, 3].sum(), value, retain_graph=True)
        assert int((gradient != 0).any(1).sum()) == reached
