"""Deformable convolution against a twin that walks over pixels, and against the plain convolution it starts as."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from solo_rt.train.models.parts.deform_conv import DeformConv2d, deform_conv2d


def bilinear(plane: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Value of `plane [H, W]` between pixels, 0 outside, differentiable in all three."""
    height, width = plane.shape
    top, left = math.floor(y.item()), math.floor(x.item())
    total = plane.new_zeros(())
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < height and 0 <= column < width:
                total = total + plane[row, column] * (1 - (y - row).abs()) * (1 - (x - column).abs())
    return total


def deform_conv2d_slowly(
    x: Tensor, offset: Tensor, weight: Tensor, mask: Tensor | None, bias: Tensor | None, stride: int, padding: int,
    groups: int,
) -> Tensor:  # fmt: skip
    b = len(x)
    out, per_group, k, _ = weight.shape
    h, w = offset.shape[-2:]
    result = []
    for n in range(b):
        for o in range(out):
            first = o // (out // groups) * per_group
            for i in range(h):
                for j in range(w):
                    total = x.new_zeros(()) if bias is None else bias[o]
                    for tap in range(k * k):
                        y = i * stride - padding + tap // k + offset[n, 2 * tap, i, j]
                        z = j * stride - padding + tap % k + offset[n, 2 * tap + 1, i, j]
                        scale = 1.0 if mask is None else mask[n, tap, i, j]
                        for c in range(per_group):
                            value = bilinear(x[n, first + c], y, z)
                            total = total + weight[o, c, tap // k, tap % k] * value * scale
                    result.append(total)
    return torch.stack(result).reshape(b, out, h, w)


CASES = [
    # kernel, stride, padding, groups, modulated, biased
    (3, 1, 1, 1, True, False),
    (3, 2, 1, 2, False, True),
    (1, 1, 0, 1, True, True),
    (3, 1, 0, 1, False, False),
]


def arguments(kernel: int, stride: int, padding: int, groups: int, modulated: bool, biased: bool) -> list:
    generator = torch.Generator().manual_seed(kernel + stride)

    def rand(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    height, width = 5, 4
    h, w = ((side + 2 * padding - kernel) // stride + 1 for side in (height, width))
    x = rand(2, 4, height, width)
    offset = 5 * rand(2, 2 * kernel**2, h, w) - 2.5  # some taps end outside
    weight = rand(2, 4 // groups, kernel, kernel) - 0.5
    mask = rand(2, kernel**2, h, w) if modulated else None
    return [x, offset, weight, mask, rand(2) if biased else None]


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_the_slow_twin(case: tuple) -> None:
    _, stride, padding, groups, *_ = case
    results = []
    for function in (deform_conv2d, None):
        x, offset, weight, mask, bias = (
            None if value is None else value.clone().requires_grad_() for value in arguments(*case)
        )
        if function is None:
            y = deform_conv2d_slowly(x, offset, weight, mask, bias, stride, padding, groups)
        else:
            y = function(x, offset, weight, mask=mask, bias=bias, stride=stride, padding=padding, groups=groups)
        (y * torch.arange(y.numel()).reshape(y.shape).sin()).sum().backward()
        results.append([y, *(t.grad for t in (x, offset, weight, mask, bias) if t is not None)])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 1)])
def test_a_new_layer_is_a_plain_convolution(modulated: bool, kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    layer = DeformConv2d(6, 4, kernel, stride=stride, modulated=modulated)
    x = torch.randn(2, 6, 9, 7)
    expected = F.conv2d(x, layer.weight, None, stride, kernel // 2) * (0.5 if modulated else 1.0)
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_weights_have_the_names_of_the_published_files() -> None:
    state = DeformConv2d(6, 4, 3, modulated=True).state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    assert shapes == {"weight": (4, 6, 3, 3), "conv_offset.weight": (27, 6, 3, 3), "conv_offset.bias": (27,)}
    assert tuple(DeformConv2d(6, 4, 3, modulated=False).conv_offset.weight.shape) == (18, 6, 3, 3)


def test_offsets_learn() -> None:
    torch.manual_seed(0)
    layer = DeformConv2d(3, 2, 3, modulated=True)
    layer(torch.randn(1, 3, 6, 6)).square().sum().backward()
    assert layer.conv_offset.weight.grad.abs().max() > 0
