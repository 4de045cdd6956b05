"""Layers that learn, for the tests of our kernels against PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def pictures(*shape: int) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(shape).contiguous(memory_format=torch.channels_last)


def planes_like(y: Tensor) -> Tensor:
    """Return random numbers that lie plane by plane, however those of `y` do."""
    return torch.randn(y.shape).to(y.dtype)


def learn(made: nn.Module, x: Tensor, gradient_of: Callable[[Tensor], Tensor] = planes_like) -> list[Tensor]:
    """Return the output, the gradients of the input and of all weights, and what the layer remembers.

    `gradient_of` makes up the gradient of the output.
    """
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = made(x)
    torch.manual_seed(2)
    y.backward(gradient_of(y))
    gradients = [value.grad for value in (x, *made.parameters())]
    assert all(gradient is not None for gradient in gradients)
    return [y.detach(), *gradients, *made.buffers()]  # type: ignore[list-item]


def by_pytorch(made: nn.Conv2d) -> nn.Conv2d:
    """Return a plain convolution with the same weights."""
    plain = nn.Conv2d(
        made.in_channels, made.out_channels, made.kernel_size, made.stride, made.padding, made.dilation, made.groups,
        bias=made.bias is not None,
    )  # type: ignore[arg-type]  # fmt: skip
    plain.load_state_dict(made.state_dict())
    return plain.to(memory_format=torch.channels_last)
