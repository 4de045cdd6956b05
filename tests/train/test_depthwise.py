"""Depthwise convolution by our kernel against PyTorch's, in a layer that learns."""

from __future__ import annotations

import pytest
import torch
from learning import by_pytorch, learn, pictures, planes_like
from torch import Tensor

from solo_rt.train.models.parts import depthwise as depthwise_module
from solo_rt.train.models.parts.depthwise import Depthwise

STEPS = [(1, 1, 1), (2, 1, 1), (1, 4, 4), (2, 1, 0)]  # stride, dilation, padding


def layer(stride: int = 1, dilation: int = 1, padding: int = 1, *, kernel: int = 3, bias: bool = False) -> Depthwise:
    torch.manual_seed(1)
    return Depthwise(6, 6, kernel, stride, padding, dilation, groups=6, bias=bias).to(memory_format=torch.channels_last)


def rounded(y: Tensor) -> Tensor:
    """Return a gradient of `y` that is the same in single and in half precision."""
    return planes_like(y.float()).bfloat16().to(y.dtype)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("shape", [(3, 6, 16, 20), (1, 6, 9, 11)])
def test_it_learns_as_pytorch_would(shape: tuple[int, ...], steps: tuple[int, int, int]) -> None:
    made, x = layer(*steps), pictures(*shape)
    for found, expected in zip(learn(made, x, rounded), learn(by_pytorch(made), x, rounded), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("steps", STEPS)
def test_under_autocast_maps_are_rounded_and_nothing_else_is(steps: tuple[int, int, int]) -> None:
    made, x = layer(*steps), pictures(4, 6, 30, 34).bfloat16()
    expected = learn(by_pytorch(made), x.float(), rounded)
    with torch.autocast("cpu", torch.bfloat16):
        y, dx, dweights = learn(made, x, rounded)
        assert made(x.float()).dtype == torch.bfloat16
    for found, wanted in ((y, expected[0]), (dx, expected[1])):
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.float(), wanted, rtol=2**-8, atol=1e-5)
    torch.testing.assert_close(dweights, expected[2], rtol=1e-5, atol=1e-4)


def test_the_kernel_is_asked_for_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    native = depthwise_module._native.depthwise_conv
    monkeypatch.setattr(depthwise_module._native, "depthwise_conv", lambda *args: calls.append(1) or native(*args))
    x = pictures(2, 6, 9, 9)
    layer()(x)
    assert len(calls) == 1
    layer().eval()(x)
    layer(kernel=5)(x)
    layer(bias=True)(x)
    layer()(x.contiguous())
    layer().double()(x.double())
    Depthwise(6, 6, 3, (1, 2), groups=6, bias=False)(x)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    layer()(x)
    assert len(calls) == 1


def test_what_it_cannot_stays_in_float32_under_autocast() -> None:
    x = pictures(1, 6, 9, 9)
    for made in (layer().eval(), layer(kernel=5)):
        with torch.autocast("cpu", torch.bfloat16):
            y = made(x.bfloat16())
        assert y.dtype == torch.float32
        assert torch.equal(y, made(x.bfloat16().float()))
