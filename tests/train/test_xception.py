"""Xception-65 at both output strides."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from solo_rt.train.models.parts import xception
from solo_rt.train.models.parts.xception import Xception65


def weight(like: Tensor) -> Tensor:
    """Return a tensor of a network in which no branch is small beside another."""
    if like.ndim < 4:
        return torch.ones(like.shape, dtype=like.dtype)  # of normalisation, which then changes nothing
    return torch.randn(like.shape) / math.sqrt(like[0].numel())


def test_dilation_computes_the_maps_of_strides_and_what_lies_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xception, "MIDDLE_BLOCKS", 1)  # they are all alike
    torch.manual_seed(0)
    with torch.device("meta"):
        fine, coarse = (Xception65(output_stride=stride).eval() for stride in (8, 16))
    weights = {key: weight(value) for key, value in fine.state_dict().items()}
    for model in (fine, coarse):
        model.load_state_dict(weights, assign=True)
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        dense, sparse = fine(images), coarse(images)
    assert [(64 // x.shape[2], 96 // x.shape[3]) for x in dense] == [(4, 4), (4, 4), (8, 8), (8, 8)]
    assert [x.shape[1] for x in dense] == list(fine.out_channels)
    for found, expected, step in zip(dense, sparse, (1, 1, 2, 2), strict=True):
        scale = expected.abs().max()
        torch.testing.assert_close(found[:, :, ::step, ::step] / scale, expected / scale, rtol=1e-3, atol=1e-4)
