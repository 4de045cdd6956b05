"""Convolution whose weights learn by our kernel against PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from learning import by_pytorch, learn, pictures, planes_like
from torch import Tensor

from solo_rt.train.models import build_model
from solo_rt.train.models.parts import conv as conv_module
from solo_rt.train.models.parts.conv import Conv2d


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Let every CPU count as one on which the kernel is the faster, and return what it is called with."""
    native = conv_module._native.weight_gradient
    noted: list[object] = []
    monkeypatch.setattr(conv_module, "IS_FASTER", True)
    monkeypatch.setattr(conv_module._native, "weight_gradient", lambda *args: noted.append(args) or native(*args))
    return noted


def layer(*args: Any, **how: Any) -> Conv2d:
    torch.manual_seed(1)
    return Conv2d(*args, **how).to(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "made",
    [
        layer(7, 5, 3, padding=1),
        layer(7, 5, 3, padding=1, bias=False),
        layer(7, 20, 3, 2, 1),
        layer(7, 5, 3, dilation=2, padding=2),
        layer(7, 5, 5, 2),
    ],
)
@pytest.mark.parametrize("gradient_of", [torch.randn_like, planes_like], ids=["pixels", "planes"])
@pytest.mark.parametrize("shape", [(3, 7, 16, 20), (1, 7, 9, 11)])
def test_it_learns_as_pytorch_would(
    shape: tuple[int, ...], gradient_of: Callable[[Tensor], Tensor], made: Conv2d, calls: list[object]
) -> None:
    x = pictures(*shape)
    made.zero_grad()
    found, expected = learn(made, x, gradient_of), learn(by_pytorch(made), x, gradient_of)
    assert len(found) == (4 if made.bias is not None else 3)
    assert len(calls) == 1
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-4)


def test_an_input_that_needs_no_gradient_gets_none() -> None:
    made, x = layer(7, 5, 3), pictures(2, 7, 9, 9)
    made(x).sum().backward()
    assert x.grad is None
    plain = by_pytorch(made)
    plain(x).sum().backward()
    for one, other in ((made.weight, plain.weight), (made.bias, plain.bias)):
        torch.testing.assert_close(one.grad, other.grad)  # type: ignore[union-attr]


def test_the_kernel_is_asked_for_what_it_can(monkeypatch: pytest.MonkeyPatch, calls: list[object]) -> None:
    def learns(made: Conv2d, x: Tensor) -> bool:
        before = len(calls)
        made(x).sum().backward()
        return len(calls) > before

    x = pictures(2, 8, 9, 9)
    frozen = layer(8, 8, 3, bias=True)
    frozen.weight.requires_grad_(requires_grad=False)
    assert learns(layer(8, 8, 3), x)
    for made, given in (
        (frozen, x),
        (layer(8, 8, 3).eval(), x),
        (layer(8, 8, 1), x),
        (layer(3, 8, 3), pictures(2, 3, 9, 9)),
        (layer(8, 8, 3, groups=2), x),
        (layer(8, 8, (3, 1)), x),
        (layer(8, 8, 3, (1, 2)), x),
        (layer(8, 8, 3, padding="same"), x),
        (layer(8, 8, 3, padding=1, padding_mode="reflect"), x),
        (layer(8, 8, 3), x.contiguous()),
        (layer(8, 8, 3).double(), x.double()),
    ):
        assert not learns(made, given), made
    with torch.autocast("cpu", torch.bfloat16):
        assert not learns(layer(8, 8, 3), x)
    monkeypatch.setattr(conv_module, "IS_FASTER", False)
    assert not learns(layer(8, 8, 3), x)


@pytest.mark.parametrize("name", ["cgnet", "enet"])
def test_a_network_learns_the_same_with_it(name: str, monkeypatch: pytest.MonkeyPatch, calls: list[object]) -> None:
    gradients = []
    for is_faster in (True, False):
        monkeypatch.setattr(conv_module, "IS_FASTER", is_faster)
        torch.manual_seed(3)
        model = build_model(name, 4).to(memory_format=torch.channels_last).train()
        torch.manual_seed(4)
        model(pictures(2, 3, 64, 64)).out.square().mean().backward()
        gradients.append([weights.grad for weights in model.parameters()])
        assert len(calls) >= 3
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())
