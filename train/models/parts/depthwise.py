"""Depthwise convolution: every channel by itself, while learning on a CPU by our native kernel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from solo_rt import _native
from solo_rt.train.models.parts.pixels import new_pixels, pixels_of, takes_pixels


class Depthwise(nn.Conv2d):
    """A convolution with as many groups as channels, its weights and sums in float32 under autocast on a CPU.

    While it learns, a 3x3 reads and writes bfloat16 there, in half the time that PyTorch takes; its gradient with
    dilation, in bfloat16, may hold NaN as of 2.13. Anything else stays in float32 as a whole.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or self.weight.dtype != torch.float32:
            return super().forward(x)
        is_mixed = torch.is_autocast_enabled("cpu")
        if self._is_native:
            given = x.to(torch.get_autocast_dtype("cpu")) if is_mixed else x
            if takes_pixels(given):
                y: Tensor = _Depthwise.apply(given, self.weight, self.stride[0], self.dilation[0], self.padding[0])
                return y
        if not is_mixed:
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())

    @property
    def _is_native(self) -> bool:
        one_each = all(pair[0] == pair[1] for pair in (self.stride, self.dilation, self.padding))
        return self.training and self.kernel_size == (3, 3) and one_each and self.bias is None


class _Depthwise(torch.autograd.Function):
    """From x and the weights `[C, 1, 3, 3]` to y."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, dilation: int, padding: int) -> Tensor:
        height, width = ((side + 2 * padding - 2 * dilation - 1) // stride + 1 for side in x.shape[2:])
        y = new_pixels(x, height, width)
        taps = weight.detach().reshape(-1, 9).numpy()
        threads = torch.get_num_threads()
        _native.depthwise_conv(pixels_of(x), taps, stride, dilation, padding, pixels_of(y), threads)
        ctx.save_for_backward(x, weight)
        ctx.steps = stride, dilation, padding
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, dilation, padding = ctx.steps
        dx = new_pixels(x, *x.shape[2:])
        taps = weight.detach().reshape(-1, 9).numpy()
        threads = torch.get_num_threads()
        dtaps = _native.depthwise_conv_gradient(
            pixels_of(x), pixels_of(dy), taps, stride, dilation, padding, pixels_of(dx), threads
        )
        return dx, torch.from_numpy(dtaps).view_as(weight), None, None, None
