"""Scores between pixels, and both attentions made from them, against loops over pixels."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from solo_rt.train.models import psanet
from solo_rt.train.models.psanet import PointAttention, pair_scores

SIZES = pytest.mark.parametrize("size", [(1, 1), (1, 4), (3, 3), (4, 2), (2, 7)])
REACH = 3  # so that some maps are smaller than all offsets and others are larger


def pair_by_pair(scores: Tensor) -> Tensor:
    """Return the same by looking up the offset of every two pixels."""
    b, _, h, w = scores.shape
    found = torch.zeros(b, h, w, h, w)
    for y in range(h):
        for x in range(w):
            for v in range(h):
                for u in range(w):
                    down, right = v - y + REACH - 1, u - x + REACH - 1
                    if 0 <= down < 2 * REACH - 1 and 0 <= right < 2 * REACH - 1:
                        found[:, y, x, v, u] = scores[:, down * (2 * REACH - 1) + right, y, x]
    return found.reshape(b, h * w, h * w)


@SIZES
def test_rearranged_scores_are_those_of_every_pair(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    scores = torch.randn(2, (2 * REACH - 1) ** 2, *size, requires_grad=True)
    found, expected = pair_scores(scores), pair_by_pair(scores)
    assert torch.equal(found, expected)
    weight = torch.randn_like(found)
    gradients = (torch.autograd.grad((x * weight).sum(), scores)[0] for x in (found, expected))
    assert torch.equal(*gradients)


@SIZES
@pytest.mark.parametrize("collect", [True, False])
def test_pixels_collect_and_distribute(collect: bool, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """What a pixel gets is a mean: its own scores decide when it collects, those of the others when they distribute."""
    torch.manual_seed(0)
    monkeypatch.setattr(psanet, "REACH", REACH)
    module = PointAttention(8, collect=collect).eval()
    x = torch.randn(2, 8, *size)
    with torch.no_grad():
        found = module(x)
        h, w = ((side + 1) // 2 for side in size)
        small = F.interpolate(module.reduce(x), (h, w), mode="bilinear", align_corners=True)
        pairs = pair_by_pair(module.scores(small))
        expected = torch.empty_like(small)
        for n in range(2):
            for i in range(h * w):
                given = torch.stack([pairs[n, i, j] if collect else pairs[n, j, i] for j in range(h * w)])
                expected[n, :, i // w, i % w] = small[n].flatten(1) @ given.softmax(0)
    torch.testing.assert_close(found, expected)
