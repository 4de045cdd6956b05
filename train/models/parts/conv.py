"""A convolution that learns on a CPU as fast as it computes: the gradient of its weights is by our native kernel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from solo_rt import _native
from solo_rt.train.models.parts.pixels import pixels_of, takes_pixels

PICTURE = 3  # channels; of so few PyTorch is the faster one
# With channels last PyTorch (oneDNN) has such a kernel of its own for AVX-512 alone.
IS_FASTER = _native.instruction_sets()[-1] == "avx2"


class Conv2d(nn.Conv2d):
    """As in PyTorch, which takes up to three times as long for that gradient on a CPU with AVX2 and nothing wider."""

    def forward(self, x: Tensor) -> Tensor:
        if not (IS_FASTER and self._is_native and x.dtype == torch.float32 and takes_pixels(x)):
            return super().forward(x)
        y: Tensor = _Convolution.apply(x, self.weight, self.bias, self.stride[0], self.padding[0], self.dilation[0])
        return y

    @property
    def _is_native(self) -> bool:
        is_learning = self.training and self.weight.requires_grad and self.weight.dtype == torch.float32
        sizes = self.kernel_size, self.stride, self.padding, self.dilation
        is_square = all(pair == pair[:1] * 2 for pair in sizes) and self.padding_mode == "zeros"
        is_wide = self.groups == 1 and self.in_channels > PICTURE and self.kernel_size[0] > 1
        return is_learning and is_square and is_wide and not torch.is_autocast_enabled("cpu")


class _Convolution(torch.autograd.Function):
    """From x, the weights `[out, C, kernel, kernel]` and the bias `[out]` or None to y."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int, dilation: int
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.steps = stride, padding, dilation
        return nn.functional.conv2d(x, weight, bias, stride, padding, dilation)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding, dilation = ctx.steps
        dy = dy.contiguous(memory_format=torch.channels_last)
        dx = dbias = None
        if ctx.needs_input_grad[0]:
            steps = [stride] * 2, [padding] * 2, [dilation] * 2
            only = [True, False, False]
            dx = torch.ops.aten.convolution_backward(dy, x, weight, None, *steps, False, [0, 0], 1, only)[0]
        if ctx.needs_input_grad[2]:  # together with dx PyTorch would find that of the weights too
            dbias = dy.sum((0, 2, 3))
        threads = torch.get_num_threads()
        dweight = _native.weight_gradient(
            pixels_of(x), pixels_of(dy), weight.shape[-1], stride, dilation, padding, threads
        )
        return dx, torch.from_numpy(dweight), dbias, None, None, None
