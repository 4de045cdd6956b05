"""The encoding layer against its definition, and what else EncNet returns."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from solo_rt.train.models import build_model
from solo_rt.train.models.encnet import Encoding


def residuals_summed(x: Tensor, codewords: Tensor, factors: Tensor) -> Tensor:
    """Return the encoding `[B, K, C]` of `x [B, C, H, W]` by its definition, one difference after the other."""
    residuals = x.flatten(2).transpose(1, 2)[:, :, None] - codewords  # [B, N, K, C]
    shares = (factors * residuals.square().sum(3)).softmax(2)  # [B, N, K]
    return (shares[..., None] * residuals).sum(1)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (16, 24)])
@pytest.mark.parametrize("codewords", [1, 7])
def test_products_sum_up_the_residuals(size: tuple[int, int], codewords: int) -> None:
    torch.manual_seed(0)
    layer = Encoding(12, codewords).double()
    x = torch.randn(2, 12, *size, dtype=torch.float64, requires_grad=True)
    found, expected = layer(x), residuals_summed(x, layer.codewords, layer.factors)
    torch.testing.assert_close(found, expected)
    weight = torch.randn_like(expected)
    inputs = (x, layer.codewords, layer.factors)
    torch.testing.assert_close(*(torch.autograd.grad((y * weight).sum(), inputs) for y in (found, expected)))


def test_float32_is_exact_enough_for_maps_far_from_all_codewords() -> None:
    torch.manual_seed(0)
    layer = Encoding(512, 32)
    x = 3 * torch.randn(1, 512, 8, 12).relu()
    with torch.no_grad():
        exact = residuals_summed(x.double(), layer.codewords.double(), layer.factors.double())
        assert float((layer(x) - exact).abs().max()) < 1e-4 * float(exact.abs().max())


def test_a_pixel_belongs_to_the_nearest_codeword() -> None:
    layer = Encoding(2, 2)
    with torch.no_grad():
        layer.codewords.copy_(torch.tensor([[0.0, 0.0], [10.0, 0.0]]))
        layer.factors.fill_(-1)
        found = layer(torch.tensor([1.0, 0.5])[None, :, None, None])
    torch.testing.assert_close(found[0], torch.tensor([[1.0, 0.5], [0.0, 0.0]]))


def test_classes_that_occur_are_predicted_while_training_alone() -> None:
    with torch.device("meta"):
        model = build_model("encnet-r50", 5)
        images = torch.empty(2, 3, 32, 32)
        assert model.train()(images).presence.shape == (2, 5)
        assert model.eval()(images).presence is None
